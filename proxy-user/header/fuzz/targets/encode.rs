#![no_main]
#![doc = "libFuzzer's way into [`properties::encode`]."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::encode::check(data));
