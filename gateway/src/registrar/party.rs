//! Services and operators: parties with a certificate and rights in the store, and no life of their own.

use std::net::SocketAddr;

use muster_protocol::pki::chain::{Role, VerifiedClient};
use muster_protocol::registrar::Reason;
use muster_protocol::{Code, DeviceId};

use super::{By, Registrars};
use crate::audit::{Actor, AuditKind};
use crate::store::{self, Store};

impl<S: Store> Registrars<S> {
    pub(super) async fn party_arrived(&self, client: &VerifiedClient, peer: SocketAddr) -> Result<(), Code> {
        let name = client.identity().name();
        let verdict = self.party_verdict(client, name).await;
        if let Err(code) = verdict
            && code != Code::Unavailable
        {
            let actor = match client.role() {
                Role::Operator => Actor::Operator(name.clone()),
                _ => Actor::Service(name.clone()),
            };
            let by = By { actor, peer: Some(peer) };
            let event = self.refusal(AuditKind::HandshakeRefused, &by, None, code).serial(client.serial());
            self.record_refusal(event).await;
        }
        verdict
    }

    async fn party_verdict(&self, client: &VerifiedClient, name: &DeviceId) -> Result<(), Code> {
        let role = match client.role() {
            Role::Service => store::Role::Service,
            Role::Operator => store::Role::Operator,
            Role::Idevid | Role::Ldevid => return Err(Code::CertificateUnknown),
        };
        let unavailable = |error: store::StoreError| {
            tracing::error!(%error, "the store does not answer");
            error.code()
        };
        let certificate = self.store.certificate(client.serial()).await.map_err(unavailable)?;
        let certificate = certificate.ok_or(Code::CertificateUnknown)?;
        if certificate.role != role || certificate.holder != *name || certificate.key != client.fingerprint() {
            return Err(Code::CertificateUnknown);
        }
        match certificate.withdrawn.map(|withdrawal| withdrawal.reason) {
            Some(Reason::Superseded) => return Err(Code::CertificateSuperseded),
            Some(_) => return Err(Code::CertificateRevoked),
            None => {}
        }
        match role {
            store::Role::Service => match self.store.service(name).await.map_err(unavailable)? {
                Some(_) => Ok(()),
                None => Err(Code::CertificateUnknown),
            },
            _ => match self.store.operator(name).await.map_err(unavailable)? {
                Some(operator) if operator.serial == certificate.serial => Ok(()),
                Some(_) => Err(Code::CertificateSuperseded),
                None => Err(Code::CertificateUnknown),
            },
        }
    }
}
