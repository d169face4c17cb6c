//! Signatures judged by both implementations of the curve: on the host, and on the emulated Cortex-M4, where one of them
//! is assembly. Project Wycheproof says what is right; where it says nothing, the implementations must agree.

use std::path::Path;

use muster_protocol::pki::curve::{self, Portable};
use muster_protocol::pki::{PublicKey, Signature};
use muster_system_tests::firmware::{Board, Time, curve_check};
use muster_system_tests::random::Random;
use p256::elliptic_curve::ops::Reduce as _;
use p256::elliptic_curve::point::AffineCoordinates as _;
use p256::elliptic_curve::{Curve as _, Field as _};
use p256::{FieldBytes, NistP256, ProjectivePoint, Scalar, SecretKey, U256};
use sha2::{Digest as _, Sha256};
use wycheproof::TestResult;
use wycheproof::ecdsa::{TestName, TestSet};

/// How a vector's message and signature are to be read; the numbers are those of the program `curve-check`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Der = 1,
    Halves = 2,
    Digest = 3,
}

#[derive(Debug)]
struct Vector {
    name: String,
    kind: Kind,
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    /// What it has to come to, where somebody knows.
    expected: Option<bool>,
}

impl Vector {
    /// The host's verdict, by the core as it is built there.
    fn fits(&self) -> bool {
        let Ok(key) = PublicKey::from_sec1(&self.key) else { return false };
        let signature = match self.kind {
            Kind::Der => Signature::from_der(&self.signature).ok(),
            Kind::Halves | Kind::Digest => Signature::from_slice(&self.signature),
        };
        let Some(signature) = signature else { return false };
        match self.kind {
            Kind::Der | Kind::Halves => key.verify(&self.message, &signature).is_ok(),
            Kind::Digest => {
                curve::verify::<Portable>(&key, self.message.as_slice().try_into().unwrap(), &signature).is_ok()
            }
        }
    }
}

#[test]
fn the_host_judges_as_wycheproof_says() {
    let vectors = wycheproof();
    assert!(vectors.len() > 500, "{}", vectors.len());
    for vector in &vectors {
        assert_eq!(Some(vector.fits()), vector.expected, "{}: {vector:?}", vector.name);
    }
}

#[test]
fn the_board_judges_as_wycheproof_says() {
    same_everywhere(&wycheproof());
}

#[test]
fn the_board_judges_seeded_signatures_as_the_host_does() {
    let vectors = seeded();
    let valid = vectors.iter().filter(|vector| vector.fits()).count();
    assert!(vectors.len() == 2_000 && (1_000..1_400).contains(&valid), "{valid} of {} fit", vectors.len());
    for vector in &vectors {
        assert!(vector.expected.is_none_or(|expected| expected == vector.fits()), "{vector:?}");
    }
    same_everywhere(&vectors);
}

/// The figures of docs/benchmarks.md; the bounds are a tenth above them.
#[test]
fn an_operation_costs_what_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = judged(folder.path(), &[], Time::Instructions);
    for (name, most) in COSTS {
        let line = log.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let instructions: u64 = line.trim().parse().unwrap();
        eprintln!("{name} {instructions}");
        assert!((10_000..most).contains(&instructions), "{name}: {instructions}, at most {most}");
    }
}

/// Every verdict, of both implementations on the board and of the way the agent takes, is the host's.
fn same_everywhere(vectors: &[Vector]) {
    let folder = tempfile::tempdir().unwrap();
    let (_, verdicts) = judged(folder.path(), vectors, Time::Host);
    assert_eq!(verdicts.len(), vectors.len());
    for (vector, verdict) in vectors.iter().zip(verdicts) {
        let all = if vector.kind == Kind::Digest { 0b011 } else { 0b111 };
        let wanted = if vector.fits() { all } else { 0 };
        assert_eq!(verdict, wanted, "portable + 2 assembly + 4 agent, {}: {vector:?}", vector.name);
    }
}

/// What `curve-check` said, and its verdicts.
fn judged(folder: &Path, vectors: &[Vector], time: Time) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    for vector in vectors {
        bytes.push(vector.kind as u8);
        for field in [&vector.key, &vector.message, &vector.signature] {
            bytes.extend(u16::try_from(field.len()).unwrap().to_le_bytes());
            bytes.extend(field);
        }
    }
    bytes.push(0);
    let (asked, answered) = (folder.join("vectors"), folder.join("verdicts"));
    std::fs::write(&asked, bytes).unwrap();
    let mut board = Board::new(folder.join("none"))
        .with(format!("vectors={}", asked.display()))
        .with(format!("verdicts={}", answered.display()));
    board.image = Some(curve_check().unwrap());
    board.time = time;
    let mut powered = board.start().unwrap();
    while powered.says_number("judged").unwrap() < vectors.len() as u64 {}
    assert_eq!(powered.ends().unwrap(), 0, "{}", powered.tail());
    (std::fs::read_to_string(&board.log).unwrap(), std::fs::read(&answered).unwrap())
}

/// ECDSA on P-256 with SHA-256 of Project Wycheproof, signatures in DER and as two halves.
fn wycheproof() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (kind, name) in
        [(Kind::Der, TestName::EcdsaSecp256r1Sha256), (Kind::Halves, TestName::EcdsaSecp256r1Sha256P1363)]
    {
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                // "Acceptable" leaves a choice; here there is none of them, and so nothing to choose.
                assert_ne!(test.result, TestResult::Acceptable, "{kind:?} {}", test.tc_id);
                vectors.push(Vector {
                    name: format!("{kind:?} {}: {}", test.tc_id, test.comment),
                    kind,
                    key: group.key.key.to_vec(),
                    message: test.msg.to_vec(),
                    signature: test.sig.to_vec(),
                    expected: Some(test.result == TestResult::Valid),
                });
            }
        }
    }
    vectors
}

