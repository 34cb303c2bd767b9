//! Encoding: what is written is read back as it was meant, whatever the settings.

use std::net::SocketAddr;

use arbitrary::{Arbitrary, Unstructured};
use proxy_header::tlv::{MAX_UNIQUE_ID, kind};
use proxy_header::{
    CustomTlv, Decoder, EncodeError, Endpoints, Header, KindSet, Limits, Origin, Outgoing, Pass,
    Step, Tlv, TlvPolicy, Tlvs, Version,
};

/// Checks one input.
pub fn check(data: &[u8]) {
    let Ok(case) = Case::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let inbound = inbound(&case.inbound);
    // What has not passed the decoder is never passed on.
    let Some(Header { tlvs, .. }) = decode(&inbound) else { return };

    let policy = case.policy();
    let outgoing = Outgoing {
        version: if case.v1 { Version::V1 } else { Version::V2 },
        origin: case.origin(),
        tlvs,
        policy: &policy,
        unique_id: case.unique_id,
    };
    let mut buffer = case.before.to_vec();
    match outgoing.append_to(&mut buffer) {
        Ok(()) => check_written(&outgoing, &buffer, case.before),
        Err(error) => {
            assert_eq!(buffer, case.before, "{error} leaves something behind");
            check_refusal(&outgoing, error);
        }
    }
}

/// What the fuzzer chooses.
#[derive(Debug, Arbitrary)]
struct Case<'a> {
    v1: bool,
    /// `None`: LOCAL, or not known.
    endpoints: Option<(SocketAddr, SocketAddr)>,
    local: bool,
    /// TLVs of the inbound header.
    inbound: Vec<(u8, &'a [u8])>,
    /// `None`: all of them are passed on.
    pass: Option<Vec<u8>>,
    drop: Vec<u8>,
    authority: Option<&'a str>,
    custom: Vec<(u8, &'a [u8])>,
    /// Room that one more custom field leaves in the header: the fuzzer's own bytes don't fill it.
    room: Option<u8>,
    crc32c: bool,
    unique_id: Option<&'a [u8]>,
    /// What the buffer holds already.
    before: &'a [u8],
}

impl Case<'_> {
    fn origin(&self) -> Origin {
        match self.endpoints {
            Some((client, destination)) => Origin::Proxied(Endpoints::new(client, destination)),
            None if self.local => Origin::Local,
            None => Origin::Unknown,
        }
    }

    fn policy(&self) -> TlvPolicy {
        let kinds = |kinds: &[u8]| kinds.iter().copied().collect::<KindSet>();
        let given = self.custom.iter().map(|(kind, value)| (*kind, value.to_vec()));
        let filling =
            self.room.map(|room| (0xE0, vec![0; CustomTlv::MAX_VALUE - usize::from(room)]));
        TlvPolicy {
            pass: self.pass.as_deref().map_or(Pass::All, |listed| Pass::Only(kinds(listed))),
            drop: kinds(&self.drop),
            authority: self.authority.map(str::to_owned),
            custom: given
                .chain(filling)
                .filter_map(|(kind, value)| CustomTlv::new(kind, value).ok())
                .collect(),
            crc32c: self.crc32c,
        }
    }
}

/// An inbound header with these TLVs, written by hand: from 0.0.0.0:0 to 0.0.0.0:0.
fn inbound(tlvs: &[(u8, &[u8])]) -> Vec<u8> {
    let mut block = vec![0; 12];
    for (kind, value) in tlvs {
        block.push(*kind);
        block.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        block.extend_from_slice(value);
    }
    let length = u16::try_from(block.len()).unwrap_or(u16::MAX).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &length[..], &block].concat()
}

/// The header, if these bytes are exactly one.
fn decode(bytes: &[u8]) -> Option<Header<'_>> {
    let limits = Limits { max_header: Limits::HIGHEST_MAX, ..Limits::default() };
    match Decoder::new(limits).advance(bytes) {
        Step::Complete { header, consumed } if consumed == bytes.len() => Some(header),
        _ => None,
    }
}

/// The buffer is what it was and a header behind that, which says what it was to say.
fn check_written(outgoing: &Outgoing<'_>, buffer: &[u8], before: &[u8]) {
    let written = buffer.strip_prefix(before).expect("what was in the buffer is still there");
    let header = decode(written).expect("what was written is one header");
    assert_eq!(header.version, outgoing.version);
    match outgoing.version {
        // Version 1 has no word for LOCAL, and no TLVs.
        Version::V1 if outgoing.origin == Origin::Local => {
            assert_eq!(header.origin, Origin::Unknown);
        }
        _ => assert_eq!(header.origin, outgoing.origin),
    }
    let expected = if outgoing.version == Version::V1 { Vec::new() } else { expected(outgoing) };
    let mut actual: Vec<_> = header.tlvs.iter().collect();
    if outgoing.version == Version::V2 && outgoing.policy.crc32c {
        // The decoder has verified its value.
        assert_eq!(actual.pop().map(|tlv| tlv.kind), Some(kind::CRC32C));
    }
    assert_eq!(actual, expected);
}

/// The TLVs in their order, without the checksum: passed on, then added.
fn expected<'a>(outgoing: &Outgoing<'a>) -> Vec<Tlv<'a>> {
    let policy = outgoing.policy;
    let passed = passed(outgoing.tlvs, policy).filter(|tlv| match tlv.kind {
        kind::AUTHORITY => policy.authority.is_none(),
        kind::UNIQUE_ID => outgoing.unique_id.is_none(),
        _ => true,
    });
    let authority = policy.authority.as_ref().map(|it| (kind::AUTHORITY, it.as_bytes()));
    let unique_id = outgoing.unique_id.map(|it| (kind::UNIQUE_ID, it));
    let custom = policy.custom.iter().map(|it| (it.kind(), it.value()));
    let added = authority.into_iter().chain(unique_id).chain(custom);
    passed.chain(added.map(|(kind, value)| Tlv { kind, value })).collect()
}

fn passed<'a>(tlvs: Tlvs<'a>, policy: &TlvPolicy) -> impl Iterator<Item = Tlv<'a>> {
    let (pass, drop) = (policy.pass, policy.drop);
    tlvs.iter().filter(move |Tlv { kind, .. }| match pass {
        _ if [kind::CRC32C, kind::NOOP].contains(kind) || drop.contains(*kind) => false,
        Pass::None => false,
        Pass::All => true,
        Pass::Only(listed) => listed.contains(*kind),
    })
}

/// Nothing is refused but what the length field can't say, and a long unique id.
fn check_refusal(outgoing: &Outgoing<'_>, error: EncodeError) {
    assert_eq!(outgoing.version, Version::V2, "{error}");
    match error {
        EncodeError::UniqueId(length) => {
            assert_eq!(outgoing.unique_id.map(<[u8]>::len), Some(length));
            assert!(length > MAX_UNIQUE_ID);
        }
        EncodeError::TooLong(length) => assert!(length > usize::from(u16::MAX)),
    }
}
