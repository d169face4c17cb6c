//! The record gate: lets embedded-tls read whole, checked records and nothing else.
//!
//! | record | when | length |
//! |---|---|---|
//! | 22 handshake | the first one, a ServerHello that answers ours ([`server_hello`]) | up to the buffer |
//! | 21 alert | instead of it | 2 |
//! | 20 change_cipher_spec | once, between ServerHello and the end of the handshake | 1, byte 0x01 |
//! | 23 encrypted | after ServerHello | 17 up to the buffer |
//!
//! The library reads five bytes of header, then exactly the payload. Both are given to it whole or not at all, so a read
//! that is dropped half way loses nothing: what has arrived of a header stays here, what has arrived of a payload stays
//! where it was written, in the library's own record buffer. The next read gets the same header again, and with it the
//! library comes back with the same piece of its buffer (looked at by address; anything else ends the connection).
//! So one record buffer is enough.
//!
//! While hands are shaken the gate is where the library can be made to wait: until what the peer showed is judged, and
//! for a turn of the executor before each read and write, since between two of them lies a public-key operation.

use embassy_futures::yield_now;
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};

use super::error::Breach;
use super::link::{Fault, Link, Phase};
use super::server_hello;
use super::suite::{ALERT, APPLICATION_DATA, HANDSHAKE};

/// A socket behind the gate.
pub(super) struct Gate<'l, S> {
    socket: S,
    link: &'l Link,
    header: [u8; HEADER_BYTES],
    progress: Progress,
    payload_bytes_max: usize,
    suite: u16,
    has_changed_cipher_spec: bool,
    flight_records: u8,
}

#[derive(Clone, Copy)]
enum Progress {
    /// So many bytes of the next header are there.
    Header(usize),
    /// The header is whole; so many bytes of the payload lie at this address.
    Payload { filled: usize, address: Option<usize> },
}

/// The gate is shut. Why stands in the [`Link`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Shut;

impl core::fmt::Display for Shut {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("shut")
    }
}

impl core::error::Error for Shut {}

impl embedded_io_async::Error for Shut {
    fn kind(&self) -> ErrorKind {
        ErrorKind::ConnectionAborted
    }
}

impl<'l, S> Gate<'l, S> {
    /// A gate for a library that has a record buffer of `payload_bytes_max` and offered `suite`.
    pub(super) const fn new(socket: S, link: &'l Link, payload_bytes_max: usize, suite: u16) -> Self {
        Self {
            socket,
            link,
            header: [0; HEADER_BYTES],
            progress: Progress::Header(0),
            payload_bytes_max,
            suite,
            has_changed_cipher_spec: false,
            flight_records: 0,
        }
    }

    fn shut(&self, breach: Breach) -> Shut {
        self.link.fail(Fault::Breach(breach));
        Shut
    }

    fn broken(&self) -> Shut {
        self.link.fail(Fault::Broken);
        Shut
    }

    /// Lets everything else come first.
    async fn wait(&self) {
        if self.link.phase() != Phase::Established {
            yield_now().await;
            self.link.released().await;
        }
    }

    fn payload_bytes(&self) -> usize {
        usize::from(u16::from_be_bytes([self.header[3], self.header[4]]))
    }

    /// Checks a whole header, and marks it with the phase for the cipher.
    fn check_header(&mut self) -> Result<(), Breach> {
        let [kind, major, minor, ..] = self.header;
        let phase = self.link.phase();
        let (shortest, longest) = match (kind, phase) {
            (HANDSHAKE, Phase::ServerHello) => (SERVER_HELLO_BYTES_MIN, self.payload_bytes_max),
            (ALERT, Phase::ServerHello) => (2, 2),
            (CHANGE_CIPHER_SPEC, phase) if may_change_cipher_spec(phase) && !self.has_changed_cipher_spec => (1, 1),
            (APPLICATION_DATA, Phase::ServerHello) => return Err(Breach::RecordType),
            (APPLICATION_DATA, _) => (ENCRYPTED_BYTES_MIN, self.payload_bytes_max),
            _ => return Err(Breach::RecordType),
        };
        if [major, minor] != [0x03, 0x03] {
            return Err(Breach::RecordVersion);
        }
        match self.payload_bytes() {
            length if length < shortest => return Err(Breach::RecordTooShort),
            length if length > longest => return Err(Breach::RecordTooLarge),
            _ => {}
        }
        if kind == APPLICATION_DATA {
            self.header[1] = phase.mark();
            if phase != Phase::Established {
                self.flight_records += 1;
                if self.flight_records > FLIGHT_RECORDS_MAX {
                    return Err(Breach::Flight);
                }
            }
        }
        Ok(())
    }

