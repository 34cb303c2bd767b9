//! What is accepted, and the very words in which the rest is refused.

mod guard;
mod rules;
mod run;
mod upstream;

use std::num::{NonZeroU32, NonZeroU64};

use super::ports::ports;
use super::*;
use crate::address::OriginalDst;
use crate::config::fixtures::{raw, values};
use crate::config::raw::{RawAdded, RawAdmin, RawLimits, RawTlvs, RawUpstream};
use crate::config::settings::{
    ConnectionLimits, GuardHook, LocalAs, MemoryLimit, Mode, Reply, ServerFirst, UpstreamAddress,
    WhenAbsent,
};
use crate::header::{Pass, Version, Versions};

fn added(flags: &[&str]) -> Vec<RawAdded> {
    flags.iter().map(|&flag| flag.into()).collect()
}

fn validate(raw: &RawConfig) -> Result<Settings, Invalid> {
    super::validate(raw, Syntax::Flags)
}

fn refused(change: impl FnOnce(&mut RawConfig)) -> String {
    let mut raw = raw();
    change(&mut raw);
    validate(&raw).unwrap_err().to_string()
}

#[test]
fn a_complete_command_line_is_accepted() {
    let settings = validate(&raw()).unwrap();
    let rule = &settings.rules[0];
    assert_eq!(rule.inbound.mode, Mode::Require);
    assert_eq!(rule.outbound.version, Some(Version::V2));
    assert_eq!(rule.outbound.tlvs.pass, Pass::All);
    assert_eq!(rule.upstream.address, UpstreamAddress::Original);
    assert_eq!(settings.drain_timeout, Duration::from_secs(30));
}

#[test]
fn local_is_told_as_a_word_says() {
    let local = |word: &str, version: &str| {
        let mut raw = raw();
        raw.rules[0].outbound.local = word.into();
        raw.rules[0].outbound.version = Some(version.into());
        validate(&raw).map(|settings| settings.rules[0].outbound.local)
    };
    for version in ["v1", "v2", "none"] {
        assert_eq!(local("as-is", version), Ok(LocalAs::AsIs), "{version}");
    }
    for version in ["v1", "v2"] {
        assert_eq!(local("proxy", version), Ok(LocalAs::Proxy), "{version}");
    }
    assert_eq!(
        local("proxy", "none").unwrap_err().to_string(),
        "--outbound-local 'proxy' is not valid; leave it out, or write --outbound v2: no header is \
         written"
    );
    assert_eq!(
        local("local", "v2").unwrap_err().to_string(),
        "--outbound-local 'local' is not valid; write as-is or proxy"
    );
}

#[test]
fn more_tlvs_than_a_header_has_room_for_are_refused() {
    let half = format!("0xE5={}", "x".repeat(33_000));
    let refused = refused(|raw| raw.rules[0].outbound.tlvs.add = added(&[&half, &half]));
    assert!(refused.ends_with("fit no header; pass on or add fewer than 65536"), "{refused}");
}

#[test]
fn ports_are_sorted_and_merged() {
    let all =
        ports(Scope::top(Syntax::Flags), &values(&["443", "8000-8010", "80", "8005-8020", "443"]))
            .unwrap();
    assert_eq!(all.to_string(), "80, 443, 8000-8020");
    assert!(all.contains(8020) && !all.contains(8021) && !all.contains(81));
    assert_eq!(all.iter().count(), 2 + 21);
}

#[test]
fn the_last_port_ends_its_range() {
    assert_eq!(
        ports(Scope::top(Syntax::Flags), &values(&["65535", "1-65535"])).unwrap().iter().count(),
        65535
    );
}

#[test]
fn bad_ports_are_refused() {
    for word in ["0", "65536", "+80", "80-", "-80", "http", "", "80-90-100", "8 0"] {
        let message = refused(|raw| raw.rules[0].ports = values(&[word]));
        let expected = format!(
            "--port '{word}' is not valid; write a port from 1 to 65535, or a range such as 8000-8010"
        );
        assert_eq!(message, expected);
    }
    assert_eq!(
        refused(|raw| raw.rules[0].ports = values(&["90-80"])),
        "--port '90-80' is not valid; write the smaller port first: 80-90"
    );
}

#[test]
fn reading_headers_needs_somebody_to_trust() {
    for mode in ["require", "optional"] {
        let message = refused(|raw| {
            raw.rules[0].inbound.mode = Some(mode.into());
            raw.rules[0].inbound.trusted.clear();
        });
        assert!(message.starts_with(&format!("--inbound {mode} needs --trust")), "{message}");
    }
    let mut off = raw();
    off.rules[0].inbound.mode = Some("off".into());
    off.rules[0].inbound.trusted.clear();
    assert!(validate(&off).is_ok());
}

#[test]
fn a_bad_range_names_itself() {
    assert_eq!(
        refused(|raw| raw.rules[0].inbound.trusted = values(&["10.0.0.0/8", "10.0.0/8"])),
        "--trust: '10.0.0/8' is no address range; write it as 10.0.0.0/24 or fd00:10::/64"
    );
}

