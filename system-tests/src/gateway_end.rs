//! The gateway's end of the world: arrivals, messages, operators; a registrar booted from its row for each of them, and
//! a crash possible after each of its outputs.

use muster_protocol::UnixTime;
use muster_protocol::device::Failure;
use muster_protocol::message::{self, Down as DownMessage, Issued};
use muster_protocol::pki::{
    ClientAnchors, KeyFingerprint, PublicKey, Role, Serial, TrustAnchor, VerifiedClient, verify_client,
};
use muster_protocol::registrar::{Act, Input, Output, Reason, Registrar};
use muster_protocol::topic::Channel;

use crate::board::true_time;
use crate::event::{Down, Epoch, Event, Up};
use crate::gateway::Session;
use crate::invariant;
use crate::test_pki::{memory, serial_of};
use crate::world::World;

/// For whom the registrar works.
#[derive(Clone, Copy)]
enum Asker<'a> {
    /// A peer that wants a session on this connection; one whose connection is gone already gets none.
    Arrival(Epoch, &'a VerifiedClient),
    Session(Epoch),
    Operator,
}

/// What the registrar wants done, taken out of its borrow. A change is stored while it is borrowed.
enum Effect {
    Admit,
    Refuse(muster_protocol::Code),
    LookUpKey(KeyFingerprint),
    Issue(PublicKey),
    Stored(Result<(), String>),
    Unstored,
    Send(Vec<u8>),
    SendCertificate(Serial),
    SendBundle,
    Notify(Vec<u8>),
    Cut(muster_protocol::Code),
    Event(muster_protocol::registrar::Event),
    Done(Result<(), muster_protocol::Code>),
}

const DOWN_MILLIS_MAX: u64 = 120_000;
const OUTPUTS_MAX: u32 = 32;
/// A certificate is valid from a little before it is made: clocks are not all the same.
const BACKDATE_SECS: u64 = 300;

impl World {
    /// A connection attempt reaches the gateway.
    pub(crate) fn arrival(&mut self, device: usize, epoch: Epoch, certificate: &[u8]) {
        let alive = self.boards[device].is_on(epoch) && self.boards[device].line.is_whole();
        if !self.gateway.is_up() {
            if alive {
                self.break_line(device);
            }
            return;
        }
        if !alive && self.random.happens(500) {
            return;
        }
        let verified_gateway = if alive {
            match self.verify_gateway(device) {
                Ok(gateway) => Some(gateway),
                Err(failure) => return self.deliver_down(device, epoch, Down::Lost(failure)),
            }
        } else {
            None
        };
        let client = match self.verify_device(device, certificate) {
            Ok(client) => client,
            Err(failure) => return self.send_end(device, epoch, failure),
        };
        self.registrar_works(device, Asker::Arrival(epoch, &client), |client, status| Input::Arrived {
            client,
            status,
        });
        let admitted = self.gateway.sessions.get(&device).is_some_and(|session| session.epoch == epoch);
        if let Some(gateway) = verified_gateway
            && admitted
        {
            self.deliver_down(device, epoch, Down::Connected(Box::new(gateway)));
            let millis = client.not_after().secs_since(true_time(self.now)).saturating_add(1).saturating_mul(1000);
            self.queue.push(self.now.plus(millis), Event::SessionEnds { device, epoch });
        }
    }

    /// The gateway's half of a handshake.
    fn verify_device(&self, device: usize, certificate: &[u8]) -> Result<VerifiedClient, Failure> {
        if !self.holds_key_of(device, certificate) {
            return Err(Failure::Unreachable);
        }
        let anchor = |ca: &'static crate::test_pki::TestCa| TrustAnchor::from_der(ca.certificate());
        let (Ok(factory), Ok(device_ca)) = (anchor(&self.pki.factory), anchor(&self.pki.device_ca)) else {
            return Err(Failure::Unreachable);
        };
        let device_cas = [device_ca];
        let device_cas = if self.gateway.trusts_device_ca { &device_cas[..] } else { &[] };
        let anchors = ClientAnchors { factory: &[factory], device: device_cas, operator: &[] };
        verify_client(&[certificate], &anchors, &self.pki.fleet, true_time(self.now), &[&*memory::GATEWAY])
            .map_err(Failure::Refused)
    }

