//! Factory messages: golden bytes, envelope and frame, and what is refused.

use muster_protocol::limits::{
    CERTIFICATE_BYTES_MAX, CSR_BYTES_MAX, FACTORY_CHUNK_BYTES_MAX, FACTORY_FRAME_BYTES_MAX, FACTORY_MESSAGE_BYTES_MAX,
    FLEET_FILE_BYTES_MAX, TRUST_BUNDLE_BYTES_MAX,
};
use muster_protocol::message::factory::frame::{FrameReader, frame};
use muster_protocol::message::factory::{
    Answer, Digest, Hello, Kept, Part, Request, Standing, decode_answer, decode_request, encode, sequence,
};
use muster_protocol::trust::PINS_BYTES;
use muster_protocol::{Code, DeviceId, FleetId};
use proptest::prelude::*;

use super::documents::root;
use super::vectors;

const VECTORS: &str = include_str!("../vectors/factory.hex");

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn requests() -> Vec<(&'static str, Request<'static>)> {
    let fleet = FleetId::new("acme").unwrap();
    let device = DeviceId::new("lamp-000001").unwrap();
    vec![
        ("hello", Request::Hello),
        ("make-key", Request::MakeKey),
        ("make-csr", Request::MakeCsr { fleet, device }),
        ("put-certificate", Request::Put { part: Part::Certificate, offset: 0, bytes: &[0x30, 0x03, 1, 2, 3] }),
        ("put-trust", Request::Put { part: Part::Trust, offset: 512, bytes: b"MSTR" }),
        ("write", Request::Write { certificate: digest(0x11), trust: digest(0x22) }),
        ("lock", Request::Lock { certificate: digest(0x11) }),
        ("leave", Request::Leave),
    ]
}

fn answers() -> Vec<(&'static str, Answer<'static>)> {
    let public_key = root().public();
    let kept = Kept {
        fleet: FleetId::new("acme").unwrap(),
        device: DeviceId::new("lamp-000001").unwrap(),
        public_key,
        certificate: digest(0x11),
    };
    let hello = |standing| {
        Answer::Hello(Hello {
            product: "lamp".try_into().unwrap(),
            board: "qemu-mps2-an386".try_into().unwrap(),
            agent: "0.1.0".try_into().unwrap(),
            standing,
        })
    };
    vec![
        ("hello-empty", hello(Standing::Empty)),
        ("hello-keyed", hello(Standing::Keyed { public_key })),
        ("hello-written", hello(Standing::Written { kept: kept.clone(), trust: digest(0x22) })),
        ("hello-locked", hello(Standing::Locked { kept })),
        ("key", Answer::Key { public_key }),
        ("csr", Answer::Csr { csr: &[0x30, 0x03, 1, 2, 3] }),
        ("received", Answer::Received { part: Part::Trust, bytes: 516 }),
        ("written", Answer::Written { certificate: digest(0x11), trust: digest(0x22) }),
        ("locked", Answer::Locked { certificate: digest(0x11) }),
        ("leaving", Answer::Leaving),
        ("refused", Answer::Refused { code: Code::FactoryLocked }),
    ]
}

/// Sequence number of every vector.
const SEQUENCE: u16 = 0x0102;

#[test]
fn messages_have_their_golden_bytes() {
    for (name, message) in requests() {
        vectors::hold(VECTORS, name, &encode(SEQUENCE, &message).unwrap());
        let bytes = vectors::bytes(VECTORS, name);
        assert_eq!((sequence(&bytes), decode_request(&bytes)), (Some(SEQUENCE), Ok(message)), "{name}");
    }
    for (name, message) in answers() {
        vectors::hold(VECTORS, name, &encode(SEQUENCE, &message).unwrap());
        let bytes = vectors::bytes(VECTORS, name);
        assert_eq!((sequence(&bytes), decode_answer(&bytes)), (Some(SEQUENCE), Ok(message)), "{name}");
    }
}

#[test]
fn a_frame_has_its_golden_bytes() {
    let message = encode(SEQUENCE, &requests()[4].1).unwrap();
    vectors::hold(VECTORS, "frame-put-trust", &frame(&message));
}

#[test]
fn a_message_is_whole_and_nothing_more() {
    for (name, message) in answers() {
        let bytes = encode(SEQUENCE, &message).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(decode_answer(&bytes[..end]), Err(Code::MessageMalformed), "{name} cut at {end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(decode_answer(&longer), Err(Code::MessageMalformed), "{name} with a byte more");
        let other = [&[2], &bytes[1..]].concat();
        assert_eq!((sequence(&other), decode_answer(&other)), (Some(SEQUENCE), Err(Code::MessageVersion)), "{name}");
    }
    for (name, message) in requests() {
        let bytes = encode(SEQUENCE, &message).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(decode_request(&bytes[..end]), Err(Code::MessageMalformed), "{name} cut at {end}");
        }
    }
    assert_eq!(decode_request(&[1, 0, 0, 99]), Err(Code::MessageMalformed), "a variant of tomorrow");
    assert_eq!(sequence(&[1, 0]), None);
}

#[test]
fn bounds_are_held_on_both_ends() {
    assert_eq!(FLEET_FILE_BYTES_MAX, PINS_BYTES + TRUST_BUNDLE_BYTES_MAX);
    assert_eq!(Part::ALL.map(Part::bytes_max), [CERTIFICATE_BYTES_MAX, FLEET_FILE_BYTES_MAX]);
    assert!(encode(0, &Answer::Csr { csr: &[0; CSR_BYTES_MAX] }).is_ok());
    assert_eq!(encode(0, &Answer::Csr { csr: &[0; FACTORY_MESSAGE_BYTES_MAX] }), Err(Code::MessageOversized));
    let put = |bytes: &'static [u8]| encode(0, &Request::Put { part: Part::Trust, offset: 0, bytes }).unwrap();
    assert!(decode_request(&put(&[0; FACTORY_CHUNK_BYTES_MAX])).is_ok());
    assert_eq!(decode_request(&put(&[0; FACTORY_CHUNK_BYTES_MAX + 1])), Err(Code::MessageOversized));
    assert_eq!(decode_request(&[1; FACTORY_MESSAGE_BYTES_MAX + 1]), Err(Code::MessageOversized));
    // The frame that has the most overhead: not one zero in it.
    assert_eq!(frame(&[1; FACTORY_MESSAGE_BYTES_MAX]).len(), FACTORY_FRAME_BYTES_MAX);
}

#[test]
fn a_key_off_the_curve_is_no_message() {
    let (_, answer) = &answers()[4];
    let mut bytes = encode(SEQUENCE, answer).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(decode_answer(&bytes), Err(Code::MessageMalformed));
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_again_the_same(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let message = [&[1, 2, 3][..], &bytes].concat();
        if let Ok(request) = decode_request(&message) {
            let again = encode(0x0302, &request).unwrap();
            prop_assert_eq!(decode_request(&again), Ok(request));
        }
        if let Ok(answer) = decode_answer(&message) {
            let again = encode(0x0302, &answer).unwrap();
            prop_assert_eq!(decode_answer(&again), Ok(answer));
        }
    }

    #[test]
    fn a_reader_takes_any_bytes_and_finds_the_next_frame(noise in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut reader = FrameReader::new();
        for byte in noise {
            let _ = reader.push(byte);
        }
        let found = frame(b"here").iter().filter(|byte| reader.push(**byte) == Some(b"here")).count();
        prop_assert_eq!(found, 1);
    }
}
