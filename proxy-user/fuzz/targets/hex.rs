#![no_main]
#![doc = "libFuzzer's way into [`properties::hex`]."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::hex::check(data));
