//! Requests: ours are read by other tools, other tools' are read here, and each fault has its code.

use std::path::Path;
use std::process::Command;

use muster_protocol::pki::oid;
use muster_protocol::pki::{CsrDraft, verify_csr};
use muster_protocol::{Code, DeviceId, FleetId, Identity};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose, SanType};
use x509_cert::der::{Decode, Encode};

use super::maker::{Key, device, forge, identity, patch, signed, tlv};

fn ours(identity: &Identity, key: &Key) -> Vec<u8> {
    let draft = CsrDraft::new(identity, &key.public());
    let signature = key.sign_bytes(draft.to_be_signed());
    draft.finish(&signature).to_vec()
}

/// Runs openssl in `folder`; the test needs it.
fn openssl(folder: &Path, arguments: &str) -> std::process::Output {
    Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("this test compares with the openssl command line: install openssl")
}

#[test]
fn a_request_of_ours_is_verified_here_by_openssl_and_by_x509_cert() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = |text: &str| FleetId::new(text).unwrap();
    let name = |text: &str| DeviceId::new(text).unwrap();
    let (long_fleet, long_name) = ("f".repeat(32), "n".repeat(64));
    for (number, holder) in [
        device(),
        Identity::device(fleet("a"), name("b")),
        Identity::device(fleet("a_b"), name("under_score")),
        Identity::device(fleet(&long_fleet), name(&long_name)),
        Identity::Service { fleet: fleet("acme"), name: name("ingest") },
        Identity::Operator { fleet: fleet(&long_fleet), name: name(&long_name) },
    ]
    .into_iter()
    .enumerate()
    {
        let key = Key::new(80 + u8::try_from(number).unwrap());
        let request = ours(&holder, &key);
        let verified = verify_csr(&request, &holder).unwrap();
        assert_eq!((verified.identity(), verified.public_key()), (&holder, &key.public()));

        let theirs = x509_cert::request::CertReq::from_der(&request).unwrap();
        assert_eq!(theirs.to_der().unwrap(), request, "the encoding is the canonical one");
        assert_eq!(theirs.info.public_key.to_der().unwrap(), key.public().to_spki());

        std::fs::write(folder.path().join("request.der"), &request).unwrap();
        let shown =
            openssl(folder.path(), "req -inform DER -in request.der -verify -noout -text -nameopt RFC2253,sname");
        let text = String::from_utf8_lossy(&shown.stdout).into_owned() + &String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success() && text.contains("verify OK"), "{text}");
        assert!(text.contains(&format!("URI:{}", holder.to_san())), "{text}");
        assert!(text.contains(&format!("={}", holder.name())), "{text}");
    }
}

