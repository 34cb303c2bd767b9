//! Where connections go: addresses, names, and what names stand for.

use std::net::SocketAddr;

use super::*;
use crate::config::settings::{Resolve, UpstreamName};

fn upstream(text: &str) -> UpstreamAddress {
    let mut raw = raw();
    raw.rules[0].upstream.address = text.into();
    validate(&raw).unwrap().rules[0].upstream.address.clone()
}

#[track_caller]
fn refusal(text: &str) -> String {
    let message = refused(|raw| raw.rules[0].upstream.address = text.into());
    let begin = format!("--upstream '{text}' is not valid; ");
    message.strip_prefix(&begin).unwrap_or_else(|| panic!("{message}")).to_owned()
}

#[test]
fn an_upstream_is_an_address_with_a_port() {
    for (text, address) in [
        ("[fd00::1]:8080", "[fd00::1]:8080"),
        ("10.1.2.3:80", "10.1.2.3:80"),
        ("[::ffff:10.1.2.3]:80", "10.1.2.3:80"),
    ] {
        let UpstreamAddress::Fixed(fixed) = upstream(text) else { panic!("{text} is an address") };
        assert_eq!(fixed.to_string(), address);
    }
    for text in ["10.1.2.3", "10.1.2.3:http", "originl", "10.1.2.3:+80", "10.1.2.3:65536"] {
        assert!(refusal(text).starts_with("write original, or host:port"), "{}", refusal(text));
    }
    for text in ["10.1.2.3:0", "0.0.0.0:80", "[::]:80", "224.0.0.1:80", "[ff02::1]:80", ":80"] {
        refusal(text);
    }
}

#[test]
fn a_name_is_not_looked_up_by_whoever_reads_it() {
    for text in ["app.example:80", "localhost:443", "a_b-c.d:8080", "app.example.:1"] {
        let UpstreamAddress::Named(name) = upstream(text) else { panic!("{text} is a name") };
        assert_eq!(name.to_string(), text);
    }
    for text in ["http://app:80", "app example:80", "äpp:80"] {
        assert!(refusal(text).starts_with("write a host's name"), "{}", refusal(text));
    }
    // Each of them is an address for some, and another one for others.
    for text in ["127.1:80", "010.0.0.1:80", "10.1.2.256:80", "0x7f000001:80", "1:80"] {
        assert!(refusal(text).contains("in full and in decimal"), "{}", refusal(text));
    }
}

#[test]
fn a_link_local_address_has_its_interface_in_brackets() {
    let UpstreamAddress::Named(name) = upstream("[fe80::b%eth1]:9090") else {
        panic!("the interface's number is the host's")
    };
    assert_eq!((name.host(), name.port()), ("fe80::b%eth1", 9090));
    assert_eq!(refusal("fe80::b%eth1:9090"), "write it in brackets: [fe80::b%eth1]:9090");
    assert_eq!(refusal("fd00::1:8080"), "write it in brackets: [fd00::1]:8080");
    for text in ["[fe80::b]:9090", "[fe80::b%]:9090", "[fe80::b%a/b]:9090"] {
        let fix = "write the interface that it is on, such as [fe80::b%eth0]:9090";
        assert!(refusal(text).ends_with(fix), "{}", refusal(text));
    }
    assert!(refusal("[fd00::1%eth1]:9090").starts_with("leave %eth1 out"));
    assert!(refusal("[app.example]:80").starts_with("write an IPv6 address in the brackets"));
}

#[test]
fn a_name_is_looked_up_again_now_and_then_or_never() {
    let resolve = |word: &str| {
        let mut raw = raw();
        raw.rules[0].upstream.resolve = word.into();
        validate(&raw).map(|settings| settings.rules[0].upstream.resolve)
    };
    assert_eq!(resolve("once"), Ok(Resolve::Once));
    assert_eq!(resolve("5m"), Ok(Resolve::Every(Duration::from_secs(300))));
    assert_eq!(validate(&raw()).unwrap().rules[0].upstream.resolve, resolve("30s").unwrap());
    for word in ["never", "0s", "999ms", "30"] {
        let message = resolve(word).unwrap_err().to_string();
        let fix = "write once, or a time of 1s or more, such as 30s";
        assert_eq!(message, format!("--resolve '{word}' is not valid; {fix}"));
    }
}

/// What comes of looking `app.example:80` up, for a rule that is changed like this.
fn judge(
    found: Result<&[&str], &str>,
    change: impl FnOnce(&mut RawUpstream),
) -> Result<Vec<String>, String> {
    let mut raw = raw();
    raw.rules[0].upstream.address = "app.example:80".into();
    change(&mut raw.rules[0].upstream);
    let settings = validate(&raw).unwrap();
    let names: Vec<UpstreamName> = settings.upstream_names().into_iter().collect();
    let found =
        found.map(|found| found.iter().map(|it| it.parse::<SocketAddr>().unwrap()).collect());
    let found = [(names[0].clone(), found.map_err(str::to_owned))].into();
    let judged = Names::judge(&raw, Syntax::Flags, &settings, &found);
    let judged = judged.map_err(|invalid| invalid.to_string())?;
    let addresses = judged.addresses(&settings.rules[0].upstream.address);
    Ok(addresses.iter().map(ToString::to_string).collect())
}

#[test]
fn what_a_name_stands_for_is_judged_as_if_it_had_been_written() {
    let plain = |found: &[&str]| judge(Ok(found), |_| {});
    assert_eq!(plain(&["10.1.2.3:80"]), Ok(vec!["10.1.2.3:80".to_owned()]));
    assert!(plain(&[]).unwrap_err().ends_with("the name has no address"));
    assert!(plain(&["0.0.0.0:80"]).unwrap_err().contains("0.0.0.0:80 can't be connected to"));
    let missing = judge(Err("no answer within 10 s"), |_| {}).unwrap_err();
    assert_eq!(
        missing,
        "--upstream 'app.example:80' is not valid; its address can't be found (no answer within 10 s)"
    );
    let client = |upstream: &mut RawUpstream| upstream.source = "client".into();
    let loopback = judge(Ok(&["127.0.0.1:80"]), client).unwrap_err();
    assert!(loopback.contains("never gets to loopback"), "{loopback}");
    let other = judge(Ok(&["10.1.2.3:80"]), |it| it.source_addresses = values(&["fd00::3"]));
    let other = other.unwrap_err();
    assert!(
        other.starts_with("--source-address 'fd00::3'") && other.contains("has no IPv6 address"),
        "{other}"
    );
}
