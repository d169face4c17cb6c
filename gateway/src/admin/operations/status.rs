//! How the gateway is: one answer for a person, a monitor and the console.

use std::collections::BTreeMap;

use muster_protocol::UnixTime;
use muster_protocol::pki::certificate::Certificate;
use muster_protocol::registrar::Standing;

use super::{Installation, OperationResult, Operations};
use crate::admin::caller::Caller;
use crate::admin::view::{
    ExpiryInterval, ExpiryView, OwnCertificateView, SessionsView, StatusView, StoreView, VERSION,
};
use crate::store::{Counts, FactoryCa, OperatorRole, Store, StoreError};

impl<S: Store> Operations<S> {
    /// How the gateway is. Answers also when the store does not, and says so.
    ///
    /// # Errors
    /// Only for callers who may not read.
    pub async fn status(&self, caller: &Caller) -> OperationResult<StatusView> {
        self.allow(caller, OperatorRole::Viewer, "status").await?;
        let installation = self.installation();
        let context = self.registrars.context();
        let read = self.read_store().await;
        let (counts, cas, store) = match read {
            Ok((counts, cas, records)) => {
                (counts, cas, StoreView { healthy: true, trouble: None, audit_records: Some(records) })
            }
            Err(error) => {
                let store = StoreView { healthy: false, trouble: Some(error.to_string()), audit_records: None };
                (Counts::default(), Vec::new(), store)
            }
        };
        Ok(StatusView {
            v: VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fleet: context.fleet.clone(),
            bundle: context.bundle_number,
            running_since: installation.running_since.map(Into::into),
            mqtt: installation.mqtt,
            https: installation.https,
            sessions: self
                .registrars
                .sessions()
                .counts()
                .map(|counts| SessionsView { devices: counts.devices, services: counts.services }),
            devices: by_standing(&counts),
            devices_total: counts.total(),
            certificates: certificates(&installation, &cas, self.now()),
            store,
        })
    }

    /// How many devices' certificates have expired, expire within a day, within three, and so on.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn expiry(&self, caller: &Caller) -> OperationResult<ExpiryView> {
        self.allow(caller, OperatorRole::Viewer, "device expiry").await?;
        let now = self.now();
        let edges = EXPIRY_EDGES.map(|(days, _)| now.plus_secs(days * DAY_SECS));
        let counts = self.store().expiry_histogram(&edges).await?;
        let names = EXPIRY_EDGES.map(|(_, name)| name).into_iter().chain(["later"]);
        let starts = std::iter::once(None).chain(edges.map(Some));
        let ends = edges.map(Some).into_iter().chain(std::iter::once(None));
        let intervals = counts.into_iter().zip(names.zip(starts.zip(ends)));
        let intervals = intervals.map(|(devices, (within, (from, until)))| ExpiryInterval {
            within: within.to_owned(),
            from: from.map(Into::into),
            until: until.map(Into::into),
            devices,
        });
        Ok(ExpiryView { v: VERSION, intervals: intervals.collect() })
    }

    async fn read_store(&self) -> Result<(Counts, Vec<FactoryCa>, u64), StoreError> {
        let counts = self.store().counts().await?;
        let cas = self.store().factory_cas().await?;
        Ok((counts, cas, self.store().audit_head().await?.seq))
    }
}

fn by_standing(counts: &Counts) -> BTreeMap<String, u64> {
    Standing::ALL.into_iter().map(|standing| (standing.name().to_owned(), counts.of(standing))).collect()
}

fn certificates(installation: &Installation, cas: &[FactoryCa], now: UnixTime) -> Vec<OwnCertificateView> {
    let own = [
        ("device-ca", &installation.device_ca),
        ("gateway-ca", &installation.gateway_ca),
        ("operator-ca", &installation.operator_ca),
        ("server", &installation.server),
    ];
    let factories = cas.iter().map(|ca| ("factory-ca", &ca.der));
    own.into_iter()
        .chain(factories)
        .filter_map(|(name, der)| {
            let certificate = Certificate::parse(der).ok()?;
            let not_after = certificate.not_after();
            let expires_in_secs =
                i64::try_from(not_after.0).unwrap_or(i64::MAX).saturating_sub(i64::try_from(now.0).unwrap_or(i64::MAX));
            let subject = subject(&certificate, name);
            Some(OwnCertificateView { name: name.to_owned(), subject, not_after: not_after.into(), expires_in_secs })
        })
        .collect()
}

/// A subject for people: the common name, or what stands in its place.
pub(super) fn subject(certificate: &Certificate<'_>, otherwise: &str) -> String {
    let text = certificate.subject_common_name().or_else(|| certificate.subject_serial_number()).unwrap_or(otherwise);
    text.chars().filter(|letter| !letter.is_control()).take(SUBJECT_CHARS_MAX).collect()
}

/// The store takes 256 bytes; a character has four at most.
const SUBJECT_CHARS_MAX: usize = 64;
const DAY_SECS: u64 = 86_400;
/// Where the intervals of the expiry histogram meet, in days from now, and how the one before each is called.
const EXPIRY_EDGES: [(u64, &str); 7] =
    [(0, "expired"), (1, "1 day"), (3, "3 days"), (7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "1 year")];
