//! What a core lets be known: events with stable names, the last refusal, the status.

use std::sync::Arc;

use muster_protocol::Code;
use muster_protocol::device::Event;
use muster_protocol::slot::store::Item;
use tracing::{debug, error, info, warn};

use super::life::Life;
use super::records::trust_in_force;
use super::status::{LastRefusal, Refuser, Status};

impl Life<'_> {
    pub(super) fn event(&mut self, event: Event) {
        self.changed = true;
        let device = self.agent.factory.device();
        match event {
            Event::Entered(state) => info!(event = "device.state", device = %device, state = state.name()),
            Event::Refused(code) => {
                warn!(event = "device.refused", device = %device, code = %code, text = code.text());
                self.refused(code, Refuser::Gateway);
            }
            Event::GatewayRefused(code) => {
                warn!(event = "gateway.refused", device = %device, code = %code, text = code.text());
                self.refused(code, Refuser::Device);
            }
            Event::TrialCounted(trials) => warn!(event = "trial.counted", device = %device, trials),
            Event::TrialGivenBack => info!(event = "trial.given_back", device = %device),
            Event::RolledBack => warn!(event = "trial.rolled_back", device = %device),
            Event::BundleInForce(number) => {
                info!(event = "bundle.in_force", device = %device, number);
                self.read_trust();
            }
            Event::BundleRefused(code) => warn!(event = "bundle.refused", device = %device, code = %code),
            Event::FloorRaised(floor) => debug!(event = "clock.floor_raised", device = %device, floor = floor.0),
            Event::KeyStoreFailed => error!(event = "device.key_store_failed", device = %device),
            Event::StoreFailed => error!(event = "device.record_store_failed", device = %device),
            other => info!(event = "device.other", device = %device, what = ?other),
        }
    }

    pub(super) fn refused(&mut self, code: Code, by: Refuser) {
        let now = self.now();
        let at = now.civil.unwrap_or(self.device.clock_floor());
        self.agent.last_refusal = Some(LastRefusal::new(code, by, at.0));
    }

    /// The bundle that the core has just stored is the one to connect by.
    pub(super) fn read_trust(&mut self) {
        let stored = self.agent.records.read(Item::Trust).ok().flatten();
        match trust_in_force(stored.as_deref(), &self.agent.factory) {
            Ok(trust) => self.trust = trust,
            Err(error) => error!(event = "trust.unreadable", device = %self.agent.factory.device(), error = %error),
        }
    }

    pub(super) fn tell(&mut self) {
        let now = (self.device.state(), self.device.session());
        if self.changed || self.told != Some(now) {
            let status = Status::of(&self.device, &self.trust, self.agent.last_refusal.clone());
            self.agent.status.send_replace(Arc::new(status));
            self.told = Some(now);
            self.changed = false;
        }
    }
}
