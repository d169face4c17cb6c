//! Tests of the core from outside, on a host: certificates made by other crates, requests read by other tools.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod pki;
