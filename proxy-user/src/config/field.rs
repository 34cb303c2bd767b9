//! What a field is called: a flag on the command line of `attach`, a key in a file. A refusal
//! speaks the language that it answers.

use super::validate::Invalid;
use super::word::{OneLine, Word};

/// A field's two names.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    flag: &'static str,
    key: &'static str,
}

macro_rules! fields {
    ($($name:ident = $flag:literal, $key:literal;)+) => {
        $(pub(crate) const $name: Field = Field { flag: $flag, key: $key };)+
    };
}

fields! {
    INTERFACES = "interface", "interfaces";
    UPSTREAM_INTERFACES = "--upstream-interface", "upstreamInterfaces";
    POD_INTERFACES = "--pod-interface", "podInterfaces";
    TRUSTED_INTERFACES = "--trusted-interface", "trustedInterfaces";
    HOOK = "--hook", "hook";
    GUARD_HOOK = "--guard-hook", "guardHook";
    REPLY = "--reply", "reply";
    WORKERS = "--workers", "workers";
    DRAIN_TIMEOUT = "--drain-timeout", "drainTimeout";
    MAX_CONNECTIONS = "--max-connections", "limits.connections";
    MAX_PER_SOURCE = "--max-per-source", "limits.perSource";
    MAX_MEMORY = "--max-memory", "limits.memory";
    IPV6_PREFIX = "--ipv6-prefix", "limits.ipv6Prefix";
    ADMIN_SOCKET = "--admin-socket", "admin.socket";
    ADMIN_HTTP = "--admin-http", "admin.http";
    RULES = "rule", "rules";
    NAME = "--name", "name";
    PORTS = "--port", "ports";
    DESTINATIONS = "--destination", "destinations";
    MODE = "--inbound", "inbound.mode";
    TRUSTED = "--trust", "inbound.trusted";
    UNTRUSTED = "--untrusted", "inbound.untrusted";
    VERSIONS = "--versions", "inbound.versions";
    HEADER_TIMEOUT = "--header-timeout", "inbound.timeout";
    MAX_HEADER = "--max-header", "inbound.maxHeader";
    SERVER_FIRST = "--server-first", "inbound.serverFirst";
    OUTBOUND = "--outbound", "outbound.version";
    OUTBOUND_LOCAL = "--outbound-local", "outbound.local";
    TLV_PASS = "--tlv-pass", "outbound.tlvs.pass";
    TLV_DROP = "--tlv-drop", "outbound.tlvs.drop";
    TLV_ADD = "--tlv-add", "outbound.tlvs.add";
    TLV_CRC32C = "--tlv-crc32c", "outbound.tlvs.crc32c";
    UPSTREAM = "--upstream", "upstream.address";
    RESOLVE = "--resolve", "upstream.resolve";
    SOURCE = "--source", "upstream.source";
    SOURCE_ADDRESSES = "--source-address", "upstream.sourceAddresses";
    WHEN_DOWN = "--when-down", "upstream.whenDown";
    CONNECT_TIMEOUT = "--connect-timeout", "upstream.connectTimeout";
    IDLE_TIMEOUT = "--idle-timeout", "idleTimeout";
    GUARD = "--guard", "guard.enabled";
    SYN_LIMIT = "--syn-limit", "guard.synPerSecondPerSource";
    ANSWERS = "--guard-answers", "guard.answers";
    HAIRPIN = "--hairpin", "hairpin.sources";
    WHEN_ABSENT = "--when-absent", "whenAbsent";
}

impl Field {
    /// One that is on a command line only.
    pub(crate) const fn flag(flag: &'static str) -> Self {
        Self { flag, key: flag }
    }
}

/// Where words were written, for their names.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// On a command line.
    Flags,
    /// In a file, outside of rules.
    File,
    /// In a file's rule of this name.
    Rule(&'a str),
}

impl At<'_> {
    /// The field's name, as whoever wrote it knows it.
    pub fn name(self, field: Field) -> String {
        match self {
            Self::Flags => field.flag.to_owned(),
            Self::File => field.key.to_owned(),
            Self::Rule(rule) => format!("rule {}: {}", OneLine(rule), field.key),
        }
    }

    /// How to write a value of the field.
    pub fn write(self, field: Field, value: &str) -> String {
        match self {
            Self::Flags => format!("{} {value}", field.flag),
            Self::File | Self::Rule(_) => format!("{}: {value}", field.key),
        }
    }

    /// The same, with the rule's name before it.
    pub fn write_of_rule(self, field: Field, value: &str) -> String {
        let written = self.write(field, value);
        match self {
            Self::Rule(rule) => format!("rule {rule}: {written}"),
            Self::Flags | Self::File => written,
        }
    }

    /// The field's name without its rule.
    pub fn short(self, field: Field) -> &'static str {
        match self {
            Self::Flags => field.flag,
            Self::File | Self::Rule(_) => field.key,
        }
    }

    /// Refuses a value, and says what to write instead.
    pub fn refuse(self, field: Field, word: &Word, fix: impl Into<String>) -> Invalid {
        Invalid::Value {
            field: self.name(field),
            value: word.to_string(),
            fix: fix.into(),
            position: word.position(),
        }
    }

    /// Refuses that there is no value.
    pub fn missing(self, field: Field, fix: impl Into<String>) -> Invalid {
        Invalid::Missing { field: self.name(field), fix: fix.into() }
    }
}
