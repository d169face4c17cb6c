//! Integration tests of the gateway's library.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A test binary has no outside.
#![allow(unreachable_pub)]

mod admin;
mod command;
mod config;
mod device_command;
mod edge;
mod follow;
mod import;
mod registrar;
mod server;
mod tls;
mod world;
