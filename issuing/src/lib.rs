//! Certificates, keys and signed documents, made on hosts: shared by the factory and the gateway.
//!
//! | module | what |
//! |---|---|
//! | [`key`] | P-256 key pairs: PKCS#8, plain and encrypted |
//! | [`issuer`] | a CA: every certificate by its profile, linted and verified before it is handed out |
//! | [`mod@seal`] | the container of signed documents ([`muster_protocol::signed`]) |
//! | [`pem`] | certificates as PEM |
//! | [`mod@file`] | files that survive a power cut, and secrets that only their owner reads |
//! | [`pkcs12`] | a certificate and its key for a browser |
//!
//! What a certificate looks like is not decided here but in [`muster_protocol::pki::profile`].

pub mod file;
pub mod issuer;
pub mod key;
pub mod pem;
pub mod pkcs12;
pub mod seal;

pub use issuer::{IssueError, Issuer};
pub use key::{KeyError, KeyPair};
pub use seal::seal;
