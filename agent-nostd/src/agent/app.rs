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

/// How a command went. A length says how much of the result's room was used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply {
    /// It was carried out.
    Done(usize),
    /// It was tried and failed.
    Failed(usize),
    /// There is no such command.
    Unknown,
}

/// A board's own program. Calls come from the loop, between two steps of it: what takes long holds the session up.
pub trait App {
    /// Something happened.
    fn told(&mut self, told: Told) {
        let _ = told;
    }

    /// A command came, on `devices/<device-id>/command`. What it gives is written to `result`, whose length is
    /// [`muster_protocol::limits::RESULT_BYTES_MAX`], and answered on `devices/<device-id>/answer`.
    fn command(&mut self, name: &str, argument: &[u8], result: &mut [u8]) -> Reply {
        let _ = (name, argument, result);
        Reply::Unknown
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
