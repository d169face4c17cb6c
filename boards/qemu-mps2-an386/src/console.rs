//! Lines to the host: words and numbers without text formatting. Emulation only.

use crate::semihosting;

/// Says one line: the parts with a space between them. What is longer than the line is cut off.
pub(crate) fn say(parts: &[&[u8]]) {
    let mut line = Line::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            line.push(b" ");
        }
        line.push(part);
    }
    line.end();
}

/// Says a name and a number.
pub(crate) fn say_number(name: &[u8], number: u32) {
    let mut digits = [0; 10];
    say(&[name, decimal(number, &mut digits)]);
}

/// The number in decimal digits.
pub(crate) fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 || at == 0 {
            return &digits[at..];
        }
    }
}

/// A line that is put together piece by piece.
pub(crate) struct Line {
    bytes: [u8; LINE_LEN],
    length: usize,
}

impl Line {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self { bytes: [0; LINE_LEN], length: 0 }
    }

    /// Adds a piece.
    pub(crate) fn push(&mut self, part: &[u8]) {
        // Room is kept for the end of line and the zero behind it.
        let length = part.len().min(LINE_LEN - 2 - self.length);
        self.bytes[self.length..self.length + length].copy_from_slice(&part[..length]);
        self.length += length;
    }

    /// Says it.
    pub(crate) fn end(mut self) {
        self.bytes[self.length] = b'\n';
        self.bytes[self.length + 1] = 0;
        semihosting::write_console(&self.bytes[..self.length + 2]);
    }
}

const LINE_LEN: usize = 128;
