//! The table against the product: one test for each rule that an inbound header can show.

use std::thread;

use netlab::Family;

use crate::cases::{self, Case};
use crate::subject::Subject;

macro_rules! rules {
    ($($name:ident = $number:literal),+ $(,)?) => {
        $(
            #[apply(lab_test)]
            fn $name() {
                holds($number);
            }
        )+

        #[test]
        fn every_rule_with_cases_has_its_test() {
            let tested = [$($number),+];
            for case in cases::all(Family::V4) {
                assert!(tested.contains(&case.rule), "pp{:02}", case.rule);
            }
        }
    };
}

rules!(
    pp01 = 1,
    pp02 = 2,
    pp04 = 4,
    pp08 = 8,
    pp09 = 9,
    pp10 = 10,
    pp11 = 11,
    pp12 = 12,
    pp13 = 13,
    pp14 = 14,
    pp15 = 15,
    pp16 = 16,
    pp17 = 17,
    pp18 = 18,
    pp20 = 20,
    pp21 = 21,
    pp22 = 22,
    pp23 = 23,
    pp24 = 24,
    pp25 = 25,
    pp26 = 26,
    pp27 = 27,
    pp28 = 28,
    pp29 = 29,
    pp30 = 30,
    pp31 = 31,
    pp32 = 32,
    pp33 = 33,
    pp34 = 34,
    pp35 = 35,
    pp36 = 36,
    pp37 = 37,
    pp38 = 38,
    pp39 = 39,
    pp40 = 40,
    pp41 = 41,
    pp42 = 42,
    pp45 = 45,
    pp46 = 46,
    pp47 = 47,
    pp49 = 49,
);

/// Every case of the rule, over both families, whole and in every split; and an upstream
/// connection for the accepted ones only.
fn holds(rule: u8) {
    let foreword = Subject::foreword();
    thread::scope(|scope| {
        for family in Family::BOTH {
            let foreword = &foreword;
            scope.spawn(move || holds_over(foreword, family, rule));
        }
    });
}

fn holds_over(foreword: &Subject, family: Family, rule: u8) {
    let mut accepted = 0;
    for case in cases::all(family).iter().filter(|case| case.rule == rule) {
        assert_case(foreword, family, case);
        if case.expected.is_accepted() {
            accepted += 1 + case.splits().len();
        }
    }
    assert_eq!(foreword.upstream_connections(family), accepted, "upstream connections, {family:?}");
}

fn assert_case(foreword: &Subject, family: Family, case: &Case) {
    let expected = (case.expected.clone(), case.passed_on.clone());
    let whole = foreword.ask(family, case, None);
    assert_eq!(whole, expected, "{family:?}, {}", case.name);
    if let Some((split, told)) = foreword.find_split(family, case, &expected) {
        panic!("{family:?}, {}, split at byte {split}: {told:?}, not {expected:?}", case.name);
    }
}
