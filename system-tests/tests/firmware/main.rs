//! The firmware agent as a real image on an emulated Cortex-M4, against the real gateway and against hostile servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clock;
mod curve;
mod factory;
mod hostile;
mod life;
mod outage;
mod power;
mod trust;
mod words;
