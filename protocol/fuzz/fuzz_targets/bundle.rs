//! libFuzzer over `bundle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_protocol_fuzz::bundle(bytes));
