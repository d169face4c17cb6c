//! The Linux agent against peers made here: a gateway with a PKI of its own, a disk that loses power, a Unix socket.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod agent;
mod command;
mod gateway;
mod local_api;
mod pki;
mod power_cut;
mod tls;
