//! Who subscribed to what: exact filters in one table, filters with wildcards in a tree of levels.
//!
//! Most subscriptions of a fleet are exact and belong to one device, so they must be small. The tree knows no rights;
//! a subscription stands here only because the session was allowed to make it.

use std::collections::HashMap;
use std::sync::Arc;

use super::mailbox::Mailbox;
use super::packet::SubscribeOptions;
use super::topic::{TopicFilter, TopicName};

/// Every subscription of every live session.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    exact: HashMap<TopicFilter, Subscribers>,
    root: Node,
    len: usize,
}

/// One subscription.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) options: SubscribeOptions,
}

/// Mostly one: a list costs its own allocation.
#[derive(Debug, Default)]
enum Subscribers {
    #[default]
    None,
    One(Subscriber),
    Many(Vec<Subscriber>),
}

#[derive(Debug, Default)]
struct Node {
    children: Children,
    any_level: Option<Box<Node>>,
    ends: Subscribers,
    any_rest: Subscribers,
}

#[derive(Debug, Default)]
enum Children {
    #[default]
    None,
    One(Box<(Box<str>, Node)>),
    /// Boxed, because a table is six times the size of a single child.
    #[allow(clippy::box_collection)]
    Many(Box<HashMap<Box<str>, Node>>),
}

impl Tree {
    /// Adds a subscription, or replaces the options of the same session's same filter.
    pub(crate) fn insert(&mut self, filter: &TopicFilter, subscriber: Subscriber) {
        let added = if filter.is_exact() {
            self.exact.entry(filter.clone()).or_default().insert(subscriber)
        } else {
            self.root.place(filter.as_str()).insert(subscriber)
        };
        self.len += usize::from(added);
    }

    /// Takes a subscription away. False when there was none.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, mailbox: &Arc<Mailbox>) -> bool {
        let removed = if filter.is_exact() {
            let Some(subscribers) = self.exact.get_mut(filter) else { return false };
            let removed = subscribers.remove(mailbox);
            if subscribers.is_empty() {
                self.exact.remove(filter);
            }
            removed
        } else {
            self.root.remove(filter.as_str(), mailbox)
        };
        self.len -= usize::from(removed);
        removed
    }

    /// Calls `visit` for every subscription that matches; a session with several matching ones comes several times.
    pub(crate) fn matching(&self, topic: &TopicName, visit: &mut impl FnMut(&Subscriber)) {
        if let Some(subscribers) = self.exact.get(topic.as_str()) {
            subscribers.each(visit);
        }
        if topic.as_str().starts_with('$') {
            // No wildcard in the first level matches here (MQTT 5, section 4.7.2).
            let (level, rest) = split(topic.as_str());
            if let Some(child) = self.root.children.find(level) {
                child.visit(rest, visit);
            }
        } else {
            self.root.visit(Some(topic.as_str()), visit);
        }
    }

    /// Number of subscriptions.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

impl Node {
    /// The place of a filter, made when it is not there.
    fn place(&mut self, filter: &str) -> &mut Subscribers {
        let (level, rest) = split(filter);
        if level == "#" {
            return &mut self.any_rest;
        }
        let child =
            if level == "+" { &mut **self.any_level.get_or_insert_default() } else { self.children.find_or_add(level) };
        match rest {
            Some(rest) => child.place(rest),
            None => &mut child.ends,
        }
    }

    /// Nodes that nobody needs any more go with the subscription.
    fn remove(&mut self, filter: &str, mailbox: &Arc<Mailbox>) -> bool {
        let (level, rest) = split(filter);
        if level == "#" {
            return self.any_rest.remove(mailbox);
        }
        let child = if level == "+" { self.any_level.as_deref_mut() } else { self.children.find_mut(level) };
        let Some(child) = child else { return false };
        let removed = match rest {
            Some(rest) => child.remove(rest, mailbox),
            None => child.ends.remove(mailbox),
        };
        if child.is_empty() {
            if level == "+" {
                self.any_level = None;
            } else {
                self.children.drop_child(level);
            }
        }
        removed
    }

    /// `rest` is what of the topic lies below this node.
    fn visit(&self, rest: Option<&str>, visit: &mut impl FnMut(&Subscriber)) {
        self.any_rest.each(visit);
        let Some(rest) = rest else {
            self.ends.each(visit);
            return;
        };
        let (level, rest) = split(rest);
        if let Some(child) = self.children.find(level) {
            child.visit(rest, visit);
        }
        if let Some(child) = &self.any_level {
            child.visit(rest, visit);
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self.children, Children::None)
            && self.any_level.is_none()
            && self.ends.is_empty()
            && self.any_rest.is_empty()
    }
}

impl Children {
    fn find(&self, level: &str) -> Option<&Node> {
        match self {
            Self::None => None,
            Self::One(child) => (*child.0 == *level).then_some(&child.1),
            Self::Many(children) => children.get(level),
        }
    }

    fn find_mut(&mut self, level: &str) -> Option<&mut Node> {
        match self {
            Self::None => None,
            Self::One(child) => (*child.0 == *level).then_some(&mut child.1),
            Self::Many(children) => children.get_mut(level),
        }
    }

