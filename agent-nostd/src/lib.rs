//! Muster's firmware agent: a library without an allocator. A board gives flash, randomness, a network and time
//! ([`platform`]); this crate holds the keys, speaks TLS and MQTT, and does what the core in `muster-protocol` decides.

#![no_std]

pub mod factory;
pub mod key;
pub mod platform;
pub mod slots;
pub mod tls;
