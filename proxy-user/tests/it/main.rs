//! The built `foreword`, attached in network namespaces, against real peers.
//!
//! Each test makes a lab of its own (client, node, backend; or client, router, node with two cards,
//! pods), attaches the binary to the node's `eth0`, connects through it, and compares bytes.
//! Nothing is mocked: the peers are plain sockets, HAProxy, nginx, curl and openssl. The PROXY
//! headers that are sent and expected are those of [`netlab::header`], never of the product's own
//! encoder.
//!
//! How to read it: the crate `netlab` has the networks, the two ends of a connection, and the
//! [`Scene`](netlab::Scene) that puts Foreword between them. Here are the tests, and what only they need:
//! [`talk`] and [`bulk`] are connections that account for each byte, [`probe`] tells whether Foreword
//! is in the way, [`maps`] reads its maps, [`config_file`] has it run by a file,
//! [`footprint`] knows what it must not leave behind, [`fault`] makes one of its system calls fail.
//! [`rules`] is a node's packet filter, [`stranger`] somebody else's program, [`counters`] count
//! packets elsewhere, [`hosts`] is what a node knows of names. The other modules are tests.

#[macro_use]
extern crate netlab;

mod bulk;
mod config_file;
mod counters;
mod fault;
mod footprint;
mod hosts;
mod maps;
mod probe;
mod rules;
mod stranger;
mod talk;
mod witness;

mod absence;
mod admin;
mod attachment;
mod by_destination;
mod cut;
mod cutover;
mod death;
mod destinations;
mod diagnose;
mod disturbed;
mod doctor;
mod down;
mod dual_stack;
mod errors;
mod existing;
mod failed_start;
mod flood;
mod former_rules;
mod guard;
mod hairpin;
mod hooks;
mod inbound;
mod inbound_options;
mod inbound_split;
mod known_faults;
mod lifecycle;
mod limits;
mod link_local;
mod lock;
mod logs;
mod loopback;
mod machine;
mod many_ranges;
mod memory;
mod names;
mod numbers;
mod odd_packets;
mod outbound;
mod outbound_tlvs;
mod packet_log;
mod pauses;
mod peers;
mod ports;
mod race;
mod relay;
mod reload;
mod return_path;
mod rounds;
mod sandbox;
mod shared_socket;
mod sight;
mod slow_http;
mod source_client;
mod spoofed;
mod stalled;
mod succession;
mod takeover;
mod unread;
mod unwatched;
mod urgent;
mod vlan;
mod walls;

/// The binary under test.
const FOREWORD: netlab::Binary = netlab::Binary::at(env!("CARGO_BIN_EXE_foreword"));
