//! Other people's senders and receivers of PROXY headers.

use std::net::SocketAddr;
use std::process::Command;

use netlab::header::{V2_SIGNATURE, named_client, named_headers, v1};
use netlab::{
    Backend, Client, Daemon, Family, Foreword, Lab, Netns, OFF, OPTIONAL, PATIENCE, PORT, REQUIRE,
    Reply, Scratch, assert_same_bytes, http, join, lab, output_of, swallow, text, wait_until,
};

use crate::FOREWORD;

/// Where HAProxy listens as a sender, in the client's namespace.
const FRONT: u16 = 8000;

/// Starts a server and waits until `address` accepts connections.
fn serve(netns: &Netns, program: &str, arguments: &[&str], address: SocketAddr) -> Daemon {
    let mut command = netns.command(program);
    command.args(arguments);
    let mut daemon = Daemon::start(program, command).expect("the program is installed");
    let accepts = || Client::try_connect(netns, address.ip(), address).is_ok();
    wait_until(PATIENCE, program, || accepts() || !daemon.is_running()).expect("it starts");
    assert!(daemon.is_running(), "{program}: {}", daemon.output());
    daemon
}

/// HAProxy at the load balancer's address, sending on to the VIP with `options`.
fn haproxy_sender(lab: &Lab, scratch: &Scratch, family: Family, options: &str) -> Daemon {
    let bind = SocketAddr::new(family.lb(), FRONT);
    let server = SocketAddr::new(family.vip(), PORT);
    let source = SocketAddr::new(family.lb(), 0);
    let configuration = scratch.write(
        "sender.cfg",
        &format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             frontend front\n bind {bind}\n unique-id-format request-0815\n default_backend back\n\
             backend back\n server vip {server} source {source} {options}\n"
        ),
    );
    serve(&lab.client, "haproxy", &["-db", "-f", &configuration.to_string_lossy()], bind)
}

/// One connection through HAProxy: who it was from, and what it sent.
fn through_haproxy(lab: &Lab, family: Family, payload: &[u8]) -> SocketAddr {
    let front = SocketAddr::new(family.lb(), FRONT);
    let mut client = Client::connect(&lab.client, family.stranger(), front);
    let address = client.address();
    client.send(payload);
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    address
}

/// The last connection's bytes. HAProxy's start-up is watched by connections without any.
fn last_received(backend: &Backend, before: usize) -> Vec<u8> {
    wait_until(PATIENCE, "a new connection", || backend.connections() > before)
        .expect("HAProxy connects");
    backend.received(backend.connections() - 1)
}

/// HAProxy → Foreword → backend: the backend is told of the client in front of HAProxy.
/// `sent_directly` inspects what HAProxy sends while Foreword is not there yet.
fn haproxy_sends(family: Family, options: &str, sent_directly: impl Fn(&[u8])) {
    let (lab, scratch) = (lab(), Scratch::new());
    let backend = Backend::start(&lab.backend, SocketAddr::new(family.vip(), PORT), swallow);
    let _haproxy = haproxy_sender(&lab, &scratch, family, options);

    let before = backend.connections();
    through_haproxy(&lab, family, b"directly");
    sent_directly(&last_received(&backend, before));

    let flags = format!("eth0 --port {PORT} {REQUIRE} --outbound v1");
    let _foreword: Foreword = FOREWORD.attach(&lab.node, &flags);
    let before = backend.connections();
    let client = through_haproxy(&lab, family, b"through Foreword");
    let header = v1(client, SocketAddr::new(family.lb(), FRONT));
    assert_same_bytes(&last_received(&backend, before), &join(&header, b"through Foreword"));
    assert_eq!(backend.recording(before).peer.ip(), family.node_back());
    assert_eq!(backend.connections(), before + 1);
}

#[apply(both_families)]
fn haproxy_sends_v1(family: Family) {
    haproxy_sends(family, "send-proxy", |direct| {
        assert!(direct.starts_with(b"PROXY TCP"), "{}", text(direct));
    });
}

#[apply(both_families)]
fn haproxy_sends_v2(family: Family) {
    haproxy_sends(family, "send-proxy-v2", |direct| {
        assert!(direct.starts_with(&V2_SIGNATURE), "{}", text(direct));
    });
}

#[apply(both_families)]
fn haproxy_sends_v2_with_checksum_and_unique_id(family: Family) {
    let options = "send-proxy-v2 proxy-v2-options crc32c,unique-id";
    haproxy_sends(family, options, |direct| {
        assert!(direct.starts_with(&V2_SIGNATURE), "{}", text(direct));
        let has = |bytes: &[u8]| direct.windows(bytes.len()).any(|window| window == bytes);
        assert!(has(b"\x03\x00\x04"), "CRC32C: {}", text(direct));
        assert!(has(b"\x05\x00\x0crequest-0815"), "unique id: {}", text(direct));
    });
}

/// A URL at the VIP. IPv6 addresses stand in brackets.
fn url(scheme: &str, address: SocketAddr) -> String {
    format!("{scheme}://{address}/")
}

/// `curl` from the load balancer's address.
fn curl(lab: &Lab, family: Family, arguments: &[&str]) -> Command {
    let mut command = lab.client.command("curl");
    let from = family.lb().to_string();
    command.args(["--silent", "--show-error", "--insecure", "--globoff", "--max-time", "10"]);
    command.args(["--interface", &from]).args(arguments);
    command
}

