//! Certificate extensions (RFC 5280, section 4.2), as certificates carry them and CSRs ask for them.

use super::oid;
use super::tlv::{self, Cursor, Malformed, Tag};

/// One extension.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extension<'a> {
    /// Content octets of the OID.
    pub oid: &'a [u8],
    /// Whether whoever cannot process it must refuse the certificate.
    pub critical: bool,
    /// The DER value inside the OCTET STRING.
    pub value: &'a [u8],
}

/// Iterates over extensions. All are well formed, each stands there once.
#[derive(Clone, Copy, Debug)]
pub struct Extensions<'a>(Cursor<'a>);

impl<'a> Extensions<'a> {
    pub(super) const NONE: Self = Self(Cursor::new(&[]));

    /// Checks the content octets of a `SEQUENCE OF Extension`.
    pub(super) fn read(content: &'a [u8]) -> Result<Self, Malformed> {
        let mut unread = Cursor::new(content);
        let mut seen = heapless::Vec::<&[u8], EXTENSIONS_MAX>::new();
        // Extensions ::= SEQUENCE SIZE (1..MAX)
        if unread.is_empty() {
            return Err(Malformed);
        }
        while !unread.is_empty() {
            let extension = read_extension(&mut unread)?;
            if seen.contains(&extension.oid) {
                return Err(Malformed);
            }
            seen.push(extension.oid).map_err(|_| Malformed)?;
            check_value(&extension)?;
        }
        Ok(Self(Cursor::new(content)))
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        if self.0.is_empty() {
            return None;
        }
        read_extension(&mut self.0).ok()
    }
}

fn read_extension<'a>(extensions: &mut Cursor<'a>) -> Result<Extension<'a>, Malformed> {
    let mut fields = Cursor::new(extensions.expect(Tag::SEQUENCE)?.value);
    let oid = fields.expect(Tag::OBJECT_IDENTIFIER)?.value;
    let critical = match fields.optional(Tag::BOOLEAN)? {
        // FALSE is the default, and DER leaves defaults out (X.690, section 11.5).
        Some(critical) if tlv::boolean(critical.value)? => true,
        Some(_) => return Err(Malformed),
        None => false,
    };
    let value = fields.expect(Tag::OCTET_STRING)?.value;
    fields.finish()?;
    Ok(Extension { oid, critical, value })
}

/// Checks the form of the extensions that somebody here will look into.
fn check_value(extension: &Extension<'_>) -> Result<(), Malformed> {
    let value = extension.value;
    match extension.oid {
        oid::BASIC_CONSTRAINTS => BasicConstraints::read(value).map(|_| ()),
        oid::KEY_USAGE => KeyUsage::read(value).map(|_| ()),
        oid::EXTENDED_KEY_USAGE => Oids::check(value),
        oid::SUBJECT_ALT_NAME => SubjectAltNames::check(value),
        oid::SUBJECT_KEY_IDENTIFIER => tlv::only(value, Tag::OCTET_STRING).map(|_| ()),
        oid::AUTHORITY_KEY_IDENTIFIER => {
            let mut fields = Cursor::new(tlv::only(value, Tag::SEQUENCE)?);
            fields.optional(Tag::primitive(0))?;
            fields.optional(Tag::constructed(1))?;
            fields.optional(Tag::primitive(2))?;
            fields.finish()
        }
        oid::NAME_CONSTRAINTS => tlv::only(value, Tag::SEQUENCE).map(|_| ()),
        _ => Ok(()),
    }
}

/// basicConstraints (RFC 5280, section 4.2.1.9).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BasicConstraints {
    /// Whether the subject is a CA.
    pub ca: bool,
    /// How many non-self-issued CAs may follow.
    pub path_len: Option<u8>,
}

impl BasicConstraints {
    pub(super) fn read(value: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Cursor::new(tlv::only(value, Tag::SEQUENCE)?);
        let ca = match fields.optional(Tag::BOOLEAN)? {
            Some(ca) if tlv::boolean(ca.value)? => true,
            Some(_) => return Err(Malformed),
            None => false,
        };
        let path_len = match fields.optional(Tag::INTEGER)?.map(|length| length.value) {
            None => None,
            Some([length @ 0..=0x7f] | [0, length @ 0x80..=0xff]) => Some(*length),
            Some(_) => return Err(Malformed),
        };
        fields.finish()?;
        Ok(Self { ca, path_len })
    }
}

/// keyUsage (RFC 5280, section 4.2.1.3). Bit 0 of the standard, digitalSignature, is the lowest bit here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyUsage(u16);

impl KeyUsage {
    /// Signing anything but certificates and CRLs, so also a TLS handshake.
    pub const DIGITAL_SIGNATURE: Self = Self(1 << 0);
    /// Signing certificates.
    pub const KEY_CERT_SIGN: Self = Self(1 << 5);
    /// Signing CRLs.
    pub const CRL_SIGN: Self = Self(1 << 6);

