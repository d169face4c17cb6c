//! Tests of the core from outside, on a host: certificates made by other crates, requests read by other tools, formats
//! held to their golden bytes, lives lived step by step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod application;
mod device;
mod documents;
mod factory;
mod fuzz;
mod manifest;
mod message;
mod pki;
mod registrar;
mod slot;
mod trust;
mod vectors;
