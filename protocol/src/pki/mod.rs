//! Keys, certificates, requests, chains and the profile lint.
//!
//! Everything here reads bytes that a peer, a disk or a flash supplied: strict DER, no allocation, no panic. Path
//! building is rustls-webpki's; what it leaves open (serial numbers, key usage, one SAN, roles) is closed in [`chain`].
//!
//! | module | what |
//! |---|---|
//! | [`key`], [`serial`] | P-256 public keys, fingerprints, signatures, serial numbers |
//! | [`certificate`] | a borrowed view of one certificate |
//! | [`curve`] | whether a signature fits: the curve, portable or by assembly |
//! | [`algorithm`] | ECDSA P-256 for webpki |
//! | [`trust_anchor`], [`chain`] | what is trusted, and the checks that make evidence |
//! | [`csr`] | PKCS#10 requests, written and checked |
//! | [`profile`], [`mod@lint`] | what each kind of certificate has to look like, and the check of it |

pub mod algorithm;
mod bytes;
pub mod certificate;
pub mod chain;
mod civil_time;
pub mod csr;
pub mod curve;
mod distinguished_name;
pub mod extension;
pub mod key;
pub mod lint;
pub mod oid;
pub mod profile;
pub mod serial;
mod tlv;
pub mod trust_anchor;

pub use algorithm::ECDSA_P256_SHA256;
pub use certificate::Certificate;
pub use chain::{
    ClientAnchors, GatewayClock, IssuedCertificate, Role, VerifiedClient, VerifiedGateway, VerifiedIssuer,
    verify_client, verify_gateway, verify_issued, verify_issuing_ca,
};
pub use csr::{CsrDraft, VerifiedCsr, verify_csr};
pub use key::{BadKey, BadSignature, KeyFingerprint, PublicKey, Signature};
pub use lint::{Finding, lint};
pub use profile::Profile;
pub use serial::Serial;
pub use trust_anchor::TrustAnchor;
