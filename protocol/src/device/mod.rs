//! The device's life as a state machine without a socket, a file or a clock.
//!
//! One input ([`Device::handle_input`]), then drain the outputs ([`Device::poll_output`] to `None`), then wait for the
//! next input or for [`Device::poll_timeout`]. [`Output::Persist`] is a barrier: nothing behind it comes out until
//! [`Input::Persisted`]. After a power cut, [`Device::boot`] from the stored records is the way back, and there is no
//! other.
//!
//! | file | idea |
//! |---|---|
//! | `state` | the states and their diagram |
//! | `input`, `output` | what goes in and comes out |
//! | `link` | connecting, failing, waiting |
//! | `session` | control messages of an open connection, and what is due on it |
//! | `request` | a key, a CSR, a certificate: for enrolment and rotation alike |
//! | `confirm` | the trial of a candidate, confirmation, roll back |
//! | `bundle` | trust bundles |
//! | `life` | clock floor and retirement |
//! | `schedule` | back-off and renewal times |

use crate::device_id::Identity;
use crate::limits::{LABEL_BYTES_MAX, MESSAGE_BYTES_MAX, SLOT_RECORD_BYTES_MAX, TRUST_BUNDLE_BYTES_MAX};
use crate::message;
use crate::pki::certificate::Certificate;
use crate::pki::csr::CsrDraft;
use crate::pki::key::{PublicKey, Signature};
use crate::pki::serial::Serial;
use crate::slot::store::Item;
use crate::slot::{Phase, SlotId, SlotRecord};
use crate::time::{Millis, Now, UnixTime};
use crate::trust::{PINS_BYTES, Pins, Policy};

mod bundle;
mod confirm;
mod input;
mod life;
mod link;
mod output;
mod request;
mod schedule;
mod session;
mod state;

pub use input::{Failure, Input};
pub use life::{LIFE_RECORD_BYTES, LifeRecord};
pub use output::{Credential, Event, Output};
pub use schedule::Settings;
pub use state::StateName;

use life::Clock;
use schedule::Backoff;
use state::{Confirming, Enrolling, Lapsed, Link, Manufactured, Operational, Probe, Rekeying, State};

/// Longest bytes of one [`Output::Persist`] or [`Output::Send`].
pub const OUTPUT_BYTES_MAX: usize = {
    let trust = PINS_BYTES + TRUST_BUNDLE_BYTES_MAX;
    let largest = if trust > MESSAGE_BYTES_MAX { trust } else { MESSAGE_BYTES_MAX };
    if largest > SLOT_RECORD_BYTES_MAX { largest } else { SLOT_RECORD_BYTES_MAX }
};

/// What a device is booted from: the stored records, and what the factory wrote.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Who the device is: from its IDevID.
    pub identity: Identity,
    /// The slots as stored; `None` for an empty or torn one.
    pub slots: [Option<SlotRecord>; 2],
    /// The public keys that the key store really holds, by slot.
    pub keys: [Option<PublicKey>; 2],
    /// Clock floor and retirement.
    pub life: LifeRecord,
    /// The latest time that is sure to have passed: when this software was built.
    pub built_at: UnixTime,
    /// The pins in force.
    pub pins: Pins,
    /// Number of the trust bundle in force.
    pub bundle: u32,
    /// The policy of the trust bundle in force.
    pub policy: Policy,
    /// Patience.
    pub settings: Settings,
    /// For jitter only; different on every device.
    pub seed: u64,
    /// Version of the agent, for people.
    pub agent: heapless::String<LABEL_BYTES_MAX>,
}

/// What a core has no use for until its next input: for whoever dials on its behalf.
#[derive(Debug)]
pub struct Lent<'d> {
    /// The credential's certificate, DER, if it is one of a slot.
    pub certificate: Option<&'d [u8]>,
    /// [`OUTPUT_BYTES_MAX`] of memory.
    pub room: &'d mut [u8],
}

