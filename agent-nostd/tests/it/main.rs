//! Tests of the firmware agent on the host.

mod fuzz;
mod nor;
mod power_cut;
mod tls;
