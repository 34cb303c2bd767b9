//! Names of TLV types, and values in words, for people who look at a header. Nothing is decided by
//! them.

use std::fmt;

use super::{Ssl, Tlv, kind};

/// How many bytes are shown in hex at most.
const SHOWN: usize = 64;

/// The name of a type at the top level of a header, or the name of the range that it is in (pp42).
pub const fn kind_name(kind: u8) -> &'static str {
    match kind {
        kind::ALPN => "ALPN",
        kind::AUTHORITY => "AUTHORITY",
        kind::CRC32C => "CRC32C",
        kind::NOOP => "NOOP",
        kind::UNIQUE_ID => "UNIQUE_ID",
        kind::SSL => "SSL",
        kind::NETNS => "NETNS",
        0xE0..=0xEF => custom_kind_name(kind),
        0xF0..=0xF7 => "experimental",
        0xF8..=0xFF => "reserved for the future",
        _ => "unassigned",
    }
}

const fn custom_kind_name(kind: u8) -> &'static str {
    match kind {
        kind::GOOGLE => "Google PSC connection",
        kind::ALIBABA => "Alibaba private link",
        kind::AWS => "AWS VPC endpoint",
        kind::AZURE => "Azure private link",
        _ => "custom",
    }
}

/// The name of a type inside an SSL TLV.
pub const fn ssl_kind_name(kind: u8) -> &'static str {
    match kind {
        kind::SSL_VERSION => "version",
        kind::SSL_COMMON_NAME => "common name",
        kind::SSL_CIPHER => "cipher",
        kind::SSL_SIGNATURE_ALGORITHM => "signature algorithm",
        kind::SSL_KEY_ALGORITHM => "key algorithm",
        kind::SSL_GROUP => "group",
        kind::SSL_SIGNATURE_SCHEME => "signature scheme",
        kind::SSL_CLIENT_CERTIFICATE => "client certificate",
        _ => "unassigned",
    }
}

/// What a cloud's load balancer says about where a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor<'a> {
    /// AWS: the VPC endpoint's id, such as `vpce-08d2bf15fac5001c9`.
    AwsVpcEndpoint(&'a str),
    /// Azure: the private endpoint's link id.
    AzurePrivateLink(u32),
    /// Google: the Private Service Connect connection's id.
    GooglePscConnection(u64),
    /// Alibaba: the id of the VPC that the client is in, such as `vpc-2zes0k1m…`.
    AlibabaVpc(&'a str),
    /// Alibaba: the endpoint's id, such as `ep-hp33b2e4…`.
    AlibabaEndpoint(&'a str),
    /// Alibaba: the endpoint service's id, such as `epsrv-hp3vpx8y…`.
    AlibabaEndpointService(&'a str),
}

impl<'a> Vendor<'a> {
    /// Reads a vendor's field; `None` if the kind is no vendor's or the value not of its shape.
    /// Kinds 0xE0 to 0xEF are anybody's, so the shape is a hint and no proof.
    pub fn parse(tlv: Tlv<'a>) -> Option<Self> {
        match (tlv.kind, tlv.value) {
            (kind::AWS, [1, id @ ..]) => Some(Self::AwsVpcEndpoint(ascii(id)?)),
            (kind::ALIBABA, [1, id @ ..]) => Some(Self::AlibabaVpc(ascii(id)?)),
            (kind::ALIBABA, [2, id @ ..]) => Some(Self::AlibabaEndpoint(ascii(id)?)),
            (kind::ALIBABA, [3, id @ ..]) => Some(Self::AlibabaEndpointService(ascii(id)?)),
            (kind::AZURE, &[1, a, b, c, d]) => {
                Some(Self::AzurePrivateLink(u32::from_le_bytes([a, b, c, d])))
            }
            (kind::GOOGLE, value) => {
                Some(Self::GooglePscConnection(u64::from_be_bytes(value.try_into().ok()?)))
            }
            _ => None,
        }
    }
}

/// A non-empty text of printable ASCII.
fn ascii(bytes: &[u8]) -> Option<&str> {
    let printable = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic);
    printable.then(|| str::from_utf8(bytes).ok())?
}

impl fmt::Display for Vendor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwsVpcEndpoint(id) => f.write_str(id),
            Self::AlibabaVpc(id) => write!(f, "VPC {id}"),
            Self::AlibabaEndpoint(id) => write!(f, "endpoint {id}"),
            Self::AlibabaEndpointService(id) => write!(f, "endpoint service {id}"),
            Self::AzurePrivateLink(id) => write!(f, "link {id}"),
            Self::GooglePscConnection(id) => write!(f, "connection {id}"),
        }
    }
}

