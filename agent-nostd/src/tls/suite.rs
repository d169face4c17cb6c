//! TLS_AES_128_GCM_SHA256 as embedded-tls asks for it, and the inner gate: what a record turns out to be when it is
//! decrypted is decided here, before the library's parser sees it.
//!
//! The library hands the record's header to the cipher as additional data, unchanged. The gate below has marked it with
//! the phase in which the record arrived (second byte; it was checked to be 0x03 on the wire, and is put back here), so
//! the cipher knows what may be inside:
//!
//! | phase | inside | done with it |
//! |---|---|---|
//! | handshake | handshake messages in their order ([`flight`]) | handed on as they are |
//! | handshake | anything else | does not decrypt |
//! | established | content, type, padding | padding cut, and handed on as data: content, type |
//!
//! So after the handshake the library never parses anything: it has a parser there that panics on most handshake
//! messages and forgets what an alert said. The guard takes the true type from the last byte and judges it itself.

use aes_gcm::Aes128Gcm;
use aes_gcm::aead::consts::{U0, U12, U16};
use aes_gcm::aead::{AeadCore, AeadInPlace, Buffer, Error, Key, KeyInit, KeySizeUser, Nonce, Tag};
use embedded_tls::{Aes128GcmSha256, Sha256, TlsCipherSuite};

use super::flight;
use super::link::Phase;

/// The one suite that is offered.
pub(super) struct GuardedSuite;

impl TlsCipherSuite for GuardedSuite {
    const CODE_POINT: u16 = Aes128GcmSha256::CODE_POINT;
    type Cipher = InnerGate;
    type KeyLen = U16;
    type IvLen = U12;
    type Hash = Sha256;
    type LabelBufferSize = <Aes128GcmSha256 as TlsCipherSuite>::LabelBufferSize;
}

/// AES-128-GCM that hands on only what may be inside a record.
pub(super) struct InnerGate(Aes128Gcm);

impl KeySizeUser for InnerGate {
    type KeySize = U16;
}

impl KeyInit for InnerGate {
    fn new(key: &Key<Self>) -> Self {
        Self(Aes128Gcm::new(key))
    }
}

impl AeadCore for InnerGate {
    type NonceSize = U12;
    type TagSize = U16;
    type CiphertextOverhead = U0;
}

impl AeadInPlace for InnerGate {
    fn encrypt_in_place_detached(
        &self,
        nonce: &Nonce<Self>,
        associated_data: &[u8],
        buffer: &mut [u8],
    ) -> Result<Tag<Self>, Error> {
        self.0.encrypt_in_place_detached(nonce, associated_data, buffer)
    }

    fn decrypt_in_place(
        &self,
        nonce: &Nonce<Self>,
        associated_data: &[u8],
        buffer: &mut dyn Buffer,
    ) -> Result<(), Error> {
        let [kind, mark, minor, high, low] = *associated_data.first_chunk::<5>().ok_or(Error)?;
        let phase = Phase::from_mark(mark).ok_or(Error)?;
        self.0.decrypt_in_place(nonce, &[kind, 0x03, minor, high, low], buffer)?;
        let typed = buffer.as_ref().iter().rposition(|byte| *byte != 0).ok_or(Error)? + 1;
        buffer.truncate(typed);
        if phase == Phase::Established {
            // Where the tag was there is room.
            return buffer.extend_from_slice(&[APPLICATION_DATA]);
        }
        match buffer.as_ref().split_last() {
            Some((&HANDSHAKE, messages)) => flight::check(phase, messages).map_err(|_| Error),
            _ => Err(Error),
        }
    }

    /// The library decrypts by the method above alone; by this one nothing could be looked at.
    fn decrypt_in_place_detached(
        &self,
        _nonce: &Nonce<Self>,
        _associated_data: &[u8],
        _buffer: &mut [u8],
        _tag: &Tag<Self>,
    ) -> Result<(), Error> {
        Err(Error)
    }
}

/// Content type of handshake messages (RFC 9846, section 5.1).
pub(super) const HANDSHAKE: u8 = 22;
/// Content type of alerts.
pub(super) const ALERT: u8 = 21;
/// Content type of data, and of every encrypted record on the wire.
pub(super) const APPLICATION_DATA: u8 = 23;
