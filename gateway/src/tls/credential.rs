//! The gateway's own credential. Before it is used it is checked by the very function that devices check it with, for
//! every name that the trust bundle gives the gateway; before there is one, handshakes fail.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use muster_protocol::pki::chain::{GatewayClock, verify_gateway};
use muster_protocol::pki::serial::Serial;
use muster_protocol::{Code, UnixTime};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::verifier::ALGORITHMS;

/// A certificate with its key that devices will accept.
#[derive(Clone, Debug)]
pub struct Credential {
    key: Arc<CertifiedKey>,
    serial: Serial,
    not_before: UnixTime,
    not_after: UnixTime,
}

/// Why a certificate and a key are no credential.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Devices would refuse the certificate.
    #[error("the certificate would be refused by devices that reach the gateway as {name}: {}", code.text())]
    Refused {
        /// Under which name.
        name: String,
        /// Why.
        code: Code,
    },
    /// There is no name to check it for.
    #[error("the trust bundle gives the gateway no name")]
    NoName,
    /// The key is no P-256 key, or not that of the certificate.
    #[error("the private key does not belong to the certificate")]
    WrongKey,
}

impl Credential {
    /// Checks a chain (leaf first) and its key as devices of the trust bundle will at `now`, for every name.
    ///
    /// # Errors
    /// The first reason for which a device would turn away.
    pub fn verify<'a>(
        chain: &[&[u8]],
        key: &PrivateKeyDer<'static>,
        gateway_cas: &[&[u8]],
        names: impl IntoIterator<Item = &'a str>,
        now: UnixTime,
    ) -> Result<Self, CredentialError> {
        let clock = GatewayClock { floor: now, civil: Some(now) };
        let mut evidence = None;
        for name in names {
            let verified = verify_gateway(chain, gateway_cas, name, clock, ALGORITHMS)
                .map_err(|code| CredentialError::Refused { name: name.to_owned(), code })?;
            evidence = Some(verified);
        }
        let evidence = evidence.ok_or(CredentialError::NoName)?;
        let signer = any_ecdsa_type(key).map_err(|_| CredentialError::WrongKey)?;
        let certificates = chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let key = CertifiedKey::new(certificates, signer);
        key.keys_match().map_err(|_| CredentialError::WrongKey)?;
        // The bundle is dated by now, so the leaf's own notBefore is not later than that.
        Ok(Self {
            key: Arc::new(key),
            serial: evidence.serial().clone(),
            not_before: evidence.not_before(),
            not_after: evidence.not_after(),
        })
    }

    /// Serial number of the certificate.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// Until when it is valid.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// When it should be replaced: two thirds of its life are over.
    #[must_use]
    pub const fn renew_at(&self) -> UnixTime {
        let life_secs = self.not_after.secs_since(self.not_before);
        self.not_before.plus_secs(life_secs / 3 * 2)
    }
}

/// The credential in force. Handshakes that have begun end with the one they began with.
#[derive(Debug, Default)]
pub struct LiveCredential(ArcSwapOption<Credential>);

impl LiveCredential {
    /// None yet: every handshake fails.
    #[must_use]
    pub fn none_yet() -> Self {
        Self::default()
    }

    /// From now on this one.
    pub fn publish(&self, credential: Credential) {
        self.0.store(Some(Arc::new(credential)));
    }

    /// What is in force now.
    #[must_use]
    pub fn now(&self) -> Option<Arc<Credential>> {
        self.0.load_full()
    }
}

impl ResolvesServerCert for LiveCredential {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref().map(|credential| Arc::clone(&credential.key))
    }
}
