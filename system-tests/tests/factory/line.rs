//! A bad line: bytes are lost, changed, doubled, and mixed with text; frames come twice.

use muster_system_tests::random::Random;

/// How bad.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise {
    /// Of a thousand bursts, lost whole.
    pub(crate) lost: u16,
    /// Of a thousand bursts, come twice.
    pub(crate) doubled: u16,
    /// Of a thousand bursts, with text before or in them.
    pub(crate) text: u16,
    /// Of a thousand bursts, with a byte changed, left out, or too many.
    pub(crate) damaged: u16,
}

impl Noise {
    pub(crate) const NONE: Self = Self { lost: 0, doubled: 0, text: 0, damaged: 0 };
    pub(crate) const SOME: Self = Self { lost: 60, doubled: 60, text: 150, damaged: 100 };

    /// What of a burst arrives.
    pub(crate) fn over(&self, random: &mut Random, burst: &[u8]) -> Vec<u8> {
        let mut arrives = burst.to_vec();
        if random.happens(self.lost) {
            arrives.clear();
        }
        if random.happens(self.doubled) {
            arrives.extend_from_within(..);
        }
        if random.happens(self.damaged) && !arrives.is_empty() {
            let at = random.below(arrives.len() as u64) as usize;
            match random.below(3) {
                0 => arrives[at] ^= 1 << random.below(8),
                1 => drop(arrives.remove(at)),
                _ => arrives.insert(at, random.next() as u8),
            }
        }
        if random.happens(self.text) {
            let at = if random.happens(500) { 0 } else { random.below(arrives.len() as u64 + 1) as usize };
            arrives.splice(at..at, b"[net] link up, dhcp 10.0.2.15\r\n".iter().copied());
        }
        arrives
    }
}