#[test]
fn requests_made_by_openssl_are_taken_when_no_name_contradicts() {
    let folder = tempfile::tempdir().unwrap();
    let made = openssl(folder.path(), "ecparam -name prime256v1 -genkey -noout -out key.pem");
    assert!(made.status.success());
    for (arguments, verdict) in [
        ("-subj /serialNumber=dev-1 -addext subjectAltName=URI:urn:muster:acme:dev-1", Ok(())),
        ("-subj /serialNumber=dev-1", Ok(())),
        ("-subj /CN=dev-1/O=Acme", Ok(())),
        ("-subj /CN=urn:muster:acme:dev-1", Ok(())),
        ("-subj / -addext subjectAltName=URI:urn:muster:acme:dev-1", Ok(())),
        ("-subj /", Ok(())),
        (
            "-subj /serialNumber=dev-1 -addext basicConstraints=critical,CA:FALSE -addext keyUsage=digitalSignature",
            Ok(()),
        ),
        ("-subj /serialNumber=dev-2", Err(Code::CsrWrongName)),
        ("-subj /CN=dev-2", Err(Code::CsrWrongName)),
        ("-subj /serialNumber=dev-1/CN=dev-2", Err(Code::CsrWrongName)),
        ("-subj /serialNumber=dev-1/serialNumber=dev-2", Err(Code::CsrWrongName)),
        ("-subj /serialNumber=dev-1 -addext subjectAltName=URI:urn:muster:acme:dev-2", Err(Code::CsrWrongName)),
        ("-subj /serialNumber=dev-1 -addext subjectAltName=URI:urn:muster:evil:dev-1", Err(Code::CsrWrongName)),
        ("-subj /serialNumber=dev-1 -addext subjectAltName=URI:urn:muster:acme:service:dev-1", Err(Code::CsrWrongName)),
        ("-subj /serialNumber=dev-1 -addext subjectAltName=DNS:dev-1", Err(Code::CsrWrongName)),
        (
            "-subj /serialNumber=dev-1 -addext subjectAltName=URI:urn:muster:acme:dev-1,IP:192.0.2.1",
            Err(Code::CsrWrongName),
        ),
        ("-subj /serialNumber=dev-1 -addext basicConstraints=critical,CA:TRUE", Err(Code::CsrAsksCa)),
        ("-subj /serialNumber=dev-1 -addext keyUsage=digitalSignature,keyCertSign", Err(Code::CsrAsksCa)),
        ("-subj /serialNumber=dev-1 -addext keyUsage=cRLSign", Err(Code::CsrAsksCa)),
        ("-subj /serialNumber=dev-1 -sha384", Err(Code::CsrBadSignature)),
    ] {
        let command = format!("req -new -key key.pem -outform DER -out request.der {arguments}");
        let made = openssl(folder.path(), &command);
        assert!(made.status.success(), "{arguments}: {}", String::from_utf8_lossy(&made.stderr));
        let request = std::fs::read(folder.path().join("request.der")).unwrap();
        assert_eq!(verify_csr(&request, &device()).map(|_| ()), verdict, "{arguments}");
    }
}

#[test]
fn keys_of_another_kind_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, verdict) in [
        ("rsa -pkeyopt rsa_keygen_bits:3072", Code::CsrOversized),
        ("rsa -pkeyopt rsa_keygen_bits:2048", Code::CsrWrongKeyType),
        ("ec -pkeyopt ec_paramgen_curve:P-384", Code::CsrWrongKeyType),
        ("ec -pkeyopt ec_paramgen_curve:secp256k1", Code::CsrWrongKeyType),
        ("ed25519", Code::CsrWrongKeyType),
    ] {
        assert!(openssl(folder.path(), &format!("genpkey -algorithm {kind} -out key.pem")).status.success(), "{kind}");
        assert!(openssl(folder.path(), "req -new -key key.pem -subj / -outform DER -out request.der").status.success());
        let request = std::fs::read(folder.path().join("request.der")).unwrap();
        assert_eq!(verify_csr(&request, &device()), Err(verdict), "{kind}");
    }
}

#[test]
fn each_fault_of_a_request_has_its_code() {
    let key = Key::new(9);
    let good = ours(&device(), &key);
    let other = ours(&device(), &Key::new(10));
    let point = key.public().as_sec1().to_vec();
    let mut off_curve = point.clone();
    off_curve[64] ^= 1;
    let change = |from: &[u8], to: &[u8]| forge(&good, &key, |info| patch(info, from, to));
    let signature_at = good.len() - 1;
    let mut torn = good.clone();
    torn[signature_at] ^= 1;
    let no_attributes = [&[0x02, 0x01, 0x00, 0x30, 0x00][..], &key.public().to_spki()].concat();
    for (what, request, code) in [
        ("empty", vec![], Code::CsrMalformed),
        ("a byte too many", [&good[..], &[0]].concat(), Code::CsrMalformed),
        ("a byte too few", good[..good.len() - 1].to_vec(), Code::CsrMalformed),
        ("oversized", vec![0x30; 641], Code::CsrOversized),
        ("oversized though well formed", tlv(0x30, &[0; 900]), Code::CsrOversized),
        ("version 2", change(&[0x02, 0x01, 0x00, 0x30], &[0x02, 0x01, 0x01, 0x30]), Code::CsrMalformed),
        ("point off the curve", change(&point, &off_curve), Code::CsrWrongKeyType),
        ("another key's signature", forge(&good, &Key::new(11), <[u8]>::to_vec), Code::CsrBadSignature),
        ("another key in it", patch(&good, &point, Key::new(10).public().as_sec1()), Code::CsrBadSignature),
        ("a changed SAN, not signed", patch(&good, b"acme:dev-1", b"acme:dev-2"), Code::CsrBadSignature),
        ("a changed SAN, signed", change(b"acme:dev-1", b"acme:dev-2"), Code::CsrWrongName),
        ("a changed signature", torn, Code::CsrBadSignature),
        ("no attributes", signed(&tlv(0x30, &no_attributes), &key), Code::CsrMalformed),
        ("not a request", Key::new(9).public().to_spki().to_vec(), Code::CsrMalformed),
    ] {
        assert_eq!(verify_csr(&request, &device()), Err(code), "{what}");
    }
    assert!(verify_csr(&other, &device()).is_ok());
    assert_eq!(verify_csr(&good, &identity("urn:muster:acme:dev-2")), Err(Code::CsrWrongName));
    assert_eq!(verify_csr(&good, &identity("urn:muster:evil:dev-1")), Err(Code::CsrWrongName));
    assert_eq!(verify_csr(&good, &identity("urn:muster:acme:service:dev-1")), Err(Code::CsrWrongName));
}

