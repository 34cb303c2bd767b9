//! The memory that connections' buffers take: bounded in sum, whoever stops reading. What the sockets
//! hold is asked of the kernel (`ss`), in both namespaces.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use netlab::{
    Backend, Client, Family, Foreword, Lab, OFF, PATIENCE, PORT, Served, lab, output_of, wait_until,
};

use crate::FOREWORD;
use crate::admin::{Run, get};
use crate::bulk::{MEBIBYTE, assert_same_bulk, noise};
use crate::config_file::rule;
use crate::flood::say;
use crate::maps::refused;

/// What each client is sent: more than it reads at first, and more than all buffers on the way hold.
const RESPONSE: usize = 20 * MEBIBYTE;
/// What it reads before it stops, so that buffers have reason to grow.
const READ_FIRST: usize = 4 * MEBIBYTE;
const CLIENTS: usize = 8;
/// So many of them get a place whatever the others take.
const LEAST: usize = 4;
const LIMIT: usize = 32 * MEBIBYTE;
/// What each connection may take beside the limit: four small buffers.
const SLACK: usize = MEBIBYTE / 2;

/// Answers the request with the response, and echoes everything else.
fn pour(response: &[u8], served: &mut Served) {
    while let Some(asked) = served.read() {
        if asked == b"?" {
            let _ = served.stream().set_write_timeout(None);
            served.send(response);
        } else {
            served.send(&asked);
        }
    }
}

/// Clients whose own buffers take little, and a backend that pours.
fn scene(family: Family) -> (Lab, Backend, Vec<u8>) {
    let lab = lab();
    lab.client.sysctl("net/ipv4/tcp_rmem", "4096 524288 524288").expect("root may set it");
    for sysctl in ["net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem"] {
        lab.node.sysctl(sysctl, "4096 131072 6291456").expect("root may set it");
    }
    let response = noise(1, RESPONSE);
    let poured = response.clone();
    let address = SocketAddr::new(family.vip(), PORT);
    let backend = Backend::start(&lab.backend, address, move |served| pour(&poured, served));
    (lab, backend, response)
}

fn run(lab: &Lab, memory: &str) -> Foreword {
    FOREWORD.attach(
        &lab.node,
        &format!("eth0 --port {PORT} {OFF} --outbound none --max-memory {memory}"),
    )
}

/// A client that has begun to read, and what it has read; `None` if it was cut off.
fn begin(lab: &Lab, backend: &Backend) -> Option<(Client, Vec<u8>)> {
    let from = family_of(backend).lb();
    let mut client = Client::try_connect(&lab.client, from, backend.address()).ok()?;
    client.offer(b"?");
    let mut read = vec![0; READ_FIRST];
    client.stream().read_exact(&mut read).ok()?;
    Some((client, read))
}

fn family_of(backend: &Backend) -> Family {
    if backend.address().is_ipv4() { Family::V4 } else { Family::V6 }
}

/// Bytes that the process's sockets hold in the kernel, here and in its private namespace.
fn held(lab: &Lab, foreword: &Foreword) -> usize {
    let private = private_namespace(lab, foreword);
    let mut inside = lab.node.command("nsenter");
    inside.arg(format!("--net={private}")).args(["ss", "-tnmH"]);
    let mut outside = lab.node.command("ss");
    outside.args(["-tnmH"]);
    [inside, outside]
        .map(|command| output_of(command).lines().map(of_line).sum::<usize>())
        .iter()
        .sum()
}

/// What is received and not read, and what is written and not acknowledged, of `skmem:(r…,w…)`.
fn of_line(line: &str) -> usize {
    let Some((_, memory)) = line.split_once("skmem:(") else { return 0 };
    let of = |name: char| {
        let mut values = memory.trim_end().trim_end_matches(')').split(',');
        values.find_map(|value| value.strip_prefix(name)?.parse::<usize>().ok())
    };
    of('r').expect("received bytes") + of('w').expect("written bytes")
}

/// The namespace that the process holds beside its own.
fn private_namespace(lab: &Lab, foreword: &Foreword) -> String {
    let own = fs::metadata(lab.node.path()).expect("the node is there");
    let files = format!("/proc/{}/fd", foreword.pid());
    let own = format!("net:[{}]", std::os::unix::fs::MetadataExt::ino(&own));
    fs::read_dir(files)
        .expect("the process lives")
        .filter_map(|file| Some(file.ok()?.path()))
        .find(|file| {
            let target = fs::read_link(file).unwrap_or_default();
            let target = target.to_string_lossy();
            target.starts_with("net:[") && target != own
        })
        .expect("it has one")
        .display()
        .to_string()
}

