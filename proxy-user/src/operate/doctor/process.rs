//! What this process may do and use. A Foreword that is started in another way may fare otherwise.

use std::num::NonZeroUsize;

use super::Finding;
use super::facts::{Facts, Process, Setting, Settings};
use super::intent::Intent;
use crate::advice::Advice;
use crate::budget::DescriptorBudget;
use crate::config::Syntax;
use crate::config::settings::MemoryLimit;
use crate::sys::environment::Environment;
use crate::sys::fact::Fact;
use crate::sys::pipe::CAPACITY;

/// Fewer connections than that deserve a word.
const FEW_CONNECTIONS: u64 = 1000;
/// A page, on most machines; good enough to say how many pipes there can be.
const PAGE: u64 = 4096;

pub fn judge(facts: &Facts, intent: &Intent) -> Vec<Finding> {
    let mut findings = vec![
        capabilities(&facts.process.missing, facts.environment),
        cgroup(facts),
        bpffs(&facts.survey.bpffs, facts.environment),
        files(&facts.process.files, intent, facts.environment),
        pipes(&facts.process, &facts.settings, facts.environment),
        workers(&facts.process.cpus, intent.workers),
    ];
    findings.extend(memory(&facts.process, intent));
    findings
}

fn capabilities(missing: &Fact<Vec<&'static str>>, environment: Environment) -> Finding {
    const CHECK: &str = "capabilities";
    match missing {
        Ok(missing) if missing.is_empty() => {
            Finding::ok(CHECK, "CAP_NET_ADMIN and CAP_SYS_ADMIN are present")
        }
        Ok(missing) => Finding::fatal(
            CHECK,
            format!(
                "{} missing: started like this, attach would be refused, and doctor sees less",
                match missing[..] {
                    [one] => format!("{one} is"),
                    _ => format!("{} are", missing.join(" and ")),
                }
            ),
            environment.pick([
                "run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN",
                "leave User= out of the unit, and have CAP_NET_ADMIN and CAP_SYS_ADMIN in its \
                 CapabilityBoundingSet=, as scripts/systemd has it",
                "run the container as root, with --cap-add NET_ADMIN --cap-add SYS_ADMIN",
                "write runAsUser: 0 and capabilities: {add: [NET_ADMIN, SYS_ADMIN]} into its \
                 securityContext, as scripts/kubernetes/base has it",
            ]),
        ),
        Err(unknown) => Finding::unknown(CHECK, "the capabilities", unknown),
    }
}

fn cgroup(facts: &Facts) -> Finding {
    const CHECK: &str = "cgroup2";
    match &facts.cgroup {
        Ok(path) => Finding::ok(CHECK, format!("mounted at {}", path.display())),
        Err(_) => Finding::warning(
            CHECK,
            "no cgroup2 file system is mounted: live connections are not shown",
            facts.environment.pick([
                "mount -t cgroup2 none /sys/fs/cgroup",
                "mount -t cgroup2 none /sys/fs/cgroup, and start the unit again",
                "run the container on a host that was booted with cgroup v2, or pass the host's \
                 mount in (--volume /sys/fs/cgroup:/sys/fs/cgroup:ro)",
                "boot the node with cgroup v2 (systemd.unified_cgroup_hierarchy=1): the container \
                 runtime mounts it then, and nobody can from inside the pod",
            ]),
        ),
    }
}

fn bpffs(mounted: &Fact<bool>, environment: Environment) -> Finding {
    const CHECK: &str = "bpffs";
    match mounted {
        Ok(true) => Finding::ok(CHECK, "mounted at /sys/fs/bpf"),
        Ok(false) => Finding::note(
            CHECK,
            "not mounted at /sys/fs/bpf; attach mounts it there",
            environment.pick([
                "nothing; or mount -t bpf bpf /sys/fs/bpf, before it starts",
                "nothing; or systemctl start sys-fs-bpf.mount, for maps that bpftool sees from \
                 outside the unit",
                "pass the host's mount in (--volume /sys/fs/bpf:/sys/fs/bpf)",
                "mount the node's /sys/fs/bpf as a hostPath volume, as scripts/kubernetes/base does",
            ]),
        ),
        Err(unknown) => Finding::fatal(
            CHECK,
            format!("cannot look at /sys/fs/bpf: {unknown}"),
            if environment.is_inside() {
                "have the container runtime mount /sys, on a kernel with CONFIG_BPF_SYSCALL, which \
                 makes that folder"
            } else {
                "mount /sys, and a kernel with CONFIG_BPF_SYSCALL makes that folder"
            },
        ),
    }
}

