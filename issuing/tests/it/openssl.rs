//! OpenSSL reads our keys, verifies every profile with `-x509_strict`, and opens our PKCS#12.

use std::path::{Path, PathBuf};
use std::process::Command;

use muster_issuing::issuer::Validity;
use muster_issuing::{IssueError, Issuer, KeyPair, pem, pkcs12};
use muster_protocol::device_id::FleetId;
use muster_protocol::pki::certificate::Certificate;
use muster_protocol::pki::lint::lint;
use muster_protocol::pki::profile::Profile;
use muster_protocol::pki::{CsrDraft, verify_csr, verify_issued};
use muster_protocol::{DeviceId, Identity, UnixTime};

fn now() -> UnixTime {
    UnixTime(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs())
}

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is needed: apt-get install openssl");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "openssl {arguments:?}\n{text}");
    text
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path: PathBuf = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn ca(profile: Profile) -> Issuer {
    Issuer::create(profile, &format!("test {}", profile.name()), KeyPair::generate().unwrap(), now()).unwrap()
}

fn device(name: &str) -> Identity {
    Identity::device(FleetId::new("acme").unwrap(), DeviceId::new(name).unwrap())
}

#[test]
fn every_profile_passes_strict_verification_and_the_lint() {
    let dir = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap().public_key();
    let fleet = FleetId::new("acme").unwrap();
    let name = DeviceId::new("some_name-1").unwrap();

    let root = ca(Profile::FactoryRoot);
    let line_key = KeyPair::generate().unwrap();
    let line = root.issue_ca(Profile::FactoryIssuing, "line 1", &line_key.public_key(), now()).unwrap();
    let line = Issuer::open(Profile::FactoryIssuing, line, line_key).unwrap();
    let device_ca = ca(Profile::DeviceCa);
    let gateway_ca = ca(Profile::GatewayCa);
    let operator_ca = ca(Profile::OperatorCa);
    let names = ["gateway.example".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];

    let leaves = [
        (Profile::Idevid, line.issue(Profile::Idevid, &device("dev_1"), &key, now()).unwrap(), &root, Some(&line)),
        (Profile::Ldevid, device_ca.issue(Profile::Ldevid, &device("dev-1"), &key, now()).unwrap(), &device_ca, None),
        (Profile::GatewayServer, gateway_ca.issue_server(&names, &key, now()).unwrap(), &gateway_ca, None),
        (
            Profile::Service,
            operator_ca
                .issue(Profile::Service, &Identity::Service { fleet: fleet.clone(), name: name.clone() }, &key, now())
                .unwrap(),
            &operator_ca,
            None,
        ),
        (
            Profile::Operator,
            operator_ca.issue(Profile::Operator, &Identity::Operator { fleet, name }, &key, now()).unwrap(),
            &operator_ca,
            None,
        ),
    ];
    for (profile, leaf, root, middle) in &leaves {
        let anchor = write(dir.path(), "root.pem", &pem::write_certificates(&[root.certificate()]));
        let leaf_file = write(dir.path(), "leaf.pem", &pem::write_certificates(&[leaf]));
        let mut arguments = vec!["verify", "-x509_strict", "-CAfile", &anchor];
        let untrusted;
        if let Some(middle) = middle {
            untrusted = write(dir.path(), "middle.pem", &pem::write_certificates(&[middle.certificate()]));
            arguments.extend(["-untrusted", &untrusted]);
        }
        arguments.push(&leaf_file);
        assert!(openssl(&arguments).contains("OK"), "{}", profile.name());
        assert!(lint(&Certificate::parse(leaf).unwrap(), *profile).is_empty(), "{}", profile.name());
    }
    for issuer in [&root, &device_ca, &gateway_ca, &operator_ca] {
        let file = write(dir.path(), "ca.pem", &pem::write_certificates(&[issuer.certificate()]));
        assert!(openssl(&["verify", "-x509_strict", "-CAfile", &file, &file]).contains("OK"));
    }
}

