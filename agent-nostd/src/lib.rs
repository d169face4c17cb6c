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
//! | `agent::Memory` | 12,136 | the three below |
//! | the core, `protocol::device::Device` | 5,264 | output buffer 2,116, which holds the gateway's chain while hands are shaken; slots 2,200 |
//! | `tls::Buffers` | 3,461 | record read 2,304, record written 1,152 |
//! | `mqtt::Memory` | 3,389 | receive 2,173, spare 1,216; holds fleet file and certificate while dialling |
//! | the emulated board's task | 6,880 | future of `Agent::run` with a TLS connection of 1,304; beside it the serial line |
//! | socket buffers | board's | a TLS record to receive, a CSR to send |
//!
//! No step allocates. What is deep on the stack is public-key work: 4.1 KB for the curve, and below it the frames of
//! whoever asks. So every step of the loop has a frame of its own (`apart`), a chain is judged from the guard's own frame
//! (`tls`), and boards measure the deepest one by painting. Between two operations with keys the executor gets a turn.

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
