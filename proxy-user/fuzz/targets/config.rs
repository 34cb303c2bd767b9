#![no_main]
#![doc = "libFuzzer's way into [`properties::config`]."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::config::check(data));
