//! What this process may do and use. A Foreword that is started in another way may fare otherwise.

use std::num::NonZeroUsize;

use super::Finding;
use super::facts::{Facts, Process, Setting, Settings};
use super::intent::Intent;
use crate::config::field::At;
use crate::operate::budget::Budget;
use crate::steer::advice::Advice;
use crate::sys::pipe::CAPACITY;
use crate::sys::unseen::Seen;

/// Fewer connections than that deserve a word.
const FEW_CONNECTIONS: u64 = 1000;
/// A page, on most machines; good enough to say how many pipes there can be.
const PAGE: u64 = 4096;

pub fn judge(facts: &Facts, intent: &Intent) -> Vec<Finding> {
    vec![
        capabilities(&facts.process.missing),
        cgroup(facts),
        bpffs(&facts.survey.bpffs),
        files(&facts.process.files, intent),
        pipes(&facts.process, &facts.settings),
        workers(&facts.process.cpus, intent.workers),
    ]
}

fn capabilities(missing: &Seen<Vec<&'static str>>) -> Finding {
    const CHECK: &str = "capabilities";
    match missing {
        Ok(missing) if missing.is_empty() => {
            Finding::ok(CHECK, "CAP_NET_ADMIN and CAP_SYS_ADMIN are there")
        }
        Ok(missing) => Finding::fatal(
            CHECK,
            format!(
                "{} missing: started like this, attach would refuse, and doctor sees less",
                match missing[..] {
                    [one] => format!("{one} is"),
                    _ => format!("{} are", missing.join(" and ")),
                }
            ),
            "run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN",
        ),
        Err(unseen) => Finding::unseen(CHECK, "the capabilities", unseen),
    }
}

fn cgroup(facts: &Facts) -> Finding {
    const CHECK: &str = "cgroup2";
    match &facts.cgroup {
        Ok(path) => Finding::ok(CHECK, format!("mounted at {}", path.display())),
        Err(_) => Finding::warning(
            CHECK,
            "no cgroup2 file system is mounted: live connections are not shown",
            "mount -t cgroup2 none /sys/fs/cgroup",
        ),
    }
}

fn bpffs(mounted: &Seen<bool>) -> Finding {
    const CHECK: &str = "bpffs";
    match mounted {
        Ok(true) => Finding::ok(CHECK, "mounted at /sys/fs/bpf"),
        Ok(false) => Finding::note(
            CHECK,
            "not mounted at /sys/fs/bpf; attach mounts it there",
            "nothing; or mount -t bpf bpf /sys/fs/bpf, where a container may not do that",
        ),
        Err(unseen) => Finding::fatal(
            CHECK,
            format!("cannot look at /sys/fs/bpf: {unseen}"),
            "mount /sys, and a kernel with CONFIG_BPF_SYSCALL makes that folder",
        ),
    }
}

fn files(limits: &Seen<(u64, u64)>, intent: &Intent) -> Finding {
    const CHECK: &str = "files";
    const MEND: &str = "raise the hard limit (ulimit -Hn, or LimitNOFILE= of systemd)";
    let (soft, hard) = match limits {
        Ok(limits) => *limits,
        Err(unseen) => return Finding::unseen(CHECK, "the limit of open files", unseen),
    };
    let budget = match Budget::of(hard) {
        Ok(budget) => budget,
        Err(error) => return Finding::fatal(CHECK, error.to_string(), MEND),
    };
    if let Some(Advice { what, mend }) = budget.shortage(At::File, intent.limits) {
        return Finding::warning(CHECK, what, mend);
    }
    let connections = budget.connections;
    let what = format!(
        "{hard} may be open (soft limit {soft}, raised at the start): {connections} connections \
         at once"
    );
    if connections < FEW_CONNECTIONS {
        Finding::warning(CHECK, what, MEND)
    } else {
        Finding::ok(CHECK, what)
    }
}

fn pipes(process: &Process, settings: &Settings) -> Finding {
    const CHECK: &str = "pipes";
    let wanted = u64::try_from(CAPACITY).unwrap_or(0);
    let Some(longest) = number(&settings.pipe_size) else {
        return Finding::note(
            CHECK,
            "fs.pipe-max-size could not be seen",
            format!("make sure that it is {wanted} or more"),
        );
    };
    if longest < wanted && !process.has_resource {
        return Finding::warning(
            CHECK,
            format!(
                "fs.pipe-max-size is {longest}: the relay falls back to pipes of 64 KiB, which \
                 cost several times the CPU in bulk"
            ),
            format!("sysctl fs.pipe-max-size={wanted} or more, or add CAP_SYS_RESOURCE"),
        );
    }
    let size = format!("{} KiB each, as wanted", wanted / 1024);
    let is_ordinary = process.missing.as_ref().is_ok_and(|all| all.contains(&"CAP_SYS_ADMIN"));
    if process.has_resource || !is_ordinary {
        return Finding::ok(CHECK, format!("{size}; a user's share of pages does not bind us"));
    }
    let share = |setting| match number(setting) {
        None | Some(0) => "any number".to_owned(),
        Some(pages) => (pages * PAGE / wanted).to_string(),
    };
    let (soft, hard) = (share(&settings.pipe_pages_soft), share(&settings.pipe_pages_hard));
    Finding::ok(
        CHECK,
        format!(
            "{size}; an ordinary user has {soft} of them (fs.pipe-user-pages-soft) before new \
             ones are short, and {hard} (fs.pipe-user-pages-hard) at most"
        ),
    )
}

fn number(setting: &Setting) -> Option<u64> {
    setting.as_ref().ok()?.as_deref()?.parse().ok()
}

fn workers(cpus: &Seen<usize>, workers: Option<NonZeroUsize>) -> Finding {
    const CHECK: &str = "cpus";
    match (cpus, workers) {
        (Ok(cpus), None) => Finding::ok(CHECK, format!("{cpus} allowed: a worker on each")),
        (Ok(cpus), Some(workers)) if workers.get() <= *cpus => {
            Finding::ok(CHECK, format!("{cpus} allowed, for {workers} workers"))
        }
        (Ok(cpus), Some(workers)) => Finding::note(
            CHECK,
            format!("{cpus} allowed, for {workers} workers: some share a CPU"),
            "leave workers out: there is one for each CPU then",
        ),
        (Err(unseen), _) => Finding::unseen(CHECK, "how many CPUs are allowed", unseen),
    }
}
