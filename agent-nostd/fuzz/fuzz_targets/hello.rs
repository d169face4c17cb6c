//! libFuzzer over `hello`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_agent_nostd_fuzz::hello(bytes));
