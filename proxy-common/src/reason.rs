//! The one list of ways in which a connection or a packet can be refused or cut short.
//!
//! The same word stands in counters, logs and `foreword decode`. Where the PROXY protocol has a
//! rule, the reason carries its number in our conformance table (`pp01` to `pp52`).

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal $(, rule $rule:literal)?;)+) => {
        /// Why a connection or a packet was refused or cut short.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it in metrics, logs and reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Number of the PROXY protocol rule that it stands for, where there is one.
            pub const fn rule(self) -> Option<u8> {
                match self { $(Self::$variant => reasons!(@rule $($rule)?),)+ }
            }
        }
    };
    (@rule) => { None };
    (@rule $rule:literal) => { Some($rule) };
}

reasons! {
    // The source.
    /// The rule refuses sources that it does not trust.
    UntrustedSource = "untrusted-source";
    /// The source opens more connections in a second than the rule allows.
    SynRate = "syn-rate";
    /// As many connections are open as there may be.
    ConnectionLimit = "connection-limit";
    /// As many connections of this client are open as there may be.
    SourceLimit = "source-limit";
    /// The buffers of open connections take as much memory as they may.
    MemoryLimit = "memory-limit";
    /// A fragment, of which nobody can tell whose it is.
    Fragment = "fragment";
    /// A packet that could open a connection, and can't be read as far as its TCP header.
    UnreadablePacket = "unreadable-packet";
    /// A trusted source's packet came in by another interface than the one that leads to it.
    SourceInterface = "source-interface";
    /// One of the ends is a link-local IPv6 address, and the rule restricts who may connect.
    LinkLocal = "link-local";
    /// A server answered a client's SYN past us.
    UnsteeredAnswer = "unsteered-answer";
    /// An untrusted source began with a header, well-formed or not.
    SpoofedHeader = "spoofed-header";

    // The inbound header as a whole.
    /// A header is required, and the bytes are none.
    NoHeader = "no-header", rule 1;
    /// The header was not complete at the deadline.
    HeaderTimeout = "header-timeout", rule 5;
    /// The peer closed inside the header.
    HeaderCutShort = "header-cut-short", rule 4;
    /// The header is longer than the configured maximum.
    HeaderTooLong = "header-too-long";
    /// The header is of a version that the rule does not allow.
    VersionNotAllowed = "version-not-allowed";
    /// A second header follows the first.
    SecondHeader = "second-header";

    // v1.
    /// Fields are not separated by exactly one space, or one is missing or too many.
    V1Fields = "v1-fields", rule 8;
    /// The protocol is not `TCP4`, `TCP6` or `UNKNOWN`.
    V1Protocol = "v1-protocol", rule 9;
    /// Not an IPv4 address in canonical decimal form.
    V1Ipv4 = "v1-ipv4", rule 10;
    /// Not an IPv6 address.
    V1Ipv6 = "v1-ipv6", rule 11;
    /// An address is of the other family than the one named.
    V1Family = "v1-family", rule 12;
    /// Not a port in canonical decimal form.
    V1Port = "v1-port", rule 13;
    /// A CR or LF stands alone.
    V1LineEnd = "v1-line-end", rule 14;
    /// No CRLF within 107 bytes.
    V1TooLong = "v1-too-long", rule 15;

    // v2.
    /// The version nibble is not 2.
    V2Version = "v2-version", rule 21;
    /// The command is neither LOCAL nor PROXY.
    V2Command = "v2-command", rule 22;
    /// The family or the transport is out of range.
    V2Family = "v2-family", rule 25;
    /// The length is too short for the family's address block.
    V2AddressLength = "v2-address-length", rule 29;
    /// A TLV runs over the end, or one or two bytes trail.
    TlvOverrun = "tlv-overrun", rule 34;
    /// The checksum is not that of the header, or has not four bytes.
    ChecksumMismatch = "checksum-mismatch", rule 36;
    /// The unique id is longer than 128 bytes.
    UniqueIdTooLong = "unique-id-too-long", rule 38;
    /// The SSL TLV is too short, or its sub-TLVs run over its end.
    SslTlv = "ssl-tlv", rule 39;
    /// The SSL TLV says that the client used TLS, and not which version.
    SslVersion = "ssl-version", rule 40;
    /// The authority is not UTF-8.
    AuthorityText = "authority-text", rule 41;
    /// The network namespace's name is not US-ASCII.
    NetnsText = "netns-text", rule 41;

    // The upstream.
    /// The upstream refused the connection.
    UpstreamRefused = "upstream-refused";
    /// The upstream did not answer in time.
    UpstreamTimeout = "upstream-timeout";
    /// There is no way to the upstream, or another error of connecting.
    UpstreamUnreachable = "upstream-unreachable";
    /// Every local port towards the upstream is taken, or not free again yet.
    NoLocalPort = "no-local-port";

    /// Our own connection to the upstream came back to us: nobody else serves that address.
    UpstreamLoop = "upstream-loop";
    /// The upstream is to see the client's address, and that is of the other family, or no host's.
    ClientAddress = "client-address";

    // The relay.
    /// The client reset the connection, or no longer answers.
    ClientReset = "client-reset";
    /// The upstream reset the connection, or no longer answers.
    UpstreamReset = "upstream-reset";
    /// Nothing moved for the idle time.
    IdleTimeout = "idle-timeout";
    /// Still open when the drain time was over.
    DrainTimeout = "drain-timeout";
    /// A system call failed in a way that has no word of its own; the log has the error.
    Internal = "internal";
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

const _: () = {
    let mut i = 0;
    while i < Reason::ALL.len() {
        assert!(Reason::ALL[i] as usize == i);
        assert!(Reason::ALL[i].name().len() < crate::abi::REASON_NAME_LEN);
        i += 1;
    }
};
