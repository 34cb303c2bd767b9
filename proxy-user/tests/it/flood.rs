//! A legitimate client during a SYN flood, with the guard and without it.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use netlab::header::named_headers;
use netlab::{Client, Daemon, Family, Foreword, Lab, REQUIRE, Reply, Scene, echo, join};
use socket2::{Domain, Protocol, Socket, Type};

use crate::FOREWORD;
use crate::maps::{dropped, packets};

const FLOOD: Duration = Duration::from_secs(5);
/// Of a thousand connections, none may fail; of fewer, neither.
const AT_LEAST: f64 = 0.999;

/// Where the guard stands, or that it is off.
const GUARDS: [&str; 3] = ["--guard-hook native", "--guard-hook tc", "--guard off"];

#[apply(both_families)]
fn a_legitimate_client_is_served(family: Family) {
    for guard in GUARDS {
        let scene = FOREWORD.scene_serving(family, &[REQUIRE, "--outbound none", guard], echo);
        let before = turned_away(&scene.foreword);
        let (sent, decoded) = during_flood(&scene, || serve_until(&scene, Instant::now() + FLOOD));
        let seconds = FLOOD.as_secs();
        sleep(Duration::from_secs(1));
        let dropped = turned_away(&scene.foreword) - before;
        let cookies = packets(&scene.foreword, "steered_cookie");
        say(&format!(
            "flood {family:?} {guard}: {} SYN/s, {} dropped/s; {} of {} connections served, {} by \
             SYN cookie, the slowest in {:.1?}",
            sent / seconds,
            dropped / seconds,
            decoded.served,
            decoded.tried,
            cookies,
            decoded.slowest,
        ));
        assert!(sent > 5_000, "{guard}: a flood of {sent} is none");
        let ratio = f64::from(decoded.served) / f64::from(decoded.tried);
        assert!(ratio >= AT_LEAST, "{guard}: {decoded:?}, {}", scene.foreword.output());
        if guard != "--guard off" {
            assert!(dropped > 5_000, "{guard}: {dropped} of {sent} were turned away");
        }
    }
}

fn turned_away(foreword: &Foreword) -> u64 {
    dropped(foreword, "untrusted-source")
}

/// What became of the legitimate client.
#[derive(Debug, Default)]
struct Decoded {
    tried: u32,
    served: u32,
    slowest: Duration,
    /// What became of those that weren't served, the first of them.
    failures: Vec<String>,
}

/// Connects and talks, one connection after the other.
fn serve_until(scene: &Scene, end: Instant) -> Decoded {
    let [_, header] = named_headers(scene.family);
    let mut decoded = Decoded::default();
    while Instant::now() < end {
        let begin = Instant::now();
        decoded.tried += 1;
        match serve(scene, &header) {
            Ok(()) => {
                decoded.served += 1;
                decoded.slowest = decoded.slowest.max(begin.elapsed());
            }
            Err(failure) if decoded.failures.len() < 10 => decoded.failures.push(failure),
            Err(_) => {}
        }
    }
    decoded
}

/// One connection, or how it failed: it may be reset at any moment.
fn serve(scene: &Scene, header: &[u8]) -> Result<(), String> {
    let from = scene.family.lb();
    let connected = Client::try_connect(&scene.lab.client, from, scene.vip());
    let mut client = connected.map_err(|error| format!("cannot connect: {error}"))?;
    client.offer(&join(header, b"hello"));
    match client.rest_after_offer() {
        reply if reply == Reply::ended(b"hello") => Ok(()),
        reply => Err(format!("{reply:?} after {:?}", client.address())),
    }
}

/// Floods while `work` runs, and says how many first packets were sent: by hping3 where it can,
/// which is in IPv4; from addresses that nobody has.
pub fn during_flood<T: Send>(scene: &Scene, work: impl FnOnce() -> T + Send) -> (u64, T) {
    match scene.family {
        Family::V4 => {
            let before = received(&scene.lab);
            let mut hping = scene.lab.client.command("hping3");
            hping.args(["--quiet", "--syn", "--destport", "80", "--rand-source"]);
            hping.args(["--interval", "u20", &scene.vip().ip().to_string()]);
            let mut flooding = Daemon::start("hping3", hping).expect("hping3 is installed");
            let result = work();
            flooding.terminate().expect("it ends after SIGTERM");
            (received(&scene.lab) - before, result)
        }
        Family::V6 => {
            let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
            let to = scene.vip();
            let result = scope(|scope| {
                scope.spawn(|| {
                    scene.lab.client.run(|| flood(to, &over, &sent)).expect("it is sent");
                });
                let result = work();
                over.store(true, Ordering::Relaxed);
                result
            });
            (sent.into_inner(), result)
        }
    }
}

/// Packets that the node's card has taken in so far.
fn received(lab: &Lab) -> u64 {
    let path = "/proc/thread-self/net/dev";
    let table = lab.node.run(|| std::fs::read_to_string(path)).expect("it can be read");
    let line = table.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
    let packets = line.and_then(|line| line.split_whitespace().nth(1));
    packets.and_then(|packets| packets.parse().ok()).expect("a counter of packets")
}

/// Sends first packets over IPv6 until told to stop, each from another address and port.
fn flood(to: SocketAddr, over: &AtomicBool, sent: &AtomicU64) -> io::Result<()> {
    const RAW: i32 = 255;
    let IpAddr::V6(destination) = to.ip() else { panic!("hping3 does IPv4") };
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(RAW)))?;
    let address = SocketAddr::new(to.ip(), 0).into();
    for number in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let mut source = [0; 16];
        source[..2].copy_from_slice(&[0xfd, 0x99]);
        source[8..].copy_from_slice(&number.to_be_bytes());
        let port = 1024 + (number % 60_000) as u16;
        socket.send_to(&syn(source, port, destination.octets(), to.port()), &address)?;
        sent.fetch_add(1, Ordering::Relaxed);
        // In bursts of fifty a millisecond, about as hping3 sends.
        if number % 50 == 0 {
            sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// A first packet, with its IPv6 header.
fn syn(source: [u8; 16], source_port: u16, destination: [u8; 16], port: u16) -> Vec<u8> {
    const TCP: u8 = 6;
    const LENGTH: u8 = 20;
    let mut tcp = Vec::from(source_port.to_be_bytes());
    tcp.extend(port.to_be_bytes());
    tcp.extend([0, 0, 0, 1, 0, 0, 0, 0, LENGTH << 2, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    let pseudo = [&source[..], &destination, &[0, 0, 0, LENGTH, 0, 0, 0, TCP], &tcp].concat();
    tcp[16..18].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let head = [0x60, 0, 0, 0, 0, LENGTH, TCP, 64];
    [&head[..], &source, &destination, &tcp].concat()
}

/// The Internet checksum, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).expect("folded")
}

/// Past the harness's capture: the numbers are part of the suite's output.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
