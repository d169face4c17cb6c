//! One input, driven to its end: boot from the row, drain the outputs, do them.

use std::net::SocketAddr;

use muster_protocol::message::{self, Down, Issued, Refused};
use muster_protocol::pki::chain::{Role, VerifiedClient};
use muster_protocol::pki::key::{KeyFingerprint, PublicKey};
use muster_protocol::pki::serial::Serial;
use muster_protocol::registrar::{
    Act, CertificateStatus, Context as CoreContext, Event, Input, KeyUse, Output, Registrar,
};
use muster_protocol::topic::Channel;
use muster_protocol::{Code, DeviceId, Identity, UnixTime};

use super::change::{apply_until_known, transaction};
use super::{ActError, By, Context, Registrars};
use crate::audit::{Actor, AuditEvent, AuditKind};
use crate::issuer::Validity;
use crate::store::{self, Device, Refusal, Store, StoreError};

/// How often a decision is made anew because somebody else changed the row in between. Under the device's lease only
/// another process can, or an enrolment of another device with the same key.
const ATTEMPTS_MAX: usize = 5;
/// How long a device waits before it asks a gateway again that could not answer.
const RETRY_AFTER_SECS: u32 = 30;

/// What a run is for.
#[derive(Clone, Copy)]
pub(super) enum Task<'a> {
    Arrived { client: &'a VerifiedClient },
    Message { client: &'a VerifiedClient, channel: Channel, bytes: &'a [u8] },
    Act(Act),
}

impl Task<'_> {
    const fn refusal_kind(&self) -> AuditKind {
        match self {
            Self::Arrived { .. } => AuditKind::HandshakeRefused,
            Self::Message { .. } => AuditKind::RequestRefused,
            Self::Act(_) => AuditKind::OperatorRefused,
        }
    }

    /// Says in a refusal what it was for.
    fn about(&self, event: AuditEvent) -> AuditEvent {
        match self {
            Self::Arrived { client } | Self::Message { client, .. } => event.serial(client.serial()),
            Self::Act(act) => event.detail("act", act_name(*act)),
        }
    }

    const fn client(&self) -> Option<&VerifiedClient> {
        match self {
            Self::Arrived { client } | Self::Message { client, .. } => Some(client),
            Self::Act(_) => None,
        }
    }
}

/// What a run came to, to be told once it is over.
#[derive(Default)]
struct Effects {
    replies: Vec<Vec<u8>>,
    notices: Vec<Vec<u8>>,
    cut: Option<Code>,
    verdict: Option<Result<(), Code>>,
    /// Something of this run is durable: it may not be run again.
    persisted: bool,
    /// Whether the last change is durable.
    outcome: Persisted,
}

impl Effects {
    fn refused(task: &Task<'_>, code: Code) -> Self {
        let mut effects = Self { verdict: Some(Err(code)), ..Self::default() };
        if matches!(task, Task::Message { .. }) {
            effects.reply(&Down::Refused(Refused { code, retry_after_secs: retry_after(code) }));
        }
        effects
    }

    fn reply(&mut self, message: &Down<'_>) {
        match message::encode(message) {
            Ok(bytes) => self.replies.push(bytes.to_vec()),
            Err(code) => tracing::error!(%code, "an answer is longer than a message may be"),
        }
    }
}

/// Whether a change is durable.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Persisted {
    #[default]
    No,
    Yes,
    /// The store did not say.
    Unknown,
}

/// Somebody else changed the row in between.
struct Overtaken;

impl<S: Store> Registrars<S> {
    pub(super) async fn run(
        &self,
        task: Task<'_>,
        peer: SocketAddr,
        reply: &mut (dyn FnMut(Vec<u8>) + Send),
    ) -> Result<(), Code> {
        let Some(device) = task.client().and_then(VerifiedClient::device) else {
            return Err(Code::DeviceUnknown);
        };
        let by = By { actor: Actor::Device(device.clone()), peer: Some(peer) };
        self.run_for(device, task, &by, reply).await.verdict.unwrap_or(Ok(()))
    }

    pub(super) async fn run_act(&self, device: &DeviceId, act: Act, by: &By) -> Result<(), ActError> {
        let effects = self.run_for(device, Task::Act(act), by, &mut |_| {}).await;
        match effects.verdict {
            Some(Err(Code::Unavailable)) if effects.outcome == Persisted::Unknown => Err(ActError::OutcomeUnknown),
            verdict => verdict.unwrap_or(Ok(())).map_err(ActError::Refused),
        }
    }

