//! Reads that are dropped half way, at every byte, lose nothing; writes that are dropped end the connection.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use embedded_io_async::{ErrorType, Read, Write};
use muster_agent_nostd::tls::{Buffers, GuardError};
use muster_system_tests::corpus::{CorpusKey, NAME, NOW, World};
use muster_system_tests::random::Random;
use muster_system_tests::rogue::shake_hands;
use muster_system_tests::rogue::tls::{DATA, HANDSHAKE, message};
use tokio::net::TcpStream;

use crate::device::{Device, Lost, Socket};
use crate::servers::{material, serve};

/// Gives at most one byte at a time, and is not ready before each of them.
struct Stutter {
    socket: Socket,
    is_rested: bool,
}

impl ErrorType for Stutter {
    type Error = Lost;
}

impl Read for Stutter {
    async fn read(&mut self, target: &mut [u8]) -> Result<usize, Lost> {
        if !self.is_rested {
            // Not again, should this future be dropped here.
            self.is_rested = true;
            yield_once().await;
        }
        self.is_rested = false;
        self.socket.read(&mut target[..1]).await
    }
}

impl Write for Stutter {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Lost> {
        self.socket.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), Lost> {
        self.socket.flush().await
    }
}

async fn yield_once() {
    let mut is_done = false;
    poll_fn(|context| {
        if is_done {
            return Poll::Ready(());
        }
        is_done = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// One poll; the future is dropped whatever it gives.
async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match Pin::as_mut(&mut future).poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn reads_may_be_dropped_at_every_byte() {
    let world = World::new();
    let key = CorpusKey::new(101);
    let mut buffers = Box::new(Buffers::new());
    let material = material();
    let mut random = Random::new(11);
    // Enough that the records wrap around the end of the read buffer many times.
    let pieces: Vec<Vec<u8>> = (0..60)
        .map(|number| {
            let length = *random.pick(&[1, 2, 5, 12, 100, 700, 1500, 2031]);
            (0..length).map(|at| (number * 31 + at) as u8).collect()
        })
        .collect();
    let expected = pieces.concat();
    let (address, server) = serve(move |tls| {
        let established = shake_hands(tls, &material)?;
        tls.read_flight(&established)?;
        for piece in pieces {
            tls.sealed(DATA, &piece)?;
            tls.sealed(HANDSHAKE, &message(4, &[0; 14]))?;
        }
        tls.sealed(21, &[1, 0])
    });
    let device = device(&key);
    let cas = world.gateway_cas();
    let device = Device { gateway_cas: &cas, ..device };
    let socket = Socket(TcpStream::connect(address).await.unwrap());
    let socket = Stutter { socket, is_rested: false };
    let (mut stream, _) = device.shake(socket, &mut buffers).await.unwrap();
    let (mut read, mut piece, mut dropped) = (Vec::<u8>::new(), [0; 64], 0_u32);
    loop {
        match poll_once(stream.read(&mut piece)).await {
            Some(Ok(0)) => break,
            Some(Ok(count)) => read.extend(&piece[..count]),
            Some(Err(error)) => panic!("after {} bytes: {error:?}", read.len()),
            None => {
                dropped += 1;
                tokio::task::yield_now().await;
            }
        }
    }
    assert!(read == expected, "{} of {} bytes", read.len(), expected.len());
    assert!(dropped as usize > expected.len(), "{dropped}");
    drop(stream);
    server.join().unwrap();
}

#[tokio::test]
async fn a_write_that_was_dropped_ends_the_connection() {
    let world = World::new();
    let key = CorpusKey::new(101);
    let mut buffers = Box::new(Buffers::new());
    let material = material();
    let (address, server) = serve(move |tls| {
        let established = shake_hands(tls, &material)?;
        tls.read_flight(&established).map(|_| ())
    });
    let device = device(&key);
    let cas = world.gateway_cas();
    let device = Device { gateway_cas: &cas, ..device };
    let stops_writing = Cell::new(false);
    let socket = Armed { socket: Socket(TcpStream::connect(address).await.unwrap()), stops_writing: &stops_writing };
    let (mut stream, _) = device.shake(socket, &mut buffers).await.unwrap();
    stream.write_all(b"whole").await.unwrap();
    stream.flush().await.unwrap();
    stops_writing.set(true);
    stream.write_all(b"half").await.unwrap();
    assert!(poll_once(stream.flush()).await.is_none());
    stops_writing.set(false);
    assert_eq!(stream.write(b"more").await.unwrap_err(), GuardError::Closed);
    assert_eq!(stream.flush().await.unwrap_err(), GuardError::Closed);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_err(), GuardError::Closed);
    drop(stream);
    // One whole record, and the piece of another: nothing was sent after it.
    assert_eq!(server.join().unwrap().len(), 5 + 5 + 1 + 16 + 3);
}

/// Writes three bytes of a record and then none, once told to.
struct Armed<'a> {
    socket: Socket,
    stops_writing: &'a Cell<bool>,
}

impl ErrorType for Armed<'_> {
    type Error = Lost;
}

impl Read for Armed<'_> {
    async fn read(&mut self, target: &mut [u8]) -> Result<usize, Lost> {
        self.socket.read(target).await
    }
}

impl Write for Armed<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Lost> {
        if self.stops_writing.get() {
            self.socket.write(&bytes[..3]).await?;
            std::future::pending::<()>().await;
        }
        self.socket.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), Lost> {
        self.socket.flush().await
    }
}

fn device(key: &CorpusKey) -> Device<'_> {
    Device {
        name: NAME,
        gateway_cas: &[],
        now: NOW,
        certificate: b"a certificate",
        key: key.pair(),
        patience_millis: 10_000,
        signed: Cell::new(0),
    }
}
