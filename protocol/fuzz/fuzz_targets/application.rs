//! libFuzzer over `application`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_protocol_fuzz::application(bytes));
