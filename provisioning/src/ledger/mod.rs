//! The ledger of a line: which key has which name, and how far each board is. One file beside the issuing CA, so that no
//! two stations of one CA can ever make two devices of one name.
//!
//! Lines are only ever added (`line`), each forced to disk before the station acts on it, and each held to the rules of
//! the book (`book`). The file is locked while a line is decided and added: any number of stations share it. A line that
//! was torn by a kill or a power cut has no line feed; nothing was done on its word, and the next station removes it.
//! Anything else that does not fit stops the line with `ledger.damaged`: a ledger is never guessed.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use muster_issuing::file;
use muster_terminal::{Failure, OrFail as _};
use rustix::fs::FlockOperation;

mod book;
mod line;

pub use book::{Book, Broken, Entry, Run, Stage};
pub use line::{Chain, Line, Step, VERSION};

/// The file's name in the PKI's folder.
pub const LEDGER: &str = "station.ledger";

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    book: Book,
    chain: Chain,
    /// Bytes of the file that are in the book.
    read: u64,
    lines: u64,
}

impl Ledger {
    /// Opens the ledger in the PKI's folder and reads it; the first station makes it.
    pub fn open(pki: &Path) -> Result<Self, Failure> {
        let path = pki.join(LEDGER);
        let cannot = format!("cannot open {}", path.display());
        let is_new = !path.exists();
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .or_fail("ledger.unreadable", &cannot)?;
        if is_new {
            file::sync_dir(pki).or_fail("ledger.unwritable", &cannot)?;
        }
        let mut ledger = Self { path, file, book: Book::default(), chain: Chain::default(), read: 0, lines: 0 };
        ledger.transact(|_| Ok((Vec::new(), ())))?;
        Ok(ledger)
    }

    /// What it said when it was last locked; other stations may have added since.
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Locks the ledger, reads what other stations added, has `decide` say what to add, and adds it durably: all of these
    /// lines that survive a power cut are whole, and each is on disk when this returns.
    pub fn transact<T>(&mut self, decide: impl FnOnce(&Book) -> Result<(Vec<Line>, T), Failure>) -> Result<T, Failure> {
        let cannot = format!("cannot lock {}", self.path.display());
        rustix::fs::flock(&self.file, FlockOperation::LockExclusive).or_fail("ledger.lock", &cannot)?;
        let outcome = self.catch_up().and_then(|()| {
            let (lines, answer) = decide(&self.book)?;
            // The book may be ahead of the file then: what counts is the file.
            self.append(&lines).inspect_err(|_| self.forget())?;
            Ok(answer)
        });
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
        outcome
    }

    fn catch_up(&mut self) -> Result<(), Failure> {
        let cannot = format!("cannot read {}", self.path.display());
        let length = self.file.metadata().or_fail("ledger.unreadable", &cannot)?.len();
        if length < self.read {
            return Err(self.damaged("it became shorter"));
        }
        let mut added = Vec::new();
        self.file.seek(SeekFrom::Start(self.read)).or_fail("ledger.unreadable", &cannot)?;
        self.file.read_to_end(&mut added).or_fail("ledger.unreadable", &cannot)?;
        let whole = added.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (whole, torn) = added.split_at(whole);
        let text = std::str::from_utf8(whole).map_err(|_| self.damaged("it is not text"))?;
        for text in text.lines() {
            let (line, chain) = self.chain.read(text).ok_or_else(|| self.damaged("the check is wrong"))?;
            self.book.apply(&line).map_err(|broken| self.damaged(broken.text()))?;
            self.chain = chain;
            self.lines += 1;
        }
        self.read += whole.len() as u64;
        if !torn.is_empty() {
            self.file.set_len(self.read).or_fail("ledger.unwritable", &cannot)?;
            self.file.sync_all().or_fail("ledger.unwritable", &cannot)?;
        }
        Ok(())
    }

    fn append(&mut self, lines: &[Line]) -> Result<(), Failure> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for line in lines {
            self.book.apply(line).map_err(|broken| broken.refusal(line))?;
            let (written, next) = self.chain.write(line);
            text.push_str(&written);
            self.chain = next;
        }
        let cannot = format!("cannot write {}", self.path.display());
        let written = self
            .file
            .seek(SeekFrom::Start(self.read))
            .and_then(|_| self.file.write_all(text.as_bytes()))
            .and_then(|()| self.file.sync_all());
        if written.is_err() {
            // Half a line must not be there for another station to read; if this fails too, it has no line feed.
            let _ = self.file.set_len(self.read);
        }
        written.or_fail("ledger.unwritable", &cannot)?;
        self.read += text.len() as u64;
        self.lines += lines.len() as u64;
        Ok(())
    }

    /// Forgets everything; the next look at the file reads it all.
    fn forget(&mut self) {
        (self.book, self.chain, self.read, self.lines) = (Book::default(), Chain::default(), 0, 0);
    }

    fn damaged(&self, why: &str) -> Failure {
        Failure::refused("ledger.damaged", format!("{} line {}: {why}", self.path.display(), self.lines + 1)).hint(
            "no board is made on a ledger that cannot be trusted: put the file back from a copy, or begin a new PKI",
        )
    }
}

impl Broken {
    const fn text(self) -> &'static str {
        match self {
            Self::Rule(text) => text,
            Self::Taken(code) => code.text(),
        }
    }

    fn refusal(self, line: &Line) -> Failure {
        let device = line.step.device().unwrap_or_default();
        match self {
            Self::Rule(text) => Failure::failed("ledger.rule", format!("{device}: {text}")),
            Self::Taken(code) => Failure::refused(code.name(), format!("{device}: {}", code.text())),
        }
    }
}

#[cfg(test)]
mod tests;
