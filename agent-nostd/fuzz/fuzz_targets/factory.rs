//! libFuzzer over `factory_line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_agent_nostd_fuzz::factory_line(bytes));
