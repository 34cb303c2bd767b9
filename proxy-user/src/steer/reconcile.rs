//! What of ours has to be in the kernel, compared with what is there.
//!
//! Nothing here asks the kernel or changes it: what is expected is written down by whoever made it,
//! and what is there by [`observe`](super::observe).

use std::collections::BTreeSet;
use std::fmt;

use aya::programs::TcAttachType;
use proxy_common::names::{GUARD, LOOKUP, RETURN, TRACK};

use super::veth_setup::SetupItem;
use crate::sys::fdinfo::BpfLink;

/// Something of ours in the kernel. In the order in which what is missing is made again: each needs
/// those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The pair of links between the node and the private namespace.
    Veth,
    /// What the pair and the namespace are made of besides.
    Setup(SetupItem),
    /// `foreword_lookup`, in the private namespace.
    Lookup,
    /// `foreword_return`, on the veth's host end.
    Return,
    /// `foreword_track`, on our cgroup.
    Track,
    /// `foreword_guard`, in XDP of an interface.
    Guard {
        /// The interface.
        index: u32,
    },
    /// A program at TC of an interface.
    Classifier {
        /// The interface.
        index: u32,
        /// The program's name.
        name: &'static str,
    },
    /// A program of the hold of an interface.
    Hold {
        /// The interface.
        index: u32,
        /// The program's name.
        name: &'static str,
    },
}

impl Component {
    /// The interface that it is on, if it is on one of the node's own.
    pub fn interface(self) -> Option<u32> {
        match self {
            Self::Guard { index } | Self::Classifier { index, .. } | Self::Hold { index, .. } => {
                Some(index)
            }
            _ => None,
        }
    }

    /// The kind of thing that it is, for counters.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Veth => "veth",
            Self::Setup(item) => item.kind(),
            _ => "program",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Veth => f.write_str("the veth"),
            Self::Setup(item) => item.fmt(f),
            Self::Lookup => f.write_str(LOOKUP),
            Self::Return => f.write_str(RETURN),
            Self::Track => f.write_str(TRACK),
            Self::Guard { .. } => f.write_str(GUARD),
            Self::Classifier { name, .. } | Self::Hold { name, .. } => f.write_str(name),
        }
    }
}

/// How an attached program is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachPoint {
    /// By its link.
    Link(BpfLink),
    /// By a filter on an interface that runs the program of this id.
    Filter {
        /// The interface.
        index: u32,
        /// The program's id.
        program: u32,
        /// Which direction it is on.
        direction: TcAttachType,
    },
    /// By the interface's word that the program of this id is there in XDP.
    Xdp {
        /// The interface.
        index: u32,
        /// The program's id.
        program: u32,
    },
}

/// What is missing, in the order in which it is to be made again.
pub fn missing(expected: &BTreeSet<Component>, observed: &BTreeSet<Component>) -> Vec<Component> {
    let has_veth = observed.contains(&Component::Veth) || !expected.contains(&Component::Veth);
    // Making the veth makes all of these.
    let comes_with_it = |part: &Component| matches!(part, Component::Setup(_) | Component::Return);
    let missing = expected.difference(observed).copied();
    missing.filter(|part| has_veth || !comes_with_it(part)).collect()
}

#[cfg(test)]
mod tests {
    use proxy_common::names::{HOLD, STEER};

    use super::*;

    const STEERED: Component = Component::Classifier { index: 2, name: STEER };

    fn all() -> BTreeSet<Component> {
        let items = [SetupItem::HostUp, SetupItem::InnerUp].map(Component::Setup);
        let rest = [
            Component::Veth,
            Component::Lookup,
            Component::Return,
            Component::Guard { index: 2 },
            STEERED,
        ];
        items.into_iter().chain(rest).collect()
    }

    fn without(parts: &[Component]) -> Vec<Component> {
        let mut observed = all();
        observed.retain(|part| !parts.contains(part));
        missing(&all(), &observed)
    }

    #[test]
    fn nothing_is_missing_where_everything_is_there() {
        assert_eq!(without(&[]), []);
        let mut more = all();
        more.insert(Component::Hold { index: 2, name: HOLD });
        assert_eq!(missing(&all(), &more), [], "what nobody expects is nobody's");
    }

    #[test]
    fn what_others_need_is_made_first() {
        let inner = Component::Setup(SetupItem::InnerUp);
        assert_eq!(
            without(&[STEERED, Component::Lookup, inner]),
            [inner, Component::Lookup, STEERED]
        );
        assert_eq!(
            without(&[STEERED, Component::Guard { index: 2 }]),
            [Component::Guard { index: 2 }, STEERED],
            "nobody is steered past the guard"
        );
    }

    #[test]
    fn a_veth_is_made_with_everything_that_hangs_on_it() {
        let gone = [
            Component::Veth,
            Component::Setup(SetupItem::HostUp),
            Component::Return,
            Component::Lookup,
        ];
        assert_eq!(without(&gone), [Component::Veth, Component::Lookup]);
    }

    #[test]
    fn only_what_is_on_an_interface_is_an_interfaces() {
        assert_eq!(STEERED.interface(), Some(2));
        assert_eq!(Component::Return.interface(), None);
        assert_eq!((STEERED.kind(), Component::Veth.kind()), ("program", "veth"));
        assert_eq!(Component::Setup(SetupItem::HostUp).kind(), "veth");
    }
}
