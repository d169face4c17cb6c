//! Contract suites: what every implementation of a trait has to do, written once and run against each.

pub mod slot_store;
pub mod store;
pub mod unplugged;
