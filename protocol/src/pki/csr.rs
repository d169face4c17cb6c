//! Certification requests, PKCS#10 (RFC 2986): written in firmware, checked in the gateway.
//!
//! The writer works from the back to the front, so every length is known when it is written: no allocation and no
//! second pass. A request of ours has the device id as the subject's serialNumber and the identity as the one SAN.
//!
//! The checker trusts nothing but the proof of possession. Names may be left out, since the profile decides what is
//! issued; a name that contradicts the authenticated identity is refused. Other requested extensions are ignored.

use super::distinguished_name::{self, attributes};
use super::extension::{BasicConstraints, Extensions, KeyUsage, SubjectAltName, SubjectAltNames};
use super::key::{PublicKey, Signature};
use super::oid;
use super::tlv::{self, Cursor, Malformed, Tag};
use crate::code::Code;
use crate::device_id::Identity;
use crate::limits::CSR_BYTES_MAX;

/// A request that is written but for its signature.
#[derive(Clone, Debug)]
pub struct CsrDraft {
    info: BackToFront<CSR_BYTES_MAX>,
}

impl CsrDraft {
    /// Writes the CertificationRequestInfo for `identity` and `key`.
    #[must_use]
    pub fn new(identity: &Identity, key: &PublicKey) -> Self {
        let mut out = BackToFront::new();
        out.wrap(&[0xa0], |out| {
            out.wrap(&[0x30], |out| {
                out.wrap(&[0x31], |out| {
                    // Extensions { Extension { subjectAltName, OCTET STRING { GeneralNames { [6] URI } } } }
                    out.wrap(&[0x30, 0x30], |out| {
                        out.wrap(&[0x04, 0x30, 0x86], |out| out.put(identity.to_san().as_bytes()));
                        out.wrap(&[0x06], |out| out.put(oid::SUBJECT_ALT_NAME));
                    });
                });
                out.wrap(&[0x06], |out| out.put(oid::EXTENSION_REQUEST));
            });
        });
        out.put(&key.to_spki());
        // Name { RDN { AttributeTypeAndValue { type, text } } }
        out.wrap(&[0x30, 0x31, 0x30], |out| {
            let name = identity.name().as_str();
            // A PrintableString has no underscore.
            let text: u8 = if name.contains('_') { 0x0c } else { 0x13 };
            let attribute = match identity {
                Identity::Device { .. } => oid::SERIAL_NUMBER,
                _ => oid::COMMON_NAME,
            };
            out.wrap(&[text], |out| out.put(name.as_bytes()));
            out.wrap(&[0x06], |out| out.put(attribute));
        });
        // Version 1 is written as 0.
        out.put(&[0x02, 0x01, 0x00]);
        out.head(&[0x30], 0);
        Self { info: out }
    }

    /// The bytes that the key has to sign, with SHA-256.
    #[must_use]
    pub fn to_be_signed(&self) -> &[u8] {
        self.info.bytes()
    }

    /// The request, DER.
    #[must_use]
    pub fn finish(self, signature: &Signature) -> heapless::Vec<u8, CSR_BYTES_MAX> {
        let mut out = BackToFront::<CSR_BYTES_MAX>::new();
        out.wrap(&[0x03], |out| {
            out.put(&signature.to_der());
            out.put(&[0x00]);
        });
        out.wrap(&[0x30, 0x06], |out| out.put(oid::ECDSA_WITH_SHA256));
        out.put(self.info.bytes());
        out.head(&[0x30], 0);
        // The writer's buffer has the length of the Vec.
        heapless::Vec::from_slice(out.bytes()).unwrap_or_default()
    }
}

/// DER, written from the end of a buffer towards its start.
#[derive(Clone, Debug)]
struct BackToFront<const N: usize> {
    buffer: [u8; N],
    start: usize,
}

