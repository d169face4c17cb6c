//! The loop over a serial line: bytes in, frames out.
//!
//! Log text may share the line: whatever is no frame is dropped by both ends. While a key is made or flash is written
//! nothing is read; the station waits for its answer, so nothing comes meanwhile but repetitions.

use core::pin::pin;

use embassy_futures::yield_now;
use embedded_io_async::{Read, Write};
use muster_protocol::Code;
use muster_protocol::message::factory::frame::{Frame, FrameReader, frame};
use muster_protocol::message::factory::{Answer, Encoded, Hello, Request, decode_request, sequence};
use rand_core::CryptoRngCore;

use super::{After, Factory, FactoryStore, answer};
use crate::apart::apart;

/// The line is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LineError;

/// Says who is there, then answers until the station is done with a locked board. The caller starts the device anew.
pub async fn serve<L: Read + Write>(
    line: &mut L,
    factory: &mut Factory,
    store: &mut impl FactoryStore,
    rng: &mut impl CryptoRngCore,
) -> Result<(), LineError> {
    send(line, &framed(|| factory.announce(store))).await?;
    let mut input = Input::new();
    loop {
        let mut after = After::Stay;
        let handle = |message: &[u8]| {
            let (answer, next) = factory.handle(message, store, rng);
            after = next;
            answer
        };
        let said = apart(pin!(answer_next(line, &mut input, handle))).await?;
        send(line, &said).await?;
        if after == After::Leave {
            return Ok(());
        }
    }
}

/// Beside a running agent: says who the device is, and refuses everything else.
pub async fn serve_locked<L: Read + Write>(line: &mut L, hello: &Hello) -> Result<(), LineError> {
    let said = || Ok(Answer::Hello(hello.clone()));
    send(line, &framed(|| answer(0, said()))).await?;
    let mut input = Input::new();
    loop {
        let refuse = |message: &[u8]| {
            let outcome = match decode_request(message) {
                Ok(Request::Hello) => said(),
                // It left already; a station that missed the answer hears it again.
                Ok(Request::Leave) => Ok(Answer::Leaving),
                Ok(_) => Err(Code::FactoryLocked),
                Err(code) => Err(code),
            };
            answer(sequence(message).unwrap_or(0), outcome)
        };
        let said = apart(pin!(answer_next(line, &mut input, refuse))).await?;
        send(line, &said).await?;
    }
}

/// Waits for a message, and frames its answer. A function of its own, so that the room for what comes in is free again
/// while the answer goes out.
async fn answer_next<L: Read>(
    line: &mut L,
    input: &mut Input,
    mut answer: impl FnMut(&[u8]) -> Encoded,
) -> Result<Frame, LineError> {
    let mut reader = FrameReader::new();
    loop {
        let byte = input.next(line).await?;
        if let Some(message) = reader.push(byte) {
            return Ok(framed(|| answer(message)));
        }
    }
}

/// A call of its own: the message is on the stack only as long as it is framed.
#[inline(never)]
fn framed(message: impl FnOnce() -> Encoded) -> Frame {
    frame(&message())
}

async fn send<L: Write>(line: &mut L, frame: &Frame) -> Result<(), LineError> {
    line.write_all(frame).await.map_err(|_| LineError)?;
    line.flush().await.map_err(|_| LineError)
}

/// Bytes of a line that has errors of its own: overruns and broken characters cost what they hit and end nothing.
struct Input {
    buffer: [u8; READ_BYTES],
    at: usize,
    end: usize,
}

impl Input {
    const fn new() -> Self {
        Self { buffer: [0; READ_BYTES], at: 0, end: 0 }
    }

    async fn next<L: Read>(&mut self, line: &mut L) -> Result<u8, LineError> {
        let mut errors = 0;
        loop {
            if let Some(byte) = self.buffer.get(self.at..self.end).and_then(|rest| rest.first()) {
                self.at += 1;
                return Ok(*byte);
            }
            match line.read(&mut self.buffer).await {
                Ok(0) => return Err(LineError),
                Ok(read) => (self.at, self.end) = (0, read.min(READ_BYTES)),
                Err(_) if errors < ERRORS_MAX => {
                    errors += 1;
                    yield_now().await;
                }
                Err(_) => return Err(LineError),
            }
        }
    }
}

const READ_BYTES: usize = 64;
/// So many errors without a byte between them, and the line counts as gone.
const ERRORS_MAX: u32 = 10_000;
