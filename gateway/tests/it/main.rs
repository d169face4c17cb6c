//! Integration tests of the gateway's library.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod registrar;
mod world;
