//! Somebody else changes the private namespace or the veth that leads there.

use super::*;

/// A command in the private namespace, by a descriptor of the process that stands for it.
fn run_inside(foreword: &Foreword, node: &Netns, command: &str) {
    let own = fs::metadata(node.path()).expect("it is there");
    let own = format!("net:[{}]", std::os::unix::fs::MetadataExt::ino(&own));
    let folder = format!("/proc/{}/fd", foreword.pid());
    let inside = fs::read_dir(&folder).expect("the process lives").flatten().find(|entry| {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        target.starts_with("net:[") && target != own
    });
    let path = inside.expect("it has the private namespace").path();
    let mut nsenter = Command::new("nsenter");
    nsenter.arg(format!("--net={}", path.display())).arg("--").args(command.split_whitespace());
    output_of(nsenter);
}

#[apply(both_families)]
fn a_veth_that_is_set_down_comes_up_again(family: Family) {
    for hook in hooks() {
        let scene =
            FOREWORD.scene_serving(family, &[OFF, "--outbound none --hook", hook], netlab::echo);
        let talk = Talk::begin(scene.connect());
        let set_down = format!("link set {} down", veth(&scene.foreword));
        scene.lab.node.ip(&set_down).expect("root may do that");
        wait_for_word(&scene.foreword, "the veth's state (up) had gone");
        talk.assert_goes_on("after the host end was set down");
        run_inside(&scene.foreword, &scene.lab.node, "ip link set s1 down");
        wait_for_word(&scene.foreword, "the state (up) of the veth's inner end had gone");
        talk.assert_goes_on("after the inner end was set down");
        talk.end();
    }
}

#[apply(both_families)]
fn a_veth_that_is_deleted_is_made_again(family: Family) {
    for hook in hooks() {
        let scene =
            FOREWORD.scene_serving(family, &[OFF, "--outbound none --hook", hook], netlab::echo);
        let node = &scene.lab.node;
        let (foreword, veth) = (&scene.foreword, veth(&scene.foreword));
        let talk = Talk::begin(scene.connect());
        let gone = || foreword.output().matches("the veth had gone").count();
        let deletions: [&dyn Fn(); 3] = [
            &|| node.ip(&format!("link del {veth}")).expect("it is there"),
            &|| run_inside(foreword, node, "ip link del s1"),
            // It is somewhere else then, with its inner end where it was.
            &|| {
                let away = format!("link set {veth} netns {}", scene.lab.client.name());
                node.ip(&away).expect("root may move links");
            },
        ];
        for (number, delete) in deletions.iter().enumerate() {
            delete();
            wait_until(PATIENCE, "a new veth", || gone() > number)
                .unwrap_or_else(|error| panic!("{hook}: {error}: {}", foreword.output()));
            talk.assert_goes_on("with a new veth");
            let mut client = scene.connect();
            client.send(b"hello");
            assert_eq!(client.receive(5), b"hello");
        }
        talk.end();
    }
}

#[apply(both_families)]
fn what_is_changed_inside_is_put_back(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[OFF, "--outbound none", HTTP], netlab::echo);
    let (foreword, node) = (&scene.foreword, &scene.lab.node);
    let option = family.ip_option();
    let table = if family == Family::V4 { "local" } else { "100" };
    let gateway = if family == Family::V4 { "169.254.77.1" } else { "fe80::77:1" };
    let mut changes = vec![
        ("route", format!("ip {option} rule del iif s1")),
        ("route", format!("ip {option} route del local default dev lo table {table}")),
        ("route", format!("ip {option} route del default")),
        ("route", format!("ip {option} neighbour del {gateway} dev s1")),
        ("veth", "ip link set lo down".to_owned()),
        ("sysctl", "sysctl -w net.ipv4.conf.s1.accept_local=0".to_owned()),
        ("sysctl", "sysctl -w net.ipv4.tcp_mtu_probing=0".to_owned()),
    ];
    if family == Family::V4 {
        changes.push(("route", "ip address flush dev s1 scope global".to_owned()));
    }
    let talk = Talk::begin(scene.connect());
    for (kind, change) in changes {
        let before = repaired(&scene.lab, kind);
        run_inside(foreword, node, &change);
        nudge(node);
        wait_until(PATIENCE, &change, || repaired(&scene.lab, kind) > before)
            .unwrap_or_else(|error| panic!("{change}: {error}: {}", foreword.output()));
        talk.assert_goes_on(&change);
        let mut client = scene.connect();
        client.send(b"hello");
        assert_eq!(client.receive(5), b"hello", "{change}");
    }
    talk.end();
}

#[apply(lab_test)]
fn sysctls_that_somebody_changed_are_set_again() {
    let lab = lab();
    let foreword = FOREWORD.attach(&lab.node, FLAGS);
    let veth = veth(&foreword);
    for (key, ours, other) in [
        ("ipv4/conf/%/forwarding", "1", "0"),
        ("ipv6/conf/%/forwarding", "1", "0"),
        ("ipv4/conf/%/rp_filter", "0", "1"),
        ("ipv6/conf/%/accept_ra", "0", "1"),
    ] {
        let key = format!("net/{}", key.replace('%', &veth));
        let value = || lab.node.run(|| fs::read_to_string(format!("/proc/sys/{key}")));
        let is_ours = || value().is_ok_and(|value| value.trim() == ours);
        assert!(is_ours(), "{key}: {:?}", value());
        lab.node.sysctl(&key, other).expect("root may set it");
        nudge(&lab.node);
        wait_until(PATIENCE, &key, is_ours)
            .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
    }
}

