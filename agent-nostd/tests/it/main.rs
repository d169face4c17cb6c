//! Tests of the firmware agent on the host.

mod nor;
mod power_cut;