#[apply(both_families)]
fn curl_sends_v1(family: Family) {
    for inbound in [REQUIRE, OPTIONAL] {
        let scene = FOREWORD.scene_serving(family, &[inbound, "--outbound v2"], http);
        let url = url("http", scene.vip());
        assert_eq!(output_of(curl(&scene.lab, family, &["--haproxy-protocol", &url])), "served\n");
        let received = scene.backend.received(0);
        assert!(received.starts_with(&V2_SIGNATURE), "{}", text(&received));
        let request = received.windows(7).position(|bytes| bytes == b"GET / H");
        assert_eq!(request, Some(if family == Family::V4 { 28 } else { 52 }));
    }
}

/// The exit code is curl's own word for it: 52, `Empty reply from server`.
#[apply(both_families)]
fn curl_without_header_gets_an_empty_reply(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[REQUIRE, "--outbound none"], http);
    let output = curl(&scene.lab, family, &[&url("http", scene.vip())]).output();
    let output = output.expect("curl is installed");
    assert_eq!(output.status.code(), Some(52), "{}", String::from_utf8_lossy(&output.stderr));
    scene.assert_no_upstream();
}

/// What both receivers answer with: source address and port from the header; and our own address.
fn ask(lab: &Lab, family: Family, header: &[u8]) -> (String, SocketAddr) {
    let vip = SocketAddr::new(family.vip(), PORT);
    let mut client = Client::connect(&lab.client, family.lb(), vip);
    let address = client.address();
    client.send(&join(header, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    let answer = String::from_utf8(client.rest().bytes).expect("the answer is text");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no body: {answer:?}"));
    (body.to_owned(), address)
}

/// Foreword in front of a running receiver, with each outbound version in turn: the receiver hears
/// of the client that the header names, and without a header of the connection's own.
fn assert_understood(lab: &Lab, family: Family) {
    let answer = |client: SocketAddr| format!("{} {}\n", client.ip(), client.port());
    for version in ["v1", "v2"] {
        let flags = format!("eth0 --port {PORT} {OPTIONAL} --outbound {version}");
        let _foreword = FOREWORD.attach(&lab.node, &flags);
        for header in named_headers(family) {
            let (body, _) = ask(lab, family, &header);
            assert_eq!(body, answer(named_client(family)), "outbound {version}");
        }
        let (body, own_address) = ask(lab, family, b"");
        assert_eq!(body, answer(own_address), "outbound {version}");
    }
}

/// One nginx in the foreground, with everything that it writes in the test's folder.
fn nginx(lab: &Lab, scratch: &Scratch, address: SocketAddr, server: &str) -> Daemon {
    let configuration = scratch.write(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
             events {{}}\nhttp {{ access_log off; server {{ {server} }} }}\n"
        ),
    );
    let (folder, file) = (scratch.path().to_string_lossy(), configuration.to_string_lossy());
    serve(&lab.backend, "nginx", &["-p", &folder, "-c", &file], address)
}

const NGINX_ANSWER: &str = "return 200 \"$proxy_protocol_addr $proxy_protocol_port\\n\";";

/// One that reads headers at the VIP, and answers with whom they name.
pub fn nginx_receiver(lab: &Lab, scratch: &Scratch, family: Family) -> Daemon {
    let address = SocketAddr::new(family.vip(), PORT);
    nginx(lab, scratch, address, &format!("listen {address} proxy_protocol; {NGINX_ANSWER}"))
}

#[apply(both_families)]
fn nginx_receives_v1_and_v2(family: Family) {
    let (lab, scratch) = (lab(), Scratch::new());
    let _nginx = nginx_receiver(&lab, &scratch, family);
    assert_understood(&lab, family);
}

/// The whole handshake, through the relay: TLS begins behind the header in both directions.
#[apply(both_families)]
fn nginx_receives_tls_behind_the_header(family: Family) {
    let (lab, scratch) = (lab(), Scratch::new());
    let (key, certificate) = (scratch.path().join("key.pem"), scratch.path().join("cert.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-nodes", "-days", "1", "-subj", "/CN=example.org"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    output_of(openssl);

    let address = SocketAddr::new(family.vip(), 443);
    let (key, certificate) = (key.display(), certificate.display());
    let server = format!(
        "listen {address} ssl proxy_protocol; ssl_certificate {certificate}; \
         ssl_certificate_key {key}; {NGINX_ANSWER}"
    );
    let _nginx = nginx(&lab, &scratch, address, &server);
    for inbound in [OFF, OPTIONAL] {
        let _foreword =
            FOREWORD.attach(&lab.node, &format!("eth0 --port 443 {inbound} --outbound v2"));
        let answer = output_of(curl(&lab, family, &[&url("https", address)]));
        let (ip, _) = answer.trim().split_once(' ').expect("address and port");
        assert_eq!(ip, family.lb().to_string());
    }
}

/// HAProxy in the place of [`nginx_receiver`].
pub fn haproxy_receiver(lab: &Lab, scratch: &Scratch, family: Family) -> Daemon {
    let address = SocketAddr::new(family.vip(), PORT);
    let configuration = scratch.write(
        "receiver.cfg",
        &format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             frontend front\n bind {address} accept-proxy\n http-request return status 200 \
             content-type text/plain lf-string \"%[src] %[src_port]\\n\"\n"
        ),
    );
    let arguments = ["-db", "-f", &configuration.to_string_lossy()];
    serve(&lab.backend, "haproxy", &arguments, address)
}

#[apply(both_families)]
fn haproxy_receives_v1_and_v2(family: Family) {
    let (lab, scratch) = (lab(), Scratch::new());
    let _haproxy = haproxy_receiver(&lab, &scratch, family);
    assert_understood(&lab, family);
}