/// Waits until what is held changes no more, and says how much it is.
fn settled(lab: &Lab, foreword: &Foreword) -> usize {
    let mut last = usize::MAX;
    wait_until(PATIENCE, "a standstill", || {
        sleep(Duration::from_millis(300));
        let now = held(lab, foreword);
        std::mem::replace(&mut last, now) == now
    })
    .expect("everybody is stuck");
    last
}

#[apply(both_families)]
fn buffers_of_clients_that_stop_reading_are_bounded_in_sum(family: Family) {
    let (lab, backend, response) = scene(family);
    let mut sums = Vec::new();
    for memory in ["none", "32MiB"] {
        let foreword = run(&lab, memory);
        let mut waiting = Client::connect(&lab.client, family.lb(), backend.address());
        waiting.send(b"before");
        assert_eq!(waiting.receive(6), b"before");
        let open: Vec<_> = (0..CLIENTS).filter_map(|_| begin(&lab, &backend)).collect();
        // The last ones may meet a limit that is used up.
        let served = open.len();
        wait_until(PATIENCE, "the count", || {
            refused(&foreword, "memory-limit") == (CLIENTS - served) as u64
        })
        .unwrap_or_else(|error| panic!("{error}: {served} are served: {}", foreword.output()));
        assert!(served >= LEAST && (served == CLIENTS || memory != "none"), "{served} are served");
        sums.push(settled(&lab, &foreword));
        say(&format!("{memory}: {served} clients, {} bytes", sums[sums.len() - 1]));
        waiting.send(b"after");
        assert_eq!(waiting.receive(5), b"after", "one that was open goes on");
        for (mut client, mut read) in open {
            read.extend(client.receive(RESPONSE - READ_FIRST));
            assert_same_bulk(&read, &response);
        }
        drop(waiting);
    }
    let bound = LIMIT + CLIENTS * SLACK;
    assert!(sums[0] > bound, "without a limit: {} is less than {bound}: no test", sums[0]);
    assert!(sums[1] <= bound, "{} is more than {bound}", sums[1]);
}

#[apply(lab_test)]
fn what_takes_all_memory_goes_on_and_the_next_is_refused() {
    let family = Family::V4;
    let (lab, backend, response) = scene(family);
    let run = Run::start(&lab, rule(PORT, "none").with("limits: { memory: 16MiB }"));
    let said = run.foreword.output();
    assert!(said.contains("memory    16.0 MiB for buffers; one connection can take "), "{said}");
    assert_eq!(get(&lab, "/readyz").0, "200");
    let is_served = || {
        let Ok(client) = Client::try_connect(&lab.client, family.lb(), backend.address()) else {
            return false;
        };
        let mut stream = client.stream();
        stream.write_all(b"hello").is_ok() && stream.read_exact(&mut [0; 5]).is_ok()
    };
    let mut stuck = Vec::new();
    while is_served() {
        assert!(stuck.len() < 64, "{} clients take less than the limit", stuck.len());
        stuck.extend(begin(&lab, &backend));
        settled(&lab, &run.foreword);
    }
    wait_until(PATIENCE, "the count", || refused(&run.foreword, "memory-limit") > 0)
        .expect("it is counted");
    let (status, why) = get(&lab, "/readyz");
    let words = "16.0 MiB is the limit: new connections are reset\n";
    assert!(status == "503" && why.ends_with(words), "{status} {why}");
    assert_eq!(get(&lab, "/healthz").0, "200", "a restart would not help");
    let status = String::from_utf8_lossy(&run.ask("status").stdout).into_owned();
    assert!(status.contains(" of 16.0 MiB for buffers"), "{status}");

    for (client, read) in &mut stuck {
        read.extend(client.receive(RESPONSE - READ_FIRST));
        assert_same_bulk(read, &response);
    }
    wait_until(PATIENCE, "a place", is_served).expect("what nobody is stuck in counts no more");
    assert_eq!(get(&lab, "/readyz").0, "200");
    assert_eq!(refused(&run.foreword, "idle-timeout"), 0);
}
