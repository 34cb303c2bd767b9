//! The 52 rules of the PROXY protocol, on the wire.
//!
//! [`cases`] is one table: bytes, and what a receiver has to make of them. [`foreword`] runs it
//! against the attached product, over both address families, each header whole and split at every
//! byte, one test per rule. [`written`] has the rules that no inbound header can show: those about
//! senders and deadlines. [`peers`] runs the same table against HAProxy and nginx, and
//! [`report`] puts the result into `CONFORMANCE.md`; with `BLESS=1` in the environment the test
//! rewrites the file.
//!
//! [`answer`] is what a receiver makes of a header, [`subject`] asks one for it. The network and the
//! two ends of the connections are those of the crate `netlab`.

#[macro_use]
extern crate netlab;

mod answer;
mod cases;
mod rules;
mod subject;

mod foreword;
mod peers;
mod report;
mod written;

/// The binary under test.
const FOREWORD: netlab::Binary = netlab::Binary::at(env!("CARGO_BIN_EXE_foreword"));