#[test]
fn attributes_are_read_strictly_and_foreign_ones_passed_over() {
    let key = Key::new(9);
    let spki = key.public().to_spki();
    let request = |attributes: &[u8]| {
        let info = [&[0x02, 0x01, 0x00][..], &[0x30, 0x00], &spki, &tlv(0xa0, attributes)].concat();
        signed(&tlv(0x30, &info), &key)
    };
    let attribute = |oid: &[u8], values: &[u8]| tlv(0x30, &[tlv(0x06, oid), tlv(0x31, values)].concat());
    let name = |uri: &str| {
        tlv(0x30, &[tlv(0x06, oid::SUBJECT_ALT_NAME), tlv(0x04, &tlv(0x30, &tlv(0x86, uri.as_bytes())))].concat())
    };
    let extensions = |uri: &str| tlv(0x30, &name(uri));
    let (own, foreign) = ("urn:muster:acme:dev-1", "urn:muster:acme:dev-2");
    let challenge = attribute(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x07], &tlv(0x0c, b"word"));
    let asked = |values: &[u8]| attribute(oid::EXTENSION_REQUEST, values);
    for (what, attributes, verdict) in [
        ("none", vec![], Ok(())),
        ("a challenge password", challenge.clone(), Ok(())),
        ("a name", asked(&extensions(own)), Ok(())),
        ("both", [challenge, asked(&extensions(own))].concat(), Ok(())),
        ("the same name twice", asked(&tlv(0x30, &[name(own), name(own)].concat())), Err(Code::CsrMalformed)),
        ("asked twice", [asked(&extensions(own)), asked(&extensions(foreign))].concat(), Err(Code::CsrMalformed)),
        ("two values", asked(&[extensions(own), extensions(foreign)].concat()), Err(Code::CsrMalformed)),
        ("no value", asked(&[]), Err(Code::CsrMalformed)),
        (
            "an empty name",
            asked(&tlv(0x30, &tlv(0x30, &[tlv(0x06, oid::SUBJECT_ALT_NAME), tlv(0x04, &[0x30, 0])].concat()))),
            Err(Code::CsrMalformed),
        ),
        ("junk", vec![0xff, 0xff], Err(Code::CsrMalformed)),
    ] {
        assert_eq!(verify_csr(&request(&attributes), &device()).map(|_| ()), verdict, "{what}");
    }
}

#[test]
fn requests_made_by_rcgen_are_judged_alike() {
    let key = Key::new(9);
    let make = |change: fn(&mut CertificateParams)| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "dev-1");
        params.subject_alt_names = vec![SanType::URI("urn:muster:acme:dev-1".try_into().unwrap())];
        change(&mut params);
        params.serialize_request(&key).unwrap().der().to_vec()
    };
    assert!(verify_csr(&make(|_| {}), &device()).is_ok());
    let ca = make(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(verify_csr(&ca, &device()), Err(Code::CsrAsksCa));
    let signer = make(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    assert_eq!(verify_csr(&signer, &device()), Err(Code::CsrAsksCa));
}
