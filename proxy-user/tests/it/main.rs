//! The built `foreword`, attached in network namespaces, against real peers.
//!
//! Each test makes a lab of its own (client, node, backend), attaches the binary to the node's
//! `eth0`, connects through it, and compares bytes. Nothing is mocked: the peers are plain sockets,
//! HAProxy, nginx, curl and openssl. The PROXY headers that are sent and expected are written by
//! hand in [`wire`], never by the product's own encoder.
//!
//! How to read it: [`wire`], [`client`] and [`backend`] are the two ends, [`scene`] puts Foreword
//! between them, [`probe`] tells whether it is in the way, [`maps`] reads its maps, [`footprint`]
//! knows what it must not leave behind; the other modules are tests.

#[macro_use]
mod setup;

mod backend;
mod client;
mod footprint;
mod maps;
mod probe;
mod scene;
mod wire;

mod errors;
mod hooks;
mod inbound;
mod inbound_options;
mod inbound_split;
mod lifecycle;
mod loopback;
mod mishaps;
mod outbound;
mod outbound_tlvs;
mod peers;
mod relay;
mod sight;
mod steering;
mod vlan;
