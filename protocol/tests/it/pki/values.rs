//! Keys, fingerprints, signatures and serial numbers: text, serde and the curve.

use muster_protocol::Code;
use muster_protocol::pki::{BadSignature, KeyFingerprint, PublicKey, Serial, Signature};
use proptest::prelude::*;

use super::maker::Key;

#[test]
fn values_survive_text_and_both_kinds_of_serde() {
    let key = Key::new(9);
    let (public, fingerprint) = (key.public(), key.public().fingerprint());
    let signature = key.sign_bytes(b"x");
    let serial = Serial::new(&[0x00, 0x80, 0xff]).unwrap();

    assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    assert_eq!(serial.to_string(), "0080ff");
    assert_eq!("0080FF".parse(), Ok(serial.clone()));

    fn both<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, bytes: &[u8]) {
        let mut buffer = [0; 128];
        let binary = postcard::to_slice(value, &mut buffer).unwrap();
        assert_eq!(usize::from(binary[0]), bytes.len());
        assert_eq!(&binary[1..], bytes);
        assert_eq!(&postcard::from_bytes::<T>(binary).unwrap(), value);
        let text = serde_json::to_string(value).unwrap();
        assert_eq!(text.len(), 2 + 2 * bytes.len());
        assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value);
    }
    both(&public, public.as_sec1());
    both(&fingerprint, fingerprint.as_bytes());
    both(&signature, signature.as_bytes());
    both(&serial, &[0x00, 0x80, 0xff]);
}

#[test]
fn serde_and_text_check_what_they_read() {
    let mut point = Key::new(9).public().as_sec1().to_vec();
    point[64] ^= 1;
    let off_curve = [&[65][..], &point].concat();
    assert!(postcard::from_bytes::<PublicKey>(&off_curve).is_err());
    assert!(postcard::from_bytes::<Serial>(&[1, 0]).is_err());
    assert!(postcard::from_bytes::<Serial>(&[21; 22]).is_err());
    assert!(postcard::from_bytes::<KeyFingerprint>(&[31; 32]).is_err());
    assert!(postcard::from_bytes::<Signature>(&[63; 64]).is_err());
    for text in ["", "00", "0", "zz", "80", "0001", &"11".repeat(21)] {
        assert!(text.parse::<Serial>().is_err(), "{text}");
    }
    for text in ["", "00", &"g".repeat(64), &"0".repeat(63), &"0".repeat(66), &"é".repeat(32)] {
        assert!(text.parse::<KeyFingerprint>().is_err(), "{text}");
    }
}

#[test]
fn only_uncompressed_points_on_the_curve_are_keys() {
    let key = Key::new(9).public();
    assert_eq!(PublicKey::from_spki(&key.to_spki()), Ok(key));
    let point = key.as_sec1();
    let compressed = [&[0x02 + (point[64] & 1)][..], &point[1..33]].concat();
    let hybrid = [&[0x06 + (point[64] & 1)][..], &point[1..]].concat();
    for bad in [&compressed[..], &hybrid, &[], &[0], &[4; 65], &[0; 65], &point[..64]] {
        assert!(PublicKey::from_sec1(bad).is_err(), "{bad:02x?}");
    }
    assert_eq!(PublicKey::from_spki(point), Err(Code::CsrWrongKeyType));
    assert_eq!(PublicKey::from_spki(&[&key.to_spki()[..], &[0]].concat()), Err(Code::CsrWrongKeyType));
}

#[test]
fn a_signature_fits_one_message_and_one_key() {
    let key = Key::new(9);
    let signature = key.sign_bytes(b"hello world");
    assert_eq!(key.public().verify(b"hello world", &signature), Ok(()));
    assert_eq!(key.public().verify_parts(&[b"hello", b"", b" world"], &signature), Ok(()));
    assert_eq!(key.public().verify(b"hello worlds", &signature), Err(BadSignature));
    assert_eq!(Key::new(10).public().verify(b"hello world", &signature), Err(BadSignature));
    for zeros in [
        [0; 64],
        {
            let mut half = *signature.as_bytes();
            half[32..].fill(0);
            half
        },
        [0xff; 64],
    ] {
        assert_eq!(key.public().verify(b"hello world", &Signature::new(zeros)), Err(BadSignature));
    }
}

proptest! {
    #[test]
    fn der_of_a_signature_is_that_of_another_implementation(bytes in any::<[[u8; 32]; 2]>(), zeros in 0usize..32) {
        let mut bytes = bytes.concat();
        bytes[..zeros].fill(0);
        let ours = Signature::from_slice(&bytes).unwrap();
        let Ok(theirs) = p256::ecdsa::Signature::from_slice(&bytes) else { return Ok(()) };
        let theirs = theirs.to_der();
        prop_assert_eq!(&ours.to_der()[..], theirs.as_bytes());
        prop_assert_eq!(Signature::from_der(&ours.to_der()), Ok(ours));
    }

    #[test]
    fn der_of_any_numbers_is_judged_as_another_implementation_does(
        r in prop::collection::vec(any::<u8>(), 0..35),
        s in prop::collection::vec(prop_oneof![Just(0_u8), Just(0x80), any::<u8>()], 0..35),
        change in any::<(u8, u8)>(),
    ) {
        let mut der = vec![0x30, (r.len() + s.len() + 4) as u8];
        for number in [&r, &s] {
            der.extend([0x02, number.len() as u8]);
            der.extend(number);
        }
        for changed in [false, true] {
            if changed {
                let at = usize::from(change.0) % der.len();
                der[at] = change.1;
            }
            let ours = Signature::from_der(&der).ok().map(|signature| *signature.as_bytes());
            let theirs = p256::ecdsa::Signature::from_der(&der).ok().map(|signature| signature.to_bytes().into());
            // Numbers that are none of the curve are refused by whoever verifies.
            let in_range = ours.filter(|bytes| p256::ecdsa::Signature::from_slice(bytes).is_ok());
            prop_assert_eq!(in_range, theirs, "{:02x?}", der);
        }
    }
}
