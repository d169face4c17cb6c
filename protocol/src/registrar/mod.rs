//! The gateway's counterpart of the device: one state machine per device, without a socket or a database.
//!
//! Booted from the device's row, given one input, drained, and dropped or kept: the row is the truth. As in
//! [`crate::device`], [`Output::Persist`] is a barrier: nobody hears of a certificate, a confirmation or a revocation
//! before it is stored.
//!
//! | file | idea |
//! |---|---|
//! | `record` | the stored row |
//! | `state` | the states |
//! | `output` | what goes in and comes out |
//! | `admit` | who may have a session |
//! | `enrol` | requests for certificates |
//! | `confirm` | hello, confirmation, the end of the old certificate |
//! | `operate` | what operators do, and retirement by the device |

use crate::code::Code;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::message::{self, Down, Refused, Up};
use crate::pki::chain::{Role, VerifiedClient};
use crate::pki::key::PublicKey;
use crate::pki::serial::Serial;
use crate::time::UnixTime;
use crate::topic::Channel;

mod admit;
mod confirm;
mod enrol;
mod operate;
mod output;
pub mod record;
mod state;

pub use output::{Act, CertificateStatus, Change, Context, Event, Input, KeyUse, NewCertificate, Output};
pub use record::{Credential, DeviceRecord, Reason, Standing};

use output::Asker;
use state::{Active, State, Welcome};

/// How long a refused device waits when the gateway itself is at fault.
const UNAVAILABLE_RETRY_SECS: u32 = 30;
const QUEUE_MAX: usize = 8;
/// Current, previous and candidate.
const WITHDRAWN_MAX: usize = 3;

type Withdrawn = heapless::Vec<(Serial, Reason), WITHDRAWN_MAX>;

/// One device, seen from the gateway.
#[derive(Debug)]
pub struct Registrar {
    context: Context,
    /// The row as stored: what stands when a change fails.
    stored: DeviceRecord,
    /// The row as it will be.
    record: DeviceRecord,
    state: State,
    asker: Asker,
    /// The key that waits for its certificate, and whether it is an enrolment.
    pending: Option<Pending>,
    certificate: heapless::Vec<u8, { crate::limits::CERTIFICATE_BYTES_MAX }>,
    new_certificate: Option<CertificateParts>,
    withdrawn: Withdrawn,
    queue: heapless::Deque<Action, QUEUE_MAX>,
    barrier: bool,
    buffer: heapless::Vec<u8, MESSAGE_BYTES_MAX>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    public_key: PublicKey,
    role: Role,
}

#[derive(Clone, Debug)]
struct CertificateParts {
    serial: Serial,
    key: crate::pki::key::KeyFingerprint,
    not_before: UnixTime,
    not_after: UnixTime,
}

#[derive(Clone, Debug)]
enum Action {
    Admit,
    Refuse(Code),
    LookUpKey,
    Issue,
    Persist(Event),
    Welcome(UnixTime),
    Confirmed(Serial),
    Retired,
    Refused(Refused),
    SendCertificate(Serial),
    SendBundle,
    Order(u32),
    Cut(Code),
    Event(Event),
    Done(Result<(), Code>),
}

/// A row that no registrar wrote: its fields do not fit its standing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidRecord;

impl core::fmt::Display for InvalidRecord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the stored fields of this device do not fit its standing")
    }
}

impl core::error::Error for InvalidRecord {}

impl Registrar {
    /// Starts from the stored row.
    pub fn boot(record: DeviceRecord, context: Context) -> Result<Self, InvalidRecord> {
        let state = State::from_record(&record).ok_or(InvalidRecord)?;
        Ok(Self {
            context,
            stored: record.clone(),
            record,
            state,
            asker: Asker::Nobody,
            pending: None,
            certificate: heapless::Vec::new(),
            new_certificate: None,
            withdrawn: Withdrawn::new(),
            queue: heapless::Deque::new(),
            barrier: false,
            buffer: heapless::Vec::new(),
        })
    }

    /// Takes one thing that happened.
    pub fn handle_input(&mut self, now: UnixTime, input: Input<'_>) {
        match input {
            Input::Arrived { client, status } => {
                self.asker = Asker::Peer;
                self.expire(now);
                self.arrived(client, status);
            }
            Input::Message { client, channel, bytes } => {
                self.asker = Asker::Session;
                self.expire(now);
                self.message(now, client, channel, bytes);
            }
            Input::KeyUse(key_use) => self.key_looked_up(key_use),
            Input::Issued(certificate) => self.issued(certificate),
            Input::IssueFailed => self.failed(),
            Input::Persisted => {
                self.barrier = false;
                self.stored.clone_from(&self.record);
                self.withdrawn.clear();
                self.new_certificate = None;
            }
            Input::PersistFailed => self.failed(),
            Input::Operator(act) => {
                self.asker = Asker::Operator;
                self.expire(now);
                self.operate(act);
            }
            Input::Timeout => self.expire(now),
        }
    }

