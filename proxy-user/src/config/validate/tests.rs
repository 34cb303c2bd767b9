//! What is accepted, and the very words in which the rest is refused.

use super::*;
use crate::config::settings::ServerFirst;
use crate::header::{Pass, Version, Versions};

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&word| word.to_owned()).collect()
}

fn raw() -> RawAttach {
    RawAttach {
        interfaces: words(&["eth0"]),
        ports: words(&["80"]),
        inbound: "require".into(),
        trust: words(&["10.0.0.0/8"]),
        untrusted: "refuse".into(),
        versions: Vec::new(),
        header_timeout: "5s".into(),
        max_header: "4096".into(),
        server_first: "wait".into(),
        reject_second: false,
        outbound: "v2".into(),
        tlv_pass: words(&["all"]),
        tlv_drop: Vec::new(),
        tlv_add: Vec::new(),
        tlv_crc32c: false,
        upstream: "original".into(),
        workers: None,
        drain_timeout: "30s".into(),
        hook: "auto".into(),
    }
}

fn refused(change: impl FnOnce(&mut RawAttach)) -> String {
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
fn ports_are_sorted_and_merged() {
    let all = ports(&words(&["443", "8000-8010", "80", "8005-8020", "443"])).unwrap();
    assert_eq!(all.to_string(), "80, 443, 8000-8020");
    assert!(all.contains(8020) && !all.contains(8021) && !all.contains(81));
    assert_eq!(all.iter().count(), 2 + 21);
}

#[test]
fn the_last_port_ends_its_range() {
    assert_eq!(ports(&words(&["65535", "1-65535"])).unwrap().iter().count(), 65535);
}

#[test]
fn bad_ports_are_refused() {
    for word in ["0", "65536", "+80", "80-", "-80", "http", "", "80-90-100", "8 0"] {
        let message = refused(|raw| raw.ports = words(&[word]));
        let expected = format!(
            "--port '{word}' is not valid; write a port from 1 to 65535, or a range such as 8000-8010"
        );
        assert_eq!(message, expected);
    }
    assert_eq!(
        refused(|raw| raw.ports = words(&["90-80"])),
        "--port '90-80' is not valid; write the smaller port first: 80-90"
    );
}

#[test]
fn reading_headers_needs_somebody_to_trust() {
    for mode in ["require", "optional"] {
        let message = refused(|raw| {
            raw.inbound = mode.into();
            raw.trust.clear();
        });
        assert!(message.starts_with(&format!("--inbound {mode} needs --trust")), "{message}");
    }
    let mut off = raw();
    off.inbound = "off".into();
    off.trust.clear();
    assert!(validate(&off).is_ok());
}

#[test]
fn a_bad_range_names_itself() {
    assert_eq!(
        refused(|raw| raw.trust = words(&["10.0.0.0/8", "10.0.0/8"])),
        "--trust: '10.0.0/8' is no address range; write it as 10.0.0.0/8 or fd00::/8"
    );
}

#[test]
fn bad_words_name_the_right_ones() {
    type Change = fn(&mut RawAttach);
    let cases: [(Change, &str); 6] = [
        (|raw| raw.inbound = "on".into(), "--inbound 'on' is not valid; write require"),
        (|raw| raw.outbound = "v3".into(), "--outbound 'v3' is not valid; write v1"),
        (|raw| raw.untrusted = "drop".into(), "--untrusted 'drop' is not valid; write refuse"),
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
    assert!(refused(|raw| raw.interfaces.clear()).starts_with("interface is missing"));
    for name in ["", "a/b", "eth 0", "a-name-far-too-long"] {
        let message = refused(|raw| raw.interfaces = words(&[name]));
        assert!(message.starts_with(&format!("interface '{name}' is not valid")), "{message}");
    }
    let message = refused(|raw| raw.interfaces = words(&["eth0", "eth0"]));
    assert!(message.contains("once"), "{message}");
}

#[test]
fn an_upstream_is_an_address_with_a_port() {
    let fixed = upstream("[fd00::1]:8080").unwrap();
    let address = UpstreamAddr::new("[fd00::1]:8080".parse().unwrap());
    assert_eq!(
        fixed,
        UpstreamAddress::Fixed { name: "[fd00::1]:8080".into(), addresses: vec![address] }
    );
    for text in ["10.1.2.3", "10.1.2.3:http", "originl", "10.1.2.3:0", "0.0.0.0:80", ":80"] {
        let message = refused(|raw| raw.upstream = text.into());
        assert!(message.starts_with(&format!("--upstream '{text}' is not valid")), "{message}");
    }
}

#[test]
fn a_deadline_below_three_seconds_is_refused() {
    let message = refused(|raw| raw.header_timeout = "2s".into());
    assert!(
        message.starts_with("--header-timeout '2s' is not valid; write 3s or more"),
        "{message}"
    );
    let mut least = raw();
    least.header_timeout = "3s".into();
    assert_eq!(validate(&least).unwrap().rules[0].inbound.timeout, Duration::from_secs(3));
}

#[test]
fn a_longest_header_is_within_what_the_protocol_can_say() {
    for text in ["15", "65552", "4k", "-1"] {
        let message = refused(|raw| raw.max_header = text.into());
        assert!(message.ends_with("write a number of bytes from 16 to 65551"), "{message}");
    }
}

#[test]
fn versions_can_be_limited() {
    let mut raw = raw();
    raw.versions = words(&["v2"]);
    let limits = validate(&raw).unwrap().rules[0].inbound.limits;
    assert_eq!(limits.versions, Versions::only(Version::V2));
    assert!(refused(|raw| raw.versions = words(&["v3"])).starts_with("--versions 'v3'"));
}

#[test]
fn a_server_may_speak_first_only_where_a_header_is_optional() {
    let mut optional = raw();
    optional.inbound = "optional".into();
    optional.server_first = "200ms".into();
    let inbound = &validate(&optional).unwrap().rules[0].inbound;
    assert_eq!(inbound.server_first, ServerFirst::After(Duration::from_millis(200)));
    assert!(refused(|raw| raw.server_first = "200ms".into()).contains("leave it out"));
    let message = refused(|raw| {
        raw.inbound = "optional".into();
        raw.server_first = "5s".into();
    });
    assert!(message.contains("less than --header-timeout"), "{message}");
}

#[test]
fn tlvs_are_passed_dropped_and_added_by_type() {
    let mut raw = raw();
    raw.tlv_pass = words(&["0xEA", "5"]);
    raw.tlv_drop = words(&["0xea"]);
    raw.tlv_add = words(&["unique-id", "authority=example.org", "0xE5=text", "0xE6=hex:00fF"]);
    raw.tlv_crc32c = true;
    let outbound = &validate(&raw).unwrap().rules[0].outbound;
    assert!(outbound.unique_id && outbound.tlvs.crc32c);
    assert!(outbound.tlvs.passes(5) && !outbound.tlvs.passes(0xEA) && !outbound.tlvs.passes(6));
    assert_eq!(outbound.tlvs.authority.as_deref(), Some("example.org"));
    let custom: Vec<_> = outbound.tlvs.custom.iter().map(|tlv| (tlv.kind(), tlv.value())).collect();
    assert_eq!(custom, [(0xE5, &b"text"[..]), (0xE6, &[0, 0xff])]);
}

#[test]
fn tlvs_that_make_no_sense_are_refused() {
    for word in ["uniqueid", "authority=", "0x20=x", "0xE5=hex:0", "0xE5=hex:0g", "E5=x"] {
        let message = refused(|raw| raw.tlv_add = words(&[word]));
        assert!(message.starts_with(&format!("--tlv-add '{word}' is not valid")), "{message}");
    }
    for outbound in ["v1", "none"] {
        let message = refused(|raw| {
            raw.outbound = outbound.into();
            raw.tlv_add = words(&["unique-id"]);
        });
        assert!(message.contains("no other version has TLVs"), "{message}");
    }
}
