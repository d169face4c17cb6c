//! Certificates for simulated worlds: a plain DER writer that keeps the profiles of the core, and can break them.
//!
//! The gateway and the factory issue with `muster-issuing`, which draws random numbers; here the same request gives
//! the same bytes.

use muster_protocol::UnixTime;
use muster_protocol::device_id::Identity;
use muster_protocol::pki::{Profile, PublicKey, Serial, oid};
use sha2::{Digest, Sha256};

use super::key::TestKey;

/// What goes into a certificate.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Its kind.
    pub profile: Profile,
    /// Its serial number.
    pub serial: Serial,
    /// commonName of a CA or server; a device has its id as serialNumber instead.
    pub name: &'a str,
    /// The one SAN of a device; none for CAs.
    pub identity: Option<Identity>,
    /// dNSName of a server.
    pub host: Option<&'a str>,
    /// First second of validity.
    pub not_before: UnixTime,
    /// Last second of validity.
    pub not_after: UnixTime,
}

/// A CA of a test.
pub struct TestCa {
    pub(super) key: TestKey,
    subject: Vec<u8>,
    certificate: Vec<u8>,
}

impl TestCa {
    /// A self-signed CA, valid for twenty years.
    #[must_use]
    pub fn new(profile: Profile, name: &str, number: u64, not_before: UnixTime) -> Self {
        let key = TestKey::new(name, number);
        let name = format!("{name} {number}");
        let request = Request {
            profile,
            serial: serial_of(&[name.as_bytes()]),
            name: &name,
            identity: None,
            host: None,
            not_before,
            not_after: not_before.plus_secs(20 * 365 * 86_400),
        };
        let subject = subject(&request);
        let certificate = write(&request, key.public(), &subject, None, &key);
        Self { key, subject, certificate }
    }

    /// The CA's certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The CA's key.
    #[must_use]
    pub const fn key(&self) -> &TestKey {
        &self.key
    }

    /// Issues a certificate for `key`.
    #[must_use]
    pub fn issue(&self, request: &Request<'_>, key: &PublicKey) -> Vec<u8> {
        write(request, key, &self.subject, Some(self.key.public()), &self.key)
    }
}

/// A serial number that follows from what it is for.
#[must_use]
pub fn serial_of(parts: &[&[u8]]) -> Serial {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut octets = [0; 16];
    octets.copy_from_slice(&hash.finalize()[..16]);
    Serial::from_random(octets)
}

fn write(
    request: &Request<'_>,
    key: &PublicKey,
    issuer: &[u8],
    authority: Option<&PublicKey>,
    signer: &TestKey,
) -> Vec<u8> {
    let algorithm = tlv(0x30, &[&tlv(0x06, &[oid::ECDSA_WITH_SHA256])]);
    let validity = tlv(0x30, &[&time(request.not_before), &time(request.not_after)]);
    let to_be_signed = tlv(
        0x30,
        &[
            &[0xa0, 0x03, 0x02, 0x01, 0x02],
            &tlv(0x02, &[request.serial.as_bytes()]),
            &algorithm,
            issuer,
            &validity,
            &subject(request),
            &key.to_spki(),
            &tlv(0xa3, &[&tlv(0x30, &[&extensions(request, key, authority)])]),
        ],
    );
    let signature = signer.sign(&to_be_signed).to_der();
    tlv(0x30, &[&to_be_signed, &algorithm, &tlv(0x03, &[&[0], &signature])])
}

fn subject(request: &Request<'_>) -> Vec<u8> {
    let (attribute, text) = match &request.identity {
        Some(identity @ Identity::Device { .. }) => (oid::SERIAL_NUMBER, identity.name().as_str()),
        Some(identity) => (oid::COMMON_NAME, identity.name().as_str()),
        None => (oid::COMMON_NAME, request.name),
    };
    // A PrintableString has no underscore.
    let tag = if text.contains('_') { 0x0c } else { 0x13 };
    let attribute = tlv(0x30, &[&tlv(0x06, &[attribute]), &tlv(tag, &[text.as_bytes()])]);
    tlv(0x30, &[&tlv(0x31, &[&attribute])])
}

fn extensions(request: &Request<'_>, key: &PublicKey, authority: Option<&PublicKey>) -> Vec<u8> {
    let profile = request.profile;
    let mut all = Vec::new();
    if let Some(authority) = authority {
        let content = tlv(0x30, &[&tlv(0x80, &[&key_id(authority)])]);
        all.extend(extension(oid::AUTHORITY_KEY_IDENTIFIER, false, &content));
    }
    if profile.is_ca() {
        all.extend(extension(oid::SUBJECT_KEY_IDENTIFIER, false, &tlv(0x04, &[&key_id(key)])));
        let path_len = profile.path_len().map(|length| tlv(0x02, &[&[length]])).unwrap_or_default();
        let content = tlv(0x30, &[&[0x01, 0x01, 0xff], &path_len]);
        all.extend(extension(oid::BASIC_CONSTRAINTS, true, &content));
    }
    let usage: &[u8] = match profile {
        Profile::FactoryIssuing => &[0x03, 0x02, 0x01, 0x86],
        profile if profile.is_ca() => &[0x03, 0x02, 0x01, 0x06],
        _ => &[0x03, 0x02, 0x07, 0x80],
    };
    all.extend(extension(oid::KEY_USAGE, true, usage));
    if let Some(purpose) = profile.extended_key_usage() {
        all.extend(extension(oid::EXTENDED_KEY_USAGE, false, &tlv(0x30, &[&tlv(0x06, &[purpose])])));
    }
    let san = match (&request.identity, request.host) {
        (Some(identity), _) => Some(tlv(0x86, &[identity.to_san().as_bytes()])),
        (None, Some(host)) => Some(tlv(0x82, &[host.as_bytes()])),
        (None, None) => None,
    };
    if let Some(san) = san {
        all.extend(extension(oid::SUBJECT_ALT_NAME, false, &tlv(0x30, &[&san])));
    }
    all
}

fn extension(id: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    tlv(0x30, &[&tlv(0x06, &[id]), critical, &tlv(0x04, &[content])])
}

/// The first 160 bits of the SHA-256 of the point (RFC 7093, section 2, method 1).
fn key_id(key: &PublicKey) -> [u8; 20] {
    let mut id = [0; 20];
    id.copy_from_slice(&Sha256::digest(key.as_sec1())[..20]);
    id
}

/// UTCTime until 2049, GeneralizedTime after (RFC 5280, section 4.1.2.5).
fn time(time: UnixTime) -> Vec<u8> {
    let (days, seconds) = (time.0 / 86_400, time.0 % 86_400);
    // Days to civil date after Howard Hinnant, for years from 1970 on.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let clock = format!("{month:02}{day:02}{:02}{:02}{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if year < 2050 {
        tlv(0x17, &[format!("{:02}{clock}", year % 100).as_bytes()])
    } else {
        tlv(0x18, &[format!("{year:04}{clock}").as_bytes()])
    }
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(length + 4);
    bytes.push(tag);
    match length.to_be_bytes() {
        [.., 0, low] if low < 0x80 => bytes.push(low),
        [.., 0, low] => bytes.extend([0x81, low]),
        [.., high, low] => bytes.extend([0x82, high, low]),
    }
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}
