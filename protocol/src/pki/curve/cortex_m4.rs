//! The curve on cores with DSP instructions: multiplication of points by the assembly of the crate `p256-cm4`, the rest
//! by `p256`.
//!
//! Only two functions of `p256-cm4` are called, its raw multiplications. Its `verify` and `sign` are not: both multiply
//! modulo the curve's order by a routine with a load-multiple of one register, which is UNPREDICTABLE (Armv7-M
//! Architecture Reference Manual, A7.7.41) and faults in QEMU. Here the scalars are `p256`'s. What the assembly gives
//! back is taken only when it lies on the curve.

use p256::ecdsa::{Signature, VerifyingKey};
use p256::elliptic_curve::Curve as _;
use p256::elliptic_curve::Field as _;
use p256::elliptic_curve::bigint::{ArrayEncoding as _, Limb};
use p256::elliptic_curve::ops::Reduce as _;
use p256::elliptic_curve::sec1::{FromEncodedPoint as _, ToEncodedPoint as _};
use p256::{AffinePoint, EncodedPoint, FieldBytes, FieldElement, NistP256, Scalar, U256};

use super::Curve;
use super::inverse::{Words, bytes, inverse, words};

/// Assembly for Cortex-M4 and Cortex-M7.
#[derive(Clone, Copy, Debug)]
pub struct CortexM4;

impl Curve for CortexM4 {
    fn fits(key: &VerifyingKey, digest: &[u8; 32], signature: &Signature) -> bool {
        let (r, s) = signature.split_scalars();
        let Some(s_inverse) = inverse(&s) else { return false };
        let u1 = Scalar::reduce_bytes(FieldBytes::from_slice(digest)) * s_inverse;
        let Some(second) = times_point(&(*r * s_inverse), key.as_affine()) else { return false };
        // A digest that is zero modulo n makes u1 zero, and the assembly knows no infinity.
        let sum = if bool::from(u1.is_zero()) {
            Some(Fraction { numerator: second.x, denominator: FieldElement::ONE })
        } else {
            times_generator(&u1).and_then(|first| first.plus(&second))
        };
        sum.is_some_and(|x| abscissas(&r).into_iter().flatten().any(|wanted| x.equals(&wanted)))
    }
}

/// What `x` may be when it is `r` modulo `n`: `r`, and `r + n` where that is below `p`.
fn abscissas(r: &Scalar) -> [Option<FieldElement>; 2] {
    let (more, carry) = U256::from_be_byte_array(r.to_bytes()).adc(&NistP256::ORDER, Limb::ZERO);
    let more = (carry == Limb::ZERO).then(|| FieldElement::from_bytes(&more.to_be_byte_array()).into());
    [FieldElement::from_bytes(&r.to_bytes()).into(), more.flatten()]
}

/// A point on the curve.
struct Point {
    x: FieldElement,
    y: FieldElement,
}

impl Point {
    /// `x` of the sum; `None` when that is infinity.
    fn plus(&self, other: &Self) -> Option<Fraction> {
        let (rise, run) = if self.x != other.x {
            (other.y - self.y, other.x - self.x)
        } else if self.y == other.y {
            // The tangent: (3 x^2 - 3) / 2 y. No point of this curve has y = 0.
            let square = self.x.square() - FieldElement::ONE;
            (square.double() + square, self.y.double())
        } else {
            return None;
        };
        let denominator = run.square();
        Some(Fraction { numerator: rise.square() - (self.x + other.x) * denominator, denominator })
    }
}

/// A field element that is not worked out: to compare it takes a multiplication, to divide would take hundreds.
struct Fraction {
    numerator: FieldElement,
    denominator: FieldElement,
}

impl Fraction {
    fn equals(&self, whole: &FieldElement) -> bool {
        *whole * self.denominator == self.numerator
    }
}

fn times_generator(scalar: &Scalar) -> Option<Point> {
    let (mut x, mut y) = (Words::default(), Words::default());
    p256_cm4::scalarmult_base(&mut x, &mut y, &words(&scalar.to_bytes())).then(|| point(&x, &y)).flatten()
}

fn times_point(scalar: &Scalar, factor: &AffinePoint) -> Option<Point> {
    let encoded = factor.to_encoded_point(false);
    let (x_in, y_in) = (words(encoded.x()?), words(encoded.y()?));
    let (mut x, mut y) = (Words::default(), Words::default());
    let scalar = words(&scalar.to_bytes());
    p256_cm4::scalarmult_generic(&mut x, &mut y, &scalar, &x_in, &y_in).then(|| point(&x, &y)).flatten()
}

/// What the assembly gave back, if that is a point on the curve.
fn point(x: &Words, y: &Words) -> Option<Point> {
    let (x, y) = (bytes(x), bytes(y));
    let encoded = EncodedPoint::from_affine_coordinates(&x, &y, false);
    let checked: Option<AffinePoint> = AffinePoint::from_encoded_point(&encoded).into();
    checked?;
    let [x, y] = [x, y].map(|element| Option::from(FieldElement::from_bytes(&element)));
    Some(Point { x: x?, y: y? })
}
