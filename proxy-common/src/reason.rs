//! The one table of reasons for which a connection or a packet is refused or cut short.
//!
//! Counters, logs and `foreword decode` use the same names. A reason that stands for a rule of the
//! PROXY protocol has the rule's number in the conformance table (`pp01` to `pp52`).

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

            /// Its name in metrics, logs and reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Number of the PROXY protocol rule that it stands for, if any.
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
    /// The source opens more connections per second than the rule allows.
    SynRate = "syn-rate";
    /// The limit of open connections has been reached.
    ConnectionLimit = "connection-limit";
    /// The limit of open connections of this client has been reached.
    SourceLimit = "source-limit";
    /// The buffers of open connections have reached their memory limit.
    MemoryLimit = "memory-limit";
    /// A fragment, which can't be steered.
    Fragment = "fragment";
    /// A packet that could open a connection, but can't be read as far as its TCP header.
    UnreadablePacket = "unreadable-packet";
    /// A packet of a trusted source came in by another interface than the one that reaches it.
    SourceInterface = "source-interface";
    /// An address is link-local (IPv6), and the rule restricts who may connect.
    LinkLocal = "link-local";
    /// A server answered a client's SYN directly, bypassing Foreword.
    UnsteeredAnswer = "unsteered-answer";
    /// An untrusted source sent a header, well-formed or not.
    SpoofedHeader = "spoofed-header";

    // The inbound header as a whole.
    /// A header is required, and the first bytes are not one.
    NoHeader = "no-header", rule 1;
    /// The header was not complete in time.
    HeaderTimeout = "header-timeout", rule 5;
    /// The peer closed the connection within the header.
    HeaderCutShort = "header-cut-short", rule 4;
    /// The header is longer than the configured maximum.
    HeaderTooLong = "header-too-long";
    /// The rule does not allow the header's version.
    VersionNotAllowed = "version-not-allowed";
    /// A second header follows the first.
    SecondHeader = "second-header";

    // v1.
    /// Fields are not separated by exactly one space, or there are too few or too many.
    V1Fields = "v1-fields", rule 8;
    /// The protocol is not `TCP4`, `TCP6` or `UNKNOWN`.
    V1Protocol = "v1-protocol", rule 9;
    /// Not an IPv4 address in canonical decimal form.
    V1Ipv4 = "v1-ipv4", rule 10;
    /// Not an IPv6 address.
    V1Ipv6 = "v1-ipv6", rule 11;
    /// An address is not of the family that the header names.
    V1Family = "v1-family", rule 12;
    /// Not a port in canonical decimal form.
    V1Port = "v1-port", rule 13;
    /// A CR without LF, or an LF without CR.
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
    /// A TLV is longer than the header, or one or two bytes are left over.
    TlvOverrun = "tlv-overrun", rule 34;
    /// The checksum is wrong, or is not four bytes long.
    ChecksumMismatch = "checksum-mismatch", rule 36;
    /// The unique id is longer than 128 bytes.
    UniqueIdTooLong = "unique-id-too-long", rule 38;
    /// The SSL TLV is too short, or its sub-TLVs are longer than it is.
    SslTlv = "ssl-tlv", rule 39;
    /// The SSL TLV says that the client used TLS, but not which version.
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
    /// There is no route to the upstream, or connecting failed otherwise.
    UpstreamUnreachable = "upstream-unreachable";
    /// Every local port for the upstream is in use or in `TIME_WAIT`.
    NoLocalPort = "no-local-port";

    /// Our own connection to the upstream came back to us, since nothing else has that address.
    UpstreamLoop = "upstream-loop";
    /// The upstream should see the client's address, but it is of the other family, or not a host's.
    ClientAddress = "client-address";

    // The relay.
    /// The client reset the connection, or no longer responds.
    ClientReset = "client-reset";
    /// The upstream reset the connection, or no longer responds.
    UpstreamReset = "upstream-reset";
    /// No data was transferred for the idle time.
    IdleTimeout = "idle-timeout";
    /// The connection was still open at the end of the drain time.
    DrainTimeout = "drain-timeout";
    /// A system call failed for which there is no other reason; the log has the error.
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