fn files(limits: &Fact<(u64, u64)>, intent: &Intent, environment: Environment) -> Finding {
    const CHECK: &str = "files";
    let fix = environment.pick([
        "raise the hard limit (ulimit -Hn, or LimitNOFILE= of systemd)",
        "raise LimitNOFILE= in the unit",
        "raise the container's limit (--ulimit nofile=1048576:1048576)",
        "raise the limit of the container runtime on the node (LimitNOFILE= of containerd or CRI-O): \
         a pod can't raise its own",
    ]);
    let (soft, hard) = match limits {
        Ok(limits) => *limits,
        Err(unknown) => return Finding::unknown(CHECK, "the limit of open files", unknown),
    };
    let budget = match DescriptorBudget::of(hard) {
        Ok(budget) => budget,
        Err(error) => return Finding::fatal(CHECK, error.to_string(), fix),
    };
    if let Some(Advice { what, fix }) = budget.shortage(Syntax::File, intent.limits, environment) {
        return Finding::warning(CHECK, what, fix);
    }
    let connections = budget.connections;
    let what = format!(
        "{hard} may be open (soft limit {soft}, raised at the start): {connections} connections \
         at once"
    );
    if connections < FEW_CONNECTIONS {
        Finding::warning(CHECK, what, fix)
    } else {
        Finding::ok(CHECK, what)
    }
}

/// What buffers come to if every connection that there may be is stuck at once; nothing, if nobody
/// knows how many there may be.
fn memory(process: &Process, intent: &Intent) -> Option<Finding> {
    const CHECK: &str = "memory";
    let (_, files) = *process.files.as_ref().ok()?;
    let allowed = DescriptorBudget::of(files).ok()?.connections;
    let budget = match &process.memory {
        Ok(budget) => budget,
        Err(unknown) => return Some(Finding::unknown(CHECK, "how much memory there is", unknown)),
    };
    let asked = intent.limits.connections.map(|limit| u64::from(limit.get()));
    let connections = asked.map_or(allowed, |asked| asked.min(allowed));
    let limit = intent.limits.memory;
    let what = budget.describe(limit, connections);
    let safe = budget.safe_connections(limit);
    if connections <= safe {
        return Some(Finding::ok(CHECK, what));
    }
    let what = format!("{what}, of {} in all", budget.available());
    let bound = format!("limits.connections: {safe}, if clients may be hostile");
    Some(match limit {
        MemoryLimit::Quarter => Finding::note(CHECK, what, bound),
        MemoryLimit::Bytes(_) => {
            Finding::warning(CHECK, what, format!("limits.memory: auto; or {bound}"))
        }
        MemoryLimit::Any => Finding::warning(CHECK, what, "limits.memory: auto, or a size"),
    })
}

fn pipes(process: &Process, settings: &Settings, environment: Environment) -> Finding {
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
            format!(
                "{} or more, or add CAP_SYS_RESOURCE",
                environment.command(&format!("sysctl fs.pipe-max-size={wanted}"))
            ),
        );
    }
    let size = format!("{} KiB each, as wanted", wanted / 1024);
    let is_ordinary = process.missing.as_ref().is_ok_and(|all| all.contains(&"CAP_SYS_ADMIN"));
    if process.has_resource || !is_ordinary {
        return Finding::ok(CHECK, format!("{size}; the limit of pages per user does not apply"));
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
             ones are small, and {hard} (fs.pipe-user-pages-hard) at most"
        ),
    )
}

fn number(setting: &Setting) -> Option<u64> {
    setting.as_ref().ok()?.as_deref()?.parse().ok()
}

fn workers(cpus: &Fact<usize>, workers: Option<NonZeroUsize>) -> Finding {
    const CHECK: &str = "cpus";
    match (cpus, workers) {
        (Ok(cpus), None) => Finding::ok(CHECK, format!("{cpus} allowed: a worker on each")),
        (Ok(cpus), Some(workers)) if workers.get() <= *cpus => {
            Finding::ok(CHECK, format!("{cpus} allowed, for {workers} workers"))
        }
        (Ok(cpus), Some(workers)) => Finding::note(
            CHECK,
            format!("{cpus} allowed, for {workers} workers: some share a CPU"),
            "leave workers out: then there is one for each CPU",
        ),
        (Err(unknown), _) => Finding::unknown(CHECK, "how many CPUs are allowed", unknown),
    }
}
