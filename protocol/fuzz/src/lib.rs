//! One function per parser of the core: bytes that nobody made on purpose go in, and nothing may panic. What was
//! understood has to mean the same when it is written and read again.
//!
//! The ordinary test run drives them for a bounded time over mutations of golden bytes (`tests/it/fuzz.rs`); libFuzzer
//! does for as long as one likes: `cargo fuzz run certificate` in `protocol/`.

use muster_protocol::device::LifeRecord;
use muster_protocol::device_id::{DeviceId, FleetId, Identity};
use muster_protocol::limits::{CERTIFICATE_BYTES_MAX, MESSAGE_BYTES_MAX};
use muster_protocol::manifest::Manifest;
use muster_protocol::message::application::{Answer, Command, Telemetry};
use muster_protocol::message::{self, factory};
use muster_protocol::pki::{Certificate, Profile, Serial, Signature, TrustAnchor, lint, verify_csr};
use muster_protocol::signed::{Kind, SignedDocument};
use muster_protocol::slot::SlotRecord;
use muster_protocol::{topic, trust};

/// A parser under test.
pub type Target = fn(&[u8]);

/// Every target, by the name of its libFuzzer program.
pub const TARGETS: &[(&str, Target)] = &[
    ("application", application),
    ("bundle", bundle),
    ("certificate", certificate),
    ("csr", csr),
    ("factory", factory_message),
    ("life", life),
    ("manifest", manifest),
    ("message", control_message),
    ("name", name),
    ("slot", slot),
    ("topic", control_topic),
];

/// A certificate, and everything that is asked of one.
pub fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = Certificate::parse(bytes) {
        let _ = (certificate.identity(), certificate.public_key(), certificate.basic_constraints());
        let _ = (certificate.key_usage(), certificate.subject_serial_number(), certificate.subject_common_name());
        let _ = certificate.extended_key_usage().map(Iterator::count);
        let _ = certificate.unknown_critical_extensions().count();
        for profile in Profile::ALL {
            let _ = lint(&certificate, profile);
        }
        assert_eq!(certificate.der(), bytes, "a certificate is all of its bytes");
    }
    let _ = TrustAnchor::from_der(bytes);
    if let Ok(signature) = Signature::from_der(bytes) {
        assert_eq!(signature.to_der().as_slice(), bytes, "DER has one form");
    }
    let _ = Serial::new(bytes);
}

/// A report, a command, an answer.
pub fn application(bytes: &[u8]) {
    if let Ok(telemetry) = Telemetry::decode(bytes) {
        let again = message::encode(&telemetry).ok();
        assert_eq!(again.as_deref().map(Telemetry::decode), Some(Ok(telemetry)), "what was read can be written");
    }
    if let Ok(command) = Command::decode(bytes) {
        let again = message::encode(&command).ok();
        assert_eq!(again.as_deref().map(Command::decode), Some(Ok(command)), "what was read can be written");
    }
    if let Ok(answer) = Answer::decode(bytes) {
        let again = message::encode(&answer).ok();
        assert_eq!(again.as_deref().map(Answer::decode), Some(Ok(answer)), "what was read can be written");
    }
}

/// A CSR.
pub fn csr(bytes: &[u8]) {
    for uri in ["urn:muster:acme:dev-1", "urn:muster:acme:service:ingest"] {
        if let Ok(expected) = Identity::from_san(uri) {
            let _ = verify_csr(bytes, &expected);
        }
    }
}

/// A control message, of either direction.
pub fn control_message(bytes: &[u8]) {
    if let Ok(up) = message::decode_up(bytes) {
        let again = message::encode(&up).ok();
        assert_eq!(again.as_deref().map(message::decode_up), Some(Ok(up)), "a message that was read can be written");
    }
    if let Ok(down) = message::decode_down(bytes) {
        let again = message::encode(&down).ok();
        assert_eq!(
            again.as_deref().map(message::decode_down),
            Some(Ok(down)),
            "a message that was read can be written"
        );
    }
    assert!(bytes.len() <= MESSAGE_BYTES_MAX || message::decode_up(bytes).is_err());
}

/// A message of the factory line, and its frames on a serial line.
pub fn factory_message(bytes: &[u8]) {
    let _ = (factory::sequence(bytes), factory::decode_request(bytes), factory::decode_answer(bytes));
    let mut reader = factory::frame::FrameReader::new();
    for byte in bytes {
        if let Some(message) = reader.push(*byte) {
            let _ = (factory::decode_request(message), factory::decode_answer(message));
        }
    }
}

/// A slot record.
pub fn slot(bytes: &[u8]) {
    if let Some(record) = SlotRecord::decode(bytes) {
        assert!(record.certificate.len() <= CERTIFICATE_BYTES_MAX);
        assert_eq!(SlotRecord::decode(&record.encode()), Some(record), "a record that was read can be written");
    }
}

/// A life record.
pub fn life(bytes: &[u8]) {
    if let Some(record) = LifeRecord::decode(bytes) {
        assert_eq!(LifeRecord::decode(&record.encode()), Some(record), "a record that was read can be written");
    }
}

/// A fleet file: pins and a signed trust bundle.
pub fn bundle(bytes: &[u8]) {
    let _ = (trust::read_fleet_file(bytes), trust::reread_fleet_file(bytes).is_ok());
    for kind in [Kind::TrustBundle, Kind::Manifest] {
        if let Ok(document) = SignedDocument::parse(bytes, kind, trust::VERSION) {
            assert!(document.body().len() <= bytes.len());
        }
    }
}

/// A shipment manifest.
pub fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::verify(bytes) {
        let _ = manifest.entries().count();
    }
}

/// A device id, a fleet id, a SAN.
pub fn name(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let is_device = DeviceId::new(text).is_ok();
    assert!(!is_device || !text.contains([':', '/', '+', '#', '\0']), "{text:?} is no device id");
    let _ = FleetId::new(text);
    if let Ok(identity) = Identity::from_san(text) {
        assert_eq!(identity.to_san().as_str(), text, "a SAN has one form");
    }
}

/// A control topic.
pub fn control_topic(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Some((device, channel, direction)) = topic::parse_control(text) {
        assert_eq!(topic::control(&device, channel, direction).as_str(), text, "a topic has one form");
    }
}