    /// Checks a whole payload that is not encrypted, and takes the step in the handshake that the record means.
    fn check_payload(&mut self, payload: &[u8]) -> Result<(), Fault> {
        match (self.header[0], self.link.phase()) {
            (HANDSHAKE, _) => {
                server_hello::check(payload, self.suite).map_err(Fault::Breach)?;
                self.link.enter(Phase::Opening);
            }
            (ALERT, _) => return Err(Fault::Alert(payload.last().copied().unwrap_or_default())),
            (CHANGE_CIPHER_SPEC, _) => {
                self.has_changed_cipher_spec = true;
                if payload != [0x01] {
                    return Err(Fault::Breach(Breach::RecordType));
                }
            }
            (APPLICATION_DATA, Phase::Opening) => self.link.enter(Phase::Flight),
            _ => {}
        }
        Ok(())
    }
}

impl<S> ErrorType for Gate<'_, S> {
    type Error = Shut;
}

impl<S: Read> Read for Gate<'_, S> {
    async fn read(&mut self, target: &mut [u8]) -> Result<usize, Shut> {
        if self.link.fault().is_some() {
            return Err(Shut);
        }
        // No payload has five bytes: the gate lets through 1, 2, or at least 17.
        if target.len() == HEADER_BYTES {
            self.wait().await;
            self.read_header().await?;
            target.copy_from_slice(&self.header);
            return Ok(HEADER_BYTES);
        }
        self.read_payload(target).await
    }
}

impl<S: Read> Gate<'_, S> {
    async fn read_header(&mut self) -> Result<(), Shut> {
        while let Progress::Header(filled) = self.progress {
            if filled == HEADER_BYTES {
                self.check_header().map_err(|breach| self.shut(breach))?;
                self.progress = Progress::Payload { filled: 0, address: None };
                return Ok(());
            }
            let rest = self.header.get_mut(filled..).unwrap_or_default();
            let count = match self.socket.read(rest).await {
                Ok(count) if count > 0 && count <= HEADER_BYTES - filled => count,
                _ => return Err(self.broken()),
            };
            self.progress = Progress::Header(filled + count);
        }
        Ok(())
    }

    async fn read_payload(&mut self, target: &mut [u8]) -> Result<usize, Shut> {
        let here = target.as_ptr().addr();
        let Progress::Payload { mut filled, address } = self.progress else {
            return Err(self.shut(Breach::RecordType));
        };
        if target.len() != self.payload_bytes() || address.is_some_and(|address| address != here) {
            return Err(self.shut(Breach::RecordType));
        }
        while filled < target.len() {
            let rest = target.get_mut(filled..).unwrap_or_default();
            let room = rest.len();
            filled += match self.socket.read(rest).await {
                Ok(count) if count > 0 && count <= room => count,
                _ => return Err(self.broken()),
            };
            self.progress = Progress::Payload { filled, address: Some(here) };
        }
        if let Err(fault) = self.check_payload(target) {
            self.link.fail(fault);
            return Err(Shut);
        }
        self.progress = Progress::Header(0);
        Ok(filled)
    }
}

impl<S: Write> Write for Gate<'_, S> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Shut> {
        self.wait().await;
        if self.link.fault().is_some() {
            return Err(Shut);
        }
        match self.socket.write(bytes).await {
            Ok(count) if count > 0 || bytes.is_empty() => Ok(count),
            _ => Err(self.broken()),
        }
    }

    async fn flush(&mut self) -> Result<(), Shut> {
        self.socket.flush().await.map_err(|_| self.broken())
    }
}

const fn may_change_cipher_spec(phase: Phase) -> bool {
    !matches!(phase, Phase::ServerHello | Phase::Established)
}

const HEADER_BYTES: usize = 5;
const CHANGE_CIPHER_SPEC: u8 = 20;
/// Type, length, version, random, no session id, suite, compression, length of extensions.
const SERVER_HELLO_BYTES_MIN: usize = 4 + 2 + 32 + 1 + 2 + 1;
/// One byte of content type and a tag: what is shorter makes the library panic (RFC 9846, section 5.2).
const ENCRYPTED_BYTES_MIN: usize = 17;
/// The flight has five messages; a server may give each a record of its own.
const FLIGHT_RECORDS_MAX: u8 = 8;
