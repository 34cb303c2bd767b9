//! Connections whose sockets the kernel refuses to watch: refused, and counted as any other.

use std::sync::atomic::{AtomicUsize, Ordering};

use netlab::{Backend, Client, Family, Lab, PORT, Reply, echo, lab};
use nix::libc;

use crate::FOREWORD;
use crate::fault::{self, Call, Consequence, During, Fault};

/// Whether a client gets an echo; if not, it is cut off, which it may learn as early as from its connect.
fn is_served(lab: &Lab, family: Family, backend: &Backend) -> bool {
    let Ok(mut client) = Client::try_connect(&lab.client, family.lb(), backend.address()) else {
        return false;
    };
    client.offer(b"hello");
    let reply = client.rest_after_offer();
    if reply == Reply::ended(b"hello") {
        return true;
    }
    reply.assert_cut("one that is not served");
    false
}

/// Enough for one of them to meet the fault.
const CLIENTS: usize = 10;
/// Those after it.
const MORE: usize = 2;

#[apply(both_families)]
fn a_connection_that_can_not_be_watched_is_refused_and_counted(family: Family) {
    const CALLS: [Call; 1] = [(libc::SYS_epoll_ctl, "epoll_ctl")];
    let lab = lab();
    let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    let flags = format!(
        "attach eth0 --port {PORT} --inbound off --outbound none --workers 1 --admin-socket none"
    );
    let flags: Vec<_> = flags.split_whitespace().collect();
    // The first is for the upstream's socket, the second for the client's.
    for (number, socket) in [(0, "upstream"), (1, "client")] {
        let (during, consequence) = (During::Relaying, Consequence::Refusal);
        let fault = Fault { during, calls: &CALLS, number, consequence };
        let (served, cut) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let ended = fault::run(&lab.node, FOREWORD.path(), &flags, fault, |running| {
            running.count_from_now();
            let try_one = || {
                let is_served = is_served(&lab, family, &backend);
                if is_served { &served } else { &cut }.fetch_add(1, Ordering::Relaxed);
                is_served
            };
            let _ = (0..CLIENTS).all(|_| try_one());
            for _ in 0..MORE {
                try_one();
            }
        });
        let served = served.into_inner();
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!((ended.failed, cut.into_inner()), (Some("epoll_ctl"), 1), "{socket}: {said}");
        // The run has not waited for a connection that was nowhere.
        assert_eq!(ended.code, Some(0), "{socket}: {said}");
        let summary = format!("{} connections: {served} relayed", served + 1);
        assert!(said.contains(&summary), "{socket}: {said}");
        assert!(said.contains("       1  internal"), "{socket}: {said}");
    }
}
