//! Frames on a serial line: whole and checked, or not there.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 0x00 |
//! | n | COBS of the message and its CRC-32 (IEEE 802.3, little endian): no zero octet in it |
//! | 1 | 0x00 |
//!
//! Consistent overhead byte stuffing: S. Cheshire, M. Baker, IEEE/ACM Transactions on Networking 7(2), 1999. A zero begins
//! and ends every frame, so a reader that joins late, or lost its place to noise, is back at the next one. Text that a
//! board prints between frames has no zero and is dropped with the frame that it is taken for; text that tears a frame
//! apart costs that frame, which is sent again.
//!
//! The check finds accidents. It is no protection against somebody on the line.

use crate::limits::{FACTORY_FRAME_BYTES_MAX, FACTORY_MESSAGE_BYTES_MAX};

/// A frame, ready for the line.
pub type Frame = heapless::Vec<u8, FACTORY_FRAME_BYTES_MAX>;

const CHECK_BYTES: usize = 4;
const BLOCK_BYTES_MAX: u8 = 0xff;

/// Frames a message; one that is longer than [`FACTORY_MESSAGE_BYTES_MAX`] makes an empty frame, which nobody reads.
#[must_use]
pub fn frame(message: &[u8]) -> Frame {
    let mut out = Frame::new();
    if message.len() <= FACTORY_MESSAGE_BYTES_MAX && write(message, &mut out).is_none() {
        out.clear();
    }
    out
}

fn write(message: &[u8], out: &mut Frame) -> Option<()> {
    out.push(0).ok()?;
    // Where the length of the block under way belongs; it counts itself.
    let mut head = out.len();
    let mut length = 1_u8;
    out.push(0).ok()?;
    let check = crc32(message).to_le_bytes();
    for &byte in message.iter().chain(&check) {
        // A full block ends without a zero in the original.
        if length == BLOCK_BYTES_MAX {
            *out.get_mut(head)? = length;
            (head, length) = (out.len(), 1);
            out.push(0).ok()?;
        }
        if byte == 0 {
            *out.get_mut(head)? = length;
            (head, length) = (out.len(), 1);
            out.push(0).ok()?;
        } else {
            out.push(byte).ok()?;
            length += 1;
        }
    }
    *out.get_mut(head)? = length;
    out.push(0).ok()
}

/// Takes bytes off the line one by one and gives whole, checked messages.
#[derive(Clone, Debug)]
pub struct FrameReader {
    buffer: heapless::Vec<u8, { FACTORY_MESSAGE_BYTES_MAX + CHECK_BYTES }>,
    /// Bytes that the block under way still has.
    missing: u8,
    /// A zero stands before the next block.
    zero_next: bool,
    /// What came since the last zero is no frame.
    spoilt: bool,
    /// The message in the buffer was handed out.
    taken: bool,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameReader {
    /// A reader at an unknown place of the line: what comes before the first zero may be noise.
    #[must_use]
    pub const fn new() -> Self {
        Self { buffer: heapless::Vec::new(), missing: 0, zero_next: false, spoilt: false, taken: false }
    }

    /// Takes one byte; a whole message comes back with its last.
    pub fn push(&mut self, byte: u8) -> Option<&[u8]> {
        if core::mem::take(&mut self.taken) {
            self.buffer.clear();
        }
        if byte != 0 {
            if !self.spoilt && self.take(byte).is_none() {
                self.spoilt = true;
            }
            return None;
        }
        let whole = !core::mem::take(&mut self.spoilt) && self.missing == 0;
        (self.missing, self.zero_next, self.taken) = (0, false, true);
        let (message, check) = self.buffer.split_last_chunk::<CHECK_BYTES>()?;
        (whole && !message.is_empty() && crc32(message).to_le_bytes() == *check).then_some(message)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        if self.missing > 0 {
            self.missing -= 1;
            return self.buffer.push(byte).ok();
        }
        if self.zero_next {
            self.buffer.push(0).ok()?;
        }
        self.missing = byte - 1;
        self.zero_next = byte != BLOCK_BYTES_MAX;
        Some(())
    }
}

/// CRC-32 as in IEEE 802.3, bit by bit: a table would cost a kilobyte of flash.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> heapless::Vec<Encoded, 4> {
        let mut reader = FrameReader::new();
        let mut messages = heapless::Vec::new();
        for byte in bytes {
            if let Some(message) = reader.push(*byte) {
                messages.push(Encoded::from_slice(message).unwrap()).unwrap();
            }
        }
        messages
    }

    type Encoded = heapless::Vec<u8, FACTORY_MESSAGE_BYTES_MAX>;

    #[test]
    fn the_check_is_that_of_ethernet() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn every_length_and_every_byte_comes_back() {
        let mut message = Encoded::new();
        for length in 0..FACTORY_MESSAGE_BYTES_MAX {
            message.push((length % 256) as u8).unwrap();
            let frame = frame(&message);
            assert_eq!(frame.iter().filter(|byte| **byte == 0).count(), 2, "{length}");
            assert_eq!(read(&frame), [message.clone()], "{length}");
        }
        for byte in [0, 1, 0xfe, 0xff] {
            message.fill(byte);
            assert_eq!(read(&frame(&message)), [message.clone()], "{byte}");
        }
        assert!(frame(&[1; FACTORY_MESSAGE_BYTES_MAX + 1]).is_empty());
        assert!(read(&frame(&[])).is_empty());
    }

    #[test]
    fn noise_and_text_between_frames_are_dropped() {
        let mut line = heapless::Vec::<u8, 512>::new();
        line.extend_from_slice(b"boot: 7\r\nready\x05\x00\x00\x03ab").unwrap();
        line.extend_from_slice(&frame(b"one")).unwrap();
        line.extend_from_slice(b"log: a text of some length\n").unwrap();
        line.extend_from_slice(&frame(b"two")).unwrap();
        assert_eq!(read(&line), [&b"one"[..], b"two"]);
    }

    #[test]
    fn a_flipped_bit_or_a_lost_byte_costs_the_frame_and_no_other() {
        let (first, second) = (frame(b"the first message\x00 with a zero"), frame(b"the second"));
        for at in 0..first.len() {
            for bit in 0..8 {
                let mut line = heapless::Vec::<u8, 128>::from_slice(&first).unwrap();
                line[at] ^= 1 << bit;
                line.extend_from_slice(&second).unwrap();
                let messages = read(&line);
                // A delimiter that is hit may only ever spoil its own frame, or become noise.
                assert!(messages.iter().all(|m| m == b"the first message\x00 with a zero" || m == b"the second"));
                assert!(messages.last().is_some_and(|m| m == b"the second"), "byte {at} bit {bit}");
            }
            let mut line = heapless::Vec::<u8, 128>::from_slice(&first).unwrap();
            line.remove(at);
            line.extend_from_slice(&second).unwrap();
            assert!(read(&line).last().is_some_and(|m| m == b"the second"), "without byte {at}");
        }
    }

    #[test]
    fn a_frame_without_an_end_is_forgotten() {
        let mut reader = FrameReader::new();
        for _ in 0..3 * FACTORY_FRAME_BYTES_MAX {
            assert!(reader.push(0xff).is_none());
        }
        for byte in frame(b"after") {
            if let Some(message) = reader.push(byte) {
                assert_eq!(message, b"after");
                return;
            }
        }
        unreachable!("the frame was lost");
    }
}
