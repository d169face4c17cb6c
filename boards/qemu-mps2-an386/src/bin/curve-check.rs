//! Verdicts on signatures by both implementations of the curve, and what each operation costs: a program for tests, no
//! part of the agent's image.
//!
//! The argument `vectors` names a file of the host. Each record is a kind (one byte: 1, a signature in DER over a message;
//! 2, `r || s` over a message; 3, `r || s` over a digest), then key, message and signature, each behind its length (two
//! bytes, least significant first). A kind of 0 ends the file. For each record one byte goes into the file that the
//! argument `verdicts` names: 1 when the portable implementation takes the signature, plus 2 when the assembly does, plus
//! 4 when the agent's own way into them, which knows no digests, does. After some records, and after the last, it says
//! how many are `judged`.
#![no_std]
#![no_main]
// This program has less use for the board's modules than the agent.
#![allow(dead_code)]

#[path = "../console.rs"]
mod console;
#[path = "../registers.rs"]
mod registers;
#[path = "../semihosting.rs"]
mod semihosting;
#[path = "../timer.rs"]
mod timer;
#[path = "../vectors.rs"]
mod vectors;

use muster_agent_nostd::key::{DeviceKey as _, SoftKey};
use muster_protocol::pki::curve::{self, CortexM4, Curve, Portable};
use muster_protocol::pki::{ECDSA_P256_SHA256, PublicKey, Signature};
use p256::ecdh::diffie_hellman;
use sha2::{Digest as _, Sha256};

use crate::semihosting::{File, HostFailed, Mode};
use crate::vectors::STATUS_FAULT;

#[cortex_m_rt::entry]
fn main() -> ! {
    timer::start();
    let mut line = [0; 512];
    let length = semihosting::command_line(&mut line).len();
    let done = judge(&line[..length]).and_then(|()| measure().ok_or(HostFailed));
    semihosting::exit(if done.is_ok() { 0 } else { STATUS_FAULT })
}

/// Reads vectors, writes verdicts.
fn judge(line: &[u8]) -> Result<(), HostFailed> {
    let mut vectors = open(line, b"vectors=", Mode::Read)?;
    let mut verdicts = open(line, b"verdicts=", Mode::Create)?;
    let mut bytes = [[0; FIELD_LEN]; 3];
    for count in 0.. {
        let mut kind = [0];
        vectors.read(&mut kind)?;
        let mut lengths = [0; 3];
        let is_last = kind == [0];
        if is_last || count % 50 == 0 {
            console::say_number(b"judged", count);
        }
        if is_last {
            break;
        }
        for (field, length) in bytes.iter_mut().zip(&mut lengths) {
            let mut two = [0; 2];
            vectors.read(&mut two)?;
            *length = usize::from(u16::from_le_bytes(two));
            vectors.read(field.get_mut(..*length).ok_or(HostFailed)?)?;
        }
        let [key, message, signature] = &bytes;
        let vector = Vector {
            kind: kind[0],
            key: &key[..lengths[0]],
            message: &message[..lengths[1]],
            signature: &signature[..lengths[2]],
        };
        verdicts.write(&[vector.verdict()])?;
    }
    Ok(())
}

fn open(line: &[u8], name: &[u8], mode: Mode) -> Result<File, HostFailed> {
    let mut path = [0; 256];
    let value = line.split(|byte| *byte == b' ').find_map(|word| word.strip_prefix(name)).ok_or(HostFailed)?;
    path.get_mut(..value.len()).ok_or(HostFailed)?.copy_from_slice(value);
    File::open(path.get(..=value.len()).ok_or(HostFailed)?, mode)
}

struct Vector<'a> {
    kind: u8,
    key: &'a [u8],
    message: &'a [u8],
    signature: &'a [u8],
}

impl Vector<'_> {
    fn verdict(&self) -> u8 {
        u8::from(self.fits::<Portable>()) | u8::from(self.fits::<CortexM4>()) << 1 | u8::from(self.is_taken()) << 2
    }

    fn fits<C: Curve>(&self) -> bool {
        let Ok(key) = PublicKey::from_sec1(self.key) else { return false };
        let signature = match self.kind {
            1 => Signature::from_der(self.signature).ok(),
            _ => Signature::from_slice(self.signature),
        };
        let digest = match self.kind {
            3 => self.message.try_into().ok(),
            _ => Some(Sha256::digest(self.message).into()),
        };
        let (Some(signature), Some(digest)) = (signature, digest) else { return false };
        curve::verify::<C>(&key, &digest, &signature).is_ok()
    }

    /// As chains, proofs and trust bundles are verified.
    fn is_taken(&self) -> bool {
        match self.kind {
            1 => ECDSA_P256_SHA256.verify_signature(self.key, self.message, self.signature).is_ok(),
            2 => match (PublicKey::from_sec1(self.key), Signature::from_slice(self.signature)) {
                (Ok(key), Some(signature)) => key.verify(self.message, &signature).is_ok(),
                _ => false,
            },
            _ => false,
        }
    }
}

/// Says what each operation costs. Under `-icount shift=0` a tick is 40 instructions.
fn measure() -> Option<()> {
    let secret = [0x5a; 32];
    let digest: [u8; 32] = Sha256::digest(b"sample").into();
    let (key, instructions) = counted(|| SoftKey::from_secret(&secret).map(|key| (key.public_key(), key)));
    console::say_number(b"measured.keygen", instructions);
    let (public, mut key) = key?;
    let (signature, instructions) = counted(|| key.sign_digest(&digest));
    console::say_number(b"measured.sign", instructions);
    let signature = signature.ok()?;
    let (portable, instructions) = counted(|| curve::verify::<Portable>(&public, &digest, &signature));
    console::say_number(b"measured.verify_portable", instructions);
    let (assembly, instructions) = counted(|| curve::verify::<CortexM4>(&public, &digest, &signature));
    console::say_number(b"measured.verify_assembly", instructions);
    let secret = p256::SecretKey::from_slice(&secret).ok()?;
    let peer = p256::PublicKey::from_sec1_bytes(public.as_sec1()).ok()?;
    let (_, instructions) = counted(|| diffie_hellman(secret.to_nonzero_scalar(), peer.as_affine()));
    console::say_number(b"measured.ecdh", instructions);
    (portable.is_ok() && assembly.is_ok()).then_some(())
}

#[inline(never)]
fn counted<T>(act: impl FnOnce() -> T) -> (T, u32) {
    let before = timer::ticks();
    let made = core::hint::black_box(act());
    (made, timer::ticks().wrapping_sub(before).wrapping_mul(INSTRUCTIONS_PER_TICK))
}

const INSTRUCTIONS_PER_TICK: u32 = 40;
/// No key, message or signature of a vector is longer.
const FIELD_LEN: usize = 4608;
