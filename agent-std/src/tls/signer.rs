//! The client certificate of a handshake. Its key signs elsewhere, behind a closure: here it is neither seen nor held.

use std::fmt;
use std::sync::Arc;

use muster_protocol::pki::Signature;
use rustls::client::ResolvesClientCert;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

use super::ClientCredential;

/// Signs a message with ECDSA P-256 over its SHA-256; `None` when the key store fails.
pub type Sign = Arc<dyn Fn(&[u8]) -> Option<Signature> + Send + Sync>;

/// Always this one credential, whatever CA names the gateway hints at: which one to show is decided by the core.
pub(super) fn resolver(credential: &ClientCredential) -> Arc<dyn ResolvesClientCert> {
    let key = Arc::new(RemoteKey { sign: Arc::clone(&credential.sign) });
    Arc::new(OneCredential { certified: Arc::new(CertifiedKey::new(credential.chain.clone(), key)) })
}

struct OneCredential {
    certified: Arc<CertifiedKey>,
}

impl fmt::Debug for OneCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneCredential").finish_non_exhaustive()
    }
}

impl ResolvesClientCert for OneCredential {
    fn resolve(&self, _root_hint_subjects: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        schemes.contains(&SCHEME).then(|| Arc::clone(&self.certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Clone)]
struct RemoteKey {
    sign: Sign,
}

impl fmt::Debug for RemoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKey").finish_non_exhaustive()
    }
}

impl SigningKey for RemoteKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SCHEME).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for RemoteKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = (self.sign)(message).ok_or_else(|| Error::General("the key store did not sign".to_owned()))?;
        Ok(signature.to_der().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SCHEME
    }
}

const SCHEME: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
