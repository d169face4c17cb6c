//! The Linux agent: the shell around the device core of `muster-protocol`.
//!
//! The core decides; this crate keeps keys and records on a disk, speaks TLS and MQTT, reads clocks and serves other
//! programs of the device. The edges know nothing of one another; [`agent`] joins them.
//!
//! | module | what |
//! |---|---|
//! | [`agent`] | the loop: core, edges, timers; the handle to a running agent |
//! | [`key`], [`slots`], [`durable`] | key store, record store, and how a file is replaced |
//! | [`tls`], [`mqtt`] | one connection and one session |
//! | [`config`], [`identity`] | what the agent is told, and what the factory made |
//! | [`clock`], [`telemetry`] | time, and what the device reports of itself |
//! | [`local_api`] | the Unix socket for other programs |
//! | [`command`] | the command line |

pub mod agent;
pub mod clock;
pub mod command;
pub mod config;
pub mod durable;
pub mod identity;
pub mod key;
pub mod local_api;
pub mod mqtt;
pub mod slots;
pub mod telemetry;
pub mod tls;

pub use agent::{Agent, End, Handle, Setup, Status};
pub use config::Config;
