//! A borrowed view of one X.509 version 3 certificate in strict DER (RFC 5280, section 4.1).
//!
//! Reading says nothing about trust; that is [`super::chain`]. Every extension that an accessor knows is checked for
//! its form when the certificate is read, so accessors cannot fail.

use super::civil_time;
use super::distinguished_name::{self, attributes};
use super::extension::{BasicConstraints, Extension, Extensions, KeyUsage, Oids, SubjectAltName, SubjectAltNames};
use super::key::{BadSignature, PublicKey, Signature};
use super::oid;
use super::serial::Serial;
use super::tlv::{self, Cursor, Malformed, Tag};
use crate::code::Code;
use crate::device_id::Identity;
use crate::time::UnixTime;

/// One certificate. Borrows the DER bytes that it was read from.
#[derive(Clone, Debug)]
pub struct Certificate<'a> {
    der: &'a [u8],
    tbs: &'a [u8],
    serial: Serial,
    algorithm: &'a [u8],
    issuer: &'a [u8],
    validity: Validity,
    subject: &'a [u8],
    spki: &'a [u8],
    extensions: Extensions<'a>,
    signature: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads a certificate. [`Code::CertificateMalformed`] for anything but version 3 in strict DER with well-formed
    /// extensions, each once; [`Code::CertificateProfile`] for a serial number that is not positive or longer than 20
    /// octets.
    pub fn parse(der: &'a [u8]) -> Result<Self, Code> {
        let parts = Parts::read(der).map_err(|Malformed| Code::CertificateMalformed)?;
        let serial = Serial::new(parts.serial).map_err(|_| Code::CertificateProfile)?;
        Ok(Self {
            der,
            tbs: parts.tbs,
            serial,
            algorithm: parts.algorithm,
            issuer: parts.issuer,
            validity: parts.validity,
            subject: parts.subject,
            spki: parts.spki,
            extensions: parts.extensions,
            signature: parts.signature,
        })
    }

    /// The whole certificate.
    #[must_use]
    pub const fn der(&self) -> &'a [u8] {
        self.der
    }

    /// What the issuer signed.
    #[must_use]
    pub const fn tbs_der(&self) -> &'a [u8] {
        self.tbs
    }

    /// The serial number.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The issuer's name, DER.
    #[must_use]
    pub const fn issuer_der(&self) -> &'a [u8] {
        self.issuer
    }

    /// The subject's name, DER.
    #[must_use]
    pub const fn subject_der(&self) -> &'a [u8] {
        self.subject
    }

    /// The subject's X.520 serialNumber: the device id in a device's certificate. `None` unless there is exactly one.
    #[must_use]
    pub fn subject_serial_number(&self) -> Option<&'a str> {
        self.one_subject_attribute(oid::SERIAL_NUMBER)
    }

    /// The subject's commonName, for people. `None` unless there is exactly one.
    #[must_use]
    pub fn subject_common_name(&self) -> Option<&'a str> {
        self.one_subject_attribute(oid::COMMON_NAME)
    }

    /// First second of validity.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.validity.not_before
    }

    /// Last second of validity.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.validity.not_after
    }

    /// Whether each time has the form that its year asks for: UTCTime until 2049 (RFC 5280, section 4.1.2.5).
    #[must_use]
    pub const fn has_times_in_their_form(&self) -> bool {
        self.validity.in_their_form
    }

    /// The SubjectPublicKeyInfo, DER.
    #[must_use]
    pub const fn spki_der(&self) -> &'a [u8] {
        self.spki
    }

    /// The subject's key; [`Code::CertificateProfile`] unless it is a P-256 key in uncompressed form.
    pub fn public_key(&self) -> Result<PublicKey, Code> {
        PublicKey::from_spki(self.spki).map_err(|_| Code::CertificateProfile)
    }

    /// The signature algorithm, content octets of the OID; compare with [`oid::ECDSA_WITH_SHA256`].
    #[must_use]
    pub fn signature_algorithm(&self) -> &'a [u8] {
        Cursor::new(self.algorithm).expect(Tag::OBJECT_IDENTIFIER).map(|oid| oid.value).unwrap_or_default()
    }

    /// The signature's octets; an ECDSA-Sig-Value in DER in all certificates of ours.
    #[must_use]
    pub const fn signature(&self) -> &'a [u8] {
        self.signature
    }

    /// Checks the signature with `key`, which has to be an ecdsa-with-SHA256 one.
    pub fn verify_signed_by(&self, key: &PublicKey) -> Result<(), BadSignature> {
        if !self.is_signed_with_our_algorithm() {
            return Err(BadSignature);
        }
        key.verify(self.tbs, &Signature::from_der(self.signature)?)
    }

    /// Whether issuer and subject have the same name. Such a certificate may be, but need not be, self-signed.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether its own key signed it.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.public_key().is_ok_and(|key| self.verify_signed_by(&key).is_ok())
    }

    /// Every extension, in the order of the certificate.
    #[must_use]
    pub const fn extensions(&self) -> Extensions<'a> {
        self.extensions
    }

    /// The subjectAltName's entries; none when there is no such extension.
    #[must_use]
    pub fn subject_alt_names(&self) -> SubjectAltNames<'a> {
        SubjectAltNames::new(self.extension_value(oid::SUBJECT_ALT_NAME))
    }

    /// Who the holder is: exactly one SAN, a URI of ours. [`Code::CertificateNoIdentity`] otherwise.
    pub fn identity(&self) -> Result<Identity, Code> {
        let mut names = self.subject_alt_names();
        match (names.next(), names.next()) {
            (Some(SubjectAltName::Uri(uri)), None) => Identity::from_san(uri).map_err(|_| Code::CertificateNoIdentity),
            _ => Err(Code::CertificateNoIdentity),
        }
    }

    /// The key purposes, content octets of each OID; `None` when there is no such extension.
    #[must_use]
    pub fn extended_key_usage(&self) -> Option<Oids<'a>> {
        self.extension_value(oid::EXTENDED_KEY_USAGE).map(Oids::new)
    }

    /// The keyUsage bits, if the extension is there.
    #[must_use]
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.extension_value(oid::KEY_USAGE).and_then(|value| KeyUsage::read(value).ok())
    }

    /// The basicConstraints, if the extension is there.
    #[must_use]
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.extension_value(oid::BASIC_CONSTRAINTS).and_then(|value| BasicConstraints::read(value).ok())
    }

    /// The keyIdentifier of the authorityKeyIdentifier.
    #[must_use]
    pub fn authority_key_identifier(&self) -> Option<&'a [u8]> {
        let value = self.extension_value(oid::AUTHORITY_KEY_IDENTIFIER)?;
        let mut fields = Cursor::new(tlv::only(value, Tag::SEQUENCE).ok()?);
        fields.optional(Tag::primitive(0)).ok()?.map(|identifier| identifier.value)
    }

    /// The subjectKeyIdentifier.
    #[must_use]
    pub fn subject_key_identifier(&self) -> Option<&'a [u8]> {
        tlv::only(self.extension_value(oid::SUBJECT_KEY_IDENTIFIER)?, Tag::OCTET_STRING).ok()
    }

    /// Critical extensions that nothing here processes; a certificate with one must be refused (RFC 5280, section 4.2).
    pub fn unknown_critical_extensions(&self) -> impl Iterator<Item = Extension<'a>> {
        self.extensions.filter(|extension| extension.critical && !PROCESSED.contains(&extension.oid))
    }

    pub(super) fn extension(&self, oid: &[u8]) -> Option<Extension<'a>> {
        let mut extensions = self.extensions;
        extensions.find(|extension| extension.oid == oid)
    }

    /// Whether the algorithm is ecdsa-with-SHA256, without parameters (RFC 5758, section 3.2).
    pub(super) fn is_signed_with_our_algorithm(&self) -> bool {
        matches!(self.algorithm, [0x06, length, oid @ ..]
            if usize::from(*length) == oid.len() && oid == oid::ECDSA_WITH_SHA256)
    }

    /// Checks what a CA certificate needs for signing others; gives its pathLenConstraint.
    pub(super) fn check_issuer(&self) -> Result<Option<u8>, Code> {
        if self.unknown_critical_extensions().next().is_some() {
            return Err(Code::CertificateProfile);
        }
        let key_usage = self.key_usage().ok_or(Code::CertificateWrongUsage)?;
        match self.basic_constraints() {
            Some(BasicConstraints { ca: true, path_len }) if key_usage.contains(KeyUsage::KEY_CERT_SIGN) => {
                Ok(path_len)
            }
            _ => Err(Code::CertificateWrongUsage),
        }
    }

    /// Content octets of the subject.
    pub(super) fn subject_content(&self) -> &'a [u8] {
        tlv::only(self.subject, Tag::SEQUENCE).unwrap_or_default()
    }

    /// Content octets of the SubjectPublicKeyInfo.
    pub(super) fn spki_content(&self) -> &'a [u8] {
        tlv::only(self.spki, Tag::SEQUENCE).unwrap_or_default()
    }

    /// Content octets of the nameConstraints.
    pub(super) fn name_constraints_content(&self) -> Option<&'a [u8]> {
        tlv::only(self.extension_value(oid::NAME_CONSTRAINTS)?, Tag::SEQUENCE).ok()
    }

    fn extension_value(&self, oid: &[u8]) -> Option<&'a [u8]> {
        self.extension(oid).map(|extension| extension.value)
    }

    fn one_subject_attribute(&self, oid: &[u8]) -> Option<&'a str> {
        let mut found = attributes(self.subject_content()).filter(|attribute| attribute.oid == oid);
        match (found.next(), found.next()) {
            (Some(attribute), None) => attribute.text(),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Validity {
    not_before: UnixTime,
    not_after: UnixTime,
    in_their_form: bool,
}

impl Validity {
    fn read(content: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Cursor::new(content);
        let (not_before, first) = read_time(&mut fields)?;
        let (not_after, second) = read_time(&mut fields)?;
        fields.finish()?;
        Ok(Self { not_before, not_after, in_their_form: first && second })
    }
}

/// The fields of a certificate as they stand in it.
struct Parts<'a> {
    tbs: &'a [u8],
    serial: &'a [u8],
    algorithm: &'a [u8],
    issuer: &'a [u8],
    validity: Validity,
    subject: &'a [u8],
    spki: &'a [u8],
    extensions: Extensions<'a>,
    signature: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Cursor::new(tlv::only(der, Tag::SEQUENCE)?);
        let tbs = outer.expect(Tag::SEQUENCE)?;
        let outer_algorithm = outer.expect(Tag::SEQUENCE)?.value;
        let signature = tlv::whole_octets(outer.expect(Tag::BIT_STRING)?.value)?;
        outer.finish()?;

        let mut fields = Cursor::new(tbs.value);
        let version = fields.expect(Tag::constructed(0))?.value;
        if tlv::only(version, Tag::INTEGER)? != [2] {
            return Err(Malformed);
        }
        let serial = fields.expect(Tag::INTEGER)?.value;
        if matches!(serial, [] | [0x00, 0x00..=0x7f, ..] | [0xff, 0x80..=0xff, ..]) {
            return Err(Malformed);
        }
        let algorithm = fields.expect(Tag::SEQUENCE)?.value;
        Cursor::new(algorithm).expect(Tag::OBJECT_IDENTIFIER)?;
        if algorithm != outer_algorithm {
            return Err(Malformed);
        }
        let issuer = fields.expect(Tag::SEQUENCE)?;
        distinguished_name::check(issuer.value)?;
        let validity = Validity::read(fields.expect(Tag::SEQUENCE)?.value)?;
        let subject = fields.expect(Tag::SEQUENCE)?;
        distinguished_name::check(subject.value)?;
        let spki = fields.expect(Tag::SEQUENCE)?;
        // issuerUniqueID and subjectUniqueID must not be used (RFC 5280, section 4.1.2.8); here they are an error.
        let extensions = match fields.optional(Tag::constructed(3))? {
            Some(tagged) => Extensions::read(tlv::only(tagged.value, Tag::SEQUENCE)?)?,
            None => Extensions::NONE,
        };
        fields.finish()?;
        Ok(Self {
            tbs: tbs.whole,
            serial,
            algorithm,
            issuer: issuer.whole,
            validity,
            subject: subject.whole,
            spki: spki.whole,
            extensions,
            signature,
        })
    }
}

/// A time, and whether its year asks for the form it has.
fn read_time(fields: &mut Cursor<'_>) -> Result<(UnixTime, bool), Malformed> {
    let time = fields.next()?;
    match time.tag {
        Tag::UTC_TIME => Ok((civil_time::read_utc(time.value)?, true)),
        Tag::GENERALIZED_TIME => {
            let time = civil_time::read_generalized(time.value)?;
            Ok((time, time.0 >= YEAR_2050))
        }
        _ => Err(Malformed),
    }
}

/// 2050-01-01T00:00:00Z.
const YEAR_2050: u64 = 2_524_608_000;

/// The extensions that are processed, here or by webpki, when they are critical.
const PROCESSED: [&[u8]; 5] =
    [oid::KEY_USAGE, oid::SUBJECT_ALT_NAME, oid::BASIC_CONSTRAINTS, oid::NAME_CONSTRAINTS, oid::EXTENDED_KEY_USAGE];
