//! The 52 rules of the PROXY protocol, on the wire.
//!
//! [`cases`] is one table: bytes, and what a receiver has to make of them. [`foreword`] runs it
//! against the attached product, over both address families, each header whole and split at every
//! byte, one test per rule. [`written`] has the rules that no inbound header can show: those about
//! senders and deadlines. [`peers`] runs the same table against HAProxy and nginx, and
//! [`report`] puts the result into `CONFORMANCE.md`; with `BLESS=1` in the environment the test
//! rewrites the file.
//!
//! [`answer`] is what a receiver makes of a header, [`subject`] asks one for it. The two ends of the
//! connections are those of the integration suite.

#[macro_use]
#[path = "../it/setup.rs"]
#[allow(dead_code, unused_macros, reason = "the integration suite needs more of it")]
mod setup;

#[path = "../it/backend.rs"]
#[allow(dead_code, reason = "the integration suite needs more of it")]
mod backend;
#[path = "../it/client.rs"]
#[allow(dead_code, reason = "the integration suite needs more of it")]
mod client;
#[path = "../it/scene.rs"]
#[allow(dead_code, reason = "the integration suite needs more of it")]
mod scene;
#[path = "../it/wire.rs"]
#[allow(dead_code, reason = "the integration suite needs more of it")]
mod wire;

mod answer;
mod cases;
mod rules;
mod subject;

mod foreword;
mod peers;
mod report;
mod written;
