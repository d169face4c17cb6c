//! Packet identifiers in flight, and who waits for their acknowledgement (MQTT 5.0, sections 2.2.1 and 4.9).

use std::collections::BTreeMap;

use muster_protocol::Code;

use super::Concern;

/// What an identifier was taken for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Publish,
    Subscribe,
    Unsubscribe,
}

/// Identifiers in use. At most `max`, which is also what the gateway allows in flight.
#[derive(Debug)]
pub(super) struct Flight {
    waiting: BTreeMap<u16, (Kind, Concern)>,
    last: u16,
    max: usize,
}

impl Flight {
    pub(super) fn new(receive_max: Option<u16>) -> Self {
        let max = receive_max.map_or(FLIGHT_MAX, |max| usize::from(max).clamp(1, FLIGHT_MAX));
        Self { waiting: BTreeMap::new(), last: 0, max }
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < self.max
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes an identifier that is not in use. There always is one: `max` is far below 65,535.
    pub(super) fn take(&mut self, kind: Kind, concern: Concern) -> u16 {
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.waiting.contains_key(&self.last) {
                self.waiting.insert(self.last, (kind, concern));
                return self.last;
            }
        }
    }

    /// An acknowledgement came. An error when it answers nothing that was asked; else the refusal that concerns the
    /// whole session, if it is one.
    pub(super) fn acknowledge(&mut self, id: u16, kind: Kind, outcome: Result<(), Code>) -> Result<Option<Code>, ()> {
        match self.waiting.remove(&id) {
            Some((asked, concern)) if asked == kind => Ok(match concern {
                Concern::Session => outcome.err(),
                Concern::Waiter(waiter) => {
                    waiter.tell(outcome);
                    None
                }
                Concern::Nobody => None,
            }),
            _ => Err(()),
        }
    }
}

/// Most messages in flight of one device.
const FLIGHT_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::mqtt::Waiter;

    #[test]
    fn identifiers_go_round_and_skip_what_is_in_use() {
        let mut flight = Flight::new(None);
        let first = flight.take(Kind::Publish, Concern::Nobody);
        for _ in 0..u16::MAX - 1 {
            let id = flight.take(Kind::Publish, Concern::Nobody);
            assert!(id != 0 && id != first);
            flight.acknowledge(id, Kind::Publish, Ok(())).unwrap();
        }
        assert_eq!(flight.take(Kind::Publish, Concern::Nobody), 2, "1 is still in use");
    }

    #[test]
    fn each_hears_of_its_own_and_nobody_of_a_stranger() {
        let mut flight = Flight::new(Some(1));
        let (waiter, mut answer) = oneshot::channel();
        let id = flight.take(
            Kind::Publish,
            Concern::Waiter(Waiter::new(|outcome| {
                let _ = waiter.send(outcome);
            })),
        );
        assert!(!flight.has_room());
        assert_eq!(flight.acknowledge(id, Kind::Publish, Err(Code::SessionTopicDenied)), Ok(None));
        assert_eq!(answer.try_recv(), Ok(Err(Code::SessionTopicDenied)));
        assert_eq!(flight.acknowledge(id, Kind::Publish, Ok(())), Err(()), "twice");
        let id = flight.take(Kind::Subscribe, Concern::Session);
        assert_eq!(flight.acknowledge(id, Kind::Publish, Ok(())), Err(()), "of another kind");
        let id = flight.take(Kind::Publish, Concern::Session);
        assert_eq!(flight.acknowledge(id, Kind::Publish, Err(Code::SessionBusy)), Ok(Some(Code::SessionBusy)));
    }
}