/// One device.
#[derive(Debug)]
pub struct Device {
    identity: Identity,
    agent: heapless::String<LABEL_BYTES_MAX>,
    settings: Settings,
    policy: Policy,
    pins: Pins,
    bundle: u32,
    seed: u64,
    slots: [Option<SlotRecord>; 2],
    retired: bool,
    clock: Clock,
    state: State,
    link: Link,
    backoff: Backoff,
    /// Waits between rotations of which each was rolled back; only a confirmation ends them.
    rollbacks: Backoff,
    /// The end of the gateway's certificate: what it says about time is believed up to there.
    gateway_not_after: UnixTime,
    /// A rotation that somebody asked for and that waits for a session.
    rotate_wanted: bool,
    /// No rotation before this: the last one was refused.
    rotate_not_before: Millis,
    /// The retirement that waits for the gateway's answer.
    retiring: bool,
    /// The signature under the request for a certificate, from its making until the request is sent.
    signature: Option<Signature>,
    queue: heapless::Deque<Action, QUEUE_MAX>,
    /// A Persist is out and not answered.
    barrier: bool,
    /// The records are no longer what this machine believes: it hears and says nothing any more.
    stopped: bool,
    /// The bytes of the output that is out, or a new trust bundle that is the next to come out.
    buffer: heapless::Vec<u8, OUTPUT_BYTES_MAX>,
    last_seen: Now,
}

const QUEUE_MAX: usize = 24;

/// What waits to come out. Bytes are made when it does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Persist(Item),
    GenerateKey(SlotId),
    Sign(SlotId),
    WipeKey(SlotId),
    Connect(Credential),
    Disconnect,
    Hello,
    Request(SlotId),
    Confirm(SlotId),
    SendRetire,
    FetchBundle,
    Restart,
    Event(Event),
}

impl Device {
    /// Starts from what is stored. The only way to start, and the only recovery.
    #[must_use]
    pub fn boot(boot: Boot, now: Now) -> Self {
        let keys = boot.keys;
        let mut device = Self::asleep(boot, now);
        device.wake(&keys, now);
        device
    }

    /// The same, in a place of its own: a device is large for the stack of a microcontroller. What was there before goes.
    pub fn boot_in(place: &mut heapless::Vec<Self, 1>, boot: Boot, now: Now) -> Option<&mut Self> {
        let keys = boot.keys;
        place.clear();
        // There is room now.
        let _ = place.push(Self::asleep(boot, now));
        let device = place.first_mut()?;
        device.wake(&keys, now);
        Some(device)
    }

    fn asleep(boot: Boot, now: Now) -> Self {
        let Boot { identity, slots, keys: _, life, built_at, pins, bundle, policy, settings, seed, agent } = boot;
        Self {
            identity,
            agent,
            settings,
            policy,
            pins,
            bundle,
            seed,
            slots,
            retired: life.retired,
            clock: Clock::new(life.floor.max(built_at), now),
            state: State::Manufactured(Manufactured),
            link: Link::Down { retry_at: now.uptime },
            backoff: Backoff::new(seed),
            rollbacks: Backoff::new(seed.rotate_left(32)),
            gateway_not_after: UnixTime(0),
            rotate_wanted: false,
            rotate_not_before: Millis(0),
            retiring: false,
            signature: None,
            queue: heapless::Deque::new(),
            barrier: false,
            stopped: false,
            buffer: heapless::Vec::new(),
            last_seen: now,
        }
    }

    fn wake(&mut self, keys: &[Option<PublicKey>; 2], now: Now) {
        self.choose_state(keys, now);
        self.push(Action::Event(Event::Entered(self.state.name())));
        self.drive(now);
    }

