//! Bytes written as hex text, in the forms in which people copy them.

/// Why a text is no hex; places are counted in characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// A character that is neither a digit nor a separator.
    #[error("character {place} is {}; write hex digits in pairs", .found.escape_debug())]
    NoDigit {
        /// The character.
        found: char,
        /// Where it stands.
        place: usize,
    },
    /// A digit stands alone.
    #[error("the digit at character {place} has no second one; write each byte as two digits")]
    Odd {
        /// Where it stands.
        place: usize,
    },
}

/// Reads `0d0a`, `0d 0a`, `0d:0a`, `0x0d, 0x0a`, `\x0d\x0a` and mixtures of them, over any number
/// of lines.
pub fn parse(text: &str) -> Result<Vec<u8>, HexError> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut characters = (1..).zip(text.chars()).peekable();
    while let Some((place, high)) = characters.next() {
        let is_prefix = matches!(high, '0' | '\\')
            && characters.next_if(|&(_, next)| matches!(next, 'x' | 'X')).is_some();
        if is_prefix || is_separator(high) {
            continue;
        }
        let digit =
            |found: char, place| found.to_digit(16).ok_or(HexError::NoDigit { found, place });
        let high = digit(high, place)?;
        let low = match characters.next() {
            None => return Err(HexError::Odd { place }),
            Some((_, next)) if is_separator(next) => return Err(HexError::Odd { place }),
            Some((place, next)) => digit(next, place)?,
        };
        bytes.extend(u8::try_from(high << 4 | low));
    }
    Ok(bytes)
}

fn is_separator(character: char) -> bool {
    character.is_ascii_whitespace() || matches!(character, ':' | ',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_means_the_same_bytes() {
        for text in [
            "0d0aFF",
            "0D 0a ff",
            "0d:0a:ff",
            "0x0d, 0x0A, 0xff",
            "0X0d0aff",
            r"\x0d\x0a\xff",
            " 0d\n0a\r\n\tff\n",
            "0x0d0x0a0xff",
        ] {
            assert_eq!(parse(text).as_deref(), Ok(&b"\r\n\xff"[..]), "{text}");
        }
        assert_eq!(parse(""), Ok(Vec::new()));
        assert_eq!(parse(" \n"), Ok(Vec::new()));
        assert_eq!(parse("00"), Ok(vec![0]));
    }

    #[test]
    fn whatever_else_is_refused_with_its_place() {
        for (text, error) in [
            ("0g", HexError::NoDigit { found: 'g', place: 2 }),
            ("0d-0a", HexError::NoDigit { found: '-', place: 3 }),
            ("0d \u{1b}", HexError::NoDigit { found: '\u{1b}', place: 4 }),
            (r"0d \n", HexError::NoDigit { found: '\\', place: 4 }),
            ("x0d", HexError::NoDigit { found: 'x', place: 1 }),
            ("é", HexError::NoDigit { found: 'é', place: 1 }),
            ("0d0", HexError::Odd { place: 3 }),
            ("d a", HexError::Odd { place: 1 }),
            ("0xd", HexError::Odd { place: 3 }),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn an_error_reaches_a_terminal_without_control_characters() {
        let message = parse("\u{1b}[2J").unwrap_err().to_string();
        assert_eq!(message, r"character 1 is \u{1b}; write hex digits in pairs");
    }
}
