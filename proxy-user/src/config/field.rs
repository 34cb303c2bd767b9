//! What an option is called: a flag on the command line of `attach`, a key in a file. Both names come
//! from where it is defined ([`raw`](super::raw)); a refusal uses the one that its reader wrote.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use clap::{Arg, Args as _, Command};

use super::raw::{RawConfig, RawRule};

/// An option, by its path among the [raw](super::raw) types; made by `field!`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field(&'static [&'static str]);

/// The option with this path: `field!(limits.memory)` of [`RawConfig`], `field!(rule.inbound.mode)` of
/// [`RawRule`]. A path that leads nowhere doesn't compile.
macro_rules! field {
    (rule $(.$name:ident)+) => {{
        let _ = |rule: &$crate::config::raw::RawRule| { let _ = &rule $(.$name)+; };
        $crate::config::field::Field::new(&[$(stringify!($name)),+])
    }};
    ($($name:ident).+) => {{
        let _ = |config: &$crate::config::raw::RawConfig| { let _ = &config.$($name).+; };
        $crate::config::field::Field::new(&[$(stringify!($name)),+])
    }};
}
pub(crate) use field;

/// The flags of `attach`, by the last names of their paths, which have to differ.
static FLAGS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let name = |flag: &Arg| match (flag.get_long(), flag.get_value_names()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some([name, ..])) => name.to_string(),
        (None, _) => flag.get_id().to_string(),
    };
    let flags = RawRule::augment_args(RawConfig::augment_args(Command::new("attach")));
    flags.get_arguments().map(|flag| (flag.get_id().to_string(), name(flag))).collect()
});

impl Field {
    #[doc(hidden)]
    pub(crate) const fn new(path: &'static [&'static str]) -> Self {
        Self(path)
    }

    /// Its key in a file, with those of the sections that it is in: `inbound.maxHeader`.
    pub fn key(self) -> String {
        self.0.iter().map(|name| camel_case(name)).collect::<Vec<_>>().join(".")
    }

    /// Its flag: `--max-header`. One that has none is on no command line, and is called by its key.
    pub fn flag(self) -> String {
        let flag = self.0.last().and_then(|name| FLAGS.get(*name));
        flag.cloned().unwrap_or_else(|| self.key())
    }
}

/// As serde renames fields.
pub(crate) fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        name + &initial.to_uppercase() + rest
    })
}

/// How a configuration was written, and so what its options are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// As flags of `foreword attach`: one rule.
    Flags,
    /// As a file.
    File,
}

impl Syntax {
    /// What a field is called.
    pub fn name(self, field: Field) -> String {
        match self {
            Self::Flags => field.flag(),
            Self::File => field.key(),
        }
    }

    /// How to write a value of the field.
    pub fn write(self, field: Field, value: &str) -> String {
        match self {
            Self::Flags => format!("{} {value}", field.flag()),
            Self::File => format!("{}: {value}", field.key()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_has_the_names_that_it_is_defined_with() {
        let names = |field: Field| (field.flag(), field.key());
        let pair = |flag: &str, key: &str| (flag.to_owned(), key.to_owned());
        assert_eq!(
            names(field!(rule.inbound.timeout)),
            pair("--header-timeout", "inbound.timeout")
        );
        assert_eq!(
            names(field!(rule.guard.syn_per_second_per_source)),
            pair("--syn-limit", "guard.synPerSecondPerSource")
        );
        assert_eq!(names(field!(limits.ipv6_prefix)), pair("--ipv6-prefix", "limits.ipv6Prefix"));
        assert_eq!(
            names(field!(rule.outbound.tlvs.crc32c)),
            pair("--tlv-crc32c", "outbound.tlvs.crc32c")
        );
        assert_eq!(names(field!(interfaces)), pair("IFACE", "interfaces"));
        assert_eq!(names(field!(rule.name)), pair("name", "name"));
    }

    #[test]
    fn a_value_is_written_as_its_reader_writes_it() {
        assert_eq!(Syntax::Flags.write(field!(rule.upstream.source), "node"), "--source node");
        assert_eq!(
            Syntax::File.write(field!(rule.upstream.source), "node"),
            "upstream.source: node"
        );
    }
}
