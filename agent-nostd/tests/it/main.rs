//! Tests of the firmware agent on the host.

mod device;
mod fuzz;
mod mqtt;
mod nor;
mod power_cut;
mod tls;
