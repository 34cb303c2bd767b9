//! The ways of attaching to TC, and which of them this kernel has.

use std::sync::LazyLock;

use nix::sys::utsname::uname;
use xtask::lab::Foreword;

use crate::client::PATIENCE;
use crate::footprint::NodeState;
use crate::probe::{FLAGS, attach_and_serve, echoes};
use crate::scene::lab;
use crate::setup::foreword;

any_family!(a_missing_hook_is_refused_in_words);

/// Every hook that this kernel has, the one that `auto` stands for first.
pub fn hooks() -> &'static [&'static str] {
    const ALL: &[&str] = &["tcx", "clsact"];
    static HAS_TCX: LazyLock<bool> = LazyLock::new(|| kernel() >= (6, 6));
    if *HAS_TCX { ALL } else { &ALL[1..] }
}

/// The kernel's version: 6.12 as `(6, 12)`.
fn kernel() -> (u32, u32) {
    let name = uname().expect("every kernel has a name");
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|it| it.parse().ok());
    let mut number = || numbers.next().unwrap_or_else(|| panic!("no version: {release}"));
    (number(), number())
}

/// Where there is tcx, nothing is missing, and asking for it is enough.
fn a_missing_hook_is_refused_in_words() {
    let lab = lab();
    let before = NodeState::of(&lab.node);
    let flags: Vec<_> = FLAGS.split_whitespace().chain(["--hook", "tcx"]).collect();
    if hooks().contains(&"tcx") {
        attach_and_serve(&lab, &echoes(&lab), &flags.join(" "));
    } else {
        let mut refused = Foreword::spawn(&lab.node, foreword(), &flags).expect("it starts");
        let status = refused.wait(PATIENCE).expect("it ends by itself");
        assert_eq!(status.code(), Some(1), "{}", refused.output());
        for words in ["error: --hook tcx", "Linux 6.6", "--hook clsact"] {
            assert!(refused.output().contains(words), "{}", refused.output());
        }
    }
    before.assert_restored(&lab.node);
}
