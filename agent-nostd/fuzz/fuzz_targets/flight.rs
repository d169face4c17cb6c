//! libFuzzer over `server_flight`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_agent_nostd_fuzz::server_flight(bytes));
