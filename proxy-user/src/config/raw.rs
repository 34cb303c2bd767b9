//! The words of a configuration as they were written, before anybody has judged them.

/// The command line of `foreword attach`. Lists hold one item per word: commas are split already.
#[derive(Clone, Debug, Default)]
pub struct RawAttach {
    /// Interfaces by name.
    pub interfaces: Vec<String>,
    /// Ports and port ranges, such as `80` and `8000-8010`.
    pub ports: Vec<String>,
    /// `require`, `optional` or `off`.
    pub inbound: String,
    /// Address ranges whose headers are believed.
    pub trust: Vec<String>,
    /// `refuse` or `direct`.
    pub untrusted: String,
    /// `v1`, `v2` or `none`.
    pub outbound: String,
    /// `original` or `host:port`.
    pub upstream: String,
    /// Worker threads; none: one for each CPU that the process may use.
    pub workers: Option<String>,
    /// How long a stop waits for connections, such as `30s`.
    pub drain_timeout: String,
    /// `auto`, `tcx` or `clsact`.
    pub hook: String,
}
