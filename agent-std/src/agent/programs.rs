//! What programs, people and the device's own reports want of a session.

use bytes::Bytes;
use muster_protocol::device::{Credential, Input};
use muster_protocol::topic;
use tokio::time::Instant;
use tracing::debug;

use super::life::Life;
use super::link::Link;
use super::request::{Answer, Refusal, Request};
use crate::mqtt::{Command, Concern, Quality, Waiter};
use crate::telemetry::Report;

impl Life<'_> {
    /// When a session under the certificate in use has been welcomed, programs get their filters back.
    pub(super) fn open_to_programs(&mut self) {
        let in_use = self.device.active_slot().map(Credential::Slot);
        let is_open = in_use.is_some() && self.device.session() == in_use;
        if is_open && !self.is_open_to_programs {
            if let Link::Open { session, .. } = &self.link {
                for filter in self.agent.local.filters() {
                    let _ = session.command(Command::Subscribe { filter, concern: Concern::Nobody });
                }
            }
            self.report_at = self.agent.setup.telemetry.map(|_| Instant::now());
        }
        self.is_open_to_programs = is_open;
    }

    pub(super) fn report(&mut self) {
        self.report_at = self.agent.setup.telemetry.map(|interval| Instant::now() + interval);
        let (Link::Open { session, .. }, true) = (&self.link, self.is_open_to_programs) else { return };
        let Some(report) = Report::read() else { return };
        let topic = topic::telemetry(self.device.identity().name()).as_str().to_owned();
        let payload = Bytes::from(report.to_json());
        let quality = Quality::AtLeastOnce;
        if session.command(Command::Publish { topic, payload, quality, concern: Concern::Nobody }).is_err() {
            debug!(event = "telemetry.skipped", device = %self.agent.factory.device());
        }
    }

    pub(super) fn asked(&mut self, request: Request) {
        match request {
            Request::Publish { topic, payload, quality, answer } => {
                let refused = match (self.agent.local.topic(&topic), &self.link) {
                    (Err(refusal), _) => refusal,
                    (Ok(_), Link::Open { session, .. }) if !session.has_room() => Refusal::busy(),
                    (Ok(topic), Link::Open { session, .. }) if self.is_open_to_programs => {
                        let concern = Concern::Waiter(waiter(answer));
                        let _ = session.command(Command::Publish { topic, payload, quality, concern });
                        return;
                    }
                    (Ok(_), _) => Refusal::offline(),
                };
                let _ = answer.send(Err(refused));
            }
            Request::Attach { deliveries, answer } => {
                let _ = answer.send(self.agent.local.attach(deliveries));
            }
            Request::Subscribe { subscriber, filter, answer } => {
                let local = &mut self.agent.local;
                let added =
                    local.filter(&filter).and_then(|filter| local.subscribe(subscriber, &filter).map(|_| filter));
                match (added, &self.link) {
                    // Also when somebody has the filter already: retained messages come once for each SUBSCRIBE.
                    (Ok(filter), Link::Open { session, .. }) if self.is_open_to_programs => {
                        let concern = Concern::Waiter(waiter(answer));
                        let _ = session.command(Command::Subscribe { filter, concern });
                    }
                    // The next session subscribes it.
                    (Ok(_), _) => drop(answer.send(Ok(()))),
                    (Err(refusal), _) => drop(answer.send(Err(refusal))),
                }
            }
            Request::Unsubscribe { subscriber, filter, answer } => {
                let outcome = self.agent.local.filter(&filter).map(|filter| {
                    if self.agent.local.unsubscribe(subscriber, &filter) {
                        self.unsubscribe([filter]);
                    }
                });
                let _ = answer.send(outcome);
            }
            Request::Detach { subscriber } => {
                let orphans = self.agent.local.detach(subscriber);
                self.unsubscribe(orphans);
            }
            Request::Rotate { answer } => {
                self.input(Input::Rotate);
                let _ = answer.send(Ok(()));
            }
            Request::Retire { answer } => {
                self.agent.retiring.push(answer);
                self.input(Input::Retire);
            }
            Request::Stop => {}
        }
    }

    pub(super) fn unsubscribe(&self, filters: impl IntoIterator<Item = String>) {
        if let (Link::Open { session, .. }, true) = (&self.link, self.is_open_to_programs) {
            for filter in filters {
                let _ = session.command(Command::Unsubscribe { filter });
            }
        }
    }
}

/// Passes the gateway's acknowledgement on to whoever asked.
fn waiter(answer: Answer) -> Waiter {
    Waiter::new(move |outcome| drop(answer.send(outcome.map_err(Refusal::from))))
}
