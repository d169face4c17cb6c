//! The factory with both ends: the board's side on simulated NOR flash, the station's on its real ledger and issuing CA.
//!
//! `world` runs both in one process over a line that loses, changes and doubles bytes, with the power cut at any word of
//! the flash and the station killed at any step of the ledger. `program` runs the real `muster-provision` over TCP and a
//! pseudo-terminal and kills it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod board;
mod cuts;
mod desk;
mod judged;
mod line;
#[path = "../../../agent-nostd/tests/it/nor.rs"]
mod nor;
mod place;
mod program;
mod world;
