//! Every act and every question of the console, the HTTPS API, the admin socket and the command line: once, here.
//!
//! Each takes a [`Caller`]. What a role may do is decided here and nowhere else: viewers read, operators act on devices,
//! admins do CAs, manifests, services and operators. Each act that changes something leaves one audit record with its
//! actor, in the transaction that does it; each that is refused leaves one too.
//!
//! | file | idea |
//! |---|---|
//! | `device` | devices: list, show, rotate, suspend, resume, revoke, retire |
//! | `command` | commands to a device's own program |
//! | `factory` | factory CAs and shipment manifests |
//! | `service`, `operator` | parties with a certificate of the operator CA |
//! | `party` | what issuing to both has in common |
//! | `audit` | the audit: pages, the check of its chain |
//! | `status` | how the gateway is |

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use muster_protocol::pki::chain::VerifiedClient;
use muster_protocol::{Code, Identity, UnixTime};
use tokio::sync::Mutex;

use super::caller::Caller;
use super::error::OperationError;
use crate::audit::{AuditEvent, AuditKind};
use crate::config::Certificates as Lives;
use crate::issuer::Issuer;
use crate::registrar::{Registrars, apply_until_known};
use crate::store::{Applied, Change, OperatorRole, Store, Transaction};

mod audit;
mod command;
mod device;
mod factory;
mod operator;
mod party;
mod service;
mod status;

pub use audit::AuditFilter;
pub use command::{COMMAND_WAIT_SECS_MAX, NewCommand};
pub use device::DeviceFilter;
pub use operator::NewOperator;
pub use service::NewService;

/// What operations answer.
pub type OperationResult<T> = Result<T, OperationError>;

/// What is there to tell about this gateway; replaced when a certificate or an address changes.
#[derive(Clone, Debug, Default)]
pub struct Installation {
    /// Certificate of the device CA, DER.
    pub device_ca: Vec<u8>,
    /// Certificate of the gateway CA, DER.
    pub gateway_ca: Vec<u8>,
    /// Certificate of the operator CA, DER.
    pub operator_ca: Vec<u8>,
    /// The gateway's own certificate, DER.
    pub server: Vec<u8>,
    /// Since when it runs; `None` while it is stopped.
    pub running_since: Option<UnixTime>,
    /// Where it listens for MQTT.
    pub mqtt: Option<SocketAddr>,
    /// Where it listens for HTTPS.
    pub https: Option<SocketAddr>,
}

/// Every act and every question.
pub struct Operations<S> {
    registrars: Arc<Registrars<S>>,
    /// The operator CA.
    issuer: Arc<dyn Issuer>,
    lives: Lives,
    installation: ArcSwap<Installation>,
    /// One import at a time, so that of two of the same manifest the second finds it complete.
    importing: Mutex<()>,
}

impl<S: Store> Operations<S> {
    /// Over these registrars; `issuer` is the operator CA.
    #[must_use]
    pub fn new(
        registrars: Arc<Registrars<S>>,
        issuer: Arc<dyn Issuer>,
        lives: Lives,
        installation: Installation,
    ) -> Self {
        Self { registrars, issuer, lives, installation: ArcSwap::from_pointee(installation), importing: Mutex::new(()) }
    }

    /// Takes new certificates or addresses into what is told.
    pub fn set_installation(&self, installation: Installation) {
        self.installation.store(Arc::new(installation));
    }

    /// What is told about this gateway.
    #[must_use]
    pub fn installation(&self) -> Arc<Installation> {
        self.installation.load_full()
    }

    /// The registrars.
    #[must_use]
    pub const fn registrars(&self) -> &Arc<Registrars<S>> {
        &self.registrars
    }

    /// Who this verified peer is as a caller: an operator of the registry, under the one certificate that counts.
    ///
    /// # Errors
    /// With [`Code::OperatorForbidden`] for everybody else, recorded.
    pub async fn caller(&self, client: &VerifiedClient, peer: SocketAddr) -> OperationResult<Caller> {
        let Identity::Operator { name, .. } = client.identity() else {
            return Err(Code::OperatorForbidden.into());
        };
        self.registrars.arrived(client, peer).await.map_err(|code| match code {
            Code::Unavailable => OperationError::from(code),
            code => OperationError::from(Code::OperatorForbidden).hint(format!("{}: {}", code.name(), code.text())),
        })?;
        let operator = self.store().operator(name).await?;
        let operator = operator.ok_or_else(|| OperationError::from(Code::OperatorForbidden))?;
        Ok(Caller::operator(operator.name, operator.role, Some(peer)))
    }

    /// Whether the caller's role includes this one; the refusal is recorded.
    ///
    /// # Errors
    /// [`Code::OperatorForbidden`].
    pub async fn allow(&self, caller: &Caller, needed: OperatorRole, act: &'static str) -> OperationResult<()> {
        if caller.role() >= needed {
            return Ok(());
        }
        let event = self
            .event(caller, AuditKind::OperatorRefused)
            .code(Code::OperatorForbidden)
            .detail("act", act)
            .detail("role", caller.role().name());
        self.registrars.record_refusal(event).await;
        let error = OperationError::from(Code::OperatorForbidden);
        let message = format!("{act} needs the role {}, and yours is {}", needed.name(), caller.role().name());
        Err(OperationError { message, ..error })
    }

    fn store(&self) -> &S {
        self.registrars.store()
    }

    fn now(&self) -> UnixTime {
        self.registrars.clock().now()
    }

    fn event(&self, caller: &Caller, kind: AuditKind) -> AuditEvent {
        let mut event = AuditEvent::new(self.now(), kind, caller.by().actor.clone());
        event.peer = caller.by().peer;
        event
    }

    async fn apply(&self, changes: Vec<Change>) -> OperationResult<Applied> {
        Ok(apply_until_known(self.store(), Transaction::new(changes)).await?)
    }
}
