//! The profile lint: every rule that a certificate's bytes can be held against, named by standard and section.
//!
//! It runs over every certificate that any part issues, before the certificate leaves. A finding is a fault of the
//! issuer, not of a peer; peers are judged by [`super::chain`].

use super::certificate::Certificate;
use super::extension::{BasicConstraints, SubjectAltName};
use super::oid;
use super::profile::{BACKDATE_SECS, END_ENTITY_LIFE_SECS_MAX, Life, Profile};
use crate::device_id::Identity;
use crate::limits::CERTIFICATE_BYTES_MAX;
use crate::time::UnixTime;

/// A rule that a certificate breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Stable id of the rule.
    pub rule: &'static str,
    /// The standard and its section.
    pub section: &'static str,
    /// What the rule asks for.
    pub text: &'static str,
}

/// More findings than there are rules.
pub const FINDINGS_MAX: usize = 32;

/// The findings about one certificate.
pub type Findings = heapless::Vec<Finding, FINDINGS_MAX>;

/// Holds `certificate` against `profile`. No findings: it keeps every rule.
#[must_use]
pub fn lint(certificate: &Certificate<'_>, profile: Profile) -> Findings {
    let mut lint = Lint { findings: Findings::new() };
    lint.fields(certificate);
    lint.names(certificate, profile);
    lint.lifetime(certificate, profile);
    lint.usage(certificate, profile);
    lint.subject_alt_name(certificate, profile);
    lint.identifiers(certificate, profile);
    lint.other_extensions(certificate);
    lint.findings
}