    /// Whether every usage of `other` is among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The usages of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// A named bit list has no trailing zero bits (X.690, section 11.2.2), and one bit at least must be set.
    pub(super) fn read(value: &[u8]) -> Result<Self, Malformed> {
        let (unused, first, second) = match tlv::only(value, Tag::BIT_STRING)? {
            [unused, first] => (*unused, *first, 0),
            [unused, first, second] => (*unused, *first, *second),
            _ => return Err(Malformed),
        };
        let bits = u16::from(first.reverse_bits()) | u16::from(second.reverse_bits()) << 8;
        let last = if second == 0 { first } else { second };
        let two_octets = tlv::only(value, Tag::BIT_STRING)?.len() == 3;
        if bits == 0 || bits > 0x1ff || last.trailing_zeros() != u32::from(unused) || two_octets != (second != 0) {
            return Err(Malformed);
        }
        Ok(Self(bits))
    }
}

/// Iterates over a `SEQUENCE OF OBJECT IDENTIFIER`; yields content octets.
#[derive(Clone, Copy, Debug)]
pub struct Oids<'a>(Cursor<'a>);

impl<'a> Oids<'a> {
    pub(super) fn new(value: &'a [u8]) -> Self {
        Self(Cursor::new(tlv::only(value, Tag::SEQUENCE).unwrap_or_default()))
    }

    fn check(value: &[u8]) -> Result<(), Malformed> {
        let mut oids = Cursor::new(tlv::only(value, Tag::SEQUENCE)?);
        if oids.is_empty() {
            return Err(Malformed);
        }
        while !oids.is_empty() {
            oids.expect(Tag::OBJECT_IDENTIFIER)?;
        }
        Ok(())
    }
}

impl<'a> Iterator for Oids<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.expect(Tag::OBJECT_IDENTIFIER).ok().map(|oid| oid.value)
    }
}

/// One entry of a subjectAltName (RFC 5280, section 4.2.1.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SubjectAltName<'a> {
    /// uniformResourceIdentifier.
    Uri(&'a str),
    /// dNSName.
    Dns(&'a str),
    /// iPAddress: 4 or 16 octets.
    Ip(&'a [u8]),
    /// Any other form of name.
    Other,
}

/// Iterates over the entries of a subjectAltName.
#[derive(Clone, Copy, Debug)]
pub struct SubjectAltNames<'a>(Cursor<'a>);

impl<'a> SubjectAltNames<'a> {
    pub(super) fn new(value: Option<&'a [u8]>) -> Self {
        let content = value.and_then(|value| tlv::only(value, Tag::SEQUENCE).ok());
        Self(Cursor::new(content.unwrap_or_default()))
    }

    fn check(value: &[u8]) -> Result<(), Malformed> {
        let mut names = Cursor::new(tlv::only(value, Tag::SEQUENCE)?);
        if names.is_empty() {
            return Err(Malformed);
        }
        while !names.is_empty() {
            read_name(&mut names)?;
        }
        Ok(())
    }
}

impl<'a> Iterator for SubjectAltNames<'a> {
    type Item = SubjectAltName<'a>;

    fn next(&mut self) -> Option<SubjectAltName<'a>> {
        if self.0.is_empty() {
            return None;
        }
        read_name(&mut self.0).ok()
    }
}

fn read_name<'a>(names: &mut Cursor<'a>) -> Result<SubjectAltName<'a>, Malformed> {
    let name = names.next()?;
    match name.tag {
        URI => ia5_text(name.value).map(SubjectAltName::Uri),
        DNS_NAME => ia5_text(name.value).map(SubjectAltName::Dns),
        IP_ADDRESS if matches!(name.value.len(), 4 | 16) => Ok(SubjectAltName::Ip(name.value)),
        tag if OTHER_NAMES.contains(&tag) => Ok(SubjectAltName::Other),
        _ => Err(Malformed),
    }
}

fn ia5_text(value: &[u8]) -> Result<&str, Malformed> {
    if !value.is_ascii() {
        return Err(Malformed);
    }
    core::str::from_utf8(value).map_err(|_| Malformed)
}

const DNS_NAME: Tag = Tag::primitive(2);
const URI: Tag = Tag::primitive(6);
const IP_ADDRESS: Tag = Tag::primitive(7);
/// otherName, rfc822Name, x400Address, directoryName, ediPartyName and registeredID.
const OTHER_NAMES: [Tag; 6] = [
    Tag::constructed(0),
    Tag::primitive(1),
    Tag::constructed(3),
    Tag::constructed(4),
    Tag::constructed(5),
    Tag::primitive(8),
];
/// More extensions than any certificate of a device has; bounds the search for one that stands there twice.
const EXTENSIONS_MAX: usize = 24;
