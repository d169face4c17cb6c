//! The network between one device and the gateway: TCP in order, or broken. Messages are late, lost together with
//! their connection, or delivered twice; either end learns of a break in its own time.

use muster_protocol::device::{Credential, Failure};
use muster_protocol::time::Millis;

use crate::event::{Down, Epoch, Event, Up};
use crate::world::World;

/// The device's end of its connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    state: LineState,
    /// Nothing goes through any more, in either direction.
    broken: bool,
    /// When the last message to the gateway arrives: none overtakes it.
    up_at: Millis,
    /// The same towards the device.
    down_at: Millis,
}

#[derive(Clone, Copy, Debug, Default)]
enum LineState {
    #[default]
    Idle,
    Attempt(Epoch, Credential),
    Open(Epoch, Credential),
}

impl Line {
    /// The epoch of the attempt or connection.
    #[must_use]
    pub const fn epoch(&self) -> Option<Epoch> {
        match self.state {
            LineState::Idle => None,
            LineState::Attempt(epoch, _) | LineState::Open(epoch, _) => Some(epoch),
        }
    }

    /// The credential of the open connection.
    #[must_use]
    pub const fn open(&self) -> Option<Credential> {
        match self.state {
            LineState::Open(_, credential) => Some(credential),
            _ => None,
        }
    }

    /// Whether an attempt is under way.
    #[must_use]
    pub const fn is_attempt(&self) -> bool {
        matches!(self.state, LineState::Attempt(..))
    }

    /// Whether something still goes through.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        !self.broken && !matches!(self.state, LineState::Idle)
    }

    /// Starts an attempt.
    pub const fn attempt(&mut self, epoch: Epoch, credential: Credential) {
        *self =
            Self { state: LineState::Attempt(epoch, credential), broken: false, up_at: Millis(0), down_at: Millis(0) };
    }

    /// The attempt succeeded.
    pub const fn opened(&mut self) {
        if let LineState::Attempt(epoch, credential) = self.state {
            self.state = LineState::Open(epoch, credential);
        }
    }

    /// The device's end is closed.
    pub const fn close(&mut self) {
        self.state = LineState::Idle;
    }
}

/// Longest time in which an end that is not told notices that its connection is gone, in milliseconds.
const SILENCE_MILLIS_MAX: u64 = 90_000;

impl World {
    /// The device sends a control message.
    pub(crate) fn send_up(&mut self, device: usize, bytes: &[u8]) {
        let Some(epoch) = self.boards[device].line.epoch() else {
            return;
        };
        let Some(copies) = self.fate_of_message(device) else {
            return;
        };
        for _ in 0..copies {
            let at = self.now.plus(self.latency());
            let line = &mut self.boards[device].line;
            line.up_at = line.up_at.max(at);
            let at = line.up_at;
            self.queue.push(at, Event::Up { device, epoch, what: Up::Message(bytes.to_vec()) });
        }
        self.break_perhaps(device);
    }

    /// The gateway sends a control message on a connection.
    pub(crate) fn send_down(&mut self, device: usize, epoch: Epoch, bytes: &[u8]) {
        if !self.boards[device].is_on(epoch) {
            return;
        }
        let Some(copies) = self.fate_of_message(device) else {
            return;
        };
        for _ in 0..copies {
            self.deliver_down(device, epoch, Down::Message(bytes.to_vec()));
        }
        self.break_perhaps(device);
    }

    /// The gateway answers an attempt or ends a connection; the words may be lost.
    pub(crate) fn send_end(&mut self, device: usize, epoch: Epoch, failure: Failure) {
        if !self.boards[device].is_on(epoch) || !self.boards[device].line.is_whole() {
            return;
        }
        let lost = self.random.happens(self.faults.message_lost_per_mille);
        let failure = if lost { Failure::Unreachable } else { failure };
        self.deliver_down(device, epoch, Down::Lost(failure));
        self.boards[device].line.broken = true;
    }

    /// Lets something arrive at the device, after everything that was sent before it.
    pub(crate) fn deliver_down(&mut self, device: usize, epoch: Epoch, what: Down) {
        let at = self.now.plus(self.latency());
        let line = &mut self.boards[device].line;
        line.down_at = line.down_at.max(at);
        let at = line.down_at;
        self.queue.push(at, Event::Down { device, epoch, what });
    }

    /// How often the message arrives; `None` when its connection is broken or breaks with it.
    fn fate_of_message(&mut self, device: usize) -> Option<u8> {
        if !self.boards[device].line.is_whole() {
            return None;
        }
        if self.random.happens(self.faults.message_lost_per_mille / 2) {
            self.break_line(device);
            return None;
        }
        Some(if self.random.happens(self.faults.message_twice_per_mille) { 2 } else { 1 })
    }

    /// The message arrives, and nothing after it.
    fn break_perhaps(&mut self, device: usize) {
        if self.random.happens(self.faults.message_lost_per_mille / 2) {
            self.break_line(device);
        }
    }

    /// Breaks the connection or attempt of a device. Both ends notice, some time.
    pub(crate) fn break_line(&mut self, device: usize) {
        let line = &mut self.boards[device].line;
        let Some(epoch) = line.epoch() else {
            return;
        };
        if line.broken {
            return;
        }
        line.broken = true;
        let (down_at, up_at) = (line.down_at, line.up_at);
        let device_learns = self.now.plus(self.silence()).max(down_at);
        let gateway_learns = self.now.plus(self.silence()).max(up_at);
        self.queue.push(device_learns, Event::Down { device, epoch, what: Down::Lost(Failure::Unreachable) });
        self.queue.push(gateway_learns, Event::Up { device, epoch, what: Up::Closed });
    }

    /// The device closes its end: in order, after what it said.
    pub(crate) fn hang_up(&mut self, device: usize) {
        let line = &mut self.boards[device].line;
        let Some(epoch) = line.epoch() else {
            return;
        };
        let (up_at, broken) = (line.up_at, line.broken);
        line.close();
        if !broken {
            let at = self.now.plus(self.latency()).max(up_at);
            self.queue.push(at, Event::Up { device, epoch, what: Up::Closed });
        }
    }

    /// The device is gone without a word: no power.
    pub(crate) fn vanish(&mut self, device: usize) {
        let line = &mut self.boards[device].line;
        let Some(epoch) = line.epoch() else {
            return;
        };
        let up_at = line.up_at;
        line.close();
        let at = self.now.plus(self.silence()).max(up_at);
        self.queue.push(at, Event::Up { device, epoch, what: Up::Closed });
    }

    /// One way through the network, in milliseconds.
    pub(crate) fn latency(&mut self) -> u64 {
        if self.random.happens(20) { self.random.between(500, 8_000) } else { self.random.between(5, 150) }
    }

    fn silence(&mut self) -> u64 {
        if self.random.happens(500) {
            self.random.between(1, 200)
        } else {
            self.random.between(200, SILENCE_MILLIS_MAX)
        }
    }
}
