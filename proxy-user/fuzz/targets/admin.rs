#![no_main]
#![doc = "libFuzzer's way into [`properties::admin`]."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::admin::check(data));