impl<const N: usize> BackToFront<N> {
    const fn new() -> Self {
        Self { buffer: [0; N], start: N }
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    const fn written(&self) -> usize {
        N - self.start
    }

    /// Puts bytes in front. The longest names fit (see the test), so nothing is ever left out.
    fn put(&mut self, bytes: &[u8]) {
        let Some(start) = self.start.checked_sub(bytes.len()) else { return };
        if let Some(room) = self.buffer.get_mut(start..self.start) {
            room.copy_from_slice(bytes);
            self.start = start;
        }
    }

    /// Writes `content` and in front of it one header per tag, the last one innermost.
    fn wrap(&mut self, tags: &[u8], content: impl FnOnce(&mut Self)) {
        let before = self.written();
        content(self);
        self.head(tags, before);
    }

    /// Puts headers in front of everything that was written after `before`.
    fn head(&mut self, tags: &[u8], before: usize) {
        for tag in tags.iter().rev() {
            let [high, low] = u16::try_from(self.written() - before).unwrap_or(u16::MAX).to_be_bytes();
            match (high, low) {
                (0, 0..=0x7f) => self.put(&[*tag, low]),
                (0, _) => self.put(&[*tag, 0x81, low]),
                _ => self.put(&[*tag, 0x82, high, low]),
            }
        }
    }
}

/// Evidence that a request was signed by the key in it and contradicts no name. Only [`verify_csr`] makes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedCsr {
    identity: Identity,
    public_key: PublicKey,
}

impl VerifiedCsr {
    /// The identity that it was checked for.
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

/// Checks a request of a party that was authenticated as `expected`.
///
/// | cause | code |
/// |---|---|
/// | longer than `limits::CSR_BYTES_MAX` | [`Code::CsrOversized`] |
/// | not strict DER, trailing bytes, a second attribute of one kind, malformed extensions | [`Code::CsrMalformed`] |
/// | a key that is not P-256, or not on the curve | [`Code::CsrWrongKeyType`] |
/// | not signed by the key in it with ecdsa-with-SHA256 | [`Code::CsrBadSignature`] |
/// | a SAN, subject serialNumber or commonName of somebody else | [`Code::CsrWrongName`] |
/// | asks for CA:TRUE, keyCertSign or cRLSign | [`Code::CsrAsksCa`] |
pub fn verify_csr(der: &[u8], expected: &Identity) -> Result<VerifiedCsr, Code> {
    if der.len() > CSR_BYTES_MAX {
        return Err(Code::CsrOversized);
    }
    let request = Request::read(der).map_err(|Malformed| Code::CsrMalformed)?;
    let public_key = PublicKey::from_spki(request.spki)?;
    let signature = Signature::from_der(request.signature).map_err(|_| Code::CsrBadSignature)?;
    if request.algorithm != oid::ECDSA_WITH_SHA256 {
        return Err(Code::CsrBadSignature);
    }
    public_key.verify(request.info, &signature).map_err(|_| Code::CsrBadSignature)?;
    request.check_names(expected)?;
    request.check_authority()?;
    Ok(VerifiedCsr { identity: expected.clone(), public_key })
}

/// The fields of a request.
struct Request<'a> {
    info: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
    extensions: Extensions<'a>,
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Request<'a> {
    fn read(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Cursor::new(tlv::only(der, Tag::SEQUENCE)?);
        let info = outer.expect(Tag::SEQUENCE)?;
        let mut algorithm_fields = Cursor::new(outer.expect(Tag::SEQUENCE)?.value);
        let algorithm = algorithm_fields.expect(Tag::OBJECT_IDENTIFIER)?.value;
        // Parameters belong to algorithms that are refused anyhow; ecdsa-with-SHA256 has none (RFC 5758, section 3.2).
        if algorithm == oid::ECDSA_WITH_SHA256 {
            algorithm_fields.finish()?;
        }
        let signature = tlv::whole_octets(outer.expect(Tag::BIT_STRING)?.value)?;
        outer.finish()?;

        let mut fields = Cursor::new(info.value);
        if fields.expect(Tag::INTEGER)?.value != [0] {
            return Err(Malformed);
        }
        let subject = fields.expect(Tag::SEQUENCE)?.value;
        distinguished_name::check(subject)?;
        let spki = fields.expect(Tag::SEQUENCE)?.whole;
        let extensions = read_attributes(fields.expect(Tag::constructed(0))?.value)?;
        fields.finish()?;
        Ok(Self { info: info.whole, subject, spki, extensions, algorithm, signature })
    }

