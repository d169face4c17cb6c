//! Control messages: golden bytes, and what is refused.

use muster_protocol::limits::{CSR_BYTES_MAX, MESSAGE_BYTES_MAX};
use muster_protocol::message::{Down, Hello, Issued, Refused, Up, Welcome, decode_down, decode_up, encode};
use muster_protocol::pki::Serial;
use muster_protocol::{Code, UnixTime};
use proptest::prelude::*;

use super::vectors;

const VECTORS: &str = include_str!("../vectors/message.hex");

fn serial(first: u8) -> Serial {
    Serial::new(&[first, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]).unwrap()
}

fn ups() -> Vec<(&'static str, Up<'static>)> {
    let hello = Hello { active: None, candidate: None, bundle: 1, agent: "muster-agent 0.1.0".try_into().unwrap() };
    let both = Hello { active: Some(serial(1)), candidate: Some(serial(2)), bundle: 300, ..hello.clone() };
    vec![
        ("hello-first", Up::Hello(hello)),
        ("hello-both", Up::Hello(both)),
        ("request", Up::Request { csr: &[0x30, 0x03, 1, 2, 3] }),
        ("confirm", Up::Confirm { serial: serial(2) }),
        ("retire", Up::Retire),
    ]
}

fn downs() -> Vec<(&'static str, Down<'static>)> {
    let time = UnixTime(1_767_225_600);
    vec![
        ("welcome", Down::Welcome(Welcome { time, bundle: 7, order: None })),
        ("welcome-order", Down::Welcome(Welcome { time, bundle: 7, order: Some(4) })),
        ("issued", Down::Issued(Issued { certificate: &[0x30, 0x03, 1, 2, 3], time })),
        ("refused", Down::Refused(Refused { code: Code::EnrolKeyReused, retry_after_secs: 0 })),
        ("refused-later", Down::Refused(Refused { code: Code::Unavailable, retry_after_secs: 30 })),
        ("rotate", Down::Rotate { order: 4 }),
        ("confirmed", Down::Confirmed { serial: serial(2) }),
        ("bundle", Down::Bundle { signed: b"MSTR" }),
        ("retired", Down::Retired),
    ]
}

#[test]
fn messages_have_their_golden_bytes() {
    for (name, message) in ups() {
        vectors::hold(VECTORS, name, &encode(&message).unwrap());
        assert_eq!(decode_up(&vectors::bytes(VECTORS, name)), Ok(message), "{name}");
    }
    for (name, message) in downs() {
        vectors::hold(VECTORS, name, &encode(&message).unwrap());
        assert_eq!(decode_down(&vectors::bytes(VECTORS, name)), Ok(message), "{name}");
    }
}

#[test]
fn a_message_is_whole_and_nothing_more() {
    for (name, message) in ups() {
        let bytes = encode(&message).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(decode_up(&bytes[..end]), Err(Code::MessageMalformed), "{name} cut at {end}");
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(decode_up(&longer), Err(Code::MessageMalformed), "{name} with a byte more");
    }
}

#[test]
fn other_versions_and_longer_messages_are_refused() {
    for version in [0, 2, 0xff] {
        assert_eq!(decode_up(&[version, 0x03]), Err(Code::MessageVersion));
        assert_eq!(decode_down(&[version]), Err(Code::MessageVersion));
    }
    let mut long = vec![0; MESSAGE_BYTES_MAX + 1];
    long[0] = 1;
    assert_eq!(decode_up(&long), Err(Code::MessageOversized));
    assert_eq!(encode(&Up::Request { csr: &[0; MESSAGE_BYTES_MAX] }), Err(Code::MessageOversized));
    assert!(encode(&Up::Request { csr: &[0; CSR_BYTES_MAX] }).is_ok());
}

#[test]
fn values_out_of_bounds_are_refused_where_they_are_read() {
    // Postcard: variant, then fields. A serial of zero octets, of 21, one that is negative; an agent of 33 letters.
    for body in [&[2, 0][..], &[2, 1, 0x80], &[2, 21, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]] {
        let message = [&[1], body].concat();
        assert_eq!(decode_up(&message), Err(Code::MessageMalformed), "{body:?}");
    }
    let message = [&[1, 0, 0, 0, 1, 33][..], &[b'a'; 33]].concat();
    assert_eq!(decode_up(&message), Err(Code::MessageMalformed));
    assert_eq!(decode_up(&[1, 9]), Err(Code::MessageMalformed), "a variant of tomorrow");
    assert_eq!(decode_down(&[1, 2, 0xff, 0xff, 0x03, 0]), Err(Code::MessageMalformed), "a refusal code of nobody");
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_again_the_same(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let message = [&[1][..], &bytes].concat();
        if let Ok(up) = decode_up(&message) {
            let again = encode(&up).unwrap();
            prop_assert_eq!(decode_up(&again), Ok(up));
        }
        if let Ok(down) = decode_down(&message) {
            let again = encode(&down).unwrap();
            prop_assert_eq!(decode_down(&again), Ok(down));
        }
    }
}
