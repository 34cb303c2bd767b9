//! `docs/configuration.md`: every option with its key, its flag, its form and its default, from where it
//! is defined (`config/raw`) or, for a flag that no file has, from the command line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command, CommandFactory as _};
use serde_json::Value;

use super::cli::Cli;
use crate::config::field::camel_case;
use crate::config::file;

/// What stands before the sections.
const INTRODUCTION: &str = include_str!("reference/introduction.md");
/// The section of arguments without a heading.
const FIRST_SECTION: &str = "Interfaces";

/// The whole document.
pub fn markdown() -> String {
    let keys = Keys::of(&file::schema().to_value());
    let mut command = Cli::command();
    command.build();
    let mut text = INTRODUCTION.to_owned();
    for (heading, flags) in sections(subcommand(&command, "attach")) {
        let _ = writeln!(text, "\n## {heading}");
        if heading == "Rule" {
            text.push_str(&entry(&Entry::of_key(&keys, "name")));
        }
        for flag in flags {
            text.push_str(&entry(&Entry::of_flag(&keys, flag)));
        }
    }
    text.push_str("\n## Flags of `foreword run`\n\nEverything else is in the file.\n");
    for flag in documented(subcommand(&command, "run")) {
        text.push_str(&entry(&Entry::of_flag(&Keys::default(), flag)));
    }
    text
}

fn subcommand<'a>(command: &'a Command, name: &str) -> &'a Command {
    command.find_subcommand(name).expect("the command line has it")
}

/// The flags of a command, under their headings, in the order of their definition.
fn sections(command: &Command) -> Vec<(&str, Vec<&Arg>)> {
    let mut sections: Vec<(&str, Vec<&Arg>)> = Vec::new();
    for flag in documented(command) {
        let heading = flag.get_help_heading().unwrap_or(FIRST_SECTION);
        match sections.iter_mut().find(|(other, _)| *other == heading) {
            // An argument without a flag comes before flags.
            Some((_, flags)) if flag.is_positional() => flags.insert(0, flag),
            Some((_, flags)) => flags.push(flag),
            None => sections.push((heading, vec![flag])),
        }
    }
    sections
}

fn documented(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|flag| flag.get_id() != "help")
}

/// Keys of a file with their descriptions, by the last name of the key.
#[derive(Default)]
struct Keys(BTreeMap<String, (String, String)>);

impl Keys {
    /// All keys that have a value of their own, from the schema.
    fn of(schema: &Value) -> Self {
        let mut keys = Self::default();
        keys.add("", schema, schema);
        keys
    }

    fn add(&mut self, path: &str, section: &Value, schema: &Value) {
        let properties = section["properties"].as_object().into_iter().flatten();
        for (name, property) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let description = property["description"].as_str().unwrap_or_default().to_owned();
            let items = if name == "rules" { &property["items"] } else { property };
            match section_of(items, schema) {
                // A rule's keys are written without `rules`, as messages do.
                Some(below) => self.add(if name == "rules" { "" } else { &path }, below, schema),
                None => drop(self.0.insert(name.clone(), (path, description))),
            }
        }
    }
}

/// The object that a property refers to.
fn section_of<'a>(property: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    let object = match property["$ref"].as_str() {
        Some(reference) => schema.pointer(reference.trim_start_matches('#'))?,
        None => property,
    };
    object.get("properties").map(|_| object)
}

/// What the document says of one option.
#[derive(Default)]
struct Entry {
    key: Option<String>,
    flag: Option<String>,
    default: Option<String>,
    is_required: bool,
    help: String,
    /// The words that its value may be, with what they mean.
    choices: Vec<(String, Option<String>)>,
}

impl Entry {
    /// An option that is in files only.
    fn of_key(keys: &Keys, name: &str) -> Self {
        let (key, help) = keys.0.get(name).cloned().unwrap_or_default();
        Self { key: Some(key), is_required: true, help, ..Self::default() }
    }

    fn of_flag(keys: &Keys, flag: &Arg) -> Self {
        let help = flag.get_long_help().or(flag.get_help());
        let help = help.map(StyledStr::to_string).unwrap_or_default();
        let (help, said) = without_default(&help);
        let values: Vec<_> =
            flag.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = match flag.get_action() {
            ArgAction::SetTrue => Some("off".to_owned()),
            _ if !values.is_empty() => Some(format!("`{}`", values.join(","))),
            _ => said,
        };
        let takes_choices = !flag.is_hide_possible_values_set();
        let choices = flag.get_possible_values().into_iter().filter(|_| takes_choices);
        Self {
            key: keys.0.get(&camel_case(flag.get_id().as_str())).map(|(key, _)| key.clone()),
            flag: Some(written(flag)),
            default,
            is_required: flag.is_required_set(),
            help,
            choices: choices
                .map(|value| {
                    let meaning = value.get_help().map(StyledStr::to_string);
                    (value.get_name().to_owned(), meaning)
                })
                .collect(),
        }
    }
}

/// A flag with its value, as it is written.
fn written(flag: &Arg) -> String {
    let values = match flag.get_action() {
        ArgAction::SetTrue => None,
        _ => flag.get_value_names().and_then(|names| names.first()).map(ToString::to_string),
    };
    let long = flag.get_long().map(|long| format!("--{long}"));
    [long, values].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A help text without its `[default: …]`, and what that says.
fn without_default(help: &str) -> (String, Option<String>) {
    let Some((before, rest)) = help.split_once(" [default: ") else {
        return (help.to_owned(), None);
    };
    let Some((default, after)) = rest.split_once(']') else { return (help.to_owned(), None) };
    (format!("{before}{after}"), Some(default.to_owned()))
}

fn entry(entry: &Entry) -> String {
    let Entry { key, flag, default, is_required, help, choices } = entry;
    let name = key.as_ref().or(flag.as_ref()).map_or("", String::as_str);
    let mut text = format!("\n### `{name}`\n\n");
    let flag = flag.as_ref().filter(|_| key.is_some()).map(|flag| format!("`{flag}`"));
    let default = match (default, is_required) {
        (_, true) => Some("required".to_owned()),
        (Some(default), _) => Some(format!("default: {default}")),
        (None, _) => None,
    };
    let facts: Vec<_> = flag.into_iter().chain(default).collect();
    if !facts.is_empty() {
        let _ = writeln!(text, "{}\n", facts.join(" · "));
    }
    let sentence = |text: &str| {
        let text = text.trim_end();
        if text.ends_with(['.', ':']) { text.to_owned() } else { format!("{text}.") }
    };
    let paragraphs: Vec<_> =
        help.split("\n\n").map(|it| sentence(&it.replace('\n', " "))).collect();
    let _ = writeln!(text, "{}", paragraphs.join("\n\n"));
    if choices.iter().any(|(_, meaning)| meaning.is_some()) {
        text.push('\n');
        for (word, meaning) in choices {
            let meaning = meaning.as_ref().map_or_else(String::new, |it| format!(": {it}"));
            let _ = writeln!(text, "- `{word}`{meaning}");
        }
    }
    text
}
