//! libFuzzer over `mqtt_packet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_agent_nostd_fuzz::mqtt_packet(bytes));