    /// Something from a device reaches the gateway.
    pub(crate) fn up(&mut self, device: usize, epoch: Epoch, what: Up) {
        let Some(session) = self.gateway.sessions.get(&device).filter(|session| session.epoch == epoch) else {
            return;
        };
        let client = session.client.clone();
        match what {
            Up::Closed => drop(self.gateway.sessions.remove(&device)),
            Up::Message(bytes) => {
                invariant::no_private_key_in(self, "a message to the gateway", &bytes);
                let channel = if client.role() == Role::Idevid { Channel::Enrol } else { Channel::Control };
                self.registrar_hears(device, epoch, &client, channel, &bytes);
            }
        }
    }

    /// The certificate of a session has ended.
    pub(crate) fn session_ends(&mut self, device: usize, epoch: Epoch) {
        if self.gateway.sessions.get(&device).is_some_and(|session| session.epoch == epoch) {
            self.gateway.sessions.remove(&device);
            self.send_end(device, epoch, Failure::Refused(muster_protocol::Code::CertificateExpired));
        }
    }

    /// The gateway crashes.
    pub(crate) fn gateway_crash(&mut self) {
        if !self.gateway.is_up() {
            return;
        }
        self.history.note(self.now, "gateway", format_args!("crashes"));
        let devices: Vec<_> = self.gateway.sessions.iter().map(|(device, session)| (*device, session.epoch)).collect();
        self.gateway.stop();
        for (device, epoch) in devices {
            if self.boards[device].is_on(epoch) {
                self.break_line(device);
            }
        }
        let wait = self.random.between(200, DOWN_MILLIS_MAX);
        self.queue.push(self.now.plus(wait), Event::GatewayUp);
    }

    /// The gateway runs again.
    pub(crate) fn gateway_up(&mut self) {
        if !self.gateway.is_up() {
            self.history.note(self.now, "gateway", format_args!("runs"));
            self.gateway.start();
        }
    }

    /// Somebody spoils the gateway's trust anchors, and repairs them later.
    pub(crate) fn distrust(&mut self) {
        if self.faults.distrust_every_millis == 0 {
            return;
        }
        self.history.note(self.now, "gateway", format_args!("does not trust its device CA"));
        self.gateway.trusts_device_ca = false;
        let wait = self.random.between(1_000, self.faults.distrust_millis_max.max(1_000));
        self.queue.push(self.now.plus(wait), Event::TrustAgain);
        let next = self.random.between(1, self.faults.distrust_every_millis * 2);
        self.queue.push(self.now.plus(wait + next), Event::Distrust);
    }

    /// The next step of a change of gateway CAs; connected devices hear of a new bundle.
    pub(crate) fn rollover(&mut self) {
        let (step, new_bundle) = self.gateway.roll();
        self.history.note(self.now, "operator", format_args!("{step}"));
        if !new_bundle || !self.gateway.is_up() {
            return;
        }
        let bundle = self.gateway.bundle(self.pki);
        let sessions: Vec<_> = self.gateway.sessions.iter().map(|(device, session)| (*device, session.epoch)).collect();
        for (device, epoch) in sessions {
            self.send_bundle(device, epoch, &bundle);
        }
    }

    /// An operator does something to some device.
    pub(crate) fn operator_acts(&mut self) {
        if !self.gateway.is_up() {
            return;
        }
        let device = self.random.below(self.boards.len() as u64) as usize;
        let act = match self.random.below(100) {
            0..=44 => Act::Rotate,
            45..=59 => Act::Suspend((!self.random.happens(500)).then_some(Reason::PrivilegeWithdrawn)),
            60..=84 => Act::Resume,
            85..=98 => Act::Revoke(*self.random.pick(&Reason::ALL)),
            _ => Act::Retire,
        };
        self.operate(device, act);
    }

    /// An operator does this.
    pub fn operate(&mut self, device: usize, act: Act) {
        self.history.note(self.now, "operator", format_args!("{act:?} {}", self.pki.devices[device].identity.name()));
        self.run_registrar(device, Asker::Operator, Input::Operator(act));
    }

