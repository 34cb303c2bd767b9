#![no_main]
#![doc = "libFuzzer's way into [`properties::import`]."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::import::check(data));
