//! A way of attaching to TC that this kernel does not have.

use netlab::{PATIENCE, hooks, lab};

use crate::FOREWORD;
use crate::footprint::NodeState;
use crate::probe::{FLAGS, attach_and_serve, echoes};

/// Where there is tcx, nothing is missing, and asking for it is enough.
#[apply(lab_test)]
fn a_missing_hook_is_refused_in_words() {
    let lab = lab();
    let before = NodeState::of(&lab.node);
    let flags: Vec<_> = FLAGS.split_whitespace().chain(["--hook", "tcx"]).collect();
    if hooks().contains(&"tcx") {
        attach_and_serve(&lab, &echoes(&lab), &flags.join(" "));
    } else {
        let mut refused = FOREWORD.spawn(&lab.node, &flags);
        let status = refused.wait(PATIENCE).expect("it ends by itself");
        assert_eq!(status.code(), Some(1), "{}", refused.output());
        for words in ["error: --hook tcx", "Linux 6.6", "--hook clsact"] {
            assert!(refused.output().contains(words), "{}", refused.output());
        }
    }
    before.assert_restored(&lab.node);
}
