//! A connection that stands: bytes in, bytes out, and an end that says why.
//!
//! Reading is safe to cancel at any point. Writing is not: a record of which a part was sent cannot be taken back, so a
//! write that was dropped half way ends the connection with the next use.

use embedded_io_async::{ErrorType, Read, Write};
use embedded_tls::read_buffer::ReadBuffer;
use embedded_tls::{TlsConnection, TlsError};

use super::alert::Alert;
use super::error::{Breach, GuardError};
use super::gate::Gate;
use super::link::{Fault, Link};
use super::suite::{ALERT, APPLICATION_DATA, GuardedSuite, HANDSHAKE};

/// A connection to the gateway, mutually authenticated. Only [`super::connect`] makes it.
pub struct GuardedStream<'b, S>(pub(super) Records<'b, S>)
where
    S: Read + Write;

/// An encrypted connection to nobody in particular: for what carries its own signature. Only
/// [`super::open_unjudged`] makes it.
pub struct UnjudgedStream<'b, S>(pub(super) Records<'b, S>)
where
    S: Read + Write;

/// The stream of a [`super::Line`], mutually authenticated. Only [`super::Line::connect`] makes it.
pub struct GuardedLine<'l, 'b, S>(pub(super) &'l mut Records<'b, S>)
where
    S: Read + Write;

/// The stream of a [`super::Line`] to nobody in particular. Only [`super::Line::open_unjudged`] makes it.
pub struct UnjudgedLine<'l, 'b, S>(pub(super) &'l mut Records<'b, S>)
where
    S: Read + Write;

/// The records of one connection. The socket is dropped, and so closed, with the first failure.
pub(super) struct Records<'b, S>
where
    S: Read + Write,
{
    pub(super) tls: Option<TlsConnection<'b, Gate<'b, S>, GuardedSuite>>,
    pub(super) link: &'b Link,
    pub(super) end: Option<End>,
    pub(super) is_writing: bool,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// The peer said goodbye.
    Goodbye,
    /// It failed.
    Failed(GuardError),
}

