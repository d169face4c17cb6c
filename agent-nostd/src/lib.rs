//! Muster's firmware agent: a library without an allocator. A board gives flash, randomness, a network and time
//! ([`platform`]); this crate holds the keys, speaks TLS and MQTT, and does what the core in `muster-protocol` decides.

#![no_std]

pub mod agent;
mod apart;
pub mod clock;
pub mod factory;
pub mod fmt;
pub mod key;
pub mod mqtt;
pub mod net;
pub mod platform;
pub mod slots;
pub mod telemetry;
pub mod tls;
mod vault;