/// Holds `certificate` against the certificate of the CA that is to have issued it.
#[must_use]
pub fn lint_issued_by(certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> Findings {
    let mut lint = Lint { findings: Findings::new() };
    lint.rule(
        certificate.issuer_der() == issuer.subject_der(),
        "issuer-name",
        "RFC 5280, section 4.1.2.4",
        "the issuer is the subject of the issuing CA, octet by octet",
    );
    lint.rule(
        issuer.public_key().is_ok_and(|key| certificate.verify_signed_by(&key).is_ok()),
        "issuer-signature",
        "RFC 5280, section 4.1.1.3",
        "the issuing CA's key signed it",
    );
    lint.rule(
        certificate.is_self_issued() || certificate.authority_key_identifier() == issuer.subject_key_identifier(),
        "aki-is-issuers-ski",
        "draft-ietf-uta-tls13-iot-profile, sections 17.3.2 and 17.4.2",
        "the authority key identifier is the subject key identifier of the issuing CA",
    );
    lint.rule(
        certificate.not_before() >= issuer.not_before() && certificate.not_after() <= issuer.not_after(),
        "validity-within-issuer",
        "draft-ietf-uta-tls13-iot-profile, section 17.1.5",
        "it is valid only while the issuing CA is",
    );
    lint.findings
}

struct Lint {
    findings: Findings,
}

impl Lint {
    fn rule(&mut self, kept: bool, rule: &'static str, section: &'static str, text: &'static str) {
        if !kept {
            // FINDINGS_MAX is above the number of rules.
            let _ = self.findings.push(Finding { rule, section, text });
        }
    }

    fn fields(&mut self, certificate: &Certificate<'_>) {
        self.rule(
            certificate.der().len() <= CERTIFICATE_BYTES_MAX,
            "size",
            "Muster, protocol limits",
            "a certificate fits the stores of firmware",
        );
        self.rule(
            certificate.serial().as_bytes().len() >= 8,
            "serial-length",
            "draft-ietf-uta-tls13-iot-profile, section 17.1.2",
            "the serial number has at least 8 octets, from a random number generator",
        );
        self.rule(
            certificate.is_signed_with_our_algorithm(),
            "signature-algorithm",
            "RFC 5758, section 3.2",
            "signed with ecdsa-with-SHA256, without parameters",
        );
        self.rule(
            certificate.public_key().is_ok(),
            "public-key",
            "RFC 5480, section 2",
            "the key is an uncompressed point on P-256, named as secp256r1",
        );
    }

    fn names(&mut self, certificate: &Certificate<'_>, profile: Profile) {
        self.rule(
            certificate.issuer_der().len() > EMPTY_NAME_BYTES,
            "issuer-not-empty",
            "RFC 5280, section 4.1.2.4",
            "the issuer is not empty",
        );
        self.rule(
            certificate.is_self_issued() == profile.is_self_signed(),
            "self-issued",
            "RFC 5280, section 3.2",
            "issuer and subject are equal in a root and nowhere else",
        );
        match profile {
            Profile::Idevid | Profile::Ldevid => {
                let device = certificate.identity().ok();
                self.rule(
                    certificate.subject_serial_number() == device.as_ref().map(|identity| identity.name().as_str()),
                    "subject-serial-number",
                    "IEEE 802.1AR-2018, section 8; draft-ietf-uta-tls13-iot-profile, section 17.4.1",
                    "the subject has one serialNumber, the device id of the SAN",
                );
            }
            _ => self.rule(
                certificate
                    .subject_common_name()
                    .is_some_and(|name| !name.is_empty() && (profile.is_ca() || !name.contains('.'))),
                "subject-common-name",
                "RFC 5280, section 4.1.2.6; RFC 9525, section 2",
                "the subject has one commonName, in an end entity no domain name",
            ),
        }
    }

    fn lifetime(&mut self, certificate: &Certificate<'_>, profile: Profile) {
        let (start, end) = (certificate.not_before(), certificate.not_after());
        self.rule(start < end, "validity-order", "RFC 5280, section 4.1.2.5", "notBefore is earlier than notAfter");
        self.rule(
            certificate.has_times_in_their_form(),
            "validity-form",
            "RFC 5280, section 4.1.2.5",
            "a time is a UTCTime until 2049 and a GeneralizedTime from 2050",
        );
        match profile.life() {
            Life::Forever => self.rule(
                end == UnixTime::FOREVER,
                "validity-without-end",
                "IEEE 802.1AR-2018, section 8; RFC 5280, section 4.1.2.5",
                "notAfter is 99991231235959Z",
            ),
            Life::Secs(_) if profile.is_ca() => self.rule(
                end < UnixTime::FOREVER,
                "validity-bounded",
                "draft-ietf-uta-tls13-iot-profile, section 17.1.5",
                "a CA that can be replaced has an end",
            ),
            Life::Secs(_) => self.rule(
                end.secs_since(start) <= END_ENTITY_LIFE_SECS_MAX + BACKDATE_SECS,
                "validity-bounded",
                "draft-ietf-uta-tls13-iot-profile, section 17.1.5",
                "an operational certificate lives for 398 days at most",
            ),
        }
    }

    fn usage(&mut self, certificate: &Certificate<'_>, profile: Profile) {
        let critical = |oid| certificate.extension(oid).is_some_and(|extension| extension.critical);
        self.rule(
            certificate.key_usage() == Some(profile.key_usage()),
            "key-usage",
            "draft-ietf-uta-tls13-iot-profile, sections 17.2.4, 17.3.4 and 17.4.4",
            "keyUsage has exactly the bits of the profile",
        );
        self.rule(
            critical(oid::KEY_USAGE),
            "key-usage-critical",
            "draft-ietf-uta-tls13-iot-profile, sections 17.2.4, 17.3.4 and 17.4.4",
            "keyUsage is critical",
        );
        let constraints = certificate.basic_constraints();
        let expected = profile.is_ca().then(|| BasicConstraints { ca: true, path_len: profile.path_len() });
        self.rule(
            constraints == expected,
            "basic-constraints",
            "RFC 5280, section 4.2.1.9",
            "a CA has the CA flag and the path length of its profile; an end entity has no basicConstraints",
        );
        self.rule(
            constraints.is_none() || critical(oid::BASIC_CONSTRAINTS),
            "basic-constraints-critical",
            "draft-ietf-uta-tls13-iot-profile, sections 17.2.5 and 17.3.5",
            "basicConstraints is critical",
        );
        let mut purposes = certificate.extended_key_usage().into_iter().flatten();
        let kept = match profile.extended_key_usage() {
            Some(purpose) => purposes.next() == Some(purpose) && purposes.next().is_none(),
            None => certificate.extended_key_usage().is_none(),
        };
        self.rule(
            kept,
            "extended-key-usage",
            "draft-ietf-uta-tls13-iot-profile, sections 17.2.4, 17.3.4 and 17.4.4",
            "the one key purpose of the TLS role; none in CAs and IDevIDs",
        );
        self.rule(
            !critical(oid::EXTENDED_KEY_USAGE),
            "extended-key-usage-not-critical",
            "RFC 5280, section 4.2.1.12",
            "extKeyUsage is not critical",
        );
    }

    fn subject_alt_name(&mut self, certificate: &Certificate<'_>, profile: Profile) {
        const SECTION: &str = "draft-ietf-uta-tls13-iot-profile, section 17.4.1";
        match profile {
            Profile::Idevid | Profile::Ldevid | Profile::Service | Profile::Operator => self.rule(
                certificate.identity().is_ok_and(|identity: Identity| profile.is_for(&identity)),
                "one-identity",
                SECTION,
                "exactly one SAN: the URI of an identity of the profile's role",
            ),
            Profile::GatewayServer => {
                let mut names = certificate.subject_alt_names();
                let some = certificate.subject_alt_names().next().is_some();
                self.rule(
                    some && names.all(|name| match name {
                        SubjectAltName::Dns(name) => !name.contains('*'),
                        SubjectAltName::Ip(_) => true,
                        _ => false,
                    }),
                    "server-names",
                    SECTION,
                    "SANs are DNS names without wildcards and IP addresses, one at least",
                );
            }
            _ => self.rule(
                certificate.subject_alt_names().next().is_none(),
                "no-san-in-ca",
                "Muster, certificate profiles",
                "a CA has no SAN",
            ),
        }
        let san = certificate.extension(oid::SUBJECT_ALT_NAME);
        let empty_subject = certificate.subject_der().len() == EMPTY_NAME_BYTES;
        self.rule(
            san.is_none_or(|extension| extension.critical == empty_subject),
            "san-criticality",
            SECTION,
            "the SAN is critical when the subject is empty and not otherwise",
        );
    }

    fn identifiers(&mut self, certificate: &Certificate<'_>, profile: Profile) {
        let critical = |oid| certificate.extension(oid).is_some_and(|extension| extension.critical);
        self.rule(
            profile.is_self_signed() || certificate.authority_key_identifier().is_some_and(|id| !id.is_empty()),
            "authority-key-identifier",
            "draft-ietf-uta-tls13-iot-profile, sections 17.3.2 and 17.4.2; RFC 5280, section 4.2.1.1",
            "an authority key identifier in all but self-signed certificates",
        );
        self.rule(
            certificate.subject_key_identifier().is_some_and(|id| !id.is_empty()) == profile.is_ca(),
            "subject-key-identifier",
            "draft-ietf-uta-tls13-iot-profile, sections 17.2.3, 17.3.3 and 17.4.3",
            "a subject key identifier in CAs and nowhere else",
        );
        self.rule(
            !critical(oid::AUTHORITY_KEY_IDENTIFIER) && !critical(oid::SUBJECT_KEY_IDENTIFIER),
            "key-identifiers-not-critical",
            "RFC 5280, sections 4.2.1.1 and 4.2.1.2",
            "key identifiers are not critical",
        );
    }

    fn other_extensions(&mut self, certificate: &Certificate<'_>) {
        let has = |oid| certificate.extension(oid).is_some();
        self.rule(
            !has(oid::CRL_DISTRIBUTION_POINTS) && !has(oid::AUTHORITY_INFO_ACCESS),
            "no-revocation-pointers",
            "draft-ietf-uta-tls13-iot-profile, section 17.1.7",
            "neither CRL distribution points nor authority information access",
        );
        let mut extensions = certificate.extensions();
        self.rule(
            extensions.all(|extension| KNOWN.contains(&extension.oid)),
            "no-other-extension",
            "Muster, certificate profiles",
            "no extension that no profile has",
        );
    }
}

/// `SEQUENCE {}`.
const EMPTY_NAME_BYTES: usize = 2;

/// What `no-other-extension` leaves to other rules.
const KNOWN: [&[u8]; 8] = [
    oid::SUBJECT_KEY_IDENTIFIER,
    oid::KEY_USAGE,
    oid::SUBJECT_ALT_NAME,
    oid::BASIC_CONSTRAINTS,
    oid::AUTHORITY_KEY_IDENTIFIER,
    oid::EXTENDED_KEY_USAGE,
    oid::CRL_DISTRIBUTION_POINTS,
    oid::AUTHORITY_INFO_ACCESS,
];
