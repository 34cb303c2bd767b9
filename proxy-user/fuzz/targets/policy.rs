#![no_main]
#![doc = "libFuzzer's way into [`properties::policy`]."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::policy::check(data));
