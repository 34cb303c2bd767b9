//! Where bytes come from, what is printed, and the exit code.

use std::fs;

use serde_json::Value;

use crate::{Run, foreword};

/// A TCP over IPv4 header with an Azure TLV.
const HEX: &str = "0d0a0d0a000d0a515549540a 21 11 0014 c0000201 c6336407 9c40 01bb \
                   ee0005 0104030201";
const RAW: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x14\
    \xc0\x00\x02\x01\xc6\x33\x64\x07\x9c\x40\x01\xbb\xee\x00\x05\x01\x04\x03\x02\x01";
const ACCOUNT: &str = "\
version      v2
command      PROXY
transport    TCP4
client       192.0.2.1:40000 → 198.51.100.7:443
length       36 bytes
tlv          0xee Azure private link, 5 bytes: link 16909060
checksum     absent
payload      0 bytes
";

fn assert_account(run: &Run) {
    assert_eq!((run.code, run.stderr.as_str(), run.stdout.as_str()), (0, "", ACCOUNT));
}

#[test]
fn the_same_bytes_from_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (raw, hex) = (file("raw", RAW), file("hex", HEX.as_bytes()));
    let words: Vec<_> = ["decode"].into_iter().chain(HEX.split_whitespace()).collect();
    assert_account(&foreword(&["decode", HEX], b""));
    assert_account(&foreword(&words, b""));
    assert_account(&foreword(&["decode"], RAW));
    assert_account(&foreword(&["decode", "-"], RAW));
    assert_account(&foreword(&["decode", "--hex"], HEX.as_bytes()));
    assert_account(&foreword(&["decode", "--file", &raw], b""));
    assert_account(&foreword(&["decode", "--file", &hex, "--hex"], b""));
}

#[test]
fn hex_is_never_guessed() {
    let run = foreword(&["decode"], HEX.as_bytes());
    assert_eq!(run.code, 1);
    assert!(run.stdout.starts_with("no header    byte 0 fits"), "{}", run.stdout);
}

#[test]
fn an_invalid_header_is_a_failure_with_its_rule() {
    let run = foreword(&["decode"], b"PROXY TCP4 192.0.2.1 192.0.2.256 1 2\r\n");
    assert_eq!((run.code, run.stderr.as_str()), (1, ""));
    assert_eq!(
        run.stdout,
        "\
invalid      v1-ipv4
rule         pp10
offset       21
expected     four numbers from 0 to 255 without leading zeros, joined by dots

0000  50 52 4f 58 59 20 54 43 50 34 20 31 39 32 2e 30  PROXY TCP4 192.0
0010  2e 32 2e 31 20 31 39 32 2e 30 2e 32 2e 32 35 36  .2.1 192.0.2.256
                     ^^
"
    );
}

#[test]
fn beginnings_and_strangers_are_failures() {
    let run = foreword(&["decode", "0d0a0d0a00"], b"");
    assert_eq!((run.code, run.stderr.as_str()), (1, ""));
    let awaited = "incomplete   5 bytes\nawaited      7 more bytes of the v2 signature\n";
    assert_eq!(run.stdout, awaited);
    let run = foreword(&["decode"], b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!((run.code, run.stderr.as_str()), (1, ""));
}

#[test]
fn a_limit_can_be_set() {
    let run = foreword(&["decode", "--max-header", "35", HEX], b"");
    assert_eq!(run.code, 1);
    assert!(run.stdout.starts_with("invalid      header-too-long\n"), "{}", run.stdout);
    assert_eq!(foreword(&["decode", "--max-header", "36", HEX], b"").code, 0);
}

#[test]
fn for_programs() {
    let run = foreword(&["decode", "--json", HEX], b"");
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &json["outcome"]), (0, &"valid".into()));
    assert_eq!(json["tlvs"][0]["meaning"], "link 16909060");
    let run = foreword(&["decode", "--json"], b"PROXY x\r\n");
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &json["rule"]), (1, &"pp09".into()));
}

#[test]
fn reading_is_bounded() {
    let mut bytes = RAW.to_vec();
    bytes.resize((1 << 20) + 1, b'x');
    let run = foreword(&["decode"], &bytes);
    assert_eq!(run.code, 0);
    let payload = format!("payload      {} bytes and more, which were not read: ", (1 << 20) - 36);
    assert!(run.stdout.contains(&payload), "{}", run.stdout);
    let run = foreword(&["decode", "--hex"], &vec![b'0'; (1 << 20) + 2]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    let run = foreword(&["decode", "--file", "/dev/zero"], b"");
    assert_eq!((run.code, run.stderr.as_str()), (1, ""));
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for (arguments, message) in [
        (
            &["decode", "0g"][..],
            "error: the hex text is not valid: character 2 is g; write hex digits in pairs\n",
        ),
        (
            &["decode", "\u{1b}[2J"],
            "error: the hex text is not valid: character 1 is \\u{1b}; write hex digits in pairs\n",
        ),
        (
            &["decode", "--max-header", "15", HEX],
            "error: --max-header '15' is not valid; write a number of bytes from 16 to 65551\n",
        ),
    ] {
        let run = foreword(arguments, b"");
        assert_eq!((run.code, run.stdout.as_str()), (2, ""));
        assert_eq!(run.stderr, message);
    }
    assert_eq!(foreword(&["decode", "00", "--file", "x"], b"").code, 2);
}

#[test]
fn a_file_that_is_not_there() {
    let run = foreword(&["decode", "--file", "/nonexistent/\u{1b}[2J"], b"");
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    let message = "error: cannot read '/nonexistent/\\u{1b}[2J': No such file or directory";
    assert!(run.stderr.starts_with(message), "{}", run.stderr);
}

/// Whatever a peer sent, a terminal gets printable text.
#[test]
fn no_control_character_is_printed() {
    let header = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x0b\x02\x00\x08\x1b[2J\xc2\x9b\x07\x7f";
    for bytes in [&header[..], b"PROXY \x1b[2J\x07\r\n", b"\x1b[2J", b"PROXY UNKNOWN\r\n\x1b[2J"] {
        for arguments in [&["decode"][..], &["decode", "--json"]] {
            let run = foreword(arguments, bytes);
            let raw = run.stdout.chars().find(|&c| c != '\n' && c.is_control());
            assert_eq!(raw, None, "{:?}", run.stdout);
        }
    }
}
