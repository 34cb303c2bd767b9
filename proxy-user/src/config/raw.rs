//! The words of a configuration as they were written, before anybody has judged them.

/// The command line of `foreword attach`. Lists hold one item per word: commas are split already.
#[derive(Clone, Debug, Default)]
pub struct RawAttach {
    /// Interfaces by name or pattern.
    pub interfaces: Vec<String>,
    /// Ports and port ranges, such as `80` and `8000-8010`.
    pub ports: Vec<String>,
    /// `require`, `optional` or `off`.
    pub inbound: String,
    /// Address ranges whose headers are believed.
    pub trust: Vec<String>,
    /// `refuse` or `direct`.
    pub untrusted: String,
    /// `v1` and `v2`; both if empty.
    pub versions: Vec<String>,
    /// Address ranges of this node's own pods.
    pub hairpin: Vec<String>,
    /// `on` or `off`.
    pub guard: String,
    /// Connections that a source may open in a second; `0`: any number.
    pub syn_limit: String,
    /// How long a header may take, such as `5s`.
    pub header_timeout: String,
    /// Longest header in bytes.
    pub max_header: String,
    /// `wait`, or a time such as `200ms`.
    pub server_first: String,
    /// Whether a second header is refused.
    pub reject_second: bool,
    /// `v1`, `v2` or `none`.
    pub outbound: String,
    /// `all`, `none`, or TLV types such as `0xEA`.
    pub tlv_pass: Vec<String>,
    /// TLV types that are not passed on.
    pub tlv_drop: Vec<String>,
    /// `unique-id`, `authority=NAME`, `0xE5=text` or `0xE5=hex:00ff`.
    pub tlv_add: Vec<String>,
    /// Whether the header carries a checksum.
    pub tlv_crc32c: bool,
    /// `original` or `host:port`.
    pub upstream: String,
    /// `node` or `client`.
    pub source: String,
    /// Interfaces that upstreams answer by, by name or pattern.
    pub upstream_interfaces: Vec<String>,
    /// `pass` or `drop`.
    pub when_absent: String,
    /// Worker threads; none: one for each CPU that the process may use.
    pub workers: Option<String>,
    /// How long a stop waits for connections, such as `30s`.
    pub drain_timeout: String,
    /// `auto`, `tcx` or `clsact`.
    pub hook: String,
    /// `auto`, `native`, `generic` or `tc`.
    pub guard_hook: String,
    /// `route` or `arrival`.
    pub reply: String,
    /// Whether another Foreword on the interfaces is succeeded.
    pub take_over: bool,
}
