//! What each packet program costs, by the kernel's own account (`bpf_stats`). Reported, not
//! judged: a machine that runs the other tests at the same time is no place for a stopwatch.

use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use netlab::header::named_headers;
use netlab::{Backend, Client, Daemon, Family, PORT, REQUIRE, Reply, echo, join, output_of};
use serde_json::Value;

use crate::FOREWORD;
use crate::flood::say;
use crate::footprint::descriptor_ids;

/// The kernel's switch: how long programs run is measured while it is on.
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// The kernel times programs as long as it is there; no other test switches that meanwhile.
pub struct Timing {
    before: String,
    _alone: MutexGuard<'static, ()>,
}

impl Timing {
    pub fn on() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = fs::read_to_string(SWITCH).expect("the kernel has it");
        fs::write(SWITCH, "1").expect("root may switch it on");
        Self { before, _alone: alone }
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, self.before.trim());
    }
}

/// Programs that every packet meets somewhere.
const PROGRAMS: [&str; 10] = [
    "foreword_guard",
    "foreword_steer",
    "foreword_hold",
    "foreword_holdtx",
    "foreword_synack",
    "foreword_answer",
    "foreword_egress",
    "foreword_return",
    "foreword_lookup",
    "foreword_track",
];

#[apply(lab_test)]
fn each_program_runs_and_is_measured() {
    let _timing = Timing::on();
    for family in Family::BOTH {
        let flags = "--outbound v1 --guard-hook native --when-absent drop --source client \
                     --upstream-interface eth1";
        let scene = FOREWORD.scene_serving(family, &[REQUIRE, flags], echo);
        let other = Backend::start(&scene.lab.backend, (family.vip(), PORT + 1).into(), echo);
        let [_, header] = named_headers(family);
        for _ in 0..200 {
            let mut ours = scene.connect();
            ours.send(&join(&header, &vec![b'x'; 20_000]));
            assert!(ours.finish_and_rest().bytes.len() > 20_000);
            let mut not_ours = Client::connect(&scene.lab.client, family.lb(), other.address());
            not_ours.send(b"hello");
            assert_eq!(not_ours.finish_and_rest(), Reply::ended(b"hello"));
        }
        for name in PROGRAMS {
            let (runs, nanoseconds) = cost(&scene.foreword, name);
            assert!(runs > 0 || name == "foreword_egress", "{name} has not run");
            let mean = nanoseconds / runs.max(1);
            say(&format!("{family:?} {name:16} {runs:>8} runs, {mean:>5} ns each"));
        }
        drop(scene.foreword);
        crate::probe::cleanup(&scene.lab.node);
    }
}

/// Runs of one of the process's programs, and nanoseconds of all of them.
fn cost(foreword: &Daemon, name: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for id in descriptor_ids(foreword.pid(), "prog_id:") {
        let mut show = Command::new("bpftool");
        show.args(["--json", "prog", "show", "id", &id.to_string()]);
        let program: Value = serde_json::from_str(&output_of(show)).expect("bpftool writes JSON");
        if program["name"] == name {
            let field = |name: &str| program[name].as_u64().unwrap_or(0);
            sum = (sum.0 + field("run_cnt"), sum.1 + field("run_time_ns"));
        }
    }
    sum
}
