#![no_main]
#![doc = "libFuzzer's way into [`properties::decode`]."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::decode::check(data));
