//! What happened in a world, as a hash that names it and, when somebody wants to read it, as lines.

use std::fmt::{self, Write};

use muster_protocol::time::Millis;

/// The record of one run. Two runs of one seed have the same hash, or the world is not deterministic.
#[derive(Debug)]
pub struct History {
    hash: Fnv,
    events: u64,
    lines: Option<Vec<String>>,
}

impl History {
    /// Keeps the hash alone.
    #[must_use]
    pub const fn hashed() -> Self {
        Self { hash: Fnv(FNV_OFFSET), events: 0, lines: None }
    }

    /// Keeps the lines as well.
    #[must_use]
    pub const fn readable() -> Self {
        Self { hash: Fnv(FNV_OFFSET), events: 0, lines: Some(Vec::new()) }
    }

    /// Writes one line: who did what.
    pub fn note(&mut self, at: Millis, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        self.events += 1;
        // Writing into a hash does not fail.
        let _ = writeln!(self.hash, "{} {who} {what}", at.0);
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{} {who}: {what}", Elapsed(at)));
        }
    }

    /// The hash of everything noted.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash.0
    }

    /// How many lines were noted.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The lines, if they were kept.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}

/// Days, hours, minutes, seconds, milliseconds since the start of the history.
struct Elapsed(Millis);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Millis(millis) = self.0;
        let seconds = millis / 1000;
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        write!(f, "{days:>4}d {hours:02}:{minutes:02}:{:02}.{:03}", seconds % 60, millis % 1000)
    }
}

/// FNV-1a, 64 bits.
#[derive(Debug)]
struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_every_word_and_on_nothing_else() {
        let run = |word: &str, mut history: History| {
            history.note(Millis(90_061_001), "dev-0", format_args!("says {word}"));
            (history.hash(), history.lines().join("\n"))
        };
        let (hash, _) = run("yes", History::hashed());
        let (readable, text) = run("yes", History::readable());
        assert_eq!(hash, readable);
        assert_ne!(hash, run("no", History::hashed()).0);
        assert_eq!(text, "   1d 01:01:01.001 dev-0: says yes");
    }
}