/// A field in words, on one line without control characters:
/// `0x02 AUTHORITY, 11 bytes: "example.org"`.
pub fn describe(tlv: Tlv<'_>) -> impl fmt::Display {
    Field(tlv)
}

/// A field's value in words, as in [`describe`]; of an SSL field what stands in front of the
/// fields inside. Empty for padding and for an empty value.
pub fn meaning(tlv: Tlv<'_>) -> impl fmt::Display {
    Meaning(tlv)
}

/// The value of a field inside an SSL field in words: text where it is such, else hex. A certificate
/// is never text.
pub fn ssl_meaning(tlv: Tlv<'_>) -> impl fmt::Display {
    SslMeaning(tlv)
}

struct Field<'a>(Tlv<'a>);

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tlv = self.0;
        write_head(f, tlv, kind_name(tlv.kind))?;
        if tlv.value.is_empty() || tlv.kind == kind::NOOP {
            return Ok(());
        }
        write!(f, ": {}", Meaning(tlv))?;
        for inner in ssl(tlv).into_iter().flat_map(|ssl| ssl.fields) {
            f.write_str("; ")?;
            write_head(f, inner, ssl_kind_name(inner.kind))?;
            if !inner.value.is_empty() {
                write!(f, ": {}", SslMeaning(inner))?;
            }
        }
        Ok(())
    }
}

fn write_head(f: &mut fmt::Formatter<'_>, tlv: Tlv<'_>, name: &str) -> fmt::Result {
    let plural = if tlv.value.len() == 1 { "" } else { "s" };
    write!(f, "{:#04x} {name}, {} byte{plural}", tlv.kind, tlv.value.len())
}

/// An SSL field's value. Fields inside it are never asked: SSL does not nest.
fn ssl(tlv: Tlv<'_>) -> Option<Ssl<'_>> {
    if tlv.kind == kind::SSL { Ssl::parse(tlv.value) } else { None }
}

struct Meaning<'a>(Tlv<'a>);

impl fmt::Display for Meaning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tlv = self.0;
        if tlv.value.is_empty() || tlv.kind == kind::NOOP {
            return Ok(());
        }
        if let Some(vendor) = Vendor::parse(tlv) {
            return vendor.fmt(f);
        }
        match ssl(tlv) {
            Some(ssl) => write_ssl(f, ssl),
            None if tlv.kind == kind::CRC32C => write_hex(f, tlv.value),
            None => Opaque(tlv.value).fmt(f),
        }
    }
}

fn write_ssl(f: &mut fmt::Formatter<'_>, ssl: Ssl<'_>) -> fmt::Result {
    let Ssl { client, verify, .. } = ssl;
    write!(f, "client {client:#04x}")?;
    for (bit, meaning) in [
        (Ssl::USED_TLS, "used TLS"),
        (Ssl::CERTIFICATE_ON_CONNECTION, "certificate on this connection"),
        (Ssl::CERTIFICATE_IN_SESSION, "certificate in this session"),
    ] {
        if client & bit != 0 {
            write!(f, ", {meaning}")?;
        }
    }
    write!(f, "; verify {verify}")?;
    f.write_str(if ssl.is_verified() { " (certificate verified)" } else { "" })
}

struct SslMeaning<'a>(Tlv<'a>);

impl fmt::Display for SslMeaning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            kind::SSL_CLIENT_CERTIFICATE => write_hex(f, self.0.value),
            _ => Opaque(self.0.value).fmt(f),
        }
    }
}

/// Text where it is such, else hex.
struct Opaque<'a>(&'a [u8]);

impl fmt::Display for Opaque<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match str::from_utf8(self.0) {
            Ok(text) if !text.chars().any(char::is_control) => write!(f, "{text:?}"),
            _ => write_hex(f, self.0),
        }
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, value: &[u8]) -> fmt::Result {
    for byte in value.iter().take(SHOWN) {
        write!(f, "{byte:02x}")?;
    }
    f.write_str(if value.len() > SHOWN { "…" } else { "" })
}

#[cfg(test)]
mod tests;
