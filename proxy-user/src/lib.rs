//! Foreword: a transparent proxy that checks and writes PROXY protocol headers, steered by eBPF.
//!
//! Pure logic stands at the bottom and knows no machine: [`address`], [`header`], [`policy`],
//! [`config`]. [`sys`] wraps the few system calls that the rest needs. Two rooms do the work and
//! do not know each other: [`steer`] brings connections from the interface to a listener, and
//! [`relay`] carries them from there to the upstream. [`inspect`] tells people what headers and
//! upstreams are like. [`operate`] watches, [`command`] is what a person types. Imports point
//! downwards only.
#![forbid(unsafe_code)]

pub mod address;
pub mod config;
pub mod header;
pub mod policy;

pub mod inspect;

// Fuzzing is for what is pure, and for what reads others' bytes: instrumented, the rest takes minutes
// to build, and runs nowhere.
#[cfg(not(fuzzing))]
pub mod command;
#[cfg(not(fuzzing))]
pub mod operate;
#[cfg(not(fuzzing))]
pub mod relay;
#[cfg(not(fuzzing))]
pub mod steer;
#[cfg(not(fuzzing))]
pub mod sys;

#[cfg(fuzzing)]
#[allow(missing_docs, reason = "they are described where they stand")]
pub mod operate {
    pub mod admin {
        pub mod protocol;
    }
}
#[cfg(fuzzing)]
#[allow(missing_docs, reason = "they are described where they stand")]
pub mod steer {
    pub mod survey {
        pub mod dump;
    }
}
