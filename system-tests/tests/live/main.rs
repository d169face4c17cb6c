//! The live world: real processes, real TLS, third-party clients, on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod crash;
mod firmware;
mod life;
mod refusals;
mod secrets;
mod tools;
