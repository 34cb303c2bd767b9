//! What is logged of connections: refusals in samples with what was read, nothing of health checks,
//! and never as many lines as there are connections.

use netlab::{Family, OFF, PATIENCE, REQUIRE, Reply, Scene, echo, wait_until};
use serde_json::Value;

use crate::FOREWORD;
use crate::maps::refused;

/// Lines about refusals that it has written.
fn lines(scene: &Scene) -> Vec<String> {
    let output = scene.foreword.output();
    output.lines().filter(|line| line.contains("refused or cut short")).map(Into::into).collect()
}

fn refuse(scene: &Scene, bytes: &[u8]) {
    let mut client = scene.connect();
    client.offer(bytes);
    client.rest_after_offer().assert_cut("a connection that is refused");
}

#[apply(both_families)]
fn a_refusal_is_logged_with_what_was_read(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound none"]);
    let header = b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n";
    refuse(&scene, header);
    refuse(&scene, b"GET /private/page HTTP/1.1\r\n\r\n");
    wait_until(PATIENCE, "two lines", || lines(&scene).len() == 2).expect("both are logged");
    let [one, other] = &lines(&scene)[..] else { panic!("{:?}", lines(&scene)) };
    let read = "read=50524f5859205443503420312e322e332e3420352e362e372e38202b3120320d0a ";
    assert!(one.contains("reason=v1-port") && one.contains(read), "{one}");
    assert!(one.contains(&format!("peer={}", scene.family.lb())) || family == Family::V6, "{one}");
    // Payload is nobody's business: enough to tell the protocol.
    assert!(other.contains("reason=no-header"), "{other}");
    assert!(other.contains("read=474554202f707269766174652f706167 "), "{other}");
}

#[apply(both_families)]
fn a_flood_of_refusals_is_a_few_lines(family: Family) {
    const FLOOD: u64 = 2000;
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound none --workers 1"]);
    let begun = std::time::Instant::now();
    for _ in 0..FLOOD {
        refuse(&scene, b"GET / HTTP/1.1\r\n\r\n");
    }
    let counted = || refused(&scene.foreword, "no-header") == FLOOD;
    wait_until(PATIENCE, "the count", counted).expect("all are counted");
    let most = (begun.elapsed().as_secs() + 1) * 5;
    let written = lines(&scene).len() as u64;
    assert!((1..=most).contains(&written), "{written} lines of {most}");
}

#[apply(both_families)]
fn health_checks_are_silent(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[OFF, "--outbound none"], echo);
    for _ in 0..20 {
        drop(scene.connect());
        scene.connect().reset();
    }
    // One whose end is logged, behind all others.
    let mut client = scene.connect();
    client.send(b"hello");
    assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
    let output = scene.foreword.output();
    assert!(output.trim_end().ends_with("ready: Ctrl-C drains and detaches"), "{output}");
}

#[apply(lab_test)]
fn lines_can_be_json() {
    let scene = FOREWORD.scene(Family::V4, &[REQUIRE, "--outbound none --log json"]);
    refuse(&scene, b"GET / HTTP/1.1\r\n\r\n");
    wait_until(PATIENCE, "a line", || lines(&scene).len() == 1).expect("it is logged");
    let line: Value = serde_json::from_str(&lines(&scene)[0]).expect("it is JSON");
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["reason"], "no-header");
    assert_eq!(line["message"], "refused or cut short");
    assert_eq!(line["read"], "474554202f20485454502f312e310d0a");
}