impl<'b, S> Records<'b, S>
where
    S: Read + Write + 'b,
{
    /// Closes the socket, and remembers why.
    fn finish(&mut self, end: End) -> Result<usize, GuardError> {
        self.tls = None;
        self.end = Some(end);
        end.as_read()
    }

    fn failed(&mut self, error: &TlsError) -> GuardError {
        let error = meaning(self.link.fault(), error);
        self.tls = None;
        self.end = Some(End::Failed(error));
        error
    }

    async fn read(&mut self, target: &mut [u8]) -> Result<usize, GuardError> {
        if target.is_empty() {
            return Ok(0);
        }
        for _ in 0..EMPTY_RECORDS_MAX {
            let Some(tls) = &mut self.tls else {
                return self.end.map_or(Err(GuardError::Closed), End::as_read);
            };
            let step = match tls.read_buffered().await {
                Ok(record) => take(record, target),
                Err(error) => Step::End(End::Failed(meaning(self.link.fault(), &error))),
            };
            match step {
                Step::Data(count) => return Ok(count),
                Step::Nothing => {}
                Step::End(end) => return self.finish(end),
            }
        }
        self.finish(End::Failed(GuardError::Breach(Breach::EmptyRecords)))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<usize, GuardError> {
        let tls = self.start_write()?;
        match tls.write(bytes).await {
            Ok(count) => {
                self.is_writing = false;
                Ok(count)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn flush(&mut self) -> Result<(), GuardError> {
        let tls = self.start_write()?;
        match tls.flush().await {
            Ok(()) => {
                self.is_writing = false;
                Ok(())
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn start_write(&mut self) -> Result<&mut TlsConnection<'b, Gate<'b, S>, GuardedSuite>, GuardError> {
        if self.is_writing {
            let _ = self.finish(End::Failed(GuardError::Closed));
        }
        match (&mut self.tls, self.end) {
            (Some(tls), _) => {
                self.is_writing = true;
                Ok(tls)
            }
            (None, Some(End::Failed(error))) => Err(error),
            (None, _) => Err(GuardError::Closed),
        }
    }

    async fn close(mut self) {
        if let Some(tls) = self.tls.take()
            && !self.is_writing
        {
            let _ = tls.close().await;
        }
    }
}

impl End {
    const fn as_read(self) -> Result<usize, GuardError> {
        match self {
            Self::Goodbye => Ok(0),
            Self::Failed(error) => Err(error),
        }
    }
}

/// What one record was good for.
enum Step {
    Data(usize),
    Nothing,
    End(End),
}

/// Takes from a decrypted record, which is content and type as the inner gate left them; what was read before is gone
/// from its front.
fn take(mut record: ReadBuffer<'_>, target: &mut [u8]) -> Step {
    let breach = |breach| Step::End(End::Failed(GuardError::Breach(breach)));
    let Some((kind, content)) = record.peek_all().split_last() else { return Step::Nothing };
    match (*kind, content) {
        (APPLICATION_DATA, content) if !content.is_empty() => {
            let count = content.len().min(target.len());
            for (to, from) in target.iter_mut().zip(content) {
                *to = *from;
            }
            // The type goes with the last of the content.
            record.pop(count + usize::from(count == content.len()));
            Step::Data(count)
        }
        // Of a session ticket there is no use, since nothing is resumed.
        (APPLICATION_DATA, []) | (HANDSHAKE, [NEW_SESSION_TICKET, ..]) => {
            record.pop_all();
            Step::Nothing
        }
        (HANDSHAKE, [KEY_UPDATE, ..]) => breach(Breach::KeyUpdate),
        (HANDSHAKE, _) => breach(Breach::StrayHandshake),
        (ALERT, [_level, description]) => Step::End(match Alert::of(*description) {
            Alert::Goodbye => End::Goodbye,
            Alert::Refusal(code) => End::Failed(GuardError::Refused(code)),
        }),
        _ => breach(Breach::InnerType),
    }
}

/// What an error of the library means after the handshake.
fn meaning(fault: Option<Fault>, error: &TlsError) -> GuardError {
    match (fault, error) {
        (Some(Fault::Breach(breach)), _) => GuardError::Breach(breach),
        (Some(Fault::Broken | Fault::Alert(_)), _) => GuardError::Broken,
        (None, TlsError::CryptoError) => GuardError::Breach(Breach::RecordMac),
        (None, _) => GuardError::Breach(Breach::InnerType),
    }
}

macro_rules! stream {
    ($name:ident, $($lifetime:lifetime),+) => {
        impl<$($lifetime,)+ S: Read + Write + 'b> ErrorType for $name<$($lifetime,)+ S> {
            type Error = GuardError;
        }

        impl<$($lifetime,)+ S: Read + Write + 'b> Read for $name<$($lifetime,)+ S> {
            /// `Ok(0)` when the peer said goodbye; an end without that is [`GuardError::Broken`]. Safe to cancel.
            async fn read(&mut self, target: &mut [u8]) -> Result<usize, GuardError> {
                self.0.read(target).await
            }
        }

        impl<$($lifetime,)+ S: Read + Write + 'b> Write for $name<$($lifetime,)+ S> {
            /// Takes bytes into the current record, and sends it when it is full. Not to be cancelled.
            async fn write(&mut self, bytes: &[u8]) -> Result<usize, GuardError> {
                self.0.write(bytes).await
            }

            /// Sends what was written; does not wait until it was acknowledged. Not to be cancelled.
            async fn flush(&mut self) -> Result<(), GuardError> {
                self.0.flush().await
            }
        }
    };
}

macro_rules! close {
    ($name:ident) => {
        impl<'b, S: Read + Write + 'b> $name<'b, S> {
            /// Says goodbye (close_notify) and closes the socket. Waits for the transport to take it: set a deadline.
            pub async fn close(self) {
                self.0.close().await;
            }
        }
    };
}

stream!(GuardedStream, 'b);
stream!(UnjudgedStream, 'b);
stream!(GuardedLine, 'l, 'b);
stream!(UnjudgedLine, 'l, 'b);
close!(GuardedStream);
close!(UnjudgedStream);

/// Records in a row without data: tickets and padding. More is a flood.
const EMPTY_RECORDS_MAX: u8 = 32;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