    fn registrar_works(
        &mut self,
        device: usize,
        asker: Asker<'_>,
        input: impl for<'c> FnOnce(&'c VerifiedClient, muster_protocol::registrar::CertificateStatus) -> Input<'c>,
    ) {
        if let Asker::Arrival(_, client) = asker {
            let status = self.gateway.registry.status(client.serial());
            self.run_registrar(device, asker, input(client, status));
        }
    }

    fn registrar_hears(
        &mut self,
        device: usize,
        epoch: Epoch,
        client: &VerifiedClient,
        channel: Channel,
        bytes: &[u8],
    ) {
        self.run_registrar(device, Asker::Session(epoch), Input::Message { client, channel, bytes });
    }

    /// Boots a registrar from the device's row and runs it to its end, or to a crash.
    fn run_registrar(&mut self, device: usize, asker: Asker<'_>, input: Input<'_>) {
        let now = true_time(self.now);
        let row = self.gateway.registry.row(device).clone();
        let Ok(mut registrar) = Registrar::boot(row, self.gateway.context()) else {
            return self.violated("every_row_boots", format!("the row of dev-{device} does not boot"));
        };
        registrar.handle_input(now, input);
        for _ in 0..OUTPUTS_MAX {
            let Some(output) = registrar.poll_output() else {
                return;
            };
            let effect = self.take(device, output);
            self.perform(device, asker, effect, &mut registrar, now);
            if self.random.happens(self.faults.gateway_crash_per_mille) {
                self.gateway_crash();
                return;
            }
        }
        self.violated("outputs_end", format!("the registrar of dev-{device} has more than {OUTPUTS_MAX} outputs"));
    }

    fn take(&mut self, device: usize, output: Output<'_>) -> Effect {
        match output {
            Output::Admit => Effect::Admit,
            Output::Refuse(code) => Effect::Refuse(code),
            Output::LookUpKey(key) => Effect::LookUpKey(key),
            Output::Issue(key) => Effect::Issue(*key),
            Output::Persist(change) => {
                if self.random.happens(self.faults.gateway_write_fails_per_mille) {
                    return Effect::Unstored;
                }
                invariant::at_commit(self, device, &change);
                let stored = self.gateway.registry.commit(device, &change);
                self.history.note(
                    self.now,
                    "gateway",
                    format_args!("stores {:?} of {}", change.event, self.name(device)),
                );
                self.gateway.learn(device, &change.event);
                Effect::Stored(stored)
            }
            Output::Send(bytes) => Effect::Send(bytes.to_vec()),
            Output::SendCertificate(serial) => Effect::SendCertificate(serial),
            Output::SendBundle => Effect::SendBundle,
            Output::Notify(bytes) => Effect::Notify(bytes.to_vec()),
            Output::Cut(code) => Effect::Cut(code),
            Output::Event(event) => Effect::Event(event),
            Output::Done(result) => Effect::Done(result),
        }
    }

    fn perform(&mut self, device: usize, asker: Asker<'_>, effect: Effect, registrar: &mut Registrar, now: UnixTime) {
        match effect {
            Effect::Admit => self.admit(device, asker),
            Effect::Refuse(code) => {
                if let Asker::Arrival(epoch, _) = asker {
                    self.send_end(device, epoch, Failure::Refused(code));
                }
            }
            Effect::LookUpKey(key) => {
                registrar.handle_input(now, Input::KeyUse(self.gateway.registry.key_use(&key)));
            }
            Effect::Issue(key) => self.issue(device, &key, registrar, now),
            Effect::Stored(stored) => {
                if let Err(text) = stored {
                    return self.violated("changes_fit_the_store", text);
                }
                if let Some(output) = registrar.poll_output() {
                    let text = format!("the registrar of dev-{device} gave {output:?} while a change was being stored");
                    return self.violated("nothing_passes_the_barrier", text);
                }
                registrar.handle_input(now, Input::Persisted);
            }
            Effect::Unstored => {
                self.history.note(self.now, "gateway", format_args!("cannot store a change of {}", self.name(device)));
                registrar.handle_input(now, Input::PersistFailed);
            }
            Effect::Send(bytes) => {
                invariant::at_answer(self, device, &bytes);
                self.answer_session(device, asker, &bytes);
            }
            Effect::SendCertificate(serial) => self.send_certificate(device, asker, &serial, now),
            Effect::SendBundle => {
                let bundle = self.gateway.bundle(self.pki);
                if let Asker::Session(epoch) = asker {
                    self.send_bundle(device, epoch, &bundle);
                }
            }
            Effect::Notify(bytes) => {
                if let Some(session) = self.gateway.sessions.get(&device)
                    && session.client.role() == Role::Ldevid
                {
                    let epoch = session.epoch;
                    self.send_down(device, epoch, &bytes);
                }
            }
            Effect::Cut(code) => {
                self.history.note(self.now, "gateway", format_args!("cuts {}: {code}", self.name(device)));
                if let Some(session) = self.gateway.sessions.remove(&device) {
                    self.send_end(device, session.epoch, Failure::Refused(code));
                }
            }
            Effect::Event(event) => {
                self.history.note(self.now, "gateway", format_args!("{}: {event:?}", self.name(device)));
            }
            Effect::Done(result) => self.history.note(self.now, "operator", format_args!("{result:?}")),
        }
    }

    fn admit(&mut self, device: usize, asker: Asker<'_>) {
        let Asker::Arrival(epoch, client) = asker else {
            return self.violated("only_arrivals_are_admitted", format!("dev-{device} was admitted without arriving"));
        };
        invariant::at_admit(self, device, client);
        let session = Session { epoch, client: client.clone() };
        let before = self.gateway.sessions.get(&device).map(|session| session.epoch);
        if let Some(before) = before {
            self.send_end(device, before, Failure::Refused(muster_protocol::Code::SessionTakenOver));
        }
        // Even when the device is gone already: the gateway does not know.
        self.gateway.sessions.insert(device, session);
        if !self.boards[device].is_on(epoch) {
            let at = self.now.plus(self.random.between(1, 60_000));
            self.queue.push(at, Event::Up { device, epoch, what: Up::Closed });
        }
    }

    fn issue(&mut self, device: usize, key: &PublicKey, registrar: &mut Registrar, now: UnixTime) {
        if self.random.happens(self.faults.issue_fails_per_mille) {
            return registrar.handle_input(now, Input::IssueFailed);
        }
        let number = self.gateway.next_serial();
        let serial = serial_of(&[&self.plan.seed.to_be_bytes(), &number.to_be_bytes()]);
        let identity = &self.pki.devices[device].identity;
        let from = UnixTime(now.0 - BACKDATE_SECS);
        let certificate = self.pki.issue(identity, key, serial, from, self.plan.ldevid_life_secs);
        registrar.handle_input(now, Input::Issued(&certificate));
    }

    fn send_certificate(&mut self, device: usize, asker: Asker<'_>, serial: &Serial, time: UnixTime) {
        let Some(certificate) = self.gateway.registry.certificate(serial).map(|stored| stored.der.clone()) else {
            let text = format!("{serial} is sent to dev-{device} and is not in the store");
            return self.violated("every_issued_certificate_in_store", text);
        };
        let message = DownMessage::Issued(Issued { certificate: &certificate, time });
        self.send_message(device, asker, &message);
    }

    fn send_bundle(&mut self, device: usize, epoch: Epoch, signed: &[u8]) {
        match message::encode(&DownMessage::Bundle { signed }) {
            Ok(bytes) => self.send_down(device, epoch, &bytes),
            Err(code) => self.violated("every_message_fits", format!("bundle: {code}")),
        }
    }

    fn send_message(&mut self, device: usize, asker: Asker<'_>, message: &DownMessage<'_>) {
        match message::encode(message) {
            Ok(bytes) => self.answer_session(device, asker, &bytes),
            Err(code) => self.violated("every_message_fits", format!("{message:?}: {code}")),
        }
    }

    fn answer_session(&mut self, device: usize, asker: Asker<'_>, bytes: &[u8]) {
        if let Asker::Session(epoch) = asker {
            self.send_down(device, epoch, bytes);
        }
    }
}
