//! The decoded as people read it: a line for each part, named in the first column.

use std::fmt;

use super::{
    Checksum, Decoded, DecodedHeader, DecodedTlv, IncompleteHeader, InvalidHeader, NotAHeader,
    Payload,
};
use crate::header::Limits;

impl fmt::Display for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid(header) => header.fmt(f),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Incomplete(incomplete) => incomplete.fmt(f),
            Self::NotAHeader(other) => other.fmt(f),
        }
    }
}

impl fmt::Display for DecodedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "version      {}", self.version)?;
        writeln!(f, "command      {}", self.command)?;
        writeln!(f, "transport    {}", self.transport)?;
        match (&self.client, &self.destination) {
            (Some(client), Some(destination)) => {
                writeln!(f, "client       {client} → {destination}")?;
            }
            _ => writeln!(f, "client       not stated: the connection's own addresses count")?,
        }
        write_length(f, self.length)?;
        if self.skipped > 0 {
            writeln!(f, "skipped      {}, which are no TLVs", Bytes(self.skipped))?;
        }
        for tlv in &self.tlvs {
            writeln!(f, "tlv          {tlv}")?;
            for field in &tlv.fields {
                writeln!(f, "               {field}")?;
            }
        }
        let checksum = match self.checksum {
            Checksum::Verified => "verified",
            Checksum::Absent => "absent",
        };
        writeln!(f, "checksum     {checksum}")?;
        self.payload.fmt(f)
    }
}

fn write_length(f: &mut fmt::Formatter<'_>, length: usize) -> fmt::Result {
    write!(f, "length       {}", Bytes(length))?;
    let usual = Limits::default().max_header;
    if length > usual {
        write!(f, ", more than the {usual} that attach takes without --max-header")?;
    }
    writeln!(f)
}

impl fmt::Display for DecodedTlv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x} {}, {}", self.kind, self.name, Bytes(self.length))?;
        if self.meaning.is_empty() { Ok(()) } else { write!(f, ": {}", self.meaning) }
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "payload      {}", Bytes(self.length))?;
        if self.more {
            f.write_str(" and more, which were not read")?;
        }
        if self.length > 0 {
            write!(f, ": \"{}\"", self.preview)?;
        }
        writeln!(f)?;
        match &self.second_header {
            Some(second) => writeln!(f, "             looks like a second header: {second}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "invalid      {}", self.reason)?;
        writeln!(f, "rule         {}", self.rule.as_deref().unwrap_or("none of the protocol's"))?;
        writeln!(f, "offset       {}", self.offset)?;
        writeln!(f, "expected     {}", self.expected)?;
        writeln!(f)?;
        f.write_str(&self.dump)
    }
}

impl fmt::Display for IncompleteHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "incomplete   {}", Bytes(self.length))?;
        writeln!(f, "awaited      {}", self.awaited)
    }
}

impl fmt::Display for NotAHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no header    byte {} fits neither version's signature", self.offset)?;
        self.payload.fmt(f)
    }
}

struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} byte{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}
