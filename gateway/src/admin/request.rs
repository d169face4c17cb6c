//! The operations as one enum, shared by the admin socket and the command line.

use muster_protocol::DeviceId;
use muster_protocol::registrar::Reason;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::caller::Caller;
use super::error::OperationError;
use super::operations::{AuditFilter, DeviceFilter, NewCommand, NewOperator, NewService, OperationResult, Operations};
use crate::store::{DocumentId, Store};

/// A question or an act.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Request {
    /// Devices in the order of their ids.
    DeviceList(DeviceFilter),
    /// Everything about one device.
    DeviceShow {
        /// Which.
        device: DeviceId,
    },
    /// How many devices' certificates expire when.
    Expiry,
    /// Has a device make a new key.
    DeviceRotate {
        /// Which.
        device: DeviceId,
    },
    /// Keeps a device out for now.
    DeviceSuspend {
        /// Which.
        device: DeviceId,
        /// Why.
        reason: Option<Reason>,
    },
    /// Lets a device in again, or enrol anew.
    DeviceResume {
        /// Which.
        device: DeviceId,
    },
    /// Withdraws a device's certificates and keeps it out.
    DeviceRevoke {
        /// Which.
        device: DeviceId,
        /// Why.
        reason: Reason,
    },
    /// Keeps a device out for good.
    DeviceRetire {
        /// Which.
        device: DeviceId,
    },
    /// Sends a command to a device's program.
    DeviceCommand {
        /// Which.
        device: DeviceId,
        /// What.
        command: NewCommand,
    },
    /// Adds factory CAs.
    FactoryCaAdd {
        /// One certificate or several, PEM.
        certificates: String,
    },
    /// All factory CAs.
    FactoryCaList,
    /// Removes factory CAs.
    FactoryCaRemove {
        /// SHA-256 of each certificate, hex.
        ids: Vec<String>,
    },
    /// Imports the shipment manifest that is the request's body.
    ManifestImport,
    /// Manifests that were imported.
    ManifestList,
    /// Issues to a back-end service.
    ServiceIssue(NewService),
    /// All services.
    ServiceList,
    /// Removes a service.
    ServiceRemove {
        /// Which.
        name: DeviceId,
    },
    /// Issues to an operator.
    OperatorIssue(NewOperator),
    /// All operators.
    OperatorList,
    /// Removes an operator.
    OperatorRemove {
        /// Which.
        name: DeviceId,
    },
    /// Records of the audit.
    Audit(AuditFilter),
    /// Whether the audit's chain holds.
    AuditVerify,
    /// How the gateway is.
    Status,
}

impl Request {
    /// Does it. `body` is what came behind the request; only a manifest has one.
    ///
    /// # Errors
    /// The operation's.
    pub async fn answer<S: Store>(
        self,
        operations: &Operations<S>,
        caller: &Caller,
        body: Vec<u8>,
    ) -> OperationResult<Value> {
        match self {
            Self::DeviceList(filter) => value(operations.devices(caller, filter).await),
            Self::DeviceShow { device } => value(operations.device(caller, &device).await),
            Self::Expiry => value(operations.expiry(caller).await),
            Self::DeviceRotate { device } => value(operations.rotate(caller, &device).await),
            Self::DeviceSuspend { device, reason } => value(operations.suspend(caller, &device, reason).await),
            Self::DeviceResume { device } => value(operations.resume(caller, &device).await),
            Self::DeviceRevoke { device, reason } => value(operations.revoke(caller, &device, reason).await),
            Self::DeviceRetire { device } => value(operations.retire(caller, &device).await),
            Self::DeviceCommand { device, command } => value(operations.command(caller, &device, command).await),
            Self::FactoryCaAdd { certificates } => value(operations.add_factory_cas(caller, &certificates).await),
            Self::FactoryCaList => value(operations.factory_cas(caller).await),
            Self::FactoryCaRemove { ids } => {
                let ids = document_ids(&ids)?;
                value(operations.remove_factory_cas(caller, &ids).await)
            }
            Self::ManifestImport => value(operations.import_manifest(caller, body).await),
            Self::ManifestList => value(operations.manifests(caller).await),
            Self::ServiceIssue(new) => value(operations.issue_service(caller, new).await),
            Self::ServiceList => value(operations.services(caller).await),
            Self::ServiceRemove { name } => value(operations.remove_service(caller, &name).await),
            Self::OperatorIssue(new) => value(operations.issue_operator(caller, new).await),
            Self::OperatorList => value(operations.operators(caller).await),
            Self::OperatorRemove { name } => value(operations.remove_operator(caller, &name).await),
            Self::Audit(filter) => value(operations.audit(caller, filter).await),
            Self::AuditVerify => value(operations.audit_verify(caller).await),
            Self::Status => value(operations.status(caller).await),
        }
    }
}

/// Reads ids of documents.
pub(super) fn document_ids(texts: &[String]) -> OperationResult<Vec<DocumentId>> {
    let read = |text: &String| {
        text.parse().map_err(|error| OperationError::request("usage.wrong", format!("{text:?} is no id: {error}")))
    };
    texts.iter().map(read).collect()
}

fn value<T: Serialize>(result: OperationResult<T>) -> OperationResult<Value> {
    serde_json::to_value(result?).map_err(|error| OperationError::gateway(format!("the answer has no JSON: {error}")))
}