    async fn run_for(
        &self,
        device: &DeviceId,
        task: Task<'_>,
        by: &By,
        reply: &mut (dyn FnMut(Vec<u8>) + Send),
    ) -> Effects {
        let Some(_lease) = self.leases.hold(device).await else {
            let mut effects = self.turned_away(device, &task, by, Code::SessionBusy).await;
            effects.replies.drain(..).for_each(reply);
            return effects;
        };
        let mut effects = Effects::refused(&task, Code::Unavailable);
        for _ in 0..ATTEMPTS_MAX {
            if let Ok(done) = self.attempt(device, &task, by).await {
                effects = done;
                break;
            }
        }
        effects.replies.drain(..).for_each(reply);
        for notice in &effects.notices {
            self.sessions.notify(device, notice);
        }
        if let Some(code) = effects.cut {
            self.sessions.cut(device, code);
        }
        effects
    }

    async fn attempt(&self, device: &DeviceId, task: &Task<'_>, by: &By) -> Result<Effects, Overtaken> {
        let row = match self.store.device(device).await {
            Ok(Some(row)) => row,
            Ok(None) => {
                let mut effects = self.turned_away(device, task, by, Code::DeviceUnknown).await;
                effects.cut = matches!(task, Task::Message { .. }).then_some(Code::DeviceUnknown);
                return Ok(effects);
            }
            Err(error) => return Ok(unavailable(task, &error)),
        };
        let context = self.context();
        let now = self.clock.now();
        let core = CoreContext { fleet: context.fleet.clone(), bundle: context.bundle_number };
        let Ok(mut registrar) = Registrar::boot(row.record.clone(), core) else {
            tracing::error!(%device, "the stored row of this device means no state");
            return Ok(Effects::refused(task, Code::Unavailable));
        };
        if registrar.poll_timeout().is_some_and(|at| at < now) {
            registrar.handle_input(now, Input::Timeout);
        }
        let input = match *task {
            Task::Arrived { client } => match self.status(client).await {
                Ok(status) => Input::Arrived { client, status },
                Err(error) => return Ok(unavailable(task, &error)),
            },
            Task::Message { client, channel, bytes } => Input::Message { client, channel, bytes },
            Task::Act(act) => Input::Operator(act),
        };
        registrar.handle_input(now, input);
        let mut run = Run { registrars: self, row, task, by, now, context: &context, issued: None };
        run.drain(&mut registrar).await
    }

    /// A refusal like any other, without a registrar to make it: the registry does not know the device, or too many wait
    /// for it.
    async fn turned_away(&self, device: &DeviceId, task: &Task<'_>, by: &By, code: Code) -> Effects {
        self.record_refusal(task.about(self.refusal(task.refusal_kind(), by, Some(device), code))).await;
        Effects::refused(task, code)
    }

    async fn status(&self, client: &VerifiedClient) -> Result<CertificateStatus, StoreError> {
        if client.role() == Role::Idevid {
            return Ok(CertificateStatus::Good);
        }
        let certificate = self.store.certificate(client.serial()).await?;
        Ok(match certificate {
            Some(certificate)
                if certificate.role == store::Role::Device && Some(&certificate.holder) == client.device() =>
            {
                certificate
                    .withdrawn
                    .map_or(CertificateStatus::Good, |withdrawal| CertificateStatus::Withdrawn(withdrawal.reason))
            }
            _ => CertificateStatus::Unknown,
        })
    }

    /// An IDevID's key counts as used: nobody gets an operational certificate for it.
    async fn key_use(&self, key: &KeyFingerprint) -> Result<KeyUse, StoreError> {
        let spent =
            self.store.certificate_by_key(key).await?.is_some() || self.store.device_by_idevid(key).await?.is_some();
        Ok(if spent { KeyUse::Spent } else { KeyUse::Fresh })
    }
}

struct Run<'a, S> {
    registrars: &'a Registrars<S>,
    row: Device,
    task: &'a Task<'a>,
    by: &'a By,
    now: UnixTime,
    context: &'a Context,
    /// The certificate that was issued in this run.
    issued: Option<Vec<u8>>,
}

