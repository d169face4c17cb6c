//! Damage to good chains. A changed byte is found by the signature if by nothing before it; which check finds it, and so
//! which code is right, depends on the byte.

use crate::random::Random;
use crate::test_pki::TestKey;

/// A chain, damaged.
pub(super) struct Damaged {
    pub(super) what: String,
    pub(super) chain: Vec<Vec<u8>>,
}

/// `count` damaged copies of `chain`, each another one. Certificates behind the first `needed` ones are not touched:
/// whether they are good makes no difference.
pub(super) fn damaged(chain: &[Vec<u8>], needed: usize, count: usize, random: &mut Random) -> Vec<Damaged> {
    let mut all = Vec::with_capacity(count);
    for number in 0..count {
        let mut damaged = chain.to_vec();
        let which = random.below(needed as u64) as usize;
        let victim = &mut damaged[which];
        let place = random.below(victim.len() as u64) as usize;
        let what = match number % 5 {
            0 | 1 => {
                let bit = random.below(8);
                victim[place] ^= 1 << bit;
                format!("bit {bit} of byte {place} of certificate {which}")
            }
            2 => {
                victim.truncate(place);
                format!("certificate {which} cut at {place}")
            }
            3 => {
                let byte = random.next() as u8;
                victim.insert(place, byte);
                format!("byte {byte:#04x} before {place} of certificate {which}")
            }
            _ => {
                let length = random.between(1, 8) as usize;
                let end = (place + length).min(victim.len());
                let was = victim[place..end].to_vec();
                victim[place..end].iter_mut().for_each(|byte| *byte = random.next() as u8);
                if victim[place..end] == was {
                    victim[place] ^= 0x80;
                }
                format!("{length} random bytes at {place} of certificate {which}")
            }
        };
        all.push(Damaged { what, chain: damaged });
    }
    all
}

/// Takes the signature off a certificate, changes the signed part, and signs it anew: the damage is the CA's own.
pub(super) fn resigned(der: &[u8], issuer: &TestKey, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let body = &der[header_bytes(der)..];
    let tbs_bytes = header_bytes(body) + content_bytes(body);
    let mut tbs = body[..tbs_bytes].to_vec();
    change(&mut tbs);
    let mut content = tbs.clone();
    content.extend(ECDSA_WITH_SHA256);
    let mut signature = vec![0];
    signature.extend_from_slice(&issuer.sign(&tbs).to_der());
    content.extend(tlv(0x03, &signature));
    tlv(0x30, &content)
}

/// Replaces every place where `from` stands by `to`, of the same length.
pub(super) fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    for start in 0..=bytes.len().saturating_sub(from.len()) {
        if bytes[start..].starts_with(from) {
            bytes[start..start + to.len()].copy_from_slice(to);
        }
    }
}

fn header_bytes(der: &[u8]) -> usize {
    match der[1] {
        0x82 => 4,
        0x81 => 3,
        _ => 2,
    }
}

fn content_bytes(der: &[u8]) -> usize {
    match der[1] {
        0x82 => usize::from(der[2]) << 8 | usize::from(der[3]),
        0x81 => usize::from(der[2]),
        short => usize::from(short),
    }
}

pub(super) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len().to_be_bytes() {
        [.., 0, low] if low < 0x80 => bytes.push(low),
        [.., 0, low] => bytes.extend([0x81, low]),
        [.., high, low] => bytes.extend([0x82, high, low]),
    }
    bytes.extend_from_slice(content);
    bytes
}

const ECDSA_WITH_SHA256: [u8; 12] = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