/// Deletes the veth, and has another link take its name while nobody can make it again.
fn take_the_name(foreword: &Foreword, node: &Netns) {
    let veth = veth(foreword);
    foreword.signal(nix::sys::signal::Signal::SIGSTOP).expect("it runs");
    node.ip(&format!("link del {veth}")).expect("it is there");
    node.ip(&format!("link add {veth} type veth peer name thief")).expect("the name is free");
    foreword.signal(nix::sys::signal::Signal::SIGCONT).expect("it is stopped");
}

#[apply(lab_test)]
fn without_a_way_inside_nothing_is_steered() {
    for hook in hooks() {
        let lab = lab();
        let backends = echoes(&lab);
        let foreword = FOREWORD.attach(&lab.node, &format!("{FLAGS} {HTTP} --hook {hook}"));
        assert_eq!(get(&lab, "/readyz").0, "200");
        take_the_name(&foreword, &lab.node);
        wait_for_word(&foreword, "nothing is steered until it can");
        wait_until(PATIENCE, "not ready", || get(&lab, "/readyz").0 == "503")
            .unwrap_or_else(|error| panic!("{hook}: {error}: {}", foreword.output()));
        let (_, why) = get(&lab, "/readyz");
        assert!(why.contains("eth0 is not steered: the veth is gone"), "{why}");
        assert_eq!(get(&lab, "/healthz").0, "200", "the process is well");
        for (family, backend) in Family::BOTH.into_iter().zip(&backends) {
            assert!(flows_directly(&lab, backend, family), "{hook}: nobody waits for us");
        }
        let (_, metrics) = get(&lab, "/metrics");
        let failed = r#"foreword_repairs_total{kind="veth",result="failed"}"#;
        assert!(metrics.contains(failed), "{metrics}");

        lab.node.ip(&format!("link del {}", veth(&foreword))).expect("it is there");
        wait_until(PATIENCE, "ready", || get(&lab, "/readyz").0 == "200")
            .unwrap_or_else(|error| panic!("{hook}: {error}: {}", foreword.output()));
        for (family, backend) in Family::BOTH.into_iter().zip(&backends) {
            assert_served(&lab, backend, family);
        }
    }
}

#[apply(lab_test)]
fn a_hold_stays_where_nothing_can_be_steered() {
    for hook in hooks() {
        let lab = lab();
        let [backend, _] = echoes(&lab);
        let flags = format!("{FLAGS} {HTTP} --when-absent drop --hook {hook}");
        let mut foreword = FOREWORD.attach(&lab.node, &flags);
        take_the_name(&foreword, &lab.node);
        wait_for_word(&foreword, "nothing is steered until it can");
        wait_until(PATIENCE, "not ready", || get(&lab, "/readyz").0 == "503")
            .unwrap_or_else(|error| panic!("{hook}: {error}: {}", foreword.output()));
        assert!(!flows_directly(&lab, &backend, Family::V4), "{hook}: it is held");
        lab.node.ip(&format!("link del {}", veth(&foreword))).expect("it is there");
        wait_until(PATIENCE, "ready", || get(&lab, "/readyz").0 == "200")
            .unwrap_or_else(|error| panic!("{hook}: {error}: {}", foreword.output()));
        assert_served(&lab, &backend, Family::V4);
        foreword.terminate().expect("it ends after SIGTERM");
        crate::probe::cleanup(&lab.node);
        assert!(flows_directly(&lab, &backend, Family::V4), "{hook}: after a cleanup");
    }
}

#[apply(lab_test)]
fn an_end_after_repairs_leaves_nothing() {
    for hook in hooks() {
        let lab = lab();
        let [backend, _] = echoes(&lab);
        let before = NodeState::of(&lab.node);
        let mut foreword = FOREWORD.attach(&lab.node, &format!("{FLAGS} --hook {hook}"));
        let footprint = Footprint::by_name(foreword.pid());
        lab.node.ip(&format!("link del {}", veth(&foreword))).expect("it is there");
        wait_for_word(&foreword, "the veth had gone");
        if *hook == "clsact" {
            run(&lab.node, "tc qdisc del dev eth0 clsact");
            wait_for_word(&foreword, "foreword_steer on eth0 had gone");
        }
        assert_served(&lab, &backend, Family::V4);
        assert_eq!(foreword.terminate().expect("it ends after SIGTERM").code(), Some(0));
        footprint.assert_gone(&lab.node);
        before.assert_restored(&lab.node);
    }
}

#[apply(lab_test)]
fn a_repair_while_draining_keeps_connections() {
    let flags = [OFF, "--outbound none --drain-timeout 10m"];
    let mut scene = FOREWORD.scene_serving(Family::V4, &flags, netlab::echo);
    let talk = Talk::begin(scene.connect());
    scene.foreword.signal(nix::sys::signal::Signal::SIGTERM).expect("it runs");
    wait_for_word(&scene.foreword, "draining");
    scene.lab.node.ip(&format!("link del {}", veth(&scene.foreword))).expect("it is there");
    wait_for_word(&scene.foreword, "the veth had gone");
    talk.assert_goes_on("with a new veth");
    talk.end();
    assert_eq!(scene.foreword.wait(PATIENCE).expect("nothing is left").code(), Some(0));
}
