//! Chains for judges: more than two hundred bad ones of a gateway, as many of a client, and good ones of both, each
//! with the verdict that it must get. Whoever checks chains (the firmware agent, the Linux agent, the gateway) has to
//! give the same one.
//!
//! Made from fixed keys with deterministic signatures: the same bytes on every machine and in every run.
//!
//! | module | what |
//! |---|---|
//! | `recipe` | certificates with any fault, by rcgen |
//! | `server` | chains that a gateway shows |
//! | `client` | chains that a device, a service or an operator shows |
//! | `issued` | chains that somebody shows who stole the gateway CA of a live world |
//! | `mutate` | good chains with bytes changed, lost, added, swapped |
#![allow(clippy::expect_used)] // A recipe that cannot be made is a fault of the recipe, not of what is tested.

mod client;
mod issued;
mod mutate;
mod recipe;
mod server;

use muster_protocol::{Code, FleetId, UnixTime};

pub use client::{ClientCase, client_cases};
pub use issued::{Stolen, Thief};
pub use recipe::{Authority, CorpusKey, World};
pub use server::{ServerCase, server_cases};

/// The moment at which every chain is judged: 2026-01-01T00:00:00Z.
pub const NOW: UnixTime = UnixTime(1_767_225_600);
/// The name under which the gateway is dialled.
pub const NAME: &str = "gateway.test";

/// What a judge has to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The chain is good.
    Accepted,
    /// It is refused with this code.
    Refused(Code),
    /// It is refused; which of several codes is right depends on the byte that was changed. All judges say the same.
    RefusedSomehow,
}

/// The fleet of the corpus.
#[must_use]
pub fn fleet() -> FleetId {
    FleetId::new("acme").expect("a fleet id")
}

const DAY: u64 = 86_400;
