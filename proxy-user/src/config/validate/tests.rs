//! What is accepted, and the very words in which the rest is refused.

use super::*;

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
        outbound: "v2".into(),
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
    assert_eq!(rule.outbound, Some(Version::V2));
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
