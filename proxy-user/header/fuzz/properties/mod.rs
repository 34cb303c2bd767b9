//! What must hold for any input, one function per fuzz target: each takes the fuzzer's bytes and
//! panics when something does not hold.
//!
//! Nothing here knows libFuzzer, so that an ordinary test can replay what it has found.

pub mod decode;
pub mod encode;
