//! Which topics a session may publish to and subscribe to.
//!
//! Rights are fixed for the life of a session: when a policy changes, the session is cut and comes back with new ones.

use super::topic::{TopicError, TopicFilter, TopicName};

/// What one session may do.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rights {
    publish: Box<[TopicFilter]>,
    subscribe: Box<[TopicFilter]>,
}

impl Rights {
    /// Rights from filters, as a service has them.
    #[must_use]
    pub fn new(publish: Vec<TopicFilter>, subscribe: Vec<TopicFilter>) -> Self {
        Self { publish: publish.into(), subscribe: subscribe.into() }
    }

    /// An operational device: everything under `devices/<id>/`, and its control channel.
    ///
    /// # Errors
    /// When the id cannot stand in a topic; a checked device id always can.
    pub fn device(device_id: &str) -> Result<Self, TopicError> {
        let own = own_levels("devices", device_id, "#")?;
        let up = own_levels("$muster", device_id, "control/up")?;
        let down = own_levels("$muster", device_id, "control/down")?;
        Ok(Self::new(vec![own.clone(), up], vec![own, down]))
    }

    /// A device that came with its IDevID: its enrolment channel and nothing else.
    ///
    /// # Errors
    /// When the id cannot stand in a topic; a checked device id always can.
    pub fn enrolment(device_id: &str) -> Result<Self, TopicError> {
        let up = own_levels("$muster", device_id, "enrol/up")?;
        let down = own_levels("$muster", device_id, "enrol/down")?;
        Ok(Self::new(vec![up], vec![down]))
    }

    /// Whether a message to this topic may come from the session.
    #[must_use]
    pub fn may_publish(&self, topic: &TopicName) -> bool {
        self.publish.iter().any(|granted| granted.matches(topic))
    }

    /// Whether the session may subscribe: one granted filter must cover the whole of what is asked.
    #[must_use]
    pub fn may_subscribe(&self, asked: &TopicFilter) -> bool {
        self.subscribe.iter().any(|granted| granted.covers(asked))
    }

    /// Whether a message on this topic may be sent to the session.
    #[must_use]
    pub fn may_read(&self, topic: &TopicName) -> bool {
        self.subscribe.iter().any(|granted| granted.matches(topic))
    }
}

fn own_levels(root: &str, device_id: &str, rest: &str) -> Result<TopicFilter, TopicError> {
    if device_id.is_empty() {
        return Err(TopicError::Empty);
    }
    if device_id.contains(['/', '+', '#']) {
        return Err(TopicError::Wildcard);
    }
    TopicFilter::new(&format!("{root}/{device_id}/{rest}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn check(rights: &Rights, allowed: [&[&str]; 2], refused: [&[&str]; 2]) {
        let name = |text: &str| TopicName::new(text).unwrap();
        let filter = |text: &str| TopicFilter::new(text).unwrap();
        allowed[0].iter().for_each(|text| assert!(rights.may_publish(&name(text)), "publish {text}"));
        allowed[1].iter().for_each(|text| assert!(rights.may_subscribe(&filter(text)), "subscribe {text}"));
        refused[0].iter().for_each(|text| assert!(!rights.may_publish(&name(text)), "publish {text}"));
        refused[1].iter().for_each(|text| assert!(!rights.may_subscribe(&filter(text)), "subscribe {text}"));
    }

    #[test]
    fn a_device_stays_under_its_own_id() {
        check(
            &Rights::device("d1").unwrap(),
            [
                &["devices/d1", "devices/d1/telemetry", "devices/d1/a/b", "$muster/d1/control/up"],
                &["devices/d1/#", "devices/d1/+/x", "devices/d1/x", "$muster/d1/control/down"],
            ],
            [
                &["devices/d2/telemetry", "devices/d11/x", "devices", "$muster/d1/control/down", "$muster/d1/enrol/up"],
                &["devices/+/x", "devices/#", "#", "+/d1/x", "devices/d2/#", "$muster/d1/control/up", "$muster/d1/#"],
            ],
        );
    }

    #[test]
    fn an_idevid_session_reaches_enrolment_only() {
        check(
            &Rights::enrolment("d1").unwrap(),
            [&["$muster/d1/enrol/up"], &["$muster/d1/enrol/down"]],
            [
                &["$muster/d1/control/up", "devices/d1/telemetry", "$muster/d1/enrol/down", "$muster/d2/enrol/up"],
                &["$muster/d1/control/down", "devices/d1/#", "$muster/d1/enrol/up", "$muster/d1/enrol/+", "#"],
            ],
        );
    }

    #[test]
    fn a_service_may_read_by_wildcard_what_it_was_granted_and_no_control_topic() {
        let every = TopicFilter::new("#").unwrap();
        let rights = Rights::new(Vec::new(), vec![every]);
        check(
            &rights,
            [&[], &["#", "devices/#", "devices/+/telemetry", "+"]],
            [&["devices/d1/x"], &["$muster/#", "$muster/d1/control/up", "$SYS/x"]],
        );
    }

    #[test]
    fn no_rights_allow_nothing_and_an_id_with_levels_is_refused() {
        check(&Rights::default(), [&[], &[]], [&["a"], &["a", "#"]]);
        for id in ["", "a/b", "+", "#"] {
            assert!(Rights::device(id).is_err(), "{id}");
            assert!(Rights::enrolment(id).is_err(), "{id}");
        }
    }
}
