//! What the station is willing to sign: one function, one page.
//!
//! A board on the bench may be anything: another product, a broken one, a computer that plays a board. Whatever it sends,
//! the station signs one name for one key: the name that the ledger set aside, for the key that this board showed, with
//! which it proved possession. Everything else about the certificate is the IDevID's profile and not the board's to say.

use muster_protocol::pki::{PublicKey, verify_csr};
use muster_protocol::{Code, Identity};

/// What a board is offered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// The name that it may have.
    pub identity: Identity,
    /// The key that it showed.
    pub public_key: PublicKey,
}

/// Evidence that a CSR may be signed. Only [`willing_to_sign`] makes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Willing {
    identity: Identity,
    public_key: PublicKey,
}

impl Willing {
    /// The name to be certified.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The key to be certified.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

/// Says whether the station signs `csr`.
///
/// | cause | code |
/// |---|---|
/// | longer than `limits::CSR_BYTES_MAX` | [`Code::CsrOversized`] |
/// | not strict DER, trailing bytes, a second attribute of one kind | [`Code::CsrMalformed`] |
/// | a key that is not P-256 | [`Code::CsrWrongKeyType`] |
/// | not signed by the key in it | [`Code::CsrBadSignature`] |
/// | any name that is not the one on offer | [`Code::CsrWrongName`] |
/// | asks for CA:TRUE or to sign certificates or CRLs | [`Code::CsrAsksCa`] |
/// | another key than the board showed | [`Code::FactoryKeyChanged`] |
/// | the offer is not for a device | [`Code::CsrWrongName`] |
pub fn willing_to_sign(csr: &[u8], offer: &Offer) -> Result<Willing, Code> {
    if !matches!(offer.identity, Identity::Device { .. }) {
        return Err(Code::CsrWrongName);
    }
    let verified = verify_csr(csr, &offer.identity)?;
    if *verified.public_key() != offer.public_key {
        return Err(Code::FactoryKeyChanged);
    }
    Ok(Willing { identity: verified.identity().clone(), public_key: *verified.public_key() })
}
