//! Who is connected now. The router knows sessions by their client id; this knows what their certificates were, so that
//! a certificate, a service or an operator can be cut off.
//!
//! A device's session is called like the device. A service's is called `service:<name>` or `service:<name>/<client id>`,
//! which no device can be called.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_protocol::limits::{ARGUMENT_BYTES_MAX, COMMAND_NAME_BYTES_MAX};
use muster_protocol::message::application::Command;
use muster_protocol::message::encode;
use muster_protocol::pki::chain::{Role, VerifiedClient};
use muster_protocol::pki::serial::Serial;
use muster_protocol::topic::{self, Channel, Direction};
use muster_protocol::{Code, DeviceId, UnixTime};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::commands::Commands;
use super::telemetry::LastTelemetry;
use crate::config;
use crate::mqtt::{Delivered, QoS, Router, Version};
use crate::registrar::{CommandOutcome, CommandRefused, LiveSession, SessionCounts, Sessions, Telemetry, TooLong};
use crate::store::Service;
use crate::tls::record::role_name;

/// The live sessions of this gateway.
#[derive(Debug)]
pub struct LiveSessions {
    router: Arc<Router>,
    telemetry: LastTelemetry,
    commands: Commands,
    table: Mutex<HashMap<String, Entry>>,
    last_door: AtomicU64,
}

/// What is known of a session beside what the router knows.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Which connection made it: a session that was taken over must not take its successor's entry away.
    pub(super) door: u64,
    pub(super) client: Arc<VerifiedClient>,
    pub(super) peer: SocketAddr,
    pub(super) since: UnixTime,
    pub(super) version: Version,
    /// The rights that a service's session was opened with.
    pub(super) service: Option<Service>,
}

impl LiveSessions {
    /// None yet.
    #[must_use]
    pub fn new(router: Arc<Router>, telemetry: config::Telemetry) -> Self {
        Self {
            router,
            telemetry: LastTelemetry::new(telemetry),
            commands: Commands::default(),
            table: Mutex::default(),
            last_door: AtomicU64::new(0),
        }
    }

    /// The router that delivers to them.
    #[must_use]
    pub const fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// The last telemetry of each device.
    #[must_use]
    pub const fn telemetry(&self) -> &LastTelemetry {
        &self.telemetry
    }

    /// Ends the sessions of everybody that the caller picks by certificate, role and age; gives how many.
    pub fn cut_where(&self, code: Code, mut pick: impl FnMut(&VerifiedClient, UnixTime) -> bool) -> usize {
        let picked: Vec<String> = self
            .table()
            .iter()
            .filter(|(_, entry)| pick(&entry.client, entry.since))
            .map(|(name, _)| name.clone())
            .collect();
        picked.iter().filter(|name| self.router.cut(name, code)).count()
    }

    /// Ends the sessions of a service that were opened with other rights than it has now; `None`: it has none any more.
    /// What was opened after the change goes on.
    pub fn regrant(&self, name: &DeviceId, now: Option<&Service>) {
        let code = if now.is_some() { Code::SessionRightsChanged } else { Code::CertificateUnknown };
        let is_stale = |granted: &Service| {
            now.is_none_or(|now| {
                (&now.publish, &now.subscribe, now.any_client_id)
                    != (&granted.publish, &granted.subscribe, granted.any_client_id)
            })
        };
        let stale: Vec<String> = self
            .table()
            .iter()
            .filter(|(_, entry)| {
                entry.service.as_ref().is_some_and(|granted| granted.name == *name && is_stale(granted))
            })
            .map(|(session, _)| session.clone())
            .collect();
        for session in &stale {
            self.router.cut(session, code);
        }
        // Who is being admitted right now may have been judged by the old rights: judge again.
        self.router.cut_where(code, |_| false);
    }

