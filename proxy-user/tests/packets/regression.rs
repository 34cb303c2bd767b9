//! Recorded frames, such as those that once got past the programs, and the expected verdicts.
//!
//! A file `NAME.hex` has lines that begin with `#` and explain it; optionally `arrival` and words
//! for what is unusual about that; for each setup and program that it concerns, the expected
//! verdict, as in `tc steer: drop fragment`; then the frame in hexadecimal.

use std::fs;
use std::path::Path;

use crate::campaign::{agrees, describe, run_counted};
use crate::model::{Expected, Program};
use crate::node::TestNode;
use crate::packet::{Arrival, Ingress, Interface, Mark};

/// A recorded frame.
struct Recorded {
    name: String,
    arrival: Arrival,
    /// Setup, program, verdict.
    expected: Vec<(String, Program, String)>,
    frame: Vec<u8>,
}

impl Recorded {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut recorded =
            Self { name, arrival: Arrival::PLAIN, expected: Vec::new(), frame: Vec::new() };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            recorded.read_line(line).unwrap_or_else(|| panic!("{}: {line}", recorded.name));
        }
        assert!(!recorded.expected.is_empty(), "{}: nothing is expected", recorded.name);
        recorded
    }

    fn read_line(&mut self, line: &str) -> Option<()> {
        if let Some(words) = line.strip_prefix("arrival ") {
            return words.split(' ').try_for_each(|word| self.arrive(word));
        }
        if let Some((case, verdict)) = line.split_once(": ") {
            let (setup, program) = case.split_once(' ')?;
            let is_it = |it: &Program| it.name().strip_prefix("foreword_") == Some(program);
            let program = Program::ALL.into_iter().find(is_it)?;
            self.expected.push((setup.to_owned(), program, verdict.to_owned()));
            return Some(());
        }
        for pair in line.as_bytes().chunks(2) {
            let pair = std::str::from_utf8(pair).ok()?;
            self.frame.push(u8::from_str_radix(pair, 16).ok()?);
        }
        Some(())
    }

    fn arrive(&mut self, word: &str) -> Option<()> {
        match word {
            "lo" => self.arrival.interface = Interface::Loopback,
            "own-mark" => self.arrival.mark = Mark::Own,
            "other-mark" => self.arrival.mark = Mark::Other,
            "from-elsewhere" => self.arrival.ingress = Ingress::Elsewhere,
            "from-veth" => self.arrival.ingress = Ingress::Veth,
            _ => return None,
        }
        Some(())
    }
}

/// Runs every frame that concerns this setup, and lists where the model or a program disagrees with
/// the file. The calling thread has to be in the node's namespace.
pub fn replay(node: &TestNode) -> Vec<String> {
    let TestNode { facts, kernel, .. } = node;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packets/regressions");
    let entries = fs::read_dir(folder).expect("the folder is there").filter_map(Result::ok);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let mut wrong = Vec::new();
    for recorded in paths.iter().map(|path| Recorded::read(path)) {
        let Recorded { name, arrival, expected, frame } = &recorded;
        let here = expected.iter().filter(|(setup, ..)| setup == facts.setup.name);
        for (setup, program, expected) in here {
            let model = program.expected(facts, *arrival, frame);
            if model.to_string() != *expected {
                wrong.push(format!(
                    "{name}: {setup} {program:?}: {expected}, and the model: {model}"
                ));
            }
            let got = run_counted(kernel, *program, facts, *arrival, frame);
            let has_counted = match model {
                Expected::Drop(reason) => {
                    reason.name().is_none_or(|it| describe(&got).contains(it))
                }
                _ => true,
            };
            if !agrees(model, got.0) || !has_counted {
                let got = describe(&got);
                wrong.push(format!(
                    "{name}: {setup} {program:?}: {expected}, and the program: {got}"
                ));
            }
        }
    }
    wrong
}
