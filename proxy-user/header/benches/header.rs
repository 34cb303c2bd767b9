//! Nanoseconds for one header, decoded and encoded: `cargo bench --package proxy-header`.
#![allow(missing_docs, reason = "`criterion_group!` makes a public function")]

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, criterion_group, criterion_main};
use proxy_header::samples::AWS;
use proxy_header::{
    Decoder, Endpoints, Header, Limits, Origin, Outgoing, Pass, Step, TlvPolicy, Version,
};

/// Headers without TLVs, by name.
fn plain() -> [(&'static str, Outgoing<'static>); 4] {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address with a port");
    let proxied = |client, destination| {
        Origin::Proxied(Endpoints::new(address(client), address(destination)))
    };
    let ipv4 = proxied("192.0.2.101:40000", "198.51.100.107:443");
    let ipv6 = proxied("[2001:db8:1:2:3:4:5:6]:40000", "[2001:db8:6:5:4:3:2:1]:443");
    [
        ("v1 TCP4", Outgoing::plain(Version::V1, ipv4)),
        ("v1 TCP6", Outgoing::plain(Version::V1, ipv6)),
        ("v2 TCP4", Outgoing::plain(Version::V2, ipv4)),
        ("v2 TCP6", Outgoing::plain(Version::V2, ipv6)),
    ]
}

fn encode(outgoing: &Outgoing<'_>, buffer: &mut Vec<u8>) {
    buffer.clear();
    outgoing.append_to(buffer).expect("a header of a hundred bytes");
}

fn decode(bytes: &[u8]) -> Header<'_> {
    match Decoder::new(Limits::default()).advance(bytes) {
        Step::Complete { header, .. } => header,
        step => panic!("{step:?}"),
    }
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, outgoing) in plain() {
        let mut bytes = Vec::new();
        encode(&outgoing, &mut bytes);
        group.bench_function(name, |bencher| bencher.iter(|| decode(black_box(&bytes))));
    }
    group.bench_function("v2 AWS CRC32C", |bencher| bencher.iter(|| decode(black_box(AWS))));
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let aws = decode(AWS);
    // The endpoint's id is passed on, and the checksum is computed anew.
    let policy = TlvPolicy { pass: Pass::All, crc32c: true, ..TlvPolicy::NONE };
    let plain_aws = Outgoing::plain(Version::V2, aws.origin);
    let with_tlvs = Outgoing { tlvs: aws.tlvs, policy: &policy, ..plain_aws };
    let mut buffer = Vec::with_capacity(256);
    for (name, outgoing) in plain().into_iter().chain([("v2 AWS CRC32C", with_tlvs)]) {
        group.bench_function(name, |bencher| {
            bencher.iter(|| encode(black_box(&outgoing), black_box(&mut buffer)));
        });
    }
    group.finish();
}

criterion_group!(headers, decoding, encoding);
criterion_main!(headers);
