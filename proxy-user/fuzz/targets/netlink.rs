#![no_main]
#![doc = "libFuzzer's way into [`properties::netlink`]."]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::netlink::check(data));