    fn check_names(&self, expected: &Identity) -> Result<(), Code> {
        let name = expected.name().as_str();
        let uri = expected.to_san();
        for attribute in attributes(self.subject) {
            let names_the_holder = attribute.oid == oid::SERIAL_NUMBER || attribute.oid == oid::COMMON_NAME;
            if names_the_holder && !attribute.text().is_some_and(|text| text == name || text == uri) {
                return Err(Code::CsrWrongName);
            }
        }
        let mut names = SubjectAltNames::new(self.extension(oid::SUBJECT_ALT_NAME));
        if names.all(|entry| entry == SubjectAltName::Uri(&uri)) { Ok(()) } else { Err(Code::CsrWrongName) }
    }

    fn check_authority(&self) -> Result<(), Code> {
        let asks_ca = self
            .extension(oid::BASIC_CONSTRAINTS)
            .and_then(|value| BasicConstraints::read(value).ok())
            .is_some_and(|constraints| constraints.ca);
        let asks_to_sign = self
            .extension(oid::KEY_USAGE)
            .and_then(|value| KeyUsage::read(value).ok())
            .is_some_and(|usage| usage.contains(KeyUsage::KEY_CERT_SIGN) || usage.contains(KeyUsage::CRL_SIGN));
        if asks_ca || asks_to_sign { Err(Code::CsrAsksCa) } else { Ok(()) }
    }

    fn extension(&self, oid: &[u8]) -> Option<&'a [u8]> {
        let mut extensions = self.extensions;
        extensions.find(|extension| extension.oid == oid).map(|extension| extension.value)
    }
}

/// Reads the attributes; gives the requested extensions (RFC 2985, section 5.4.2).
fn read_attributes(content: &[u8]) -> Result<Extensions<'_>, Malformed> {
    let mut attributes = Cursor::new(content);
    let mut requested = None;
    while !attributes.is_empty() {
        let mut attribute = Cursor::new(attributes.expect(Tag::SEQUENCE)?.value);
        let kind = attribute.expect(Tag::OBJECT_IDENTIFIER)?.value;
        let mut values = Cursor::new(attribute.expect(Tag::SET)?.value);
        attribute.finish()?;
        if kind == oid::EXTENSION_REQUEST {
            let extensions = Extensions::read(values.expect(Tag::SEQUENCE)?.value)?;
            values.finish()?;
            if requested.replace(extensions).is_some() {
                return Err(Malformed);
            }
        }
    }
    Ok(requested.unwrap_or(Extensions::NONE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device_id::{DeviceId, FleetId};

    #[test]
    fn the_longest_names_fit_a_request() {
        let key = PublicKey::from_sec1(&GENERATOR).unwrap();
        let fleet = FleetId::new(core::str::from_utf8(&[b'f'; 32]).unwrap()).unwrap();
        let name = DeviceId::new(core::str::from_utf8(&[b'_'; 64]).unwrap()).unwrap();
        for identity in [
            Identity::Device { fleet: fleet.clone(), device: name.clone() },
            Identity::Operator { fleet: fleet.clone(), name: name.clone() },
        ] {
            let request = CsrDraft::new(&identity, &key).finish(&Signature::new([0xff; 64]));
            let read = Request::read(&request).unwrap();
            assert_eq!(read.check_names(&identity), Ok(()));
            assert_eq!(read.spki, key.to_spki());
            assert!(!read.subject.is_empty() && request.len() < CSR_BYTES_MAX);
        }
    }

    /// The base point of P-256: a public key whose private key is 1.
    const GENERATOR: [u8; 65] = [
        0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77,
        0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42,
        0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b,
        0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
    ];
}
