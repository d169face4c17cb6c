//! Trust bundles: taken when they are newer and signed by a pinned key, from whatever source.

use crate::code::Code;
use crate::slot::store::Item;
use crate::time::Now;
use crate::trust::VerifiedBundle;

use super::state::Link;
use super::{Action, Device, Event};

impl Device {
    pub(super) fn offer_bundle(&mut self, now: Now, signed: &[u8]) {
        if self.barrier || !self.queue.is_empty() {
            // The buffer is taken: by outputs that were not drained. The gateway offers the bundle again.
            return;
        }
        match self.take_bundle(signed) {
            Ok(()) => {
                self.push(Action::Persist(Item::Trust));
                self.push(Action::Event(Event::BundleInForce(self.bundle)));
                if let Link::Down { .. } = self.link {
                    // It was fetched because nothing could be trusted; now something can.
                    self.link = Link::Down { retry_at: now.uptime };
                }
            }
            Err(code) => self.push(Action::Event(Event::BundleRefused(code))),
        }
    }

    fn take_bundle(&mut self, signed: &[u8]) -> Result<(), Code> {
        let verified = VerifiedBundle::verify(signed, &self.pins)?;
        verified.supersedes(self.identity.fleet(), self.bundle)?;
        let pins = *verified.pins();
        let (number, policy) = (verified.bundle().number, verified.bundle().policy);
        self.buffer.clear();
        // The pins that this bundle is verified with go in front of it; those that it brings are read out of it.
        for part in [&self.pins.root.0[..], &self.pins.backup.0, signed] {
            self.buffer.extend_from_slice(part).map_err(|_| Code::MessageOversized)?;
        }
        self.pins = pins;
        self.bundle = number;
        self.policy = policy;
        Ok(())
    }
}
