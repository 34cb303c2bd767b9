use super::*;

#[test]
fn a_mapped_peer_meets_ipv4_rules() {
    let peer = PeerAddr::new("[::ffff:10.1.2.3]:80".parse().unwrap());
    assert_eq!(peer.to_string(), "10.1.2.3:80");
    let range: Cidr = "10.0.0.0/8".parse().unwrap();
    assert!(range.contains(peer.ip()));
    assert!(range.contains("::ffff:10.1.2.3".parse().unwrap()));
    assert!(!range.contains("11.0.0.1".parse().unwrap()));
}

#[test]
fn only_what_we_connect_to_keeps_its_scope() {
    let address = "[fe80::b%7]:80".parse().unwrap();
    assert_eq!(UpstreamAddr::new(address).get(), address);
    assert_eq!(PeerAddr::new(address).to_string(), "[fe80::b]:80");
    let mapped = UpstreamAddr::new("[::ffff:10.1.2.3]:80".parse().unwrap());
    assert_eq!(mapped.to_string(), "10.1.2.3:80");
}

#[test]
fn a_client_that_is_no_host_cannot_be_a_source() {
    let can =
        |ip: &str| can_be_a_source(ClientAddr::new(SocketAddr::new(ip.parse().unwrap(), 4711)));
    for ip in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.254",
        "224.0.0.1",
        "239.255.255.255",
        "255.255.255.255",
        "169.254.77.1",
        "169.254.77.2",
        "::",
        "::1",
        "ff00::",
        "ff02::1",
        "ff0e::101",
        "fe80::1",
        "febf::1",
        "::ffff:0.0.0.0",
        "::ffff:127.0.0.1",
        "::ffff:224.0.0.1",
        "::ffff:255.255.255.255",
    ] {
        assert!(!can(ip), "{ip}");
    }
    for ip in [
        "1.0.0.1",
        "10.0.0.1",
        "169.254.1.1",
        "192.0.2.255",
        "240.0.0.1",
        "255.255.255.254",
        "::2",
        "2001:db8::1",
        "fd00::1",
        "fec0::1",
        "::ffff:192.0.2.1",
    ] {
        assert!(can(ip), "{ip}");
    }
}

#[test]
fn a_bare_address_is_a_range_of_one() {
    let range: Cidr = "fd00::1".parse().unwrap();
    assert!(range.contains("fd00::1".parse().unwrap()));
    assert!(!range.contains("fd00::2".parse().unwrap()));
}

#[test]
fn clients_are_told_apart_by_as_many_bits() {
    let client = |length, address: &str| {
        Ipv6Prefix::new(length).unwrap().client(address.parse().unwrap()).to_string()
    };
    assert_eq!(client(64, "2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(client(63, "2001:db8:1:3:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(client(1, "ffff::1"), "8000::");
    assert_eq!(client(127, "2001:db8::7"), "2001:db8::6");
    assert_eq!(client(128, "2001:db8::7"), "2001:db8::7");
    for address in ["192.0.2.7", "::ffff:192.0.2.7"] {
        assert_eq!(client(1, address), "192.0.2.7");
    }
    for length in [0, 129, 255] {
        assert_eq!(Ipv6Prefix::new(length), None);
    }
}

proptest::proptest! {
    /// The programs count by the same networks.
    #[test]
    fn the_programs_agree(bits: u128, length in 1..=128u8, is_mapped: bool) {
        let bits = if is_mapped { 0xffff << 32 | bits & 0xffff_ffff } else { bits };
        let ours = Ipv6Prefix::new(length).unwrap().client(Ipv6Addr::from_bits(bits).into());
        let theirs = proxy_common::abi::network(bits.to_be_bytes(), length.into());
        assert_eq!(ours, Ipv6Addr::from(theirs).to_canonical());
    }
}

#[test]
fn long_lists_are_cut_short() {
    let ranges = |count: u8| -> Vec<Cidr> {
        (0..count).map(|number| format!("10.0.0.{number}").parse().unwrap()).collect()
    };
    assert_eq!(list(&ranges(0)), "");
    assert_eq!(list(&ranges(2)), "10.0.0.0/32, 10.0.0.1/32");
    assert!(list(&ranges(9)).ends_with("10.0.0.7/32, 10.0.0.8/32"));
    assert!(list(&ranges(10)).ends_with("10.0.0.7/32, and 2 more"));
    assert!(list(&ranges(250)).ends_with(", and 242 more"));
}

#[test]
fn host_bits_are_refused_with_both_readings() {
    let error = "10.1.2.3/8".parse::<Cidr>().unwrap_err().to_string();
    assert!(error.contains("10.0.0.0/8") && error.contains("10.1.2.3"), "{error}");
}

#[test]
fn no_range_at_all_is_refused() {
    for text in ["", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "lb", "10.0.0.0/ 8"] {
        assert_eq!(text.parse::<Cidr>(), Err(CidrError::Syntax(text.to_owned())), "{text}");
    }
}
