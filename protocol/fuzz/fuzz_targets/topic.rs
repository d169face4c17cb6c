//! libFuzzer over `control_topic`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_protocol_fuzz::control_topic(bytes));