#[test]
fn bad_words_name_the_right_ones() {
    type Change = fn(&mut RawConfig);
    let cases: [(Change, &str); 6] = [
        (
            |raw| raw.rules[0].inbound.mode = Some("on".into()),
            "--inbound 'on' is not valid; write require",
        ),
        (
            |raw| raw.rules[0].outbound.version = Some("v3".into()),
            "--outbound 'v3' is not valid; write v1",
        ),
        (
            |raw| raw.rules[0].inbound.untrusted = "drop".into(),
            "--untrusted 'drop' is not valid; write refuse",
        ),
        (|raw| raw.hook = "xdp".into(), "--hook 'xdp' is not valid; write auto"),
        (|raw| raw.workers = Some("0".into()), "--workers '0' is not valid; write a number"),
        (|raw| raw.drain_timeout = "30".into(), "--drain-timeout '30' is not valid; write a time"),
    ];
    for (change, start) in cases {
        let message = refused(change);
        assert!(message.starts_with(start), "{message}");
    }
}

#[test]
fn interfaces_are_named_once_and_by_name() {
    assert!(refused(|raw| raw.interfaces.clear()).starts_with("IFACE is missing"));
    for name in ["", "a/b", "eth 0", &"a-name-far-too-long".repeat(7)] {
        let message = refused(|raw| raw.interfaces = values(&[name]));
        assert!(message.starts_with(&format!("IFACE '{name}' is not valid")), "{message}");
    }
    let message = refused(|raw| raw.interfaces = values(&["eth0", "eth0"]));
    assert!(message.contains("once"), "{message}");
}

#[test]
fn a_deadline_below_three_seconds_is_refused() {
    let message = refused(|raw| raw.rules[0].inbound.timeout = "2s".into());
    assert!(
        message.starts_with("--header-timeout '2s' is not valid; write 3s or more"),
        "{message}"
    );
    let mut least = raw();
    least.rules[0].inbound.timeout = "3s".into();
    assert_eq!(validate(&least).unwrap().rules[0].inbound.timeout, Duration::from_secs(3));
}

#[test]
fn a_longest_header_is_within_what_the_protocol_can_say() {
    for text in ["15", "65552", "4k", "-1"] {
        let message = refused(|raw| raw.rules[0].inbound.max_header = text.into());
        assert!(message.ends_with("write a number of bytes from 16 to 65551"), "{message}");
    }
}

#[test]
fn versions_can_be_limited() {
    let mut raw = raw();
    raw.rules[0].inbound.versions = values(&["v2"]);
    let limits = validate(&raw).unwrap().rules[0].inbound.limits;
    assert_eq!(limits.versions, Versions::only(Version::V2));
    assert!(
        refused(|raw| raw.rules[0].inbound.versions = values(&["v3"]))
            .starts_with("--versions 'v3'")
    );
}

#[test]
fn a_server_may_speak_first_only_where_a_header_is_optional() {
    let mut optional = raw();
    optional.rules[0].inbound.mode = Some("optional".into());
    optional.rules[0].inbound.server_first = "200ms".into();
    let inbound = &validate(&optional).unwrap().rules[0].inbound;
    assert_eq!(inbound.server_first, ServerFirst::After(Duration::from_millis(200)));
    assert!(
        refused(|raw| raw.rules[0].inbound.server_first = "200ms".into()).contains("leave it out")
    );
    let message = refused(|raw| {
        raw.rules[0].inbound.mode = Some("optional".into());
        raw.rules[0].inbound.server_first = "5s".into();
    });
    assert!(message.contains("less than --header-timeout"), "{message}");
}

#[test]
fn tlvs_are_passed_dropped_and_added_by_type() {
    let mut raw = raw();
    raw.rules[0].outbound.tlvs.pass = Some(values(&["0xEA", "5"]));
    raw.rules[0].outbound.tlvs.drop = values(&["0xea"]);
    raw.rules[0].outbound.tlvs.add =
        added(&["unique-id", "authority=example.org", "0xE5=text", "0xE6=hex:00fF"]);
    raw.rules[0].outbound.tlvs.crc32c = true;
    let outbound = &validate(&raw).unwrap().rules[0].outbound;
    assert!(outbound.unique_id && outbound.tlvs.crc32c);
    assert!(outbound.tlvs.passes(5) && !outbound.tlvs.passes(0xEA) && !outbound.tlvs.passes(6));
    assert_eq!(outbound.tlvs.authority.as_deref(), Some("example.org"));
    let custom: Vec<_> = outbound.tlvs.custom.iter().map(|tlv| (tlv.kind(), tlv.value())).collect();
    assert_eq!(custom, [(0xE5, &b"text"[..]), (0xE6, &[0, 0xff])]);
}

type TlvChange = fn(&mut RawTlvs);

