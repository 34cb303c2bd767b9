//! A few lines of hex with one byte pointed at.

use std::fmt;

/// Bytes on one line.
const ROW: usize = 16;

/// The line that holds byte `offset`, the line before, and a mark below that byte:
///
/// ```text
/// 0010  2e 32 2e 31 20 31 39 32 2e 30 2e 32 2e 37 20 34  .2.1 192.0.2.7 4
/// 0020  30 30 30 30 20 2b 38 30 0d 0a                    0000 +80..
///                      ^^
/// ```
///
/// An offset at the bytes' end marks where the next byte would be.
#[derive(Clone, Copy, Debug)]
pub struct Dump<'a> {
    /// The bytes from the first on.
    pub bytes: &'a [u8],
    /// The byte to point at.
    pub offset: usize,
}

impl fmt::Display for Dump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let marked = self.offset / ROW;
        for row in marked.saturating_sub(1)..=marked {
            let start = (row * ROW).min(self.bytes.len());
            let end = (start + ROW).min(self.bytes.len());
            write_row(f, row * ROW, &self.bytes[start..end])?;
        }
        // Four digits of the offset, two spaces, three columns for each byte.
        writeln!(f, "{:indent$}^^", "", indent = 6 + 3 * (self.offset % ROW))
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, offset: usize, bytes: &[u8]) -> fmt::Result {
    write!(f, "{offset:04x} ")?;
    for byte in bytes {
        write!(f, " {byte:02x}")?;
    }
    if !bytes.is_empty() {
        write!(f, "{:padding$}", "", padding = 3 * (ROW - bytes.len()) + 2)?;
    }
    for &byte in bytes {
        let shown = if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '.' };
        write!(f, "{shown}")?;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(bytes: &[u8], offset: usize) -> String {
        Dump { bytes, offset }.to_string()
    }

    #[test]
    fn the_line_before_the_line_and_the_mark() {
        let bytes = b"PROXY TCP4 192.0.2.1 192.0.2.7 40000 +80\r\nGET / HTTP/1.0\r\n";
        assert_eq!(
            dump(bytes, 37).lines().collect::<Vec<_>>(),
            [
                "0010  2e 32 2e 31 20 31 39 32 2e 30 2e 32 2e 37 20 34  .2.1 192.0.2.7 4",
                "0020  30 30 30 30 20 2b 38 30 0d 0a 47 45 54 20 2f 20  0000 +80..GET / ",
                "                     ^^",
            ]
        );
    }

    #[test]
    fn the_first_line_has_none_before() {
        assert_eq!(
            dump(b"\r\n\x1b[", 2),
            "0000  0d 0a 1b 5b                                      ...[\n            ^^\n"
        );
    }

    #[test]
    fn the_end_is_marked_where_the_next_byte_would_be() {
        assert_eq!(
            dump(&[b'a'; 16], 16),
            "0000  61 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61  aaaaaaaaaaaaaaaa\n\
             0010 \n      ^^\n"
        );
        assert_eq!(dump(b"", 0), "0000 \n      ^^\n");
    }
}
