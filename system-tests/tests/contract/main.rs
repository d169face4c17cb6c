//! The contract suites, run against every implementation, and what only one of them can show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../agent-nostd/tests/it/nor.rs"]
mod nor;
mod slot_store;
mod store;
mod store_crash;
mod store_faults;
