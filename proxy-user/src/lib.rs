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

/// The PROXY protocol. It is a crate of its own, and a module here.
pub use proxy_header as header;

pub mod address;
pub mod advice;
pub mod budget;
pub mod command;
pub mod config;
pub mod inspect;
pub mod logging;
pub mod operate;
pub mod policy;
pub mod relay;
pub mod service;
pub mod steer;
pub mod sys;
