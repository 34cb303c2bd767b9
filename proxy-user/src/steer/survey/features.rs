//! Which of the features that Foreword needs this kernel has. Programs are loaded and unloaded to find
//! out; none is attached.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use aya::programs::{ProgramError, ProgramType};
use aya::sys::{BpfHelper, is_helper_supported, is_program_supported};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use super::super::hook::has_tcx;
use crate::sys::fact::{Fact, Unknown};
use crate::sys::kernel;

/// How often loading a program is tried at most.
const ATTEMPTS: u32 = 5;

/// Whether each feature is there.
#[derive(Clone, Debug)]
pub struct Features {
    /// Programs that choose a socket for a packet.
    pub sk_lookup: Fact<bool>,
    /// TC programs with links, which end with their process.
    pub tcx: bool,
    /// Redirects to the other end of a veth.
    pub redirect_peer: Fact<bool>,
    /// Redirects by the neighbour table.
    pub redirect_neigh: Fact<bool>,
    /// Maps whose fields have names.
    pub btf: Fact<bool>,
    /// Virtual links in pairs.
    pub veth: Fact<bool>,
    /// Filters on clsact that are eBPF.
    pub clsact: Fact<bool>,
}

impl Features {
    /// Asks the kernel. `links` are those of this namespace.
    pub fn probe(links: &[LinkMessage]) -> Self {
        let helper =
            |helper| try_load(|| is_helper_supported(ProgramType::SchedClassifier, helper));
        let sk_lookup = try_load(|| is_program_supported(ProgramType::SkLookup));
        let btf = match &sk_lookup {
            // Whoever may not load a program may not load BTF: its absence would mean nothing.
            Err(unknown) => Err(unknown.clone()),
            Ok(_) => Ok(aya::features().btf().is_some()),
        };
        Self {
            sk_lookup,
            tcx: has_tcx(),
            redirect_peer: helper(BpfHelper::BPF_FUNC_redirect_peer),
            redirect_neigh: helper(BpfHelper::BPF_FUNC_redirect_neigh),
            btf,
            veth: if links.iter().any(is_veth) { Ok(true) } else { module("veth") },
            clsact: module("sch_ingress").and_then(|there| Ok(there && module("cls_bpf")?)),
        }
    }
}

/// Tries to load a program. The verifier gives up when a signal arrives; that says nothing, and is
/// retried.
fn try_load(probe: impl Fn() -> Result<bool, ProgramError>) -> Fact<bool> {
    let was_interrupted = |result: &Result<bool, ProgramError>| match result {
        Err(ProgramError::SyscallError(error)) => {
            matches!(error.io_error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
        }
        _ => false,
    };
    let mut result = probe();
    for _ in 1..ATTEMPTS {
        if !was_interrupted(&result) {
            break;
        }
        result = probe();
    }
    readable(result)
}

/// The kernel's own error, without the library's around it.
pub fn readable<T>(result: Result<T, ProgramError>) -> Fact<T> {
    result.map_err(|error| match error {
        ProgramError::SyscallError(error) => error.io_error.into(),
        other => Unknown::because(other),
    })
}

/// Whether the kernel has something that can be a module: it is loaded, or on the kernel's lists. Only
/// using it would tell for sure, and change something.
fn module(name: &str) -> Fact<bool> {
    if Path::new("/sys/module").join(name).is_dir() {
        return Ok(true);
    }
    let modules = Path::new("/lib/modules").join(kernel::release()?);
    let lists = ["modules.builtin", "modules.dep"].map(|list| modules.join(list));
    let texts = lists.map(fs::read_to_string).into_iter().collect::<io::Result<Vec<_>>>();
    let texts = texts.map_err(|_| {
        let modules = modules.display();
        Unknown::because(format!("it is not in use, and there is no list of modules in {modules}"))
    })?;
    // One line each: a path, perhaps compressed, perhaps with what it depends on.
    let file = format!("/{name}.ko");
    Ok(texts
        .iter()
        .flat_map(|text| text.lines())
        .any(|line| line.split(':').next().is_some_and(|path| path.contains(&file))))
}

fn is_veth(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => {
            infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth)))
        }
        _ => false,
    })
}
