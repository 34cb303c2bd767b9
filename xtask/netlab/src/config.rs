//! Configuration files: [`Config`] makes the text, [`ConfigFile`] is a file that can change.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Scratch;

/// The text of a configuration.
#[derive(Clone, Debug)]
pub struct Config {
    interfaces: String,
    fields: Vec<String>,
    rules: Vec<Rule>,
}

impl Config {
    /// A configuration for these interfaces, as a list has them: `eth0, eth1`.
    pub fn on(interfaces: &str) -> Self {
        Self { interfaces: interfaces.to_owned(), fields: Vec::new(), rules: Vec::new() }
    }

    /// Adds a field as it is written in a file, such as `workers: 2`.
    #[must_use]
    pub fn with(mut self, field: impl fmt::Display) -> Self {
        self.fields.push(field.to_string());
        self
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds rules.
    #[must_use]
    pub fn rules(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.rules.extend(rules);
        self
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "interfaces: [{}]", self.interfaces)?;
        self.fields.iter().try_for_each(|field| writeln!(f, "{field}"))?;
        writeln!(f, "rules:")?;
        self.rules.iter().try_for_each(|rule| write!(f, "{rule}"))
    }
}

/// One rule of a [`Config`]. It reads no header and writes none unless told otherwise.
#[derive(Clone, Debug)]
pub struct Rule {
    name: String,
    ports: String,
    inbound: String,
    outbound: String,
    fields: Vec<String>,
}

impl Rule {
    /// A rule for these ports, as a list has them: `80`, or `80, 8000-8010`.
    pub fn new(name: impl fmt::Display, ports: impl fmt::Display) -> Self {
        Self {
            name: name.to_string(),
            ports: ports.to_string(),
            inbound: "mode: \"off\"".to_owned(),
            outbound: "version: none".to_owned(),
            fields: Vec::new(),
        }
    }

    /// Reads headers in this mode, from sources in these ranges.
    #[must_use]
    pub fn inbound<T: fmt::Display>(
        mut self,
        mode: &str,
        trusted: impl IntoIterator<Item = T>,
    ) -> Self {
        let trusted: Vec<_> = trusted.into_iter().map(|range| format!("\"{range}\"")).collect();
        self.inbound = format!("mode: \"{mode}\", trusted: [{}]", trusted.join(", "));
        self
    }

    /// Adds a field of `inbound`, such as `untrusted: direct`.
    #[must_use]
    pub fn inbound_with(mut self, field: impl fmt::Display) -> Self {
        self.inbound = format!("{}, {field}", self.inbound);
        self
    }

    /// Writes headers of this version.
    #[must_use]
    pub fn outbound(mut self, version: &str) -> Self {
        self.outbound = format!("version: {version}");
        self
    }

    /// Adds a field as it is written in a file, such as `whenAbsent: drop`.
    #[must_use]
    pub fn with(mut self, field: impl fmt::Display) -> Self {
        self.fields.push(field.to_string());
        self
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, ports, inbound, outbound, fields } = self;
        writeln!(f, "  - name: {name}\n    ports: [{ports}]\n    inbound: {{ {inbound} }}")?;
        writeln!(f, "    outbound: {{ {outbound} }}")?;
        fields.iter().try_for_each(|field| writeln!(f, "    {field}"))
    }
}

/// A configuration file, removed on drop.
#[derive(Debug)]
pub struct ConfigFile {
    folder: Scratch,
    path: PathBuf,
}

impl ConfigFile {
    /// A file with this text.
    pub fn saying(text: impl fmt::Display) -> Self {
        let folder = Scratch::new();
        let path = folder.path().join("config.yaml");
        let config = Self { folder, path };
        config.say(text);
        config
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the text. The new one is written beside the file and renamed, so that nobody reads
    /// half of it.
    pub fn say(&self, text: impl fmt::Display) {
        let next = self.folder.write("next", &text.to_string());
        fs::rename(next, &self.path).expect("it can be renamed");
    }
}

impl AsRef<Path> for ConfigFile {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_the_text_of_its_parts() {
        let web = Rule::new("web", "80, 443")
            .inbound("require", ["10.77.1.2", "fd77:1::2"])
            .inbound_with("untrusted: direct")
            .outbound("v1")
            .with("whenAbsent: drop");
        let config = Config::on("eth0").with("workers: 2").rule(web).rule(Rule::new("more", 90));
        assert_eq!(
            config.to_string(),
            "interfaces: [eth0]\nworkers: 2\nrules:\n  - name: web\n    ports: [80, 443]\n    \
             inbound: { mode: \"require\", trusted: [\"10.77.1.2\", \"fd77:1::2\"], untrusted: \
             direct }\n    outbound: { version: v1 }\n    whenAbsent: drop\n  - name: more\n    \
             ports: [90]\n    inbound: { mode: \"off\" }\n    outbound: { version: none }\n"
        );
    }
}
