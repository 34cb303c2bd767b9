//! Whose programs packets meet on an interface, and in which order.

use proxy_common::names::{ANSWER, GUARD, STEER};

use super::Finding;
use crate::steer::survey::interfaces::{Interface, Role};
use crate::steer::survey::programs::{Chain, OUR_PRIORITY, Program, TcHook, XdpMode, XdpProgram};
use crate::sys::environment::Environment;

const INGRESS: &str = "ingress";
const EGRESS: &str = "egress";
const XDP: &str = "xdp";

/// How names begin that tell whose a program is.
const OWNERS: [(&str, &str); 6] = [
    ("cil_", "Cilium"),
    ("cali", "Calico"),
    ("handle_ingress", "perhaps the AWS network policy agent"),
    ("handle_egress", "perhaps the AWS network policy agent"),
    ("tc_dispatcher", "bpfman"),
    ("xdp_dispatcher", "libxdp"),
];

pub fn judge(interface: &Interface, uses_tcx: bool, environment: Environment) -> Vec<Finding> {
    let Interface { ingress: inward, egress: outward, .. } = interface;
    let ours = match interface.role {
        Role::Protected => STEER,
        Role::Upstream => ANSWER,
    };
    let mut findings: Vec<_> = interface.xdp.iter().map(xdp).collect();
    findings.push(
        unknown(INGRESS, inward).unwrap_or_else(|| ingress(inward, ours, uses_tcx, environment)),
    );
    findings.extend(unknown(EGRESS, outward).or_else(|| egress(outward)));
    findings
}

fn is_ours(name: &str) -> bool {
    name.starts_with("foreword_")
}

/// A program's name, and whose it is as far as the name tells.
fn named(name: &str) -> String {
    let owner = OWNERS.iter().find(|(prefix, _)| name.starts_with(prefix));
    let name = name.escape_debug();
    owner.map_or_else(|| name.to_string(), |(_, owner)| format!("{name} ({owner})"))
}

fn list<'a>(programs: impl IntoIterator<Item = &'a Program>) -> String {
    let names: Vec<_> = programs.into_iter().map(|program| named(&program.name)).collect();
    names.join(", ")
}

/// Others' programs relative to ours: those before it, and those behind.
struct Order<'a> {
    before: Vec<&'a Program>,
    behind: Vec<&'a Program>,
    is_attached: bool,
    /// Whether ours is attached by tcx, or will be.
    by_tcx: bool,
}

impl<'a> Order<'a> {
    fn of(chain: &'a Chain, ours: &str, uses_tcx: bool) -> Self {
        let at = chain.programs().position(|program| program.name == ours);
        let hook = at.and_then(|at| chain.programs().nth(at)).map(|program| program.hook);
        let is_before = |(position, program): (usize, &Program)| match (at, program.hook) {
            (Some(at), _) => position < at,
            // Where it will stand: first by its own way, and tcx comes before filters.
            (None, TcHook::Tcx) => !uses_tcx,
            (None, TcHook::Clsact(priority)) => !uses_tcx && priority <= OUR_PRIORITY,
        };
        let others = chain.programs().enumerate().filter(|(_, program)| !is_ours(&program.name));
        let (before, behind): (Vec<_>, Vec<_>) = others.partition(|entry| is_before(*entry));
        let programs = |entries: Vec<(usize, &'a Program)>| entries.into_iter().map(|e| e.1);
        Self {
            before: programs(before).collect(),
            behind: programs(behind).collect(),
            is_attached: at.is_some(),
            by_tcx: hook.map_or(uses_tcx, |hook| hook == TcHook::Tcx),
        }
    }

    fn fix(&self, environment: Environment) -> String {
        if self.by_tcx {
            let how = environment.pick([
                "a second `foreword run`, or attach with --take-over",
                "another instance of the unit",
                "another container of it",
                "`kubectl rollout restart` of its DaemonSet",
            ]);
            return format!(
                "start Foreword after it: the last one to attach can be first ({how}, loses \
                 no connection)"
            );
        }
        if self.before.iter().all(|program| program.hook == TcHook::Tcx) {
            return "attach by tcx as well (--hook auto)".to_owned();
        }
        format!(
            "give it a priority above {OUR_PRIORITY}, or attach by tcx (--hook auto, Linux 6.6)"
        )
    }
}

fn ingress(chain: &Chain, ours: &str, uses_tcx: bool, environment: Environment) -> Finding {
    let order = Order::of(chain, ours, uses_tcx);
    let Order { before, behind, is_attached, .. } = &order;
    let runs = if *is_attached { "runs" } else { "will run" };
    let others = list(behind.iter().copied());
    if !before.is_empty() {
        let run = if before.len() == 1 { "runs" } else { "run" };
        let names = list(before.iter().copied());
        let after =
            if others.is_empty() { String::new() } else { format!("; it {runs} before {others}") };
        let what = format!("{names} {run} before {ours}, which gets only what they pass on{after}");
        return Finding::warning(INGRESS, what, order.fix(environment));
    }
    let what = match (others.is_empty(), is_attached) {
        (true, true) => format!("{ours} runs, and no other program"),
        (true, false) => "no other programs".to_owned(),
        (false, _) => {
            format!("{ours} {runs} before {others}, and passes on what it does not steer")
        }
    };
    Finding::ok(INGRESS, what)
}

fn egress(chain: &Chain) -> Option<Finding> {
    let others: Vec<_> = chain.programs().filter(|program| !is_ours(&program.name)).collect();
    if others.is_empty() {
        return None;
    }
    let what = format!(
        "{}: replies to clients pass through, as everything does that leaves",
        list(others)
    );
    Some(Finding::ok(EGRESS, what))
}

/// There is room for one, and it comes before everything.
fn xdp(program: &XdpProgram) -> Finding {
    let mode = match program.mode {
        XdpMode::Hardware => "in hardware",
        XdpMode::Driver => "in the driver",
        XdpMode::Generic => "in generic XDP",
    };
    let name = match &program.name {
        Ok(name) if name == GUARD => {
            return Finding::ok(XDP, format!("{GUARD} runs {mode}, before everything else"));
        }
        Ok(name) => named(name),
        Err(unknown) => format!("a program whose name could not be seen ({unknown})"),
    };
    Finding::note(
        XDP,
        format!(
            "{name} runs {mode}, before {STEER}: what it drops or redirects never reaches {STEER}"
        ),
        "leave --guard-hook at auto or tc, since XDP has room for one program; if that program \
         balances the protected ports itself, turn that off",
    )
}

/// The finding of a chain that could not be seen whole: nothing can be said of its order.
fn unknown(check: &'static str, chain: &Chain) -> Option<Finding> {
    let halves = [("tcx", &chain.tcx), ("clsact", &chain.clsact)];
    let (half, why) = halves.iter().find_map(|(half, seen)| Some((half, seen.as_ref().err()?)))?;
    let others = match list(chain.programs()) {
        names if names.is_empty() => String::new(),
        names => format!(" (besides {names})"),
    };
    Some(Finding::unknown(check, &format!("the programs on {half}{others}"), why))
}