    /// The next thing to do, or `None`.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        if self.barrier {
            return None;
        }
        Some(match self.queue.pop_front()? {
            Action::Admit => Output::Admit,
            Action::Refuse(code) => Output::Refuse(code),
            Action::LookUpKey => Output::LookUpKey(self.pending?.public_key.fingerprint()),
            Action::Issue => Output::Issue(&self.pending.as_ref()?.public_key),
            Action::Persist(event) => {
                self.barrier = true;
                self.state.write(&mut self.record);
                let issued = self.new_certificate.as_ref().map(|parts| NewCertificate {
                    serial: parts.serial.clone(),
                    key: parts.key,
                    not_before: parts.not_before,
                    not_after: parts.not_after,
                    der: &self.certificate,
                });
                Output::Persist(Change { record: &self.record, issued, withdrawn: &self.withdrawn, event })
            }
            Action::Welcome(time) => {
                let welcome = message::Welcome { time, bundle: self.context.bundle, order: self.record.order };
                Output::Send(self.encode(&Down::Welcome(welcome)))
            }
            Action::Confirmed(serial) => Output::Send(self.encode(&Down::Confirmed { serial })),
            Action::Retired => Output::Send(self.encode(&Down::Retired)),
            Action::Refused(refused) => Output::Send(self.encode(&Down::Refused(refused))),
            Action::SendCertificate(serial) => Output::SendCertificate(serial),
            Action::SendBundle => Output::SendBundle,
            Action::Order(order) => Output::Notify(self.encode(&Down::Rotate { order })),
            Action::Cut(code) => Output::Cut(code),
            Action::Event(event) => Output::Event(event),
            Action::Done(result) => Output::Done(result),
        })
    }

    /// When a certificate that was never settled expires; give [`Input::Timeout`] then, or not at all: the next input
    /// does the same.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<UnixTime> {
        match &self.state {
            State::In(Welcome::Active(Active { previous, candidate, .. })) => {
                let candidate = candidate.as_ref().map(|candidate| &candidate.credential);
                [previous.as_ref(), candidate].into_iter().flatten().map(|credential| credential.not_after).min()
            }
            _ => None,
        }
    }

    /// The row as it will be once everything that came out is done.
    #[must_use]
    pub const fn record(&self) -> &DeviceRecord {
        &self.record
    }

    fn message(&mut self, now: UnixTime, client: &VerifiedClient, channel: Channel, bytes: &[u8]) {
        if let Some(code) = self.keeps_out(client) {
            self.refuse_message(code);
            self.push(Action::Cut(code));
            return;
        }
        let belongs =
            matches!((client.role(), channel), (Role::Idevid, Channel::Enrol) | (Role::Ldevid, Channel::Control));
        if !belongs {
            self.refuse_message(Code::MessageUnexpected);
            return;
        }
        match message::decode_up(bytes) {
            Ok(Up::Hello(hello)) => self.hello(now, client, &hello),
            Ok(Up::Request { csr }) => self.request(client, csr),
            Ok(Up::Confirm { serial }) => self.confirm(client, &serial),
            Ok(Up::Retire) if channel == Channel::Control => self.retired_by_device(),
            Ok(Up::Retire) => self.refuse_message(Code::MessageUnexpected),
            Err(code) => self.refuse_message(code),
        }
    }

    /// Takes certificates out of the state that expired before they were settled. Nothing is withdrawn: they are dead.
    fn expire(&mut self, now: UnixTime) {
        if let State::In(Welcome::Active(Active { previous, candidate, .. })) = &mut self.state {
            if previous.as_ref().is_some_and(|credential| credential.not_after < now) {
                *previous = None;
            }
            if candidate.as_ref().is_some_and(|candidate| candidate.credential.not_after < now) {
                *candidate = None;
            }
        }
    }

    fn withdraw(&mut self, serial: Serial, reason: Reason) {
        // WITHDRAWN_MAX certificates are all that a state can hold.
        let _ = self.withdrawn.push((serial, reason));
    }

    fn refuse_message(&mut self, code: Code) {
        self.push(Action::Event(Event::Refused(code)));
        let retry_after_secs = if code == Code::Unavailable { UNAVAILABLE_RETRY_SECS } else { 0 };
        self.push(Action::Refused(Refused { code, retry_after_secs }));
    }

    /// The store or the issuer failed: everything is as it was, and whoever asked is told to come back.
    fn failed(&mut self) {
        self.barrier = false;
        self.queue.clear();
        self.withdrawn.clear();
        self.new_certificate = None;
        self.pending = None;
        self.record.clone_from(&self.stored);
        if let Some(state) = State::from_record(&self.stored) {
            self.state = state;
        }
        match self.asker {
            Asker::Nobody => {}
            Asker::Peer => self.push(Action::Refuse(Code::Unavailable)),
            Asker::Session => {
                let refused = Refused { code: Code::Unavailable, retry_after_secs: UNAVAILABLE_RETRY_SECS };
                self.push(Action::Refused(refused));
            }
            Asker::Operator => self.push(Action::Done(Err(Code::Unavailable))),
        }
    }

    fn push(&mut self, action: Action) {
        // QUEUE_MAX is longer than any path from one input.
        let _ = self.queue.push_back(action);
    }

    fn encode(&mut self, message: &Down<'_>) -> &[u8] {
        self.buffer.clear();
        if let Ok(bytes) = message::encode(message) {
            let _ = self.buffer.extend_from_slice(&bytes);
        }
        &self.buffer
    }
}
