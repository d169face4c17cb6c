//! Worlds with both ends: simulated and live.

pub mod contract;
