//! The inverse of a scalar modulo the curve's order, in variable time: the binary extended algorithm (Handbook of Applied
//! Cryptography, 14.61). For public scalars only. `p256` has one too, which takes three times as many instructions on a
//! core of 32 bits.

use p256::{FieldBytes, Scalar};

/// A number of 256 bits, its least significant word first.
pub(super) type Words = [u32; 8];

/// The inverse, given back only when it is one.
pub(super) fn inverse(scalar: &Scalar) -> Option<Scalar> {
    // Throughout: u = a * scalar, v = c * scalar, modulo the order.
    let (mut u, mut v) = (words(&scalar.to_bytes()), ORDER);
    let (mut a, mut c) = (ONE, Words::default());
    for _ in 0..STEPS_MAX {
        if u == ONE || v == ONE {
            break;
        }
        if u[0] & 1 == 0 {
            halve(&mut u, 0);
            halve_modulo(&mut a);
        } else if v[0] & 1 == 0 {
            halve(&mut v, 0);
            halve_modulo(&mut c);
        } else {
            let mut difference = u;
            if subtract(&mut difference, &v) == 0 {
                u = difference;
                subtract_modulo(&mut a, &c);
            } else {
                subtract(&mut v, &u);
                subtract_modulo(&mut c, &a);
            }
        }
    }
    let found = bytes(if u == ONE { &a } else { &c });
    let found = p256::NonZeroScalar::from_repr(found);
    Option::from(found).map(|found: p256::NonZeroScalar| *found).filter(|found| *found * scalar == Scalar::ONE)
}

fn halve_modulo(number: &mut Words) {
    let carry = if number[0] & 1 == 1 { add(number, &ORDER) } else { 0 };
    halve(number, carry);
}

fn subtract_modulo(number: &mut Words, other: &Words) {
    if subtract(number, other) == 1 {
        add(number, &ORDER);
    }
}

fn halve(number: &mut Words, carry: u32) {
    number.iter_mut().rev().fold(carry, |carry, word| {
        let odd = *word & 1;
        *word = *word >> 1 | carry << 31;
        odd
    });
}

/// The carry out of the sum.
fn add(number: &mut Words, other: &Words) -> u32 {
    number.iter_mut().zip(other).fold(0, |carry, (word, other)| {
        let sum = u64::from(*word) + u64::from(*other) + u64::from(carry);
        *word = sum as u32;
        (sum >> 32) as u32
    })
}

/// The borrow out of the difference.
fn subtract(number: &mut Words, other: &Words) -> u32 {
    number.iter_mut().zip(other).fold(0, |borrow, (word, other)| {
        let (difference, first) = word.overflowing_sub(*other);
        let (difference, second) = difference.overflowing_sub(borrow);
        *word = difference;
        u32::from(first | second)
    })
}

/// Big endian bytes as words.
pub(super) fn words(bytes: &FieldBytes) -> Words {
    let mut words = Words::default();
    for (word, bytes) in words.iter_mut().zip(bytes.rchunks_exact(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    words
}

/// Words as big endian bytes.
pub(super) fn bytes(words: &Words) -> FieldBytes {
    let mut bytes = FieldBytes::default();
    for (bytes, word) in bytes.rchunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

/// Every step halves a number or makes the next one do so: two numbers of 256 bits, each halved 256 times at most.
const STEPS_MAX: usize = 4 * 256;
const ONE: Words = [1, 0, 0, 0, 0, 0, 0, 0];
/// The order of the curve's group (SEC 2, section 2.4.2).
const ORDER: Words =
    [0xfc63_2551, 0xf3b9_cac2, 0xa717_9e84, 0xbce6_faad, 0xffff_ffff, 0xffff_ffff, 0x0000_0000, 0xffff_ffff];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_inverse_of_p256_and_none_of_zero() {
        let mut scalar = Scalar::from(3_u64);
        for _ in 0..500 {
            assert_eq!(inverse(&scalar), Option::from(scalar.invert()));
            assert_eq!(inverse(&-scalar), Option::from((-scalar).invert()));
            scalar = scalar.square() + Scalar::from(7_u64);
        }
        for small in 1..=40_u64 {
            let scalar = Scalar::from(small);
            assert_eq!(inverse(&scalar), Option::from(scalar.invert()));
            assert_eq!(inverse(&-scalar), Option::from((-scalar).invert()));
        }
        assert_eq!(inverse(&Scalar::ZERO), None);
    }
}
