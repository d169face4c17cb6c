//! The borrowed view: what it reads agrees with x509-cert, and what is not strict DER is no certificate.

use muster_protocol::pki::certificate::Certificate;
use muster_protocol::pki::extension::{KeyUsage, SubjectAltName};
use muster_protocol::pki::oid;
use muster_protocol::{Code, UnixTime};
use rcgen::{CrlDistributionPoint, ExtendedKeyUsagePurpose as Purpose, SanType};
use x509_cert::der::{Decode, Encode};

use super::maker::{Ca, Criticality, DAY, Key, NOW, Recipe, World, device, forge, patch, signed, tlv};

const DEVICE: &str = "urn:muster:acme:dev-1";

#[test]
fn every_field_agrees_with_another_parser() {
    let world = World::new();
    let key = Key::new(9);
    let ders = [
        Recipe::client(DEVICE).signed_by(&key, &world.device_ca),
        Recipe::server(&["gw.example", "192.0.2.1"]).signed_by(&key, &world.gateway_ca),
        Recipe::leaf(DEVICE).valid(NOW.0, UnixTime::FOREVER.0).signed_by(&key, &world.factory),
        world.factory.der.clone(),
        world.factory_root.der.clone(),
    ];
    for der in &ders {
        let ours = Certificate::parse(der).unwrap();
        let theirs = x509_cert::Certificate::from_der(der).unwrap();
        let tbs = theirs.tbs_certificate();
        assert_eq!(ours.der(), der);
        assert_eq!(ours.tbs_der(), tbs.to_der().unwrap());
        assert_eq!(ours.serial().as_bytes(), tbs.serial_number().as_bytes());
        assert_eq!(ours.issuer_der(), tbs.issuer().to_der().unwrap());
        assert_eq!(ours.subject_der(), tbs.subject().to_der().unwrap());
        assert_eq!(ours.spki_der(), tbs.subject_public_key_info().to_der().unwrap());
        assert_eq!(ours.not_before().0, tbs.validity().not_before.to_unix_duration().as_secs());
        assert_eq!(ours.not_after().0, tbs.validity().not_after.to_unix_duration().as_secs());
        assert_eq!(ours.signature(), theirs.signature().raw_bytes());
        assert_eq!(ours.signature_algorithm(), oid::ECDSA_WITH_SHA256);
        assert!(ours.has_times_in_their_form());
        let extensions = tbs.extensions().unwrap();
        assert_eq!(ours.extensions().count(), extensions.len());
        for (ours, theirs) in ours.extensions().zip(extensions) {
            assert_eq!(ours.oid, theirs.extn_id.as_bytes());
            assert_eq!(ours.critical, theirs.critical);
            assert_eq!(ours.value, theirs.extn_value.as_bytes());
        }
    }
    let client = Certificate::parse(&ders[0]).unwrap();
    assert_eq!(client.identity(), Ok(device()));
    assert_eq!(client.subject_serial_number(), Some("dev-1"));
    assert_eq!(client.public_key(), Ok(key.public()));
    assert_eq!(client.key_usage(), Some(KeyUsage::DIGITAL_SIGNATURE));
    assert_eq!(client.extended_key_usage().unwrap().collect::<Vec<_>>(), [oid::CLIENT_AUTH]);
    assert_eq!((client.basic_constraints(), client.subject_key_identifier()), (None, None));
    assert!(client.verify_signed_by(&world.device_ca.key.public()).is_ok());
    assert!(client.verify_signed_by(&key.public()).is_err());
    assert!(!client.is_self_issued() && !client.is_self_signed());
    let server = Certificate::parse(&ders[1]).unwrap();
    let names: Vec<_> = server.subject_alt_names().collect();
    assert_eq!(names, [SubjectAltName::Dns("gw.example"), SubjectAltName::Ip(&[192, 0, 2, 1])]);
    assert_eq!(server.subject_common_name(), Some("gateway"));
    assert_eq!(Certificate::parse(&ders[2]).unwrap().not_after(), UnixTime::FOREVER);
    let (factory, root) = (Certificate::parse(&ders[3]).unwrap(), Certificate::parse(&ders[4]).unwrap());
    assert_eq!(factory.authority_key_identifier(), root.subject_key_identifier());
    assert_eq!(
        factory.basic_constraints().map(|constraints| (constraints.ca, constraints.path_len)),
        Some((true, Some(0)))
    );
    assert!(factory.key_usage().unwrap().contains(KeyUsage::KEY_CERT_SIGN.and(KeyUsage::CRL_SIGN)));
    assert!(root.is_self_issued() && root.is_self_signed());
}

#[test]
fn unknown_critical_extensions_are_listed_and_so_is_a_critical_crl_pointer() {
    let world = World::new();
    let der = Recipe::client(DEVICE)
        .unknown_extension(Criticality::Critical)
        .with(|params| {
            params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://x.example/c".into()] }];
        })
        .signed_by(&Key::new(9), &world.device_ca);
    let certificate = Certificate::parse(&der).unwrap();
    assert_eq!(certificate.unknown_critical_extensions().count(), 1);
}

