//! A certificate, its chain and its key in one file for a browser (PKCS#12, RFC 7292).

use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};

use crate::key::KeyPair;

/// The file could not be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the PKCS#12 file could not be made")]
pub struct Pkcs12Error;

/// PBKDF2 iterations for the content and the integrity check alike.
const ITERATIONS: u32 = 100_000;

/// Makes a PKCS#12 file that browsers import: PBES2 with AES-256, HMAC-SHA-256.
pub fn pkcs12(name: &str, chain: &[&[u8]], key: &KeyPair, password: &str) -> Result<Vec<u8>, Pkcs12Error> {
    let key_der = key.to_der().map_err(|_| Pkcs12Error)?;
    let key_id = key.public_key().fingerprint();
    let certificates =
        chain.iter().map(|der| Certificate::from_der(der)).collect::<Result<Vec<_>, _>>().map_err(|_| Pkcs12Error)?;
    let private = PrivateKey::from_der(&key_der).map_err(|_| Pkcs12Error)?;
    let mut store = KeyStore::new();
    store.add_entry(
        name,
        KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(key_id.0.as_slice(), private, certificates)),
    );
    store.writer(password).encryption_iterations(ITERATIONS).mac_iterations(ITERATIONS).write().map_err(|_| Pkcs12Error)
}
