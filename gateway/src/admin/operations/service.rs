//! Back-end services: a certificate of the operator CA, and rights in the registry.

use muster_protocol::registrar::Reason;
use muster_protocol::{Code, DeviceId, Identity};
use serde::{Deserialize, Serialize};

use super::{OperationResult, Operations};
use crate::admin::caller::Caller;
use crate::admin::error::OperationError;
use crate::admin::view::{IssuedView, Removed, Rows, ServiceView, VERSION};
use crate::audit::AuditKind;
use crate::mqtt::topic::TopicFilter;
use crate::store::{Change, FILTER_BYTES_MAX, FILTERS_MAX, OperatorRole, Role, Service, Store};

/// A service that is to get a certificate and rights. Whoever asks has made its key and keeps it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewService {
    /// Its name.
    pub name: DeviceId,
    /// Where it may publish.
    #[serde(default)]
    pub publish: Vec<String>,
    /// What it may subscribe to.
    #[serde(default)]
    pub subscribe: Vec<String>,
    /// Whether it may connect under other client ids than its name.
    #[serde(default)]
    pub any_client_id: bool,
    /// Certification request for its key, PEM.
    pub request: String,
}

impl<S: Store> Operations<S> {
    /// Issues a certificate to a service and writes its rights. A certificate that it has already stays good, so that it
    /// can change over; the rights are these from now on.
    ///
    /// # Errors
    /// When a filter is none or reaches the control topics, the request does not hold, or the store does not answer.
    pub async fn issue_service(&self, caller: &Caller, new: NewService) -> OperationResult<IssuedView> {
        self.allow(caller, OperatorRole::Admin, "service issue").await?;
        check_filters("publish", &new.publish)?;
        check_filters("subscribe", &new.subscribe)?;
        if new.publish.is_empty() && new.subscribe.is_empty() {
            return Err(OperationError::request("service.no_rights", "a service without any filter can do nothing")
                .hint("give at least one filter to publish or to subscribe to"));
        }
        let fleet = self.registrars.context().fleet.clone();
        let identity = Identity::Service { fleet, name: new.name.clone() };
        let made = self.make(identity, &new.request, self.lives.service_secs).await?;
        let service = Service {
            name: new.name,
            publish: new.publish,
            subscribe: new.subscribe,
            any_client_id: new.any_client_id,
            updated_at: made.certificate.issued_at,
        };
        let event = self
            .event(caller, AuditKind::ServiceIssued)
            .serial(&made.certificate.serial)
            .detail("service", &service.name)
            .detail("publish", service.publish.join(" "))
            .detail("subscribe", service.subscribe.join(" "))
            .detail("any_client_id", service.any_client_id)
            .detail("key", made.certificate.key)
            .detail("not_after", muster_terminal::time::rfc3339(made.certificate.not_after.0));
        self.apply(vec![
            Change::PutService(service),
            Change::InsertCertificate(made.certificate.clone()),
            Change::Audit(Box::new(event)),
        ])
        .await?;
        Ok(self.issued(made))
    }

    /// All services, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn services(&self, caller: &Caller) -> OperationResult<Rows<ServiceView>> {
        self.allow(caller, OperatorRole::Viewer, "service list").await?;
        let mut rows = Vec::new();
        for service in self.store().services().await? {
            let certificates = self.certificates_of(Role::Service, &service.name).await?;
            rows.push(ServiceView::new(service, certificates));
        }
        Ok(Rows::all(rows))
    }

    /// Removes a service: its rights are gone, its certificates withdrawn, its session is cut.
    ///
    /// # Errors
    /// When there is none of this name, or the store does not answer.
    pub async fn remove_service(&self, caller: &Caller, name: &DeviceId) -> OperationResult<Removed> {
        self.allow(caller, OperatorRole::Admin, "service remove").await?;
        if self.store().service(name).await?.is_none() {
            return Err(OperationError::missing("service.unknown", format!("there is no service {name}"))
                .hint("see service list"));
        }
        let event = self.event(caller, AuditKind::ServiceRemoved).detail("service", name);
        self.apply(vec![
            Change::RemoveService(name.clone()),
            self.withdraw_all(Role::Service, name, Reason::CessationOfOperation),
            Change::Audit(Box::new(event)),
        ])
        .await?;
        Ok(Removed { v: VERSION, removed: vec![name.to_string()] })
    }
}

/// A filter of a service is well-formed and stays out of the topics that only a device and the gateway may use.
fn check_filters(what: &str, filters: &[String]) -> OperationResult<()> {
    if filters.len() > FILTERS_MAX {
        return Err(OperationError::request(
            Code::MessageOversized.name(),
            format!("{} filters to {what} are too many: {FILTERS_MAX} at most", filters.len()),
        ));
    }
    for filter in filters {
        let refuse = |why: String| {
            OperationError::request("service.filter", format!("{filter:?} is no filter to {what}: {why}"))
                .hint("a filter is like devices/+/telemetry or devices/#")
        };
        if filter.len() > FILTER_BYTES_MAX {
            return Err(refuse(format!("it is longer than {FILTER_BYTES_MAX} bytes")));
        }
        TopicFilter::new(filter).map_err(|error| refuse(error.to_string()))?;
        if filter.starts_with('$') {
            return Err(refuse("topics that begin with $ are the gateway's own".to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_topics_and_malformed_filters_are_refused() {
        for good in ["devices/+/telemetry", "devices/#", "#", "+", "a"] {
            assert!(check_filters("publish", &[good.to_owned()]).is_ok(), "{good}");
        }
        for bad in ["", "$muster/#", "$muster/a/enrol/up", "$share/g/devices/#", "a/#/b", "a+", &"x".repeat(257)] {
            let error = check_filters("publish", &[bad.to_owned()]).unwrap_err();
            assert_eq!(error.code, "service.filter", "{bad}");
        }
        assert!(check_filters("publish", &vec!["a".to_owned(); FILTERS_MAX + 1]).is_err());
    }
}
