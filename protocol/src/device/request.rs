//! A new key, its CSR, and the certificate that comes back: the same for enrolment and for rotation.
//!
//! The key is stored before the CSR leaves, so that after a power cut the same key is asked for again and the gateway
//! answers with the same certificate.

use crate::code::Code;
use crate::message::Issued;
use crate::pki::chain::verify_issued;
use crate::pki::key::{PublicKey, Signature};
use crate::slot::store::Item;
use crate::slot::{Phase, SlotId, SlotRecord};
use crate::time::Now;

use super::state::{Confirming, Enrolling, Link, Probe, Rekeying, Request, State, Step};
use super::{Action, Device, Event};

impl Device {
    /// The slot for a credential when there is none: the one that was written longer ago.
    pub(super) fn slot_for_first(&self) -> SlotId {
        let keyed = |slot: &SlotId| self.slot(*slot).is_some_and(|record| record.phase == Phase::Keyed);
        SlotId::BOTH.into_iter().find(keyed).unwrap_or_else(|| {
            if self.generation(SlotId::B) < self.generation(SlotId::A) { SlotId::B } else { SlotId::A }
        })
    }

    pub(super) fn resume_rekeying(&self, active: SlotId, slot: SlotId) -> State {
        State::Rekeying(Rekeying { active, request: Request { slot, step: Step::Waiting } })
    }

    pub(super) fn resume_enrolling(&self, slot: SlotId) -> State {
        State::Enrolling(Enrolling { lapsed: None, request: Request { slot, step: Step::Waiting } })
    }

    /// Starts with the key that the slot has, or with a new one.
    pub(super) fn begin_request(&mut self, slot: SlotId) -> Request {
        match self.slot(slot) {
            Some(SlotRecord { phase: Phase::Keyed, .. }) => self.ask_for_signature(slot),
            _ => {
                self.push(Action::GenerateKey(slot));
                Request { slot, step: Step::MakingKey }
            }
        }
    }

    /// Goes on with a request on a session that can carry it.
    pub(super) fn drive_request(&mut self, now: Now) {
        let Some(request) = self.state.request_mut().copied() else {
            return;
        };
        match request.step {
            Step::Waiting => {
                let next = self.begin_request(request.slot);
                self.set_request(next);
            }
            Step::Again(at) if now.uptime >= at => {
                let next = self.begin_request(request.slot);
                self.set_request(next);
            }
            Step::MakingKey | Step::Signing | Step::Asked | Step::Again(_) => {}
        }
    }

    pub(super) fn key_generated(&mut self, slot: SlotId, public_key: PublicKey) {
        let Some(request) = self.state.request_mut().copied() else {
            return;
        };
        if request.slot != slot || request.step != Step::MakingKey {
            return;
        }
        let generation =
            SlotId::BOTH.into_iter().map(|slot| self.generation(slot)).max().unwrap_or(0).saturating_add(1);
        self.slots[slot.index()] = Some(SlotRecord::keyed(generation, public_key));
        self.push(Action::Persist(Item::Slot(slot)));
        let next = self.ask_for_signature(slot);
        self.set_request(next);
    }

    fn ask_for_signature(&mut self, slot: SlotId) -> Request {
        self.signature = None;
        self.push(Action::Sign(slot));
        Request { slot, step: Step::Signing }
    }

    pub(super) fn key_failed(&mut self, now: Now) {
        self.push(Action::Event(Event::KeyStoreFailed));
        self.try_again_later(now);
    }

    pub(super) fn signed(&mut self, now: Now, signature: &Signature) {
        let Some(request) = self.state.request_mut().copied() else {
            return;
        };
        if request.step != Step::Signing {
            return;
        }
        self.signature = Some(*signature);
        let step = if matches!(self.link, Link::Open { welcomed: true, .. }) {
            self.push(Action::Request(request.slot));
            self.expect_answer(now);
            Step::Asked
        } else {
            Step::Waiting
        };
        self.set_request(Request { step, ..request });
    }

    pub(super) fn issued(&mut self, now: Now, issued: &Issued<'_>) {
        let (active, request) = match self.state {
            State::Enrolling(Enrolling { lapsed, request }) => (lapsed, request),
            State::Rekeying(Rekeying { active, request }) => (Some(active), request),
            _ => return,
        };
        if request.step != Step::Asked {
            return;
        }
        let candidate = request.slot;
        match self.accept_certificate(candidate, issued.certificate) {
            Ok(()) => {
                self.clock.tell(issued.time, now);
                self.raise_floor(issued.time, now);
                self.set_phase(candidate, Phase::Issued);
                self.state = State::Confirming(Confirming { candidate, active, probe: Probe::Candidate });
                self.hang_up(now);
            }
            Err(code) => {
                self.push(Action::Event(Event::GatewayRefused(code)));
                self.try_again_later(now);
            }
        }
    }

    /// Checks that the certificate is for our name and our key before it goes into the slot.
    fn accept_certificate(&mut self, slot: SlotId, certificate: &[u8]) -> Result<(), Code> {
        let record = self.slots[slot.index()].as_mut().ok_or(Code::MessageUnexpected)?;
        verify_issued(certificate, &self.identity, &record.public_key)?;
        record.certificate = heapless::Vec::from_slice(certificate).map_err(|_| Code::MessageOversized)?;
        Ok(())
    }

    fn try_again_later(&mut self, now: Now) {
        if let Link::Open { answer_by, .. } = &mut self.link {
            *answer_by = None;
        }
        let wait = self.backoff.next(self.settings.backoff_millis_min, self.settings.backoff_millis_max);
        if let Some(request) = self.state.request_mut() {
            request.step = Step::Again(now.uptime.plus(wait));
        }
    }

    fn set_request(&mut self, next: Request) {
        if let Some(request) = self.state.request_mut() {
            *request = next;
        }
    }
}
