//! What other programs of this device publish and subscribe: always below `devices/<device-id>/`, never beyond it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use muster_protocol::topic::{TopicText, application_prefix};
use muster_protocol::{DeviceId, topic};
use tokio::sync::mpsc;

use super::request::Refusal;

/// A publication for a local subscriber.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// The topic, without `devices/<device-id>/`.
    pub topic: String,
    /// The content.
    pub payload: Bytes,
}

/// The local subscribers and their filters.
#[derive(Debug)]
pub(super) struct Local {
    prefix: TopicText,
    telemetry: TopicText,
    subscribers: BTreeMap<u64, Subscriber>,
    last: u64,
}

#[derive(Debug)]
struct Subscriber {
    deliveries: mpsc::Sender<Arc<Delivery>>,
    filters: Vec<String>,
}

impl Local {
    pub(super) fn new(device: &DeviceId) -> Self {
        let (prefix, telemetry) = (application_prefix(device), topic::telemetry(device));
        Self { prefix, telemetry, subscribers: BTreeMap::new(), last: 0 }
    }

    /// The whole topic of a publication.
    pub(super) fn topic(&self, relative: &str) -> Result<String, Refusal> {
        check(relative)?;
        if relative.contains(['+', '#']) {
            return Err(Refusal::new("topic.malformed", "a topic to publish on has no wildcards"));
        }
        let whole = self.whole(relative);
        if whole == self.telemetry.as_str() {
            return Err(Refusal::new("topic.reserved", "this topic is the agent's own"));
        }
        Ok(whole)
    }

    /// The whole filter of a subscription.
    pub(super) fn filter(&self, relative: &str) -> Result<String, Refusal> {
        check(relative)?;
        let levels: Vec<&str> = relative.split('/').collect();
        let misplaced = levels.iter().enumerate().any(|(index, level)| match *level {
            "+" => false,
            "#" => index + 1 != levels.len(),
            level => level.contains(['+', '#']),
        });
        if misplaced {
            return Err(Refusal::new("topic.malformed", "a wildcard stands for a whole level, and # comes last"));
        }
        Ok(self.whole(relative))
    }

    pub(super) fn attach(&mut self, deliveries: mpsc::Sender<Arc<Delivery>>) -> Result<u64, Refusal> {
        if self.subscribers.len() >= SUBSCRIBERS_MAX {
            return Err(Refusal::new("agent.busy", "too many subscribers"));
        }
        self.last += 1;
        self.subscribers.insert(self.last, Subscriber { deliveries, filters: Vec::new() });
        Ok(self.last)
    }

    /// Adds a whole filter; true when no subscriber had it before.
    pub(super) fn subscribe(&mut self, subscriber: u64, filter: &str) -> Result<bool, Refusal> {
        let is_new = !self.has(filter);
        let Some(found) = self.subscribers.get_mut(&subscriber) else {
            return Err(Refusal::new("agent.detached", "this subscriber was dropped for being slow"));
        };
        if !found.filters.iter().any(|known| known == filter) {
            if found.filters.len() >= FILTERS_MAX {
                return Err(Refusal::new("topic.too_many", "too many filters of one subscriber"));
            }
            found.filters.push(filter.to_owned());
        }
        Ok(is_new)
    }

    /// Takes a whole filter away; true when no subscriber has it any more.
    pub(super) fn unsubscribe(&mut self, subscriber: u64, filter: &str) -> bool {
        let Some(found) = self.subscribers.get_mut(&subscriber) else { return false };
        let before = found.filters.len();
        found.filters.retain(|known| known != filter);
        before != found.filters.len() && !self.has(filter)
    }

    /// Forgets a subscriber; the filters that nobody has any more.
    pub(super) fn detach(&mut self, subscriber: u64) -> Vec<String> {
        let filters = self.subscribers.remove(&subscriber).map(|gone| gone.filters).unwrap_or_default();
        filters.into_iter().filter(|filter| !self.has(filter)).collect()
    }