#[test]
fn openssl_opens_keys_and_pkcs12() {
    let dir = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let password = write(dir.path(), "password", "correct horse");
    let encrypted = write(dir.path(), "encrypted.key", &key.to_encrypted_pem(b"correct horse").unwrap());
    let plain = write(dir.path(), "plain.key", &key.to_pem().unwrap());
    let from_file = format!("file:{password}");
    let public = openssl(&["pkey", "-in", &plain, "-pubout"]);
    assert_eq!(openssl(&["pkey", "-in", &encrypted, "-passin", &from_file, "-pubout"]), public);

    let operators = ca(Profile::OperatorCa);
    let identity = Identity::Operator { fleet: FleetId::new("acme").unwrap(), name: DeviceId::new("ada").unwrap() };
    let certificate = operators.issue(Profile::Operator, &identity, &key.public_key(), now()).unwrap();
    let bytes = pkcs12::pkcs12("ada", &[&certificate, operators.certificate()], &key, "correct horse").unwrap();
    let file = dir.path().join("ada.p12");
    std::fs::write(&file, bytes).unwrap();
    let text = openssl(&["pkcs12", "-in", file.to_str().unwrap(), "-passin", &from_file, "-nodes"]);
    assert!(text.contains("BEGIN PRIVATE KEY") && text.matches("BEGIN CERTIFICATE").count() == 2);
}

#[test]
fn a_ca_issues_its_own_profiles_and_no_others() {
    let key = KeyPair::generate().unwrap().public_key();
    let device_ca = ca(Profile::DeviceCa);
    for profile in Profile::ALL {
        let made = device_ca.issue(profile, &device("dev-1"), &key, now());
        assert_eq!(made.is_ok(), profile == Profile::Ldevid, "{}", profile.name());
    }
    assert!(matches!(device_ca.issue_server(&["a.example".into()], &key, now()), Err(IssueError::WrongProfile(_))));
    assert!(matches!(device_ca.issue_ca(Profile::FactoryIssuing, "x", &key, now()), Err(IssueError::WrongProfile(_))));
    let factory = ca(Profile::FactoryRoot);
    assert!(Issuer::open(Profile::FactoryRoot, factory.certificate().to_vec(), KeyPair::generate().unwrap()).is_err());
    assert!(Issuer::open(Profile::DeviceCa, factory.certificate().to_vec(), factory.key().clone()).is_err());
}

#[test]
fn names_and_times_that_make_no_sense_are_refused() {
    let key = KeyPair::generate().unwrap().public_key();
    let gateway = ca(Profile::GatewayCa);
    for names in [
        vec![],
        vec!["a b".to_owned()],
        vec!["-a.example".to_owned()],
        vec!["*.example".to_owned()],
        vec![String::new()],
    ] {
        assert!(matches!(gateway.issue_server(&names, &key, now()), Err(IssueError::Name(_))), "{names:?}");
    }
    let device_ca = ca(Profile::DeviceCa);
    let backwards = Validity { not_before: now(), not_after: UnixTime(now().0 - 1) };
    assert!(device_ca.issue_with(Profile::Ldevid, &device("dev-1"), &key, backwards).is_err());
    let later = UnixTime(now().0 + 20 * 366 * 86_400);
    assert_eq!(device_ca.issue(Profile::Ldevid, &device("dev-1"), &key, later), Err(IssueError::Validity));
}

#[test]
fn a_request_becomes_a_certificate_that_the_device_takes() {
    let device_ca = ca(Profile::DeviceCa);
    let key = KeyPair::generate().unwrap();
    let identity = device("dev-1");
    let draft = CsrDraft::new(&identity, &key.public_key());
    let signature = key.sign(draft.to_be_signed());
    let request = verify_csr(&draft.finish(&signature), &identity).unwrap();
    let der = device_ca.issue(Profile::Ldevid, request.identity(), request.public_key(), now()).unwrap();
    let issued = verify_issued(&der, &identity, &key.public_key()).unwrap();
    assert_eq!(issued.serial().as_bytes().len(), 16);
    assert_eq!(issued.not_after().secs_since(issued.not_before()), 7 * 86_400 + 300);
    assert!(verify_issued(&der, &device("dev-2"), &key.public_key()).is_err());
}

#[test]
fn a_certificate_is_backdated_but_not_before_its_issuer() {
    let device_ca = ca(Profile::DeviceCa);
    let start = Certificate::parse(device_ca.certificate()).unwrap().not_before();
    let key = KeyPair::generate().unwrap().public_key();
    for (age, expected) in [(10, start), (300, start), (1000, start.plus_secs(700))] {
        let der = device_ca.issue(Profile::Ldevid, &device("dev-1"), &key, start.plus_secs(age)).unwrap();
        assert_eq!(Certificate::parse(&der).unwrap().not_before(), expected, "{age}");
    }
}
