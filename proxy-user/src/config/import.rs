//! Configuration from what others are configured by: kgateway's `ListenerPolicy` and
//! `BackendConfigPolicy`, as `foreword import` reads them.
//!
//! Nothing is dropped in silence and nothing is guessed. Each field either becomes a word of ours,
//! or is named in a comment with what to do instead. What the documents can't know (interfaces,
//! ports, who is trusted) comes from flags, or is left blank, and `foreword check` refuses a blank.

use std::fmt;

use self::join::Rule;
use self::policy::{Account, Asked};
use super::field::{Field, field};
use super::invalid::Invalid;
use super::settings::Mode;
use super::value::{OneLine, Position};

mod counterpart;
mod join;
mod policy;
mod text;
mod tree;

/// A document that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{document}: {}", OneLine(.message))]
pub struct BadDocument {
    /// Which one, such as `document 2, item 1`.
    document: String,
    message: String,
    /// Where in its stream.
    pub position: Option<Position>,
}

/// What the documents can't know, from flags. Empty: left blank.
#[derive(Clone, Debug, Default)]
pub struct Blanks {
    /// `interfaces`.
    pub interfaces: Vec<String>,
    /// `ports` of the rule that has none, or, behind `RULE=`, of this rule.
    pub ports: Vec<String>,
    /// `inbound.trusted` of all rules that read headers.
    pub trusted: Vec<String>,
}

/// Documents that are being read.
#[derive(Debug, Default)]
pub struct Reader {
    accounts: Vec<Account>,
    asked: Vec<Asked>,
}

impl Reader {
    /// Reads one more stream of documents; `source` is its name.
    pub fn read(&mut self, source: &str, text: &str) -> Result<(), BadDocument> {
        for object in tree::objects(text)? {
            let (account, asked) = policy::read(source, object)?;
            self.accounts.push(account);
            self.asked.push(asked);
        }
        Ok(())
    }

    /// What all of them ask for.
    pub fn finish(self) -> Import {
        let rules = join::rules(self.asked);
        Import { accounts: self.accounts, interfaces: Vec::new(), rules }
    }
}

/// A configuration with an account of where it comes from. Syntax, it is a file for
/// [`parse`](super::file::parse).
#[derive(Debug)]
pub struct Import {
    accounts: Vec<Account>,
    interfaces: Vec<String>,
    rules: Vec<Rule>,
}

impl Import {
    /// Whether something asks for a header. If not, there is nothing to configure.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether nothing is blank.
    pub fn is_complete(&self) -> bool {
        let complete = |rule: &Rule| !rule.ports.is_empty() && !rule.needs_trust();
        !self.interfaces.is_empty() && self.rules.iter().all(complete)
    }

    /// Fills blanks in. The values are validated later, with everything else.
    pub fn fill(&mut self, blanks: Blanks) -> Result<(), Invalid> {
        self.interfaces = blanks.interfaces;
        for word in &blanks.ports {
            let (rule, port) = self.rule_for(word)?;
            self.rules[rule].ports.push(port);
        }
        let mut readers: Vec<_> =
            self.rules.iter_mut().filter(|rule| rule.mode != Mode::Off).collect();
        if let (true, Some(word)) = (readers.is_empty(), blanks.trusted.first()) {
            let fix = "leave it out: no rule reads headers";
            return Err(refuse(field!(rule.inbound.trusted), word, fix));
        }
        for rule in &mut readers {
            rule.trusted.clone_from(&blanks.trusted);
        }
        Ok(())
    }

    /// The rule that a word of `--port` is for, and the port.
    fn rule_for(&self, word: &str) -> Result<(usize, String), Invalid> {
        let refuse = |fix: String| Err(refuse(field!(rule.ports), word, fix));
        let open: Vec<_> =
            self.rules.iter().enumerate().filter(|(_, rule)| !rule.knows_ports).collect();
        let names =
            || open.iter().map(|(_, rule)| rule.name.as_str()).collect::<Vec<_>>().join(", ");
        if open.is_empty() {
            return refuse("leave it out: the documents say the ports of all rules".to_owned());
        }
        match (word.split_once('='), open.as_slice()) {
            (None, [(rule, _)]) => Ok((*rule, word.to_owned())),
            (None, _) => refuse(format!("write RULE={word}, with one of these rules: {}", names())),
            (Some((name, port)), _) => match open.iter().find(|(_, rule)| rule.name == name) {
                Some((rule, _)) => Ok((*rule, port.to_owned())),
                None => refuse(format!("the rules without ports are {}", names())),
            },
        }
    }
}

/// Refuses the value of a flag that fills in what this option is to be.
fn refuse(field: Field, value: &str, fix: impl Into<String>) -> Invalid {
    Invalid::flag(&field.flag(), value, fix)
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, f)
    }
}

#[cfg(test)]
mod tests;
