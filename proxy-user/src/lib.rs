//! Foreword: a transparent proxy that checks and writes PROXY protocol headers, steered by eBPF.
//!
//! Pure logic stands at the bottom and does no I/O: [`address`], [`header`], [`policy`], [`config`].
//! [`sys`] wraps the few system calls that the rest needs, and [`logging`] writes what a run says. Two
//! rooms do the work and know nothing of each other: [`steer`] brings connections from the interface to
//! a listener, and [`relay`] carries them from there to the upstream. [`service`] is a run: it joins the
//! two, within the [`budget`] that the machine allows. [`operate`] is how a run is seen from outside,
//! [`inspect`] shows people what headers and upstreams are like, and [`command`] is the command line.
//! Imports point downwards only.
#![forbid(unsafe_code)]

pub mod address;
pub mod config;
pub mod header;
pub mod policy;

pub mod inspect;

// Fuzzing is for what is pure, and for what reads others' bytes: instrumented, the rest takes minutes
// to build, and runs nowhere.
#[cfg(not(fuzzing))]
pub mod budget;
#[cfg(not(fuzzing))]
pub mod command;
#[cfg(not(fuzzing))]
pub mod logging;
#[cfg(not(fuzzing))]
pub mod operate;
#[cfg(not(fuzzing))]
pub mod relay;
#[cfg(not(fuzzing))]
pub mod service;
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
