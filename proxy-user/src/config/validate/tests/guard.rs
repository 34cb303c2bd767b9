//! Who may come, and by which interface.

use super::*;

#[test]
fn the_guard_knows_who_may_come() {
    let sources = |change: fn(&mut RawConfig)| {
        let mut raw = raw();
        change(&mut raw);
        let rules = validate(&raw).unwrap().rules;
        rules[0].only_sources().map(|ranges| ranges.map(|r| r.to_string()).collect::<Vec<_>>())
    };
    let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(sources(|_| ()), Some(strings(&["10.0.0.0/8"])));
    let with_pods = sources(|raw| {
        raw.rules[0].hairpin.sources = values(&["10.244.0.0/16", "fd00:10::/64"]);
    });
    // Pods are known by their interfaces, too.
    assert_eq!(with_pods, Some(strings(&["10.0.0.0/8"])));
    assert_eq!(sources(|raw| raw.rules[0].inbound.untrusted = "direct".into()), None);
    assert_eq!(sources(|raw| raw.rules[0].guard.enabled = false), None);
    let nobody_named = sources(|raw| {
        raw.rules[0].inbound.mode = Some("off".into());
        raw.rules[0].inbound.trusted.clear();
    });
    assert_eq!(nobody_named, None);
}

#[test]
fn answers_are_guarded_where_who_connects_matters() {
    let guards = |change: fn(&mut RawConfig)| {
        let mut raw = raw();
        change(&mut raw);
        validate(&raw).unwrap().rules[0].guards_answers()
    };
    assert!(guards(|_| ()));
    assert!(guards(|raw| raw.rules[0].inbound.untrusted = "direct".into()), "a header is required");
    assert!(guards(|raw| raw.rules[0].inbound.mode = Some("off".into())), "others are refused");
    assert!(!guards(|raw| raw.rules[0].guard.answers = "off".into()));
    assert!(!guards(|raw| {
        raw.rules[0].inbound.mode = Some("optional".into());
        raw.rules[0].inbound.untrusted = "direct".into();
    }));
    assert_eq!(
        refused(|raw| raw.rules[0].guard.answers = "yes".into()),
        "--guard-answers 'yes' is not valid; write on or off"
    );
}

#[test]
fn interfaces_of_pods_and_of_trusted_sources_need_their_reason() {
    assert_eq!(
        refused(|raw| raw.pod_interfaces = values(&["veth*"])),
        "--pod-interface 'veth*' is not valid; leave it out, or name the pods' addresses by --hairpin"
    );
    assert_eq!(
        refused(|raw| raw.trusted_interfaces = values(&["eth1"])),
        "--trusted-interface 'eth1' is not valid; leave it out, or write --reply arrival: replies that \
         the routing table sends reach nobody who lies about an address"
    );
}

#[test]
fn a_limit_without_a_guard_is_a_contradiction() {
    let mut raw = raw();
    raw.rules[0].guard.syn_per_second_per_source = "100".into();
    let guard = validate(&raw).unwrap().rules[0].guard;
    assert_eq!(guard.syn_limit.map(Into::into), Some(100_u32));
    assert_eq!(
        refused(|raw| {
            raw.rules[0].guard.syn_per_second_per_source = "100".into();
            raw.rules[0].guard.enabled = false;
        }),
        "--syn-limit '100' is not valid; write --guard on, which counts them, or leave the limit out"
    );
    for text in ["-1", "many", "", "4000000000"] {
        let message = refused(|raw| raw.rules[0].guard.syn_per_second_per_source = text.into());
        assert!(message.starts_with(&format!("--syn-limit '{text}' is not valid; ")), "{message}");
    }
}
