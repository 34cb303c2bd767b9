//! Empty on purpose: a library target lets `proxy-user` name this crate as a build dependency, so
//! that a change here rebuilds the eBPF object there. The programs are in `main.rs`.
#![no_std]
