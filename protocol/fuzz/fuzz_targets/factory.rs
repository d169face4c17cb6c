//! libFuzzer over `factory_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_protocol_fuzz::factory_message(bytes));
