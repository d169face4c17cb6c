//! The gatekeeper of one MQTT connection. It holds what the connection's own handshake proved, so no message can be
//! judged by the evidence of another one.
//!
//! The client id has to be the identity: the device id, or the service's name (a service may have been given the right
//! to any client id). Operators have no business here. Refusals of the registry are recorded by the registrar; what is
//! refused here is recorded here.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use muster_protocol::pki::chain::{Role, VerifiedClient};
use muster_protocol::topic::{self, Channel, Direction};
use muster_protocol::{Code, DeviceId, Identity};
use rand_core::{OsRng, RngCore};

use super::live::{Entry, LiveSessions, service_session};
use crate::audit::{AuditEvent, AuditKind};
use crate::mqtt::{Admission, Denied, End, Gatekeeper, QoS, Refusal, Rights, SessionHandle, TopicFilter, Version};
use crate::registrar::{RefusalMeter, Registrars, Verdict};
use crate::store::{Service, Store};
use crate::tls::HandshakeRecord;
use crate::tls::record::actor_of;
use crate::trail::Trail;

/// What the doors of a gateway share.
pub struct Fleet<S> {
    registrars: Arc<Registrars<S>>,
    live: Arc<LiveSessions>,
    trail: Trail,
    meter: RefusalMeter,
}

impl<S: Store> Fleet<S> {
    /// A fleet over these registrars and sessions.
    #[must_use]
    pub fn new(registrars: Arc<Registrars<S>>, live: Arc<LiveSessions>, trail: Trail) -> Self {
        Self { registrars, live, trail, meter: RefusalMeter::default() }
    }

    /// The live sessions.
    #[must_use]
    pub const fn live(&self) -> &Arc<LiveSessions> {
        &self.live
    }

    /// The registrars.
    #[must_use]
    pub const fn registrars(&self) -> &Arc<Registrars<S>> {
        &self.registrars
    }

    /// The audit.
    #[must_use]
    pub const fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Records a refusal within the measure of its party.
    pub(crate) fn record_refusal(&self, event: AuditEvent) {
        match self.meter.count(&event.actor, event.at) {
            Verdict::Withhold => {}
            Verdict::Record { withheld: 0 } => self.trail.record(event),
            Verdict::Record { withheld } => self.trail.record(event.detail("withheld", withheld)),
        }
    }
}

/// The gatekeeper of one connection.
pub struct Door<S: Store> {
    fleet: Arc<Fleet<S>>,
    number: u64,
    client: Arc<VerifiedClient>,
    peer: SocketAddr,
    /// The handshake, until its session is let in or refused.
    handshake: Mutex<Option<Box<HandshakeRecord>>>,
    /// The name of the session, once it is admitted.
    session: Mutex<Option<Box<str>>>,
    /// Whether its refusal was recorded already.
    is_refused: AtomicBool,
}

impl<S: Store> Door<S> {
    /// The door of a connection whose handshake proved `client`.
    #[must_use]
    pub fn new(fleet: Arc<Fleet<S>>, client: Box<VerifiedClient>, handshake: HandshakeRecord) -> Self {
        let (number, peer) = (fleet.live.next_door(), handshake.peer);
        Self {
            fleet,
            number,
            client: Arc::from(client),
            peer,
            handshake: Mutex::new(Some(Box::new(handshake))),
            session: Mutex::default(),
            is_refused: AtomicBool::new(false),
        }
    }

    /// Tells the audit how a connection ended that never became a session, unless its refusal was told already.
    pub fn closed(&self, end: End) {
        let handshake = self.handshake.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.is_refused.load(Ordering::Relaxed) {
            return;
        }
        if let (Some(handshake), Some(code)) = (handshake, end.code())
            && code != Code::SessionDraining
        {
            self.fleet.record_refusal(handshake.refusal(code));
        }
    }

    fn refuse(&self, code: Code, client_id: &str) -> Refusal {
        self.is_refused.store(true, Ordering::Relaxed);
        if let Some(handshake) = &*self.handshake.lock().unwrap_or_else(PoisonError::into_inner) {
            self.fleet.record_refusal(handshake.refusal(code).detail("client_id", client_id));
        }
        tracing::warn!(client = %self.client.identity(), peer = %self.peer, code = code.name(), "connect refused");
        Refusal { code }
    }

    /// What the identity may do, under which name.
    async fn grant(&self, client_id: &str) -> Result<Grant, Code> {
        match (self.client.role(), self.client.identity()) {
            (Role::Idevid, Identity::Device { device, .. }) => {
                own_name(device, client_id)?;
                let rights = Rights::enrolment(device.as_str()).map_err(|_| Code::SessionClientId)?;
                Ok(Grant {
                    session: device.to_string(),
                    rights,
                    control: Some(control_prefix(device, Channel::Enrol)),
                    service: None,
                })
            }
            (Role::Ldevid, Identity::Device { device, .. }) => {
                own_name(device, client_id)?;
                let rights = Rights::device(device.as_str()).map_err(|_| Code::SessionClientId)?;
                let control = Some(control_prefix(device, Channel::Control));
                Ok(Grant { session: device.to_string(), rights, control, service: None })
            }
            (Role::Service, Identity::Service { name, .. }) => self.grant_service(name, client_id).await,
            _ => Err(Code::CertificateWrongUsage),
        }
    }

