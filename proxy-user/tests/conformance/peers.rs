//! The table against HAProxy and nginx, and against Foreword in the same way.

use std::thread;

use netlab::Family;

use crate::answer::Answer;
use crate::cases::{self, Case};
use crate::report::compare_or_bless;
use crate::subject::Subject;

/// What one receiver makes of one case over one address family.
#[derive(Clone, PartialEq, Eq)]
pub struct Finding {
    /// The answer to the case in one segment.
    pub answer: Answer,
    /// Whether that is what the rule asks for.
    pub is_right: bool,
    /// Whether it is the same for every way to cut the header in two.
    pub holds_split: bool,
}

/// A receiver's column: for each case of the table what it is told over IPv4 and over IPv6.
pub struct Column {
    /// Name and version.
    pub name: String,
    /// In the table's order.
    pub findings: Vec<[Finding; 2]>,
}

impl Column {
    fn of(subject: &Subject) -> Self {
        let over = |family: Family| {
            let table = cases::all(family);
            table.iter().map(|case| find(subject, family, case)).collect::<Vec<_>>()
        };
        let [v4, v6] = thread::scope(|scope| {
            let running = Family::BOTH.map(|family| scope.spawn(move || over(family)));
            running.map(|one| one.join().expect("no case panics"))
        });
        let findings = v4.into_iter().zip(v6).map(<[Finding; 2]>::from).collect();
        Self { name: subject.name.clone(), findings }
    }
}

fn find(subject: &Subject, family: Family, case: &Case) -> Finding {
    let whole = subject.ask(family, case, None);
    let holds_split = subject.find_split(family, case, &whole).is_none();
    let is_right = whole.0.satisfies(&case.expected);
    Finding { answer: whole.0, is_right, holds_split }
}

#[apply(lab_test)]
fn the_table_of_peers_is_current() {
    let columns = [Subject::foreword, Subject::haproxy, Subject::nginx];
    compare_or_bless(&columns.map(|start| Column::of(&start())));
}
