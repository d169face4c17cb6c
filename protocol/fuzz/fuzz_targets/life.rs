//! libFuzzer over `life`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_protocol_fuzz::life(bytes));
