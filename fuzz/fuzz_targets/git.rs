#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| launchway_fuzz::git(data));
