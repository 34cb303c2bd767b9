//! `cargo xtask demo`: Foreword at work in a small network, each step shown and checked.
//!
//! It builds as the user who runs it. The lab needs root, so this program runs itself again by sudo for
//! that.

mod bpftool;
mod client;
mod keep;
mod recorder;
mod report;
mod scene;
mod server;
mod traces;
mod walk;

use std::env;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use netlab::{BACKEND_V4, LB_V4, Lab, NODE_V4, Netns, VIP_V4, interrupt};
use proxy_common::maps;
use tempfile::TempDir;

use crate::setup::{self, Purpose};
use crate::{cargo, privilege, ui};
use bpftool::Counters;
use recorder::Recorder;
use report::Report;
use scene::Scene;
use server::Server;

/// Arguments of `cargo xtask demo`.
#[derive(ClapArgs)]
pub struct Args {
    /// Leave the lab up at the end, with Foreword attached, and say how to enter and remove it.
    #[arg(long)]
    keep: bool,
    /// Everything is set up and built: run this `foreword` in a lab.
    #[arg(long, hide = true, value_name = "FOREWORD")]
    in_lab: Option<PathBuf>,
}

/// Sets up, builds, and shows. An error if any step differs from what it should be.
pub fn run(args: &Args) -> Result<()> {
    if let Some(binary) = &args.in_lab {
        return show(binary, args.keep);
    }
    setup::run(Purpose::Demo)?;
    ui::note("building foreword");
    let artifacts = cargo::build(&["build", "--package=proxy-user", "--bin=foreword"])?;
    let binary = cargo::executable(&artifacts, "foreword")?;
    if privilege::is_root() {
        return show(&binary, args.keep);
    }
    let program = env::current_exe().context("cannot find this program")?;
    let mut command = privilege::command(program, "make network namespaces and attach Foreword")?;
    command.arg("demo").arg("--in-lab").arg(binary);
    if args.keep {
        command.arg("--keep");
    }
    // Replaced, so that a Ctrl-C reaches the one that has to tidy up.
    Err(command.exec()).context("cannot run sudo")
}

/// Makes the lab, walks through the stages, removes the lab or says how to.
fn show(binary: &Path, keep: bool) -> Result<()> {
    let started = Instant::now();
    interrupt::watch()?;
    let folder = TempDir::with_prefix("foreword-demo-").context("cannot make a folder")?;
    let lab = Lab::new()?;

    let mut scene = set(&lab, binary, folder.path())?;
    introduce();
    walk::all(&mut scene)?;
    account(&mut scene);

    if keep {
        let kept = keep::start(scene, folder.path())?;
        let outcome = kept.report.conclude(started.elapsed());
        kept.leave(lab, folder);
        return outcome;
    }
    let mut report = scene.close();
    let names = [&lab.client, &lab.node, &lab.backend].map(Netns::path);
    drop(lab);
    report.check(names.iter().all(|path| !path.exists()), "the lab is removed");
    report.conclude(started.elapsed())
}

/// Starts everything in the lab but Foreword.
fn set<'a>(lab: &'a Lab, binary: &'a Path, folder: &Path) -> Result<Scene<'a>> {
    let anywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, walk::RAW));
    Ok(Scene {
        lab,
        binary,
        server: Server::start(&lab.backend, folder)?,
        raw: Recorder::start(&lab.backend, &[anywhere])?,
        report: Report::default(),
        packets: Counters::new(),
        reasons: Counters::new(),
    })
}

fn introduce() {
    println!();
    println!("  client {LB_V4} ── eth0 {NODE_V4} node ── backend {BACKEND_V4}");
    println!(
        "  Foreword protects the node's eth0. {VIP_V4} is served by the backend, behind the node."
    );
    let [curl, nginx] = [("curl", "--version", 2), ("nginx", "-v", 3)]
        .map(|(program, option, count)| client::first_words(program, option, count));
    println!("  Client: {curl}. Backend: {}.", nginx.replace("nginx version: ", ""));
}

/// The counters of all stages together.
fn account(scene: &mut Scene<'_>) {
    scene.report.stage("The counters, from the maps of all stages");
    report::remark("Read from /sys/fs/bpf/foreword/… before each detach; zeros are left out.");
    for (map, counters) in
        [(maps::STATS.name, &scene.packets), (maps::REASONS.name, &scene.reasons)]
    {
        report::received("node", map);
        report::output(&bpftool::table(counters));
    }
    let steered = scene.packets.get("steered_syn").copied().unwrap_or_default();
    let returned = scene.packets.get("returned").copied().unwrap_or_default();
    scene.report.check(steered > 0 && returned > 0, "packets went through the eBPF programs");
}