#[test]
fn tlvs_that_make_no_sense_are_refused() {
    for word in ["uniqueid", "authority=", "0x20=x", "0xE5=hex:0", "0xE5=hex:0g", "E5=x"] {
        let message = refused(|raw| raw.rules[0].outbound.tlvs.add = added(&[word]));
        assert!(message.starts_with(&format!("--tlv-add '{word}' is not valid")), "{message}");
    }
    let asked_for: [(TlvChange, &str); 5] = [
        (|tlvs| tlvs.pass = Some(values(&["none"])), "--tlv-pass 'none'"),
        (|tlvs| tlvs.pass = Some(values(&["all"])), "--tlv-pass 'all'"),
        (|tlvs| tlvs.drop = values(&["0xEA"]), "--tlv-drop '0xEA'"),
        (|tlvs| tlvs.add = added(&["unique-id"]), "--tlv-add 'unique-id'"),
        (|tlvs| tlvs.crc32c = true, "--tlv-crc32c 'true'"),
    ];
    for version in ["v1", "none"] {
        for (change, option) in asked_for {
            let message = refused(|raw| {
                raw.rules[0].outbound.version = Some(version.into());
                change(&mut raw.rules[0].outbound.tlvs);
            });
            let fix = "leave it out, or write --outbound v2: no other version has TLVs";
            assert_eq!(message, format!("{option} is not valid; {fix}"));
        }
    }
}

#[test]
fn interfaces_may_be_patterns() {
    let mut raw = raw();
    raw.interfaces = values(&["eth0", "veth*", "eni[0-9]"]);
    let settings = validate(&raw).unwrap();
    let [exact, pattern, class] = &settings.steering.interfaces[..] else { panic!() };
    assert_eq!(exact.exact(), Some("eth0"));
    assert!(exact.matches("eth0") && !exact.matches("eth00"));
    assert_eq!(pattern.exact(), None);
    assert!(pattern.matches("veth12ab") && !pattern.matches("eth0"));
    assert!(class.matches("eni7") && !class.matches("eni"));
    let message = refused(|raw| raw.interfaces = values(&["eni[0-9"]));
    assert!(
        message.starts_with("IFACE 'eni[0-9' is not valid; correct the pattern ("),
        "{message}"
    );
}

#[test]
fn source_addresses_are_the_nodes_and_of_the_upstreams_family() {
    let refused = |upstream: &str, source: &str, addresses: &[&str]| {
        refused(|raw| {
            let raw = &mut raw.rules[0].upstream;
            raw.address = upstream.into();
            raw.source = source.into();
            raw.source_addresses = values(addresses);
        })
    };
    assert_eq!(
        refused("original", "client", &["10.1.2.3"]),
        "--source-address '10.1.2.3' is not valid; leave it out, or write --source node: upstreams \
         see the client's"
    );
    for none in ["10.1.2.3:80", "eth0", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255"] {
        let fix = "write an address of this node's, such as 10.1.2.3 or fd00::3";
        let message = refused("original", "node", &[none]);
        assert_eq!(message, format!("--source-address '{none}' is not valid; {fix}"));
    }
    let twice = refused("original", "node", &["10.1.2.3", "::ffff:10.1.2.3"]);
    assert!(twice.contains("named twice"), "{twice}");
    let other = refused("10.1.1.1:80", "node", &["10.1.2.3", "fd00::3"]);
    assert!(other.contains("'fd00::3'") && other.contains("has no IPv6 address"), "{other}");
    let many: Vec<_> = (1..=17).map(|number| format!("10.1.2.{number}")).collect();
    let many = refused("original", "node", &many.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(many.contains("name 16 at most"), "{many}");

    let mut raw = raw();
    raw.rules[0].upstream.source_addresses = values(&["10.1.2.3", "fd00::3"]);
    let settings = validate(&raw).unwrap();
    let named = settings.rules[0].upstream.source_addresses.iter().map(ToString::to_string);
    assert_eq!(named.collect::<Vec<_>>(), ["10.1.2.3", "fd00::3"]);
}

#[test]
fn what_upstreams_answer_by_is_asked_for_only_where_it_matters() {
    assert_eq!(
        refused(|raw| raw.upstream_interfaces = values(&["veth*"])),
        "--upstream-interface 'veth*' is not valid; leave it out, or write --source client: \
         upstreams answer the node by themselves"
    );
    let mut raw = raw();
    raw.upstream_interfaces = values(&["veth*"]);
    raw.rules[0].upstream.source = "client".into();
    let settings = validate(&raw).unwrap();
    assert_eq!(settings.rules[0].upstream.source, Source::Client);
    assert!(settings.steering.upstream_interfaces[0].matches("veth0"));
}

#[test]
fn a_clients_address_is_not_shown_where_it_cannot_be() {
    let message = refused(|raw| {
        raw.rules[0].upstream.source = "client".into();
        raw.rules[0].upstream.address = "127.0.0.1:80".into();
    });
    assert_eq!(
        message,
        "--upstream '127.0.0.1:80' is not valid; write an address of the node's: a client's \
         address never gets to loopback"
    );
    let message = refused(|raw| {
        raw.rules[0].upstream.source = "client".into();
        raw.interfaces = values(&["eth0", "lo"]);
    });
    assert!(message.starts_with("--source 'client' is not valid; leave lo out"), "{message}");
}