/// Each change keeps the lengths right and the signature too: only the view's own strictness can object.
#[test]
fn what_is_not_strict_der_of_version_3_is_malformed() {
    let world = World::new();
    let ca = &world.device_ca;
    let key = Key::new(9);
    let good = Recipe::client(DEVICE).unknown_extension(Criticality::Critical).signed_by(&key, ca);
    assert!(Certificate::parse(&good).is_ok());
    let change = |from: &[u8], to: &[u8]| forge(&good, &ca.key, |tbs| patch(tbs, from, to));
    let critical_key_usage = [0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff];
    let bad = [
        ("version 2", change(&[0xa0, 0x03, 0x02, 0x01, 0x02], &[0xa0, 0x03, 0x02, 0x01, 0x01])),
        ("negative serial", change(&[0x02, 0x10, 0x5a], &[0x02, 0x10, 0xff])),
        ("a BOOLEAN of 1", change(&critical_key_usage, &[0x55, 0x1d, 0x0f, 0x01, 0x01, 0x01])),
        ("an explicit FALSE", change(&critical_key_usage, &[0x55, 0x1d, 0x0f, 0x01, 0x01, 0x00])),
        ("an extension twice", change(&[0x55, 0x1d, 0x25], &[0x55, 0x1d, 0x0f])),
        ("unused key usage bits", change(&[0x04, 0x04, 0x03, 0x02, 0x07, 0x80], &[0x04, 0x04, 0x03, 0x02, 0x06, 0x80])),
        ("no key usage bit", change(&[0x04, 0x04, 0x03, 0x02, 0x07, 0x80], &[0x04, 0x04, 0x03, 0x02, 0x07, 0x00])),
        ("a month 13", change(b"260107", b"261307")),
        ("a SAN that is not ASCII", change(b"urn:muster:acme", b"urn:muster:\xc3\xa4me")),
    ];
    for (what, der) in bad {
        // A negative serial is well formed, but no serial number.
        let code = if what == "negative serial" { Code::CertificateProfile } else { Code::CertificateMalformed };
        assert_eq!(Certificate::parse(&der).err(), Some(code), "{what}");
    }
}

#[test]
fn the_two_algorithm_identifiers_have_to_agree_and_have_no_parameters() {
    let world = World::new();
    let good = Recipe::client(DEVICE).signed_by(&Key::new(9), &world.device_ca);
    let mut other = good.clone();
    let last = other.windows(8).rposition(|window| window == oid::ECDSA_WITH_SHA256).unwrap();
    other[last + 7] = 0x03;
    assert_eq!(Certificate::parse(&other).err(), Some(Code::CertificateMalformed));
}

#[test]
fn version_1_is_malformed() {
    let key = Key::new(9);
    let name = tlv(0x30, &tlv(0x31, &tlv(0x30, &[&tlv(0x06, oid::COMMON_NAME)[..], &tlv(0x0c, b"x")].concat())));
    let validity = tlv(0x30, &[tlv(0x17, b"250101000000Z"), tlv(0x17, b"270101000000Z")].concat());
    let algorithm = tlv(0x30, &tlv(0x06, oid::ECDSA_WITH_SHA256));
    let fields = |version: &[u8]| {
        [version, &tlv(0x02, &[1]), &algorithm, &name, &validity, &name, &key.public().to_spki()].concat()
    };
    let version_1 = signed(&tlv(0x30, &fields(&[])), &key);
    assert_eq!(Certificate::parse(&version_1).err(), Some(Code::CertificateMalformed));
    // Version 3 without extensions is a certificate, and a useless one.
    let version_3 = signed(&tlv(0x30, &fields(&[0xa0, 0x03, 0x02, 0x01, 0x02])), &key);
    let bare = Certificate::parse(&version_3).unwrap();
    assert_eq!(bare.extensions().count(), 0);
    assert_eq!(bare.identity(), Err(Code::CertificateNoIdentity));
    let unique_id = [&fields(&[0xa0, 0x03, 0x02, 0x01, 0x02])[..], &[0x81, 0x02, 0x00, 0xaa]].concat();
    assert_eq!(Certificate::parse(&signed(&tlv(0x30, &unique_id), &key)).err(), Some(Code::CertificateMalformed));
    let empty_extensions = [&fields(&[0xa0, 0x03, 0x02, 0x01, 0x02])[..], &[0xa3, 0x02, 0x30, 0x00]].concat();
    assert_eq!(
        Certificate::parse(&signed(&tlv(0x30, &empty_extensions), &key)).err(),
        Some(Code::CertificateMalformed)
    );
}

#[test]
fn times_are_read_across_2050() {
    let world = World::new();
    for (not_after, what) in
        [(2_524_607_999, "2049, UTCTime"), (2_524_608_000, "2050, GeneralizedTime"), (UnixTime::FOREVER.0, "9999")]
    {
        let der = Recipe::client(DEVICE).valid(NOW.0, not_after).signed_by(&Key::new(9), &world.device_ca);
        let certificate = Certificate::parse(&der).unwrap();
        assert_eq!(certificate.not_after(), UnixTime(not_after), "{what}");
        assert!(certificate.has_times_in_their_form());
    }
}

#[test]
fn other_forms_of_name_are_read_and_are_no_identity() {
    let world = World::new();
    let mail = SanType::Rfc822Name("ada@acme.example".try_into().unwrap());
    let der = Recipe::client(DEVICE)
        .sans(&[mail])
        .purposes(&[Purpose::ClientAuth])
        .signed_by(&Key::new(9), &Ca::root(Recipe::ca("x", None), Key::new(3)));
    let certificate = Certificate::parse(&der).unwrap();
    assert_eq!(certificate.subject_alt_names().collect::<Vec<_>>(), [SubjectAltName::Other]);
    assert_eq!(certificate.identity(), Err(Code::CertificateNoIdentity));
    let _ = (world, DAY);
}
