//! What a board's own program sees of the agent, and what it may ask for. Every method has a default that does nothing.

use core::future::pending;

use crate::fmt::Told;
use crate::telemetry::Vitals;

/// Something that a person or a program at the device wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wish {
    /// A new key and certificate.
    Rotate,
    /// To give the identity up for good.
    Retire,
    /// To end the agent's run, politely to the gateway.
    Stop,
}

/// A board's own program. Calls come from the loop, between two steps of it: what takes long holds the session up.
pub trait App {
    /// Something happened.
    fn told(&mut self, told: Told) {
        let _ = told;
    }

    /// A command came on `devices/<device-id>/cmd/NAME`. What is written to `answer` (at most [`ANSWER_BYTES_MAX`]) is
    /// published on `devices/<device-id>/answer/NAME` when a length is returned.
    fn command(&mut self, name: &str, payload: &[u8], answer: &mut [u8]) -> Option<usize> {
        let _ = (name, payload, answer);
        None
    }

    /// What to report.
    fn vitals(&mut self) -> Vitals {
        Vitals::default()
    }

    /// The next wish. Has to be safe to cancel: a wish that was not returned is still there the next time.
    fn wish(&mut self) -> impl Future<Output = Wish> {
        pending()
    }
}

/// A board without a program of its own.
impl App for () {}

/// Longest answer to a command.
pub const ANSWER_BYTES_MAX: usize = 128;
/// Longest name of a command that gets an answer.
pub const COMMAND_NAME_BYTES_MAX: usize = 32;