    pub(super) fn next_door(&self) -> u64 {
        self.last_door.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn enter(&self, session: &str, entry: Entry) {
        self.table().insert(session.to_owned(), entry);
    }

    pub(super) fn leave(&self, session: &str, door: u64) {
        let mut table = self.table();
        if table.get(session).is_some_and(|entry| entry.door == door)
            && let Some(entry) = table.remove(session)
        {
            drop(table);
            if let Some(device) = entry.client.device() {
                self.commands.forget(device);
            }
        }
    }

    /// Takes what a device publishes where the gateway listens as well: its reports, and its answers to commands.
    pub(super) fn heard(&self, device: &DeviceId, topic: &str, payload: &[u8], at: UnixTime) {
        if topic == topic::telemetry(device) {
            self.telemetry.keep(device, payload, at);
        } else if topic == topic::answer(device) {
            self.commands.answered(device, payload);
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions for LiveSessions {
    fn cut(&self, device: &DeviceId, code: Code) {
        self.router.cut(device.as_str(), code);
    }

    fn notify(&self, device: &DeviceId, message: &[u8]) {
        let is_operational = self.table().get(device.as_str()).is_some_and(|entry| entry.client.role() == Role::Ldevid);
        if !is_operational {
            return;
        }
        let topic = topic::control(device, Channel::Control, Direction::Down);
        let delivered = self.router.deliver(device.as_str(), &topic, message.to_vec(), QoS::AtLeastOnce);
        if delivered != Delivered::Queued {
            // It is in the device's row: the next welcome says it again.
            tracing::info!(%device, ?delivered, "a notice did not reach the device");
        }
    }

    fn command(
        &self,
        device: &DeviceId,
        name: &str,
        argument: &[u8],
    ) -> Result<oneshot::Receiver<CommandOutcome>, CommandRefused> {
        if name.len() > COMMAND_NAME_BYTES_MAX || argument.len() > ARGUMENT_BYTES_MAX {
            return Err(CommandRefused::TooLong);
        }
        let is_operational = self.table().get(device.as_str()).is_some_and(|entry| entry.client.role() == Role::Ldevid);
        if !is_operational {
            return Err(CommandRefused::Offline);
        }
        let (number, outcome) = self.commands.expect(device).ok_or(CommandRefused::Busy)?;
        let message = encode(&Command { number, name, argument }).map_err(|_| CommandRefused::TooLong)?;
        let topic = topic::command(device);
        match self.router.deliver(device.as_str(), &topic, message.to_vec(), QoS::AtLeastOnce) {
            Delivered::Queued => Ok(outcome),
            Delivered::NoSession => Err(CommandRefused::Offline),
            Delivered::NotSubscribed => Err(CommandRefused::NotListening),
            Delivered::NoRoom => Err(CommandRefused::Busy),
        }
    }

    fn cut_service(&self, name: &DeviceId, code: Code) {
        let own = service_session(name);
        self.router.cut_where(code, |info| {
            info.handle.client_id().strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
    }

    fn of(&self, device: &DeviceId) -> Vec<LiveSession> {
        let Some(entry) = self.table().get(device.as_str()).cloned() else { return Vec::new() };
        if self.router.session(device.as_str()).is_none() {
            return Vec::new();
        }
        vec![LiveSession {
            peer: entry.peer,
            since: entry.since,
            serial: entry.client.serial().clone(),
            credential: role_name(entry.client.role()),
            mqtt_version: match entry.version {
                Version::V311 => "3.1.1",
                Version::V5 => "5",
            },
        }]
    }

    fn counts(&self) -> Option<SessionCounts> {
        let mut counts = SessionCounts::default();
        for entry in self.table().values() {
            match entry.client.role() {
                Role::Idevid | Role::Ldevid => counts.devices += 1,
                Role::Service | Role::Operator => counts.services += 1,
            }
        }
        Some(counts)
    }

    fn telemetry(&self, device: &DeviceId) -> Option<Telemetry> {
        self.telemetry.of(device)
    }

    fn telemetry_too_long(&self, device: &DeviceId) -> Option<TooLong> {
        self.telemetry.too_long(device)
    }
}

/// The name of a service's session, without the client id behind it.
#[must_use]
pub fn service_session(name: &DeviceId) -> String {
    format!("service:{name}")
}

/// The HTTPS connections of operators: an event stream would otherwise outlive the operator's rights.
#[derive(Debug, Default)]
pub struct OperatorConnections {
    open: Mutex<HashMap<u64, Presence>>,
    last: AtomicU64,
}

#[derive(Debug)]
struct Presence {
    operator: DeviceId,
    serial: Serial,
    ended: CancellationToken,
}

/// One connection in the table, until it is dropped.
#[derive(Debug)]
pub struct OperatorConnection<'a> {
    table: &'a OperatorConnections,
    number: u64,
    /// Cancelled when the connection has to end.
    pub ended: CancellationToken,
}

impl OperatorConnections {
    /// Enters a connection of this operator under this certificate.
    pub fn enter(&self, operator: &DeviceId, serial: &Serial) -> OperatorConnection<'_> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let ended = CancellationToken::new();
        let presence = Presence { operator: operator.clone(), serial: serial.clone(), ended: ended.clone() };
        self.open().insert(number, presence);
        OperatorConnection { table: self, number, ended }
    }

    /// Ends every connection of this operator but those under the one certificate that counts, if there is one.
    pub fn keep_only(&self, operator: &DeviceId, serial: Option<&Serial>) {
        self.open()
            .values()
            .filter(|presence| presence.operator == *operator && Some(&presence.serial) != serial)
            .for_each(|presence| presence.ended.cancel());
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Presence>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OperatorConnection<'_> {
    fn drop(&mut self) {
        self.table.open().remove(&self.number);
    }
}
