//! libFuzzer over `name`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_protocol_fuzz::name(bytes));