    /// Every filter, once: for a new session.
    pub(super) fn filters(&self) -> Vec<String> {
        let mut all: Vec<String> = self.subscribers.values().flat_map(|one| one.filters.iter().cloned()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Hands a publication to everybody it is for. Who has no room for it, or is gone, is dropped; the filters that
    /// nobody has any more.
    pub(super) fn deliver(&mut self, topic: &str, payload: &Bytes) -> Vec<String> {
        let Some(relative) = topic.strip_prefix(self.prefix.as_str()) else { return Vec::new() };
        let delivery = Arc::new(Delivery { topic: relative.to_owned(), payload: payload.clone() });
        let mut slow = Vec::new();
        for (id, subscriber) in &self.subscribers {
            let wanted = subscriber.filters.iter().any(|filter| matches(filter, topic));
            if wanted && subscriber.deliveries.try_send(Arc::clone(&delivery)).is_err() {
                slow.push(*id);
            }
        }
        slow.into_iter().flat_map(|id| self.detach(id)).collect()
    }

    fn has(&self, filter: &str) -> bool {
        self.subscribers.values().any(|subscriber| subscriber.filters.iter().any(|known| known == filter))
    }

    fn whole(&self, relative: &str) -> String {
        format!("{}{relative}", self.prefix)
    }
}

fn check(relative: &str) -> Result<(), Refusal> {
    if relative.is_empty() || relative.len() > TOPIC_BYTES_MAX {
        return Err(Refusal::new("topic.malformed", "a topic has from 1 to 256 bytes"));
    }
    if relative.starts_with('/') || relative.chars().any(char::is_control) {
        return Err(Refusal::new("topic.malformed", "a topic has no leading slash and no control characters"));
    }
    Ok(())
}

/// Whether a topic matches a filter (MQTT 5.0, section 4.7). Both are below our own prefix, so `$` cannot come first.
fn matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

/// Longest relative topic or filter.
const TOPIC_BYTES_MAX: usize = 256;
const SUBSCRIBERS_MAX: usize = 1024;
const FILTERS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Local {
        Local::new(&DeviceId::new("dev-1").unwrap())
    }

    #[test]
    fn nobody_leaves_the_devices_own_topics() {
        let local = local();
        assert_eq!(local.topic("a/b").unwrap(), "devices/dev-1/a/b");
        assert_eq!(local.topic("../dev-2/a").unwrap(), "devices/dev-1/../dev-2/a", "a level like any other");
        assert_eq!(local.filter("#").unwrap(), "devices/dev-1/#");
        for topic in ["", "/a", "a/+", "#", "a\0", "a\nb", &"x".repeat(257)] {
            assert_eq!(local.topic(topic).unwrap_err().code, "topic.malformed", "{topic:?}");
        }
        assert_eq!(local.topic("telemetry").unwrap_err().code, "topic.reserved");
        for filter in ["", "/#", "#/a", "a#", "a/b+", "a/#/b"] {
            assert_eq!(local.filter(filter).unwrap_err().code, "topic.malformed", "{filter:?}");
        }
    }

    #[test]
    fn filters_match_as_mqtt_has_it() {
        for (filter, topic, expected) in [
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("a/+", "a", false),
            ("a/b", "a/b", true),
            ("a/b", "a/b/", false),
            ("a/+/c", "a//c", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn each_subscriber_gets_its_own_and_a_slow_one_is_dropped() {
        let mut local = local();
        let (quick, mut quick_in) = mpsc::channel(8);
        let (slow, _slow_in) = mpsc::channel(1);
        let (quick, slow) = (local.attach(quick).unwrap(), local.attach(slow).unwrap());
        assert!(local.subscribe(quick, "devices/dev-1/a").unwrap());
        assert!(!local.subscribe(slow, "devices/dev-1/a").unwrap(), "somebody has it already");
        assert!(local.subscribe(slow, "devices/dev-1/b").unwrap());

        assert!(local.deliver("devices/dev-1/a", &Bytes::from_static(b"1")).is_empty());
        assert!(local.deliver("devices/dev-2/a", &Bytes::from_static(b"x")).is_empty());
        assert_eq!(local.deliver("devices/dev-1/a", &Bytes::from_static(b"2")), ["devices/dev-1/b"]);
        assert!(local.subscribe(slow, "devices/dev-1/b").is_err());
        assert_eq!(quick_in.try_recv().unwrap().payload, "1");
        assert_eq!(quick_in.try_recv().unwrap().topic, "a");
        assert!(quick_in.try_recv().is_err());
        assert_eq!(local.filters(), ["devices/dev-1/a"]);
        assert!(local.unsubscribe(quick, "devices/dev-1/a"));
    }
}
