//! Operators: people with a certificate of the operator CA and one role.

use muster_protocol::registrar::Reason;
use muster_protocol::{DeviceId, Identity};
use serde::{Deserialize, Serialize};

use super::{OperationResult, Operations};
use crate::admin::caller::Caller;
use crate::admin::error::OperationError;
use crate::admin::view::{IssuedView, OperatorView, Removed, Rows, VERSION};
use crate::audit::AuditKind;
use crate::store::{Change, Operator, OperatorRole, Role, Store};

/// An operator who is to get a certificate. Whoever asks has made their key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewOperator {
    /// Their name.
    pub name: DeviceId,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    /// Certification request for their key, PEM.
    pub request: String,
}

impl<S: Store> Operations<S> {
    /// Issues a certificate to an operator. It is the one that counts from now on; an earlier one is withdrawn.
    ///
    /// # Errors
    /// When there is no such role, the request does not hold, or the store does not answer.
    pub async fn issue_operator(&self, caller: &Caller, new: NewOperator) -> OperationResult<IssuedView> {
        self.allow(caller, OperatorRole::Admin, "operator issue").await?;
        let role = OperatorRole::from_name(&new.role).ok_or_else(|| {
            OperationError::request("operator.role", format!("there is no role {:?}", new.role))
                .hint("the roles are viewer, operator and admin")
        })?;
        let fleet = self.registrars.context().fleet.clone();
        let identity = Identity::Operator { fleet, name: new.name.clone() };
        let made = self.make(identity, &new.request, self.lives.operator_secs).await?;
        let event = self
            .event(caller, AuditKind::OperatorIssued)
            .serial(&made.certificate.serial)
            .detail("operator", &new.name)
            .detail("role", role.name())
            .detail("key", made.certificate.key)
            .detail("not_after", muster_terminal::time::rfc3339(made.certificate.not_after.0));
        let operator = Operator {
            name: new.name.clone(),
            role,
            serial: made.certificate.serial.clone(),
            updated_at: made.certificate.issued_at,
        };
        self.apply(vec![
            self.withdraw_all(Role::Operator, &new.name, Reason::Superseded),
            Change::InsertCertificate(made.certificate.clone()),
            Change::PutOperator(operator),
            Change::Audit(Box::new(event)),
        ])
        .await?;
        Ok(self.issued(made))
    }

    /// All operators, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn operators(&self, caller: &Caller) -> OperationResult<Rows<OperatorView>> {
        self.allow(caller, OperatorRole::Viewer, "operator list").await?;
        let mut rows = Vec::new();
        for operator in self.store().operators().await? {
            let certificate = self.store().certificate(&operator.serial).await?;
            rows.push(OperatorView::new(operator, certificate.map(|found| found.not_after.into())));
        }
        Ok(Rows::all(rows))
    }

    /// Removes an operator; the certificate is withdrawn.
    ///
    /// # Errors
    /// When there is none of this name, or the store does not answer.
    pub async fn remove_operator(&self, caller: &Caller, name: &DeviceId) -> OperationResult<Removed> {
        self.allow(caller, OperatorRole::Admin, "operator remove").await?;
        if self.store().operator(name).await?.is_none() {
            return Err(OperationError::missing("operator.unknown", format!("there is no operator {name}"))
                .hint("see operator list"));
        }
        let event = self.event(caller, AuditKind::OperatorRemoved).detail("operator", name);
        self.apply(vec![
            Change::RemoveOperator(name.clone()),
            self.withdraw_all(Role::Operator, name, Reason::PrivilegeWithdrawn),
            Change::Audit(Box::new(event)),
        ])
        .await?;
        Ok(Removed { v: VERSION, removed: vec![name.to_string()] })
    }
}