impl<S: Store> Run<'_, S> {
    async fn drain(&mut self, registrar: &mut Registrar) -> Result<Effects, Overtaken> {
        let mut effects = Effects::default();
        while let Some(output) = registrar.poll_output() {
            match output {
                Output::Admit => effects.verdict = Some(Ok(())),
                Output::Refuse(code) => effects.verdict = Some(Err(code)),
                Output::Done(result) => {
                    if let Err(code) = result {
                        self.refused(code, effects.outcome).await;
                    }
                    effects.verdict = Some(result);
                }
                Output::LookUpKey(key) => {
                    let input = match self.registrars.key_use(&key).await {
                        Ok(key_use) => Input::KeyUse(key_use),
                        Err(error) => {
                            tracing::error!(%error, "the store does not answer");
                            Input::IssueFailed
                        }
                    };
                    registrar.handle_input(self.now, input);
                }
                Output::Issue(key) => {
                    let key = *key;
                    self.issued = self.issue(&key).await;
                    let input = self.issued.as_deref().map_or(Input::IssueFailed, Input::Issued);
                    registrar.handle_input(self.now, input);
                }
                Output::Persist(change) => {
                    let transaction = transaction(&self.row, &change, self.by, self.now);
                    let persisted = self.persist(transaction, effects.persisted).await?;
                    effects.persisted |= persisted == Persisted::Yes;
                    effects.outcome = persisted;
                    let input = if persisted == Persisted::Yes { Input::Persisted } else { Input::PersistFailed };
                    registrar.handle_input(self.now, input);
                }
                Output::Send(bytes) => effects.replies.push(bytes.to_vec()),
                Output::SendCertificate(serial) => self.send_certificate(&serial, &mut effects).await,
                Output::SendBundle => effects.reply(&Down::Bundle { signed: &self.context.bundle }),
                Output::Notify(bytes) => effects.notices.push(bytes.to_vec()),
                Output::Cut(code) => effects.cut = Some(code),
                Output::Event(Event::Refused(code)) => self.refused(code, effects.outcome).await,
                Output::Event(event) => tracing::warn!(event = event.name(), "an event without a change"),
            }
        }
        Ok(effects)
    }

    /// Whether it is durable. [`Overtaken`] when the decision has to be made anew.
    async fn persist(
        &mut self,
        transaction: store::Transaction,
        persisted_before: bool,
    ) -> Result<Persisted, Overtaken> {
        match apply_until_known(&*self.registrars.store, transaction).await {
            Ok(applied) => {
                if let Some(version) = applied.version(0) {
                    self.row.version = version;
                }
                Ok(Persisted::Yes)
            }
            // The row was changed, or the key certified for somebody else, after it was read: look again.
            Err(StoreError::Conflict | StoreError::Refused(Refusal::KeyTaken | Refusal::SerialTaken))
                if !persisted_before =>
            {
                Err(Overtaken)
            }
            Err(error) => {
                tracing::error!(%error, device = %self.row.id(), "a change could not be stored");
                Ok(if error == StoreError::Unknown { Persisted::Unknown } else { Persisted::No })
            }
        }
    }

    async fn issue(&self, key: &PublicKey) -> Option<Vec<u8>> {
        let Some(issuer) = &self.registrars.issuer else {
            tracing::error!("there is no issuing CA for devices here");
            return None;
        };
        let identity = Identity::device(self.context.fleet.clone(), self.row.id().clone());
        let validity = Validity::from_now(self.now, self.context.ldevid_secs);
        match issuer.issue(&identity, key, validity).await {
            Ok(der) => Some(der),
            Err(error) => {
                tracing::error!(%error, device = %self.row.id(), "no certificate was issued");
                self.refused(Code::Unavailable, Persisted::No).await;
                None
            }
        }
    }

    async fn send_certificate(&self, serial: &Serial, effects: &mut Effects) {
        let stored = match &self.issued {
            Some(der) => Ok(Some(der.clone())),
            None => self.registrars.store.certificate(serial).await.map(|found| found.map(|found| found.der)),
        };
        match stored {
            Ok(Some(der)) => effects.reply(&Down::Issued(Issued { certificate: &der, time: self.now })),
            other => {
                tracing::error!(%serial, found = other.is_ok(), "a certificate of the registry cannot be read");
                effects.reply(&Down::Refused(Refused { code: Code::Unavailable, retry_after_secs: RETRY_AFTER_SECS }));
            }
        }
    }

    async fn refused(&self, code: Code, outcome: Persisted) {
        let event = self.registrars.refusal(self.task.refusal_kind(), self.by, Some(self.row.id()), code);
        let event = self.task.about(event);
        let event = if outcome == Persisted::Unknown { event.detail("outcome", "unknown") } else { event };
        self.registrars.record_refusal(event).await;
    }
}

/// The word for an act, as the command line has it.
const fn act_name(act: Act) -> &'static str {
    match act {
        Act::Rotate => "rotate",
        Act::Suspend(_) => "suspend",
        Act::Resume => "resume",
        Act::Revoke(_) => "revoke",
        Act::Retire => "retire",
    }
}

fn unavailable(task: &Task<'_>, error: &StoreError) -> Effects {
    tracing::error!(%error, "the store does not answer");
    Effects::refused(task, error.code())
}

const fn retry_after(code: Code) -> u32 {
    match code {
        Code::Unavailable | Code::SessionBusy => RETRY_AFTER_SECS,
        _ => 0,
    }
}
