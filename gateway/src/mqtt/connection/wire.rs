//! A stream with its buffers. Idle, it holds none: bytes are read by way of the stack, and a written buffer is let go.
//!
//! Nothing here is cancelled half-way: every call takes up where the last one stopped.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::codec::{DecodeError, Decoder, encode};
use super::super::packet::{Inbound, Outbound, Version};

#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    decoder: Decoder,
    read: BytesMut,
    unsent: Vec<u8>,
    /// How much of `unsent` is gone.
    sent: usize,
    unflushed: bool,
    stuck_since: Option<Instant>,
}

/// What came of an attempt to read.
#[derive(Debug, PartialEq)]
pub(super) enum Read {
    Packet(Inbound),
    Malformed(DecodeError),
    Ended,
    /// Bytes came, but no whole packet yet.
    More,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, frame_bytes_max: usize) -> Self {
        Self {
            stream,
            decoder: Decoder::new(frame_bytes_max),
            read: BytesMut::new(),
            unsent: Vec::new(),
            sent: 0,
            unflushed: false,
            stuck_since: None,
        }
    }

    pub(super) const fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.decoder.set_frame_bytes_max(frame_bytes_max);
    }

    pub(super) fn push(&mut self, version: Version, packet: &Outbound) {
        encode(version, packet, &mut self.unsent);
        self.unflushed = true;
    }

    /// Bytes that wait to be written.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len() - self.sent
    }

    /// Since when the other end has taken nothing although something waits.
    pub(super) const fn stuck_since(&self) -> Option<Instant> {
        self.stuck_since
    }

    /// The next packet that was read already, or what one read brings.
    pub(super) fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        match self.decoder.decode(&mut self.read) {
            Ok(Some(packet)) => return Poll::Ready(Read::Packet(packet)),
            Ok(None) => {}
            Err(error) => return Poll::Ready(Read::Malformed(error)),
        }
        if self.read.is_empty() && self.read.capacity() > 0 {
            // An idle connection keeps no buffer, nor the one that its last packet was cut from.
            self.read = BytesMut::new();
        }
        let mut chunk = [MaybeUninit::uninit(); CHUNK_BYTES];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk)) {
            Ok(()) if !chunk.filled().is_empty() => {
                self.read.extend_from_slice(chunk.filled());
                Poll::Ready(Read::More)
            }
            Ok(()) | Err(_) => Poll::Ready(Read::Ended),
        }
    }

    /// Writes and flushes what waits. `Err` when the stream is broken.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Result<(), ()>> {
        let written = self.poll_write_all(cx);
        match &written {
            Poll::Pending => {
                self.stuck_since.get_or_insert(now);
            }
            Poll::Ready(_) => self.stuck_since = None,
        }
        written
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        while let Some(rest) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(())),
                Ok(written) => self.sent += written,
            }
            self.stuck_since = None;
        }
        if self.unflushed {
            self.unsent = Vec::new();
            self.sent = 0;
            ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(|_| ())?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what waits, closes the sending side and reads to the end, so that unread bytes do not make the system
    /// reset the connection before the last packet is read.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>, closing: &mut Closing) -> Poll<()> {
        if *closing == Closing::Writing {
            if ready!(self.poll_write_all(cx)).is_err() {
                return Poll::Ready(());
            }
            *closing = Closing::ShuttingDown;
        }
        if *closing == Closing::ShuttingDown {
            if ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            *closing = Closing::Reading;
        }
        loop {
            let mut chunk = [MaybeUninit::uninit(); CHUNK_BYTES];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk)) {
                Ok(()) if !chunk.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

/// How far closing has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Closing {
    Writing,
    ShuttingDown,
    Reading,
}

/// Read at once, on the stack.
const CHUNK_BYTES: usize = 4096;
