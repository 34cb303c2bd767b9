//! `cargo xtask kernels`: the integration tests on kernels that this machine does not run.
//!
//! Each is one of Debian's, unpacked and not installed. QEMU boots it from an archive in memory that
//! holds the product and its integration tests, both linked statically, and the programs that the
//! tests run. QEMU emulates the CPU, so neither root nor virtualisation is needed.
//!
//! A kernel passes if all tests that were picked ran there and passed. One that hangs is ended.

mod account;
mod binaries;
mod debian;
mod initramfs;
mod machine;

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, ValueEnum};

use crate::setup::{self, Purpose};
use crate::{cargo, ui};
use account::Account;
use binaries::Binaries;
use debian::Kernel;
use initramfs::Initramfs;
use machine::Machine;

/// How long a kernel may take from its start to its end. On an idle machine it is a few minutes.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// What is run where nothing else is asked for: loading, attaching and detaching by each hook, both
/// directions of a connection, and all that depends on what the kernel makes of our packets.
const TESTS: [&str; 22] = [
    "attachment::how_it_is_attached_is_reported",
    "hooks::",
    "vlan::",
    "inbound::require_takes_both_versions",
    "inbound::require_closes_a_connection_without_header",
    "outbound::the_named_client_and_destination_go_on",
    "odd_packets::connections_by_syn_cookie_are_served",
    "odd_packets::a_port_pair_can_be_used_again_at_once",
    "odd_packets::a_smaller_mtu_on_the_way_is_learned",
    "urgent::an_urgent_byte_before_the_end_hides_nothing",
    "source_client::a_server_on_this_node_sees_the_client",
    "guard::only_trusted_sources_reach_a_socket",
    "packet_log::a_dropped_packet_is_logged",
    "sight::packets_are_counted",
    "lifecycle::clsact_leaves_nothing",
    "lifecycle::sigint_detaches_as_well",
    "takeover::connections_of_nobody_go_on_untouched",
    "takeover::a_hold_changes_hands",
    "death::nothing_remains_after_cleanup",
    "verdicts_",
    "the_host_never_answers_",
    "a_hold_never_lets_the_host_answer_past_clsact",
];

/// Arguments of `cargo xtask kernels`.
#[derive(ClapArgs)]
pub struct Args {
    /// Only this kernel.
    #[arg(long, value_name = "VERSION")]
    kernel: Option<Series>,
    /// Other tests than the usual ones: names to pick by.
    #[arg(last = true)]
    tests: Vec<String>,
}

/// A long-term series of kernels that Debian maintains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Series {
    /// No tcx.
    #[value(name = "6.1")]
    Linux6_1,
    /// tcx.
    #[value(name = "6.12")]
    Linux6_12,
}

impl Series {
    /// As in `6.1.120`.
    fn number(self) -> &'static str {
        match self {
            Self::Linux6_1 => "6.1",
            Self::Linux6_12 => "6.12",
        }
    }
}

/// Gets the kernels, builds, and runs the tests on all of them at once.
pub fn run(args: &Args) -> Result<()> {
    if ARCH != "x86_64" {
        bail!("the kernels are those of x86_64, and this is {ARCH}: run it on an x86_64 machine");
    }
    setup::run(Purpose::Kernels)?;
    let folder = cargo::target_dir()?.join("kernels");
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let series = args.kernel.as_ref().map_or(Series::value_variants(), std::slice::from_ref);
    let kernels =
        series.iter().map(|&series| Kernel::obtain(series, &folder)).collect::<Result<Vec<_>>>()?;
    ui::note("building the integration tests, linked statically");
    let binaries = Binaries::build()?;
    let usual = TESTS.map(str::to_owned);
    test(&kernels, &binaries, &folder, if args.tests.is_empty() { &usual } else { &args.tests })
}

/// Runs the tests that `picks` name on each kernel, and says how it went.
fn test(kernels: &[Kernel], binaries: &Binaries, folder: &Path, picks: &[String]) -> Result<()> {
    ui::note("booting; each line is one test");
    let failures: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = kernels
            .iter()
            .map(|kernel| scope.spawn(|| test_on(kernel, binaries, folder, picks)))
            .collect();
        let ended = running.into_iter().zip(kernels).filter_map(|(thread, kernel)| {
            let outcome = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Some((kernel, outcome.err()?))
        });
        ended.collect()
    });
    for (kernel, error) in &failures {
        eprintln!("\n{}: {error:#}\n---", kernel.version);
    }
    if !failures.is_empty() {
        bail!("{} of {} kernels failed", failures.len(), kernels.len());
    }
    Ok(())
}

/// Runs them on one kernel. The error of one that fails carries everything that it wrote.
fn test_on(kernel: &Kernel, binaries: &Binaries, folder: &Path, picks: &[String]) -> Result<()> {
    let started = Instant::now();
    let initramfs = Initramfs::pack(kernel, binaries, folder, picks)?;
    let mut machine = Machine::start(kernel, &initramfs)?;
    let mut account = Account::new(kernel.series);
    let ended = machine.follow(started + TIME_LIMIT, |line| account.read(line));
    if let Err(error) = ended.and_then(|()| account.verdict(picks)) {
        let (tests, console) = (account.transcript(), machine.console());
        bail!("{error:#}\n--- its tests:\n{tests}\n--- its console:\n{console}");
    }
    let (tests, seconds) = (account.passed(), started.elapsed().as_secs());
    ui::done(&format!("{}: {tests} tests passed ({seconds} s)", kernel.version));
    Ok(())
}
