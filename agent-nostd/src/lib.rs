//! Muster's firmware agent: a library without an allocator. A board gives flash, randomness, a network and time
//! ([`platform`]); this crate holds the keys, speaks TLS and MQTT, and does what the core in `muster-protocol` decides.
//!
//! | module | what |
//! |---|---|
//! | [`agent`] | the loop: the only place where the others meet |
//! | [`platform`] | what a board gives |
//! | [`key`], [`slots`] | private keys; records and soft keys on NOR flash, safe against power cuts |
//! | [`tls`] | the guard: the only place that names embedded-tls |
//! | [`mqtt`], [`net`] | MQTT 5, as much as a device does; TCP by embassy-net |
//! | [`clock`], [`telemetry`], [`fmt`] | what can be believed of the date; reports; events as codes |
//! | [`factory`] | a blank board becomes a device over its serial line |
//! | [`partition`] | the identity partition cut out of a whole flash |
//! | [`entropy`] | a chip's noise source, watched and conditioned |
//! | [`device`] | a board's `main`: from its parts to a device that runs for ever |
//!
//! # Memory
//!
//! Sizes on a 32-bit target, in bytes, with read records of 2 KiB; `agent::Memory` is the board's one large static, all
//! zeros at the start, so it costs no flash.
//!
//! | what | bytes | of which |
//! |---|---|---|
//! | `agent::Memory` | 14,100 | the three below |
//! | the core, `protocol::device::Device` | 6,224 | output buffer 3,076, slots 2,200 |
//! | `tls::Buffers` | 3,460 | record read 2,304, record written 1,152 |
//! | `mqtt::Memory` | 4,292 | receive 3,173, spare 1,118; holds fleet file and certificate while dialling |
//! | future of `Agent::run` | 5,220 | TLS connection 1,304, the MQTT session, the step under way |
//! | socket buffers | board's | a TLS record to receive, a CSR to send |
//!
//! No step allocates. What is deep on the stack is public-key work inside a handshake; every step of the loop has a frame
//! of its own (`apart`), and boards measure the deepest one by painting.

#![no_std]

pub mod agent;
mod apart;
pub mod clock;
pub mod device;
pub mod entropy;
pub mod factory;
pub mod fmt;
pub mod key;
pub mod mqtt;
pub mod net;
pub mod partition;
pub mod platform;
pub mod slots;
pub mod telemetry;
pub mod tls;
mod vault;