    /// Takes one thing that happened.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        if self.stopped {
            return;
        }
        self.last_seen = now;
        let before = self.state.name();
        match input {
            Input::Persisted => self.barrier = false,
            Input::PersistFailed => self.store_failed(),
            Input::KeyGenerated { slot, public_key } => self.key_generated(slot, public_key),
            Input::KeyFailed => self.key_failed(now),
            Input::Signed(signature) => self.signed(now, &signature),
            Input::Connected(gateway) => self.connected(now, &gateway),
            Input::ConnectFailed(failure) => self.connect_failed(now, failure),
            Input::Disconnected(failure) => self.disconnected(now, failure),
            Input::Message(bytes) => self.message(now, bytes),
            Input::Bundle(signed) => self.offer_bundle(now, signed),
            Input::Rotate => self.want_rotation(),
            Input::Retire => self.retire(now),
            Input::Timeout => {}
        }
        if self.stopped {
            return;
        }
        self.drive(now);
        if self.state.name() != before {
            self.push(Action::Event(Event::Entered(self.state.name())));
        }
    }

    /// The next thing to do, or `None`: then wait for an input or for [`Device::poll_timeout`].
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        let action = self.next_action()?;
        Some(match action {
            Action::Persist(item) => Output::Persist { item, bytes: &self.buffer },
            Action::GenerateKey(slot) => Output::GenerateKey(slot),
            Action::Sign(slot) => Output::Sign { slot, message: &self.buffer },
            Action::WipeKey(slot) => Output::WipeKey(slot),
            Action::Connect(credential) => Output::Connect(credential),
            Action::Disconnect => Output::Disconnect,
            Action::FetchBundle => Output::FetchBundle,
            Action::Restart => Output::Restart,
            Action::Event(event) => Output::Event(event),
            Action::Hello | Action::Request(_) | Action::Confirm(_) | Action::SendRetire => Output::Send(&self.buffer),
        })
    }

    /// Takes the next action that still has a meaning, with its bytes in the buffer.
    fn next_action(&mut self) -> Option<Action> {
        while !self.barrier {
            let action = self.queue.pop_front()?;
            let ready = match action {
                Action::Persist(item) => {
                    self.fill_record(item);
                    self.barrier = true;
                    true
                }
                Action::Sign(slot) => self.fill_to_be_signed(slot),
                Action::Hello | Action::Request(_) | Action::Confirm(_) | Action::SendRetire => {
                    self.fill_message(action)
                }
                _ => true,
            };
            if ready {
                return Some(action);
            }
        }
        None
    }

    /// When to give [`Input::Timeout`] if nothing else happens before; `None` when there is nothing to wait for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        if self.barrier || self.stopped || matches!(self.state, State::Retired) {
            return None;
        }
        let link = match self.link {
            Link::Down { retry_at } => Some(retry_at),
            Link::Connecting { give_up_at, .. } => Some(give_up_at),
            Link::Open { answer_by, .. } => answer_by,
        };
        [link, self.state_timeout()].into_iter().flatten().min()
    }

    /// The name of the state.
    #[must_use]
    pub const fn state(&self) -> StateName {
        self.state.name()
    }

    /// Who the device is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificate in a slot, DER.
    #[must_use]
    pub fn certificate(&self, slot: SlotId) -> Option<&[u8]> {
        self.slot(slot).map(|record| record.certificate.as_slice()).filter(|certificate| !certificate.is_empty())
    }

    /// Lends the memory for outputs while there are none; `None` as long as one waits.
    pub fn lend(&mut self, credential: Credential) -> Option<Lent<'_>> {
        if self.barrier || !self.queue.is_empty() {
            return None;
        }
        let record = match credential {
            Credential::Slot(slot) => self.slots[slot.index()].as_ref(),
            Credential::Idevid => None,
        };
        let certificate = record.map(|record| record.certificate.as_slice()).filter(|der| !der.is_empty());
        // As long as it may become.
        let _ = self.buffer.resize_default(OUTPUT_BYTES_MAX);
        Some(Lent { certificate, room: &mut self.buffer })
    }

    /// The record of a slot.
    #[must_use]
    pub fn slot(&self, slot: SlotId) -> Option<&SlotRecord> {
        self.slots[slot.index()].as_ref()
    }

    /// The slot with the confirmed credential in use.
    #[must_use]
    pub const fn active_slot(&self) -> Option<SlotId> {
        self.state.active()
    }

    /// The credential of the open connection, once the gateway has welcomed it.
    #[must_use]
    pub const fn session(&self) -> Option<Credential> {
        match self.link {
            Link::Open { credential, welcomed: true, .. } => Some(credential),
            _ => None,
        }
    }

    /// Number of the trust bundle in force.
    #[must_use]
    pub const fn bundle(&self) -> u32 {
        self.bundle
    }

    /// No time before this is believed.
    #[must_use]
    pub const fn clock_floor(&self) -> UnixTime {
        self.clock.floor()
    }

    /// Picks the state that the stored records mean.
    fn choose_state(&mut self, keys: &[Option<PublicKey>; 2], now: Now) {
        if self.retired {
            self.state = State::Retired;
            self.wipe_credentials();
            return;
        }
        for slot in SlotId::BOTH {
            let spent = self.slot(slot).is_some_and(|record| matches!(record.phase, Phase::Superseded | Phase::Wiped));
            if spent && keys[slot.index()].is_some() {
                self.push(Action::WipeKey(slot));
            }
            // A record without its key is no credential; its generation still counts.
            let orphan = self.slot(slot).is_some_and(|record| keys[slot.index()] != Some(record.public_key));
            if orphan && !spent {
                self.give_up(slot);
            }
        }
        let best = |wanted: fn(Phase) -> bool| {
            SlotId::BOTH
                .into_iter()
                .filter(|slot| self.slots[slot.index()].as_ref().is_some_and(|record| wanted(record.phase)))
                .max_by_key(|slot| self.generation(*slot))
        };
        let confirmed = best(|phase| phase == Phase::Confirmed);
        let candidate = best(|phase| matches!(phase, Phase::Issued | Phase::Trial(_)));
        let keyed = best(|phase| phase == Phase::Keyed);
        let newer = |slot: &SlotId| confirmed.is_none_or(|active| self.generation(*slot) > self.generation(active));
        let (candidate, keyed) = (candidate.filter(newer), keyed.filter(newer));
        self.state = match (confirmed, candidate, keyed) {
            (active, Some(candidate), _) => {
                State::Confirming(Confirming { candidate, active, probe: Probe::Candidate })
            }
            (Some(active), None, Some(slot)) => self.resume_rekeying(active, slot),
            (None, None, Some(slot)) => self.resume_enrolling(slot),
            (Some(active), None, None) => State::Operational(Operational { active }),
            (None, None, None) => State::Manufactured(Manufactured),
        };
        if let Some(active) = confirmed {
            // Both confirmed: the power went between confirming the new one and superseding the old one.
            let other = active.other();
            if self.slot(other).is_some_and(|record| record.phase == Phase::Confirmed) {
                self.supersede(other);
            }
        }
        self.lapse_when_expired(now);
    }

    /// Leaves a credential that has expired by the device's own clock.
    fn lapse_when_expired(&mut self, now: Now) {
        let known = self.clock.now(now);
        let expired = |device: &Self, slot| device.validity(slot).is_none_or(|(_, not_after)| known > not_after);
        match self.state {
            State::Operational(Operational { active }) if expired(self, active) => {
                self.state = State::Lapsed(Lapsed { active });
                self.hang_up(now);
            }
            State::Rekeying(Rekeying { active, request }) if expired(self, active) => {
                self.state = State::Enrolling(Enrolling { lapsed: Some(active), request });
                self.hang_up(now);
            }
            State::Confirming(Confirming { candidate, active, .. }) if expired(self, candidate) => {
                self.give_up(candidate);
                self.state =
                    active.map_or(State::Manufactured(Manufactured), |active| State::Lapsed(Lapsed { active }));
                self.hang_up(now);
            }
            _ => {}
        }
    }

    /// Validity of the certificate in a slot; the record was verified before it was stored.
    fn validity(&self, slot: SlotId) -> Option<(UnixTime, UnixTime)> {
        let certificate = Certificate::parse(self.certificate(slot)?).ok()?;
        Some((certificate.not_before(), certificate.not_after()))
    }

    fn serial(&self, slot: SlotId) -> Option<Serial> {
        Certificate::parse(self.certificate(slot)?).ok().map(|certificate| certificate.serial().clone())
    }

    fn generation(&self, slot: SlotId) -> u32 {
        self.slot(slot).map_or(0, |record| record.generation)
    }

    /// Sets a slot's phase and stores it.
    fn set_phase(&mut self, slot: SlotId, phase: Phase) {
        if let Some(record) = &mut self.slots[slot.index()] {
            record.phase = phase;
            if phase == Phase::Wiped {
                record.certificate.clear();
            }
            self.push(Action::Persist(Item::Slot(slot)));
        }
    }

    /// A newer credential was confirmed: this one and its key go.
    fn supersede(&mut self, slot: SlotId) {
        self.set_phase(slot, Phase::Superseded);
        self.push(Action::WipeKey(slot));
    }

    /// This credential, or the request for it, is given up: it and its key go.
    fn give_up(&mut self, slot: SlotId) {
        self.set_phase(slot, Phase::Wiped);
        self.push(Action::WipeKey(slot));
    }

    fn wipe_credentials(&mut self) {
        for slot in SlotId::BOTH {
            if self.slot(slot).is_some_and(|record| record.phase != Phase::Wiped) {
                self.set_phase(slot, Phase::Wiped);
            }
            self.push(Action::WipeKey(slot));
        }
    }

    fn store_failed(&mut self) {
        self.stop();
        self.push(Action::Event(Event::StoreFailed));
        self.push(Action::Disconnect);
        self.push(Action::Restart);
    }

    fn stop(&mut self) {
        self.queue.clear();
        self.barrier = false;
        self.stopped = true;
    }

    fn push(&mut self, action: Action) {
        if self.queue.push_back(action).is_err() {
            // Longer than any path through the machine; the way back from a broken belief is the same as from a cut.
            self.stop();
            let _ = self.queue.push_back(Action::Disconnect);
            let _ = self.queue.push_back(Action::Restart);
        }
    }

    fn fill_record(&mut self, item: Item) {
        match item {
            Item::Slot(slot) => {
                self.buffer.clear();
                if let Some(record) = &self.slots[slot.index()] {
                    record.encode_into(&mut self.buffer);
                }
            }
            // It has been there since it was offered.
            Item::Trust => {}
            Item::Life => {
                self.clock.stored();
                let record = LifeRecord { floor: self.clock.floor(), retired: self.retired };
                self.buffer.clear();
                // OUTPUT_BYTES_MAX is longer.
                let _ = self.buffer.extend_from_slice(&record.encode());
            }
        }
    }

    /// The request for a certificate for the slot's key. The same bytes whenever it is made.
    fn csr(&self, slot: SlotId) -> Option<CsrDraft> {
        self.slot(slot).map(|record| CsrDraft::new(&self.identity, &record.public_key))
    }

    /// Writes what has to be signed into the buffer; false when there is nothing to sign any more.
    fn fill_to_be_signed(&mut self, slot: SlotId) -> bool {
        let Some(draft) = self.csr(slot) else { return false };
        self.buffer.clear();
        self.buffer.extend_from_slice(draft.to_be_signed()).is_ok()
    }

    /// Writes the message into the buffer; false when there is nothing to say any more.
    fn fill_message(&mut self, action: Action) -> bool {
        let encoded = match action {
            Action::Hello => {
                let hello = self.hello();
                message::encode_into(&message::Up::Hello(hello), &mut self.buffer)
            }
            Action::Request(slot) => match (self.csr(slot), self.signature.take()) {
                (Some(draft), Some(signature)) => {
                    message::encode_into(&message::Up::Request { csr: &draft.finish(&signature) }, &mut self.buffer)
                }
                _ => return false,
            },
            Action::Confirm(slot) => match self.serial(slot) {
                Some(serial) => message::encode_into(&message::Up::Confirm { serial }, &mut self.buffer),
                None => return false,
            },
            Action::SendRetire => message::encode_into(&message::Up::Retire, &mut self.buffer),
            _ => return false,
        };
        encoded.is_ok()
    }

    fn hello(&self) -> message::Hello {
        let candidate = match self.state {
            State::Confirming(Confirming { candidate, .. }) => self.serial(candidate),
            _ => None,
        };
        let active = self.state.active().and_then(|slot| self.serial(slot));
        message::Hello { active, candidate, bundle: self.bundle, agent: self.agent.clone() }
    }

    /// Gives the identity up: told to the gateway when it is connected, done at once when it is not.
    fn retire(&mut self, now: Now) {
        match self.link {
            Link::Open { credential: Credential::Slot(_), welcomed: true, .. } if !self.retiring => {
                self.retiring = true;
                self.push(Action::SendRetire);
                self.expect_answer(now);
            }
            _ => self.retired_now(),
        }
    }

    fn retired_now(&mut self) {
        self.retiring = false;
        self.retired = true;
        self.state = State::Retired;
        self.queue.clear();
        self.push(Action::Persist(Item::Life));
        self.wipe_credentials();
        self.push(Action::Disconnect);
        self.link = Link::Down { retry_at: Millis(0) };
    }
}
