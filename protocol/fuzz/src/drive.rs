//! A bounded run of a fuzz target: mutations of good inputs, the same ones in every run.
//!
//! `MUSTER_FUZZ_TIMES=1000` in the environment makes it a thousand times as long, with inputs of its own each time, for
//! machines without libFuzzer.

/// Calls `target` with every seed, with `rounds` mutations of them, and with as many pieces of noise.
pub(crate) fn drive(target: fn(&[u8]), seeds: &[Vec<u8>], rounds: u32) {
    let mut chance = Chance(0x6675_7a7a);
    let rounds = rounds.saturating_mul(times());
    target(&[]);
    for seed in seeds {
        target(seed);
        for end in 0..seed.len().min(200) {
            target(&seed[..end]);
        }
    }
    for round in 0..rounds {
        if let Some(seed) = seeds.get(chance.below(seeds.len().max(1))) {
            let mut bytes = seed.clone();
            for _ in 0..=chance.below(4) {
                mutate(&mut bytes, &mut chance);
            }
            target(&bytes);
        }
        let noise: Vec<u8> = (0..chance.below(1 + round as usize % 300)).map(|_| chance.next() as u8).collect();
        target(&noise);
    }
}

fn times() -> u32 {
    std::env::var("MUSTER_FUZZ_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

fn mutate(bytes: &mut Vec<u8>, chance: &mut Chance) {
    if bytes.is_empty() {
        bytes.push(chance.next() as u8);
        return;
    }
    let at = chance.below(bytes.len());
    match chance.below(7) {
        0 | 1 => bytes[at] ^= 1 << chance.below(8),
        2 => bytes[at] = [0x00, 0x01, 0x7f, 0x80, 0x81, 0x82, 0xff][chance.below(7)],
        3 => bytes.insert(at, chance.next() as u8),
        4 => {
            bytes.remove(at);
        }
        5 => bytes.truncate(at),
        _ => {
            let end = (at + chance.below(16)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            let to = chance.below(bytes.len());
            bytes.splice(to..to, piece);
        }
    }
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }
}