/// Half of them as signed, half changed.
fn seeded() -> Vec<Vector> {
    let mut random = Random::new(0x256);
    (0..2_000)
        .map(|number| if number % 2 == 0 { fitting(&mut random, number) } else { changed(&mut random, number) })
        .collect()
}

/// A key and scalars whose signature is right; some of them where formulas have their exceptions.
fn fitting(random: &mut Random, number: u64) -> Vector {
    let d = scalar(random);
    let edges = [Scalar::ONE, Scalar::from(2_u64), Scalar::from(3_u64), -Scalar::ONE, -Scalar::from(2_u64)];
    let edge = edges[usize::try_from(random.below(5)).unwrap()];
    let any = scalar(random);
    let (u1, u2) = match number / 2 % 10 {
        0 => (Scalar::ZERO, any),
        1 => (edge, any),
        2 => (any, edge),
        // u1 G = u2 Q: a tangent instead of a chord.
        3 => (any * d, any),
        _ => (any, scalar(random)),
    };
    made(format!("{number} fits"), d, u1, u2)
}

/// A signature of these scalars: r is x of (u1 + u2 d) G, s is r / u2, and the digest u1 s.
fn made(name: String, d: Scalar, u1: Scalar, u2: Scalar) -> Vector {
    let point = (ProjectivePoint::GENERATOR * (u1 + u2 * d)).to_affine();
    let is_infinity = bool::from((u1 + u2 * d).is_zero());
    // No signature fits infinity, whatever r is.
    let r = if is_infinity { u2 } else { Scalar::reduce_bytes(&point.x()) };
    let s = r * u2.invert().unwrap();
    let key = PublicKey::from(&SecretKey::from_bytes(&d.to_bytes()).unwrap().public_key());
    Vector {
        name,
        kind: Kind::Digest,
        key: key.as_sec1().to_vec(),
        message: (u1 * s).to_bytes().to_vec(),
        signature: [r.to_bytes(), s.to_bytes()].concat(),
        expected: Some(!is_infinity),
    }
}

fn changed(random: &mut Random, number: u64) -> Vector {
    let (d, u1, u2) = (scalar(random), scalar(random), scalar(random));
    let mut vector = made(format!("{number} changed"), d, u1, u2);
    let order = NistP256::ORDER;
    let half = |bytes: &[u8]| U256::from_be_slice(bytes);
    let (r, s) = (half(&vector.signature[..32]), half(&vector.signature[32..]));
    let put = |vector: &mut Vector, at: usize, number: U256| {
        vector.signature[at..at + 32].copy_from_slice(&FieldBytes::from(bytes(&number)));
    };
    match number / 2 % 16 {
        0 => flip(random, &mut vector.signature[..32]),
        1 => flip(random, &mut vector.signature[32..]),
        2 => flip(random, &mut vector.key[1..]),
        3 => flip(random, &mut vector.message),
        4 => put(&mut vector, 0, r.wrapping_add(&order)),
        5 => {
            // A small s, so that s + n is still of 256 bits.
            let small = Scalar::from(1 + random.below(1 << 40));
            let r = Scalar::reduce(r);
            vector = made(format!("{number} s + n"), d, u1, r * small.invert().unwrap());
            let s = half(&vector.signature[32..]);
            put(&mut vector, 32, s.wrapping_add(&order));
        }
        6 => put(&mut vector, 0, U256::ZERO),
        7 => put(&mut vector, 32, U256::ZERO),
        8 => put(&mut vector, 0, order),
        9 => put(&mut vector, 32, order),
        10 => vector.key = vec![0],
        11 => vector.key = [vec![2 + (vector.key[64] & 1)], vector.key[1..33].to_vec()].concat(),
        12 => vector.key[1..33].fill(0xff),
        13 => {
            let y = half(&vector.key[33..]);
            let p = U256::from_be_hex("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
            vector.key[33..].copy_from_slice(&bytes(&p.wrapping_sub(&y)));
        }
        14 => vector = made(format!("{number} infinity"), d, -(u2 * d), u2),
        // The other half of the pair fits too, as the standard has it.
        _ => {
            put(&mut vector, 32, order.wrapping_sub(&s));
            return Vector { name: format!("{number} n - s"), ..vector };
        }
    }
    vector.expected = Some(false);
    vector
}

fn flip(random: &mut Random, bytes: &mut [u8]) {
    let bit = usize::try_from(random.below(8 * bytes.len() as u64)).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// Not zero: such a seed has not been found.
fn scalar(random: &mut Random) -> Scalar {
    Scalar::reduce_bytes(&Sha256::digest(random.next().to_be_bytes()))
}

fn bytes(number: &U256) -> [u8; 32] {
    use p256::elliptic_curve::bigint::ArrayEncoding as _;
    number.to_be_byte_array().into()
}

/// Instructions of one operation, at most.
const COSTS: [(&str, u64); 5] = [
    ("measured.keygen", 6_100_000),
    ("measured.sign", 7_300_000),
    ("measured.verify_portable", 12_600_000),
    ("measured.verify_assembly", 1_700_000),
    ("measured.ecdh", 6_100_000),
];