    fn find_or_add(&mut self, level: &str) -> &mut Node {
        if let Self::One(child) = self
            && *child.0 != *level
            && let Self::One(child) = std::mem::take(self)
        {
            *self = Self::Many(Box::new(HashMap::from([*child])));
        }
        if matches!(self, Self::None) {
            *self = Self::One(Box::new((level.into(), Node::default())));
        }
        match self {
            Self::One(child) => &mut child.1,
            Self::Many(children) => children.entry(level.into()).or_default(),
            Self::None => unreachable!("it was replaced above"),
        }
    }

    fn drop_child(&mut self, level: &str) {
        match self {
            Self::Many(children) => {
                children.remove(level);
                if children.is_empty() {
                    *self = Self::None;
                }
            }
            Self::None | Self::One(_) => *self = Self::None,
        }
    }
}

impl Subscribers {
    /// False when the session was there already; its options are the new ones then.
    fn insert(&mut self, subscriber: Subscriber) -> bool {
        match self {
            Self::None => *self = Self::One(subscriber),
            Self::One(old) if Arc::ptr_eq(&old.mailbox, &subscriber.mailbox) => {
                *old = subscriber;
                return false;
            }
            Self::One(old) => *self = Self::Many(vec![old.clone(), subscriber]),
            Self::Many(all) => {
                if let Some(old) = all.iter_mut().find(|old| Arc::ptr_eq(&old.mailbox, &subscriber.mailbox)) {
                    *old = subscriber;
                    return false;
                }
                all.push(subscriber);
            }
        }
        true
    }

    fn remove(&mut self, mailbox: &Arc<Mailbox>) -> bool {
        match self {
            Self::One(only) if Arc::ptr_eq(&only.mailbox, mailbox) => *self = Self::None,
            Self::Many(all) => {
                let Some(place) = all.iter().position(|one| Arc::ptr_eq(&one.mailbox, mailbox)) else { return false };
                all.swap_remove(place);
                if all.is_empty() {
                    *self = Self::None;
                }
            }
            Self::None | Self::One(_) => return false,
        }
        true
    }

    fn each(&self, visit: &mut impl FnMut(&Subscriber)) {
        match self {
            Self::None => {}
            Self::One(one) => visit(one),
            Self::Many(all) => all.iter().for_each(visit),
        }
    }

    const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }
}

fn split(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::{prop, proptest};

    use super::super::SessionHandle;
    use super::super::packet::{QoS, Version};
    use super::*;

    fn mailbox(number: u64) -> Arc<Mailbox> {
        Arc::new(Mailbox::new(SessionHandle::new("d", number, number), "d", Version::V5, 1))
    }

    fn subscriber(mailbox: &Arc<Mailbox>) -> Subscriber {
        Subscriber { mailbox: Arc::clone(mailbox), options: SubscribeOptions { qos: QoS::AtMostOnce, no_local: false } }
    }

    fn found(tree: &Tree, topic: &str) -> Vec<u64> {
        let mut found = Vec::new();
        tree.matching(&TopicName::new(topic).unwrap(), &mut |one| found.push(one.mailbox.handle.epoch()));
        found.sort_unstable();
        found
    }

    const FILTERS: [&str; 16] =
        ["a", "a/b", "a/+", "a/#", "+", "#", "+/b", "+/+", "+/#", "/", "/#", "a/b/c", "a/+/c", "$x/#", "$x/+", "a//+"];
    const TOPICS: [&str; 14] =
        ["a", "b", "a/b", "a/c", "a/b/c", "a/b/d", "/", "/a", "a/", "a//b", "$x", "$x/a", "$x/a/b", "$y/a"];

    proptest! {
        /// Whatever was subscribed and unsubscribed, the tree finds what the filters say one by one.
        #[test]
        fn the_tree_agrees_with_its_filters(
            acts in prop::collection::vec((0..FILTERS.len(), 0_u64..4, prop::bool::weighted(0.6)), 0..60),
        ) {
            let mailboxes: Vec<_> = (0..4).map(mailbox).collect();
            let mut tree = Tree::default();
            let mut model = std::collections::BTreeSet::new();
            for (filter, who, insert) in acts {
                let topic_filter = TopicFilter::new(FILTERS[filter]).unwrap();
                if insert {
                    tree.insert(&topic_filter, subscriber(&mailboxes[who as usize]));
                    model.insert((filter, who));
                } else {
                    let removed = tree.remove(&topic_filter, &mailboxes[who as usize]);
                    assert_eq!(removed, model.remove(&(filter, who)));
                }
            }
            assert_eq!(tree.len(), model.len());
            for topic in TOPICS {
                let name = TopicName::new(topic).unwrap();
                let matches = |filter: usize| TopicFilter::new(FILTERS[filter]).unwrap().matches(&name);
                let mut wanted: Vec<u64> =
                    model.iter().filter(|(filter, _)| matches(*filter)).map(|(_, who)| *who).collect();
                wanted.sort_unstable();
                assert_eq!(found(&tree, topic), wanted, "{topic}");
            }
            for (filter, who) in model {
                assert!(tree.remove(&TopicFilter::new(FILTERS[filter]).unwrap(), &mailboxes[who as usize]));
            }
            assert!(tree.exact.is_empty() && tree.root.is_empty() && tree.len() == 0);
        }
    }

    #[test]
    fn a_subscription_is_small() {
        assert!(size_of::<Node>() <= 88, "{}", size_of::<Node>());
        assert!(size_of::<Subscribers>() <= 24, "{}", size_of::<Subscribers>());
    }
}
