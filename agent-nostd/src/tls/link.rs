//! What the layers of one connection tell each other around embedded-tls, which carries nothing from one to the next:
//! how far the handshake is, and why it was given up.

use core::cell::Cell;
use core::future::poll_fn;
use core::task::Poll;

use super::error::Breach;

/// How far the server's side of the handshake is (RFC 9846, section 4).
///
/// ```text
/// ServerHello -> Opening -> Flight -> ChainOk -> Authenticated -> Established
///     gate        gate      guard        guard         guard
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The first record has to be a ServerHello.
    ServerHello = 0x10,
    /// The next encrypted record is the first one.
    Opening = 0x11,
    /// Encrypted, and no certificate yet.
    Flight = 0x12,
    /// The chain was accepted; whether the peer has its key is open.
    ChainOk = 0x13,
    /// The peer proved that it has the key.
    Authenticated = 0x14,
    /// The handshake is over on our side.
    Established = 0x15,
}

impl Phase {
    /// The phase that a record was marked with by the gate.
    pub(super) const fn from_mark(mark: u8) -> Option<Self> {
        Some(match mark {
            0x11 => Self::Opening,
            0x12 => Self::Flight,
            0x13 => Self::ChainOk,
            0x14 => Self::Authenticated,
            0x15 => Self::Established,
            _ => return None,
        })
    }

    /// The mark of a record that arrives in this phase.
    pub(super) const fn mark(self) -> u8 {
        self as u8
    }
}

/// Why a connection was given up below TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// The peer broke the protocol.
    Breach(Breach),
    /// The peer answered our ClientHello with an alert of this description.
    Alert(u8),
    /// The connection ended or broke.
    Broken,
}

/// Shared by gate, verifier and guard of one connection.
#[derive(Debug)]
pub(super) struct Link {
    phase: Cell<Phase>,
    fault: Cell<Option<Fault>>,
    is_held: Cell<bool>,
}

impl Link {
    pub(super) const fn new() -> Self {
        Self { phase: Cell::new(Phase::ServerHello), fault: Cell::new(None), is_held: Cell::new(false) }
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
    }

    /// The first fault; what follows is only its consequence.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    pub(super) fn fail(&self, fault: Fault) {
        if self.fault.get().is_none() {
            self.fault.set(Some(fault));
        }
    }
    /// Holds the connection: the peer has shown something that is not judged yet.
    pub(super) fn hold(&self) {
        self.is_held.set(true);
    }

    /// Ends the hold.
    pub(super) fn release(&self) {
        self.is_held.set(false);
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held.get()
    }

    /// Waits until the hold is over. Who ends it is the guard, which asks again by itself: nobody is woken.
    pub(super) async fn released(&self) {
        poll_fn(|_| if self.is_held() { Poll::Pending } else { Poll::Ready(()) }).await;
    }
}
