//! Frames that were written down: ways past the gate that somebody has found, and what must become of
//! them.
//!
//! A file is `NAME.hex`: what it is about in lines that begin with `#`; perhaps `arrival` and words
//! for what is odd about that; for each setup and program that it is a case of, what must be made of
//! it, as `tc steer: drop fragment`; then the frame in hexadecimal.

use std::fs;
use std::path::Path;

use crate::campaign::{agrees, judged, words};
use crate::model::{Program, Verdict};
use crate::packet::{Arrival, CameBy, Interface, Mark};
use crate::stage::Stage;

/// A frame that was written down.
struct Written {
    name: String,
    arrival: Arrival,
    /// Setup, program, verdict.
    expected: Vec<(String, Program, String)>,
    frame: Vec<u8>,
}

impl Written {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut written =
            Self { name, arrival: Arrival::PLAIN, expected: Vec::new(), frame: Vec::new() };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            written.read_line(line).unwrap_or_else(|| panic!("{}: {line}", written.name));
        }
        assert!(!written.expected.is_empty(), "{}: nothing is expected", written.name);
        written
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
            "from-elsewhere" => self.arrival.came_by = CameBy::Elsewhere,
            "from-veth" => self.arrival.came_by = CameBy::Veth,
            _ => return None,
        }
        Some(())
    }
}

/// Runs every frame that is a case of this setup, and says where the model or a program disagrees
/// with what was written. The calling thread is in the node's namespace.
pub fn replay(stage: &Stage) -> Vec<String> {
    let Stage { world, kernel, .. } = stage;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packets/regressions");
    let entries = fs::read_dir(folder).expect("the folder is there").filter_map(Result::ok);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let mut wrong = Vec::new();
    for written in paths.iter().map(|path| Written::read(path)) {
        let Written { name, arrival, expected, frame } = &written;
        let here = expected.iter().filter(|(setup, ..)| setup == world.setup.name);
        for (setup, program, expected) in here {
            let model = program.expected(world, *arrival, frame);
            if model.to_string() != *expected {
                wrong.push(format!(
                    "{name}: {setup} {program:?}: {expected}, and the model: {model}"
                ));
            }
            let got = judged(kernel, *program, world, *arrival, frame);
            let has_counted = match model {
                Verdict::Drop(because) => because.word().is_none_or(|it| words(&got).contains(it)),
                _ => true,
            };
            if !agrees(model, got.0) || !has_counted {
                let got = words(&got);
                wrong.push(format!(
                    "{name}: {setup} {program:?}: {expected}, and the program: {got}"
                ));
            }
        }
    }
    wrong
}
