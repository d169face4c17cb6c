//! libFuzzer over `control_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_protocol_fuzz::control_message(bytes));
