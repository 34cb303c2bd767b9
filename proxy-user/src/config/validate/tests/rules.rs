//! Rules beside each other, and how much of them fits.

use super::*;

#[test]
fn rules_that_share_a_port_have_destinations_of_their_own() {
    let second = |first: &[&str], second: &[&str]| {
        let mut raw = raw();
        raw.rules[0].destinations = values(first);
        let mut other = raw.rules[0].clone();
        (other.name, other.destinations) = (Some("other".into()), values(second));
        raw.rules.push(other);
        crate::config::validate(&raw, Syntax::File).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(second(&["203.0.113.1"], &[]), Ok(()));
    assert_eq!(second(&["203.0.113.1"], &["203.0.113.0/24", "2001:db8::/32"]), Ok(()));
    assert_eq!(
        second(&["203.0.113.0/24"], &["192.0.2.1", "203.0.113.0/24"]),
        Err("rule other: destinations '203.0.113.0/24' is not valid; leave it out: rule attach has \
             it already for port 80"
            .to_owned())
    );
    let both = second(&[], &[]).unwrap_err();
    assert!(both.contains("rule attach has it already; or give each its destinations"), "{both}");
}

#[test]
fn no_rule_is_called_what_all_former_ones_are() {
    let mut raw = raw();
    raw.rules[0].name = Some("former".into());
    let message = crate::config::validate(&raw, Syntax::File).unwrap_err().to_string();
    assert_eq!(
        message,
        "rule former: name 'former' is not valid; choose another: the counters of rules that are gone \
         are added up under this one"
    );
}

#[test]
fn destinations_can_not_be_held() {
    let message = refused(|raw| {
        raw.rules[0].destinations = values(&["203.0.113.1"]);
        raw.rules[0].when_absent = "drop".into();
    });
    assert_eq!(
        message,
        "--when-absent 'drop' is not valid; write --when-absent pass, or leave --destination out: \
         ports are held for all destinations"
    );
}

#[test]
fn as_many_destinations_as_the_map_has_room_for() {
    let with_ports = |ports: &str| {
        let mut raw = raw();
        raw.rules[0].ports = values(&[ports]);
        raw.rules[0].destinations = values(&["203.0.113.1", "203.0.113.2"]);
        validate(&raw).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(with_ports("1-8192"), Ok(()));
    assert_eq!(
        with_ports("1-8193"),
        Err("--destination '203.0.113.2' is not valid; name fewer ports or wider ranges: each port \
             with each range is an entry, and there is room for 16384, of all rules together"
            .to_owned())
    );
}

#[test]
fn as_many_sources_as_the_maps_have_room_for() {
    let ranges = |count: usize| {
        let address = |n: usize| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
        (0..count).map(|n| RawValue::from(address(n).as_str())).collect::<Vec<_>>()
    };
    let with = |trusted: usize, hairpin: usize| {
        let mut raw = raw();
        raw.rules[0].inbound.trusted = ranges(trusted);
        raw.rules[0].hairpin.sources = ranges(hairpin);
        let mut other = raw.rules[0].clone();
        (other.name, other.ports) = (Some("other".into()), values(&["81"]));
        raw.rules.push(other);
        crate::config::validate(&raw, Syntax::File).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(with(65535, 1), Ok(()));
    assert_eq!(
        with(65535, 2),
        Err("rule other: hairpin.sources '10.0.0.0' is not valid; name fewer or wider ranges: there \
             is room for 131072 ranges of sources, of all rules together"
            .to_owned())
    );
}

#[test]
fn the_narrower_rule_is_told_from_the_wider() {
    let rule = |destinations: &[&str]| {
        let mut raw = raw();
        raw.rules[0].destinations = values(destinations);
        validate(&raw).unwrap().rules[0].clone()
    };
    let at = |text: &str| OriginalDst::new(text.parse().unwrap());
    let (any, wide) = (rule(&[]), rule(&["0.0.0.0/0", "203.0.113.0/24"]));
    assert_eq!(any.narrowness(at("203.0.113.1:80")), Some(None));
    assert_eq!(wide.narrowness(at("203.0.113.1:80")), Some(Some(24)));
    assert_eq!(wide.narrowness(at("192.0.2.1:80")), Some(Some(0)));
    assert_eq!(wide.narrowness(at("[2001:db8::1]:80")), None, "of the other family");
    assert_eq!(any.narrowness(at("203.0.113.1:81")), None);
    assert!(wide.narrowness(at("192.0.2.1:80")) > any.narrowness(at("192.0.2.1:80")));
}
