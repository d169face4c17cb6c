//! Simulated worlds: ten thousand seeded histories, every seed that once failed, every power cut of one whole life.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cuts;
mod determinism;
mod histories;
mod regressions;
