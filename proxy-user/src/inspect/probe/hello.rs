//! A TLS client's hello, to see whether a server answers it with a handshake.
//!
//! It offers TLS 1.2 and 1.3 with what every server of the last ten years has. Nothing in it is
//! secret or random: no handshake is ever finished with it.

use std::net::IpAddr;

/// Record type of a handshake.
pub const HANDSHAKE: u8 = 0x16;
/// Record type of an alert.
pub const ALERT: u8 = 0x15;

const RANDOM: [u8; 32] = *b"foreword probe: hello, no secret";

/// TLS 1.3's three, then the usual ones of TLS 1.2.
const CIPHERS: [u16; 13] = [
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0x009c, 0x009d,
    0x002f,
];
/// x25519, secp256r1, secp384r1.
const GROUPS: [u16; 3] = [0x001d, 0x0017, 0x0018];
/// ECDSA, RSA-PSS and PKCS #1 with SHA-256, SHA-384 and SHA-512; Ed25519.
const SIGNATURES: [u16; 10] =
    [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0603, 0x0806, 0x0601, 0x0807];

/// A public key for x25519: the curve's base point, which is as good as any.
const KEY_SHARE: [u8; 32] = {
    let mut key = [0; 32];
    key[0] = 9;
    key
};

/// The hello in one record, for a server called `host`; an IP address is not named in it.
pub fn client_hello(host: &str) -> Vec<u8> {
    let body = [
        &[0x03, 0x03][..],
        &RANDOM,
        &short(&[0; 32]),
        &long(&words(&CIPHERS)),
        &short(&[0]),
        &long(&extensions(host)),
    ]
    .concat();
    let mut message = vec![0x01, 0];
    message.extend(long(&body));
    let mut record = vec![HANDSHAKE, 0x03, 0x01];
    record.extend(long(&message));
    record
}

fn extensions(host: &str) -> Vec<u8> {
    let mut all = Vec::new();
    if host.parse::<IpAddr>().is_err() {
        let name = [&[0][..], &long(host.as_bytes())].concat();
        all.extend(extension(0x0000, &long(&name)));
    }
    all.extend(extension(0x000a, &long(&words(&GROUPS))));
    all.extend(extension(0x000b, &short(&[0])));
    all.extend(extension(0x000d, &long(&words(&SIGNATURES))));
    // Extended master secret: some servers insist on it with TLS 1.2.
    all.extend(extension(0x0017, &[]));
    all.extend(extension(0x002b, &short(&words(&[0x0304, 0x0303]))));
    all.extend(extension(0x002d, &short(&[1])));
    let share = [&words(&GROUPS[..1])[..], &long(&KEY_SHARE)].concat();
    all.extend(extension(0x0033, &long(&share)));
    all.extend(extension(0xff01, &short(&[])));
    all
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &long(body)].concat()
}

fn words(all: &[u16]) -> Vec<u8> {
    all.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Bytes with their length in front, in one byte.
fn short(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("lists of ours are short");
    [&[length][..], bytes].concat()
}

/// Bytes with their length in front, in two bytes.
fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a host name is at most 255 bytes");
    [&length.to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte by byte, as RFC 8446 has it.
    const GOLDEN: &[u8] = b"\x16\x03\x01\x00\xe9\x01\x00\x00\xe5\x03\x03\
        foreword probe: hello, no secret\
        \x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
        \x00\x1a\x13\x01\x13\x02\x13\x03\xc0\x2b\xc0\x2f\xc0\x2c\xc0\x30\xcc\xa9\xcc\xa8\xc0\x13\
        \x00\x9c\x00\x9d\x00\x2f\
        \x01\x00\
        \x00\x82\
        \x00\x00\x00\x10\x00\x0e\x00\x00\x0bexample.org\
        \x00\x0a\x00\x08\x00\x06\x00\x1d\x00\x17\x00\x18\
        \x00\x0b\x00\x02\x01\x00\
        \x00\x0d\x00\x16\x00\x14\x04\x03\x08\x04\x04\x01\x05\x03\x08\x05\x05\x01\x06\x03\x08\x06\
        \x06\x01\x08\x07\
        \x00\x17\x00\x00\
        \x00\x2b\x00\x05\x04\x03\x04\x03\x03\
        \x00\x2d\x00\x02\x01\x01\
        \x00\x33\x00\x26\x00\x24\x00\x1d\x00\x20\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\0\
        \xff\x01\x00\x01\x00";

    #[test]
    fn the_hello_is_byte_for_byte_as_meant() {
        let hello = client_hello("example.org");
        assert_eq!(hello.escape_ascii().to_string(), GOLDEN.escape_ascii().to_string());
    }

    #[test]
    fn an_address_is_no_server_name() {
        let named = client_hello("example.org").len();
        for host in ["192.0.2.1", "2001:db8::1"] {
            let hello = client_hello(host);
            assert_eq!(hello.len(), named - (4 + 5 + "example.org".len()), "{host}");
            assert!(!hello.windows(host.len()).any(|part| part == host.as_bytes()));
        }
    }
}