    async fn grant_service(&self, name: &DeviceId, client_id: &str) -> Result<Grant, Code> {
        let service = self.fleet.registrars.store().service(name).await.map_err(|error| error.code())?;
        let service = service.ok_or(Code::CertificateUnknown)?;
        let session = match (client_id == name.as_str(), service.any_client_id) {
            (true, _) => service_session(name),
            (false, true) if client_id.is_empty() => format!("{}/{:016x}", service_session(name), OsRng.next_u64()),
            (false, true) => format!("{}/{client_id}", service_session(name)),
            (false, false) => return Err(Code::SessionClientId),
        };
        let filters = |texts: &[String]| -> Result<Vec<TopicFilter>, Code> {
            texts.iter().map(|text| TopicFilter::new(text).map_err(|_| Code::Unavailable)).collect()
        };
        let rights = Rights::new(filters(&service.publish)?, filters(&service.subscribe)?);
        Ok(Grant { session, rights, control: None, service: Some(service) })
    }

    fn event(&self, kind: AuditKind, code: Code) -> AuditEvent {
        let event = AuditEvent::new(self.fleet.registrars.clock().now(), kind, actor_of(&self.client))
            .code(code)
            .serial(self.client.serial())
            .peer(self.peer);
        match self.client.device() {
            Some(device) => event.device(device),
            None => event,
        }
    }
}

struct Grant {
    session: String,
    rights: Rights,
    control: Option<String>,
    service: Option<Service>,
}

fn own_name(device: &DeviceId, client_id: &str) -> Result<(), Code> {
    if client_id == device.as_str() { Ok(()) } else { Err(Code::SessionClientId) }
}

fn control_prefix(device: &DeviceId, channel: Channel) -> String {
    topic::control(device, channel, Direction::Up).trim_end_matches("up").trim_end_matches('/').to_owned()
}

impl<S: Store> Gatekeeper for Door<S> {
    /// Nothing: the door holds the evidence itself.
    type Peer = ();

    async fn admit(&self, (): &(), client_id: &str, version: Version) -> Result<Admission, Refusal> {
        // The name first: a wrong one is refused before anything of the right one is touched.
        let grant = self.grant(client_id).await.map_err(|code| self.refuse(code, client_id))?;
        let now = self.fleet.registrars.clock().now();
        let left_secs = self.client.not_after().0.saturating_add(1).saturating_sub(now.0);
        if left_secs == 0 {
            return Err(self.refuse(Code::CertificateExpired, client_id));
        }
        self.fleet.registrars.arrived(&self.client, self.peer).await.map_err(|code| {
            // The registrar has recorded it.
            self.is_refused.store(true, Ordering::Relaxed);
            tracing::warn!(client = %self.client.identity(), peer = %self.peer, code = code.name(), "arrival refused");
            Refusal { code }
        })?;
        let entry = Entry {
            door: self.number,
            client: Arc::clone(&self.client),
            peer: self.peer,
            since: now,
            version,
            service: grant.service,
        };
        self.fleet.live.enter(&grant.session, entry);
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(grant.session.as_str().into());
        if let Some(handshake) = self.handshake.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.fleet.trail.record(handshake.acceptance());
        }
        if let Some(device) = self.client.device() {
            self.fleet.trail.seen(device, self.fleet.registrars.clock().now());
        }
        Ok(Admission {
            client_id: grant.session,
            rights: grant.rights,
            deadline: Instant::now().checked_add(Duration::from_secs(left_secs)),
            control_prefix: grant.control,
            peer: format!("{} {}", self.client.identity(), self.peer),
        })
    }

    async fn control(&self, session: &SessionHandle, topic: &str, payload: &[u8]) -> Result<(), Refusal> {
        let refused = |code| Refusal { code };
        let (device, channel, direction) = topic::parse_control(topic).ok_or(refused(Code::SessionTopicDenied))?;
        if direction != Direction::Up || Some(&device) != self.client.device() {
            return Err(refused(Code::SessionTopicDenied));
        }
        let down = topic::control(&device, channel, Direction::Down);
        let router = self.fleet.live.router();
        let mut reply = |bytes: Vec<u8>| {
            let delivered = router.answer(session, &down, bytes, QoS::AtLeastOnce);
            tracing::debug!(%device, ?delivered, "answered");
        };
        self.fleet.registrars.message(&self.client, self.peer, channel, payload, &mut reply).await;
        Ok(())
    }

    fn published(&self, _session: &SessionHandle, topic: &str, payload: &[u8]) {
        if self.client.role() != Role::Ldevid {
            return;
        }
        if let Some(device) = self.client.device() {
            self.fleet.live.heard(device, topic, payload, self.fleet.registrars.clock().now());
        }
    }

    fn denied(&self, _session: &SessionHandle, what: Denied, topic: &str) {
        let act = match what {
            Denied::Publish => "publish",
            Denied::Subscribe => "subscribe",
            Denied::Will => "will",
        };
        tracing::warn!(client = %self.client.identity(), act, topic, "topic denied");
        let event = self.event(AuditKind::TopicRefused, Code::SessionTopicDenied);
        self.fleet.record_refusal(event.detail("act", act).detail("topic", topic));
    }

    async fn ended(&self, session: &SessionHandle, end: End) {
        self.fleet.live.leave(session.client_id(), self.number);
        let code = end.code();
        tracing::info!(client = %self.client.identity(), peer = %self.peer, ?end, code = code.map(Code::name), "session ended");
        match (end, code) {
            (End::Cut(_) | End::Expired, Some(code)) => {
                self.fleet.trail.record(self.event(AuditKind::SessionCut, code));
            }
            (End::Protocol(what), Some(code)) => {
                self.fleet.record_refusal(self.event(AuditKind::RequestRefused, code).detail("why", what));
            }
            _ => {}
        }
        if let Some(device) = self.client.device() {
            self.fleet.trail.seen(device, self.fleet.registrars.clock().now());
        }
    }
}

impl<S: Store> Drop for Door<S> {
    /// A connection that was dropped, or that was admitted and not registered, leaves nothing behind.
    fn drop(&mut self) {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(session) = session {
            self.fleet.live.leave(&session, self.number);
        }
    }
}
