//! The stages: the two kgateway documents on the PROXY protocol, step by step.
//!
//! Their listener policy is `--inbound`, their backend config policy is `--outbound`. Where a document
//! deploys `nc -l`, the raw listener stands; where it deploys httpbin, nginx.

use std::net::SocketAddr;

use anyhow::Result;
use netlab::header::{self, Endpoints};
use netlab::{BACKEND_V4, Family, LB_V4, STRANGER_V4, VIP_V4};

use super::client::{self, Request};
use super::recorder::Recorder;
use super::report;
use super::scene::{Place, Scene};
use super::server::{PLAIN, PROXIED, PROXIED_TLS};

/// The port of the raw listener.
pub const RAW: u16 = 9090;
/// A port that no stage attaches to.
const UNATTACHED: u16 = 9099;

const WEB_HOST: &str = "www.example.com:8080";
const RAW_HOST: &str = "echo.example.com";

/// A client behind the load balancer, or behind a liar.
const FAR_CLIENT: &str = "198.51.100.7";

/// Walks through all stages. A step that turns out otherwise is noted in the report; an error is
/// only what keeps the rest from being tried.
pub fn all(scene: &mut Scene<'_>) -> Result<()> {
    require(scene)?;
    optional(scene)?;
    outbound_v1(scene)?;
    outbound_v2(scene)?;
    both_ways(scene)
}

fn require(scene: &mut Scene<'_>) -> Result<()> {
    let args = format!("eth0 --port {PLAIN} --inbound require --trust {LB_V4}/32 --outbound none");
    let refusals = [("no-header", 1), ("untrusted-source", 1)];
    scene.stage("Inbound: a PROXY header is required", &args, &refusals, |scene| {
        let answer = scene.reaching(0, |scene| scene.get(Place::Client, &web_request()))?;
        scene.report.check(answer.empty, "without a header: empty reply from server");

        let request = web_request().with_header();
        let answer = scene.reaching(1, |scene| scene.get(Place::Client, &request))?;
        scene.report.check(answer.status == Some(200), "with a header: HTTP 200");

        spoof(scene)
    })
}

fn optional(scene: &mut Scene<'_>) -> Result<()> {
    let args = format!("eth0 --port {PLAIN} --inbound optional --trust {LB_V4}/32 --outbound none");
    let refusals = [("untrusted-source", 1)];
    scene.stage("Inbound: a PROXY header is optional", &args, &refusals, |scene| {
        let answer = scene.reaching(1, |scene| scene.get(Place::Client, &web_request()))?;
        scene.report.check(answer.status == Some(200), "without a header: HTTP 200");

        let request = web_request().with_header();
        let answer = scene.reaching(1, |scene| scene.get(Place::Client, &request))?;
        scene.report.check(answer.status == Some(200), "with a header: HTTP 200");

        spoof(scene)
    })
}

/// Another machine on the same wire writes a header that names a client of its choice.
fn spoof(scene: &mut Scene<'_>) -> Result<()> {
    let reply = scene.reaching(0, |scene| {
        let text = web_text();
        scene.send(STRANGER_V4.into(), (VIP_V4, PLAIN).into(), &text)
    })?;
    scene.report.check(
        reply.bytes.is_empty(),
        "a source that is not trusted: refused, whatever its header says",
    );
    Ok(())
}

fn outbound_v1(scene: &mut Scene<'_>) -> Result<()> {
    let args = format!("eth0 lo --port {RAW},{PROXIED} --inbound off --outbound v1");
    scene.stage("Outbound: version 1, the text line", &args, &[], |scene| {
        report::remark(
            "The raw listener answers nothing and closes, so curl reports an empty reply.",
        );
        for family in Family::BOTH {
            let (target, port) = call_raw_listener(scene, family)?;
            let bytes = show_record("backend", &scene.raw);
            let word = if family == Family::V4 { "TCP4" } else { "TCP6" };
            let (client, vip) = (family.lb(), target.ip());
            let line = format!("PROXY {word} {client} {vip} {port} {RAW}\r\n");
            let expected = format!("{line}GET / HTTP/1.1\r\n");
            let claim = format!("first the line `{}\\r\\n`, then the request", line.trim_end());
            scene.report.check(bytes.starts_with(expected.as_bytes()), &claim);
        }
        real_receiver(scene)?;
        loopback(scene)
    })
}

fn outbound_v2(scene: &mut Scene<'_>) -> Result<()> {
    let args = format!("eth0 --port {RAW},{PROXIED},{PROXIED_TLS} --inbound off --outbound v2");
    scene.stage("Outbound: version 2, the binary block", &args, &[], |scene| {
        for family in Family::BOTH {
            let (target, port) = call_raw_listener(scene, family)?;
            let bytes = show_record("backend", &scene.raw);
            check_v2(scene, &bytes, (family.lb(), port).into(), target, b"GET / HTTP/1.1\r\n");
        }
        real_receiver(scene)?;
        tls(scene)
    })
}

/// The load balancer names its client, and nginx hears of that client.
fn both_ways(scene: &mut Scene<'_>) -> Result<()> {
    let args = format!(
        "eth0 --port {PLAIN} --inbound require --trust {LB_V4}/32 --outbound v2 \
         --upstream {BACKEND_V4}:{PROXIED}"
    );
    scene.stage("Both: a header comes in, another goes out", &args, &[], |scene| {
        let text = web_text();
        let reply = scene.send(LB_V4.into(), (VIP_V4, PLAIN).into(), &text)?;
        let expected = format!("client by PROXY header: {FAR_CLIENT} port 40000\n");
        let heard = String::from_utf8_lossy(&reply.bytes).contains(&expected);
        scene.report.check(heard, "nginx sees the load balancer's client");
        Ok(())
    })
}

fn web_request() -> Request {
    Request::new((VIP_V4, PLAIN).into(), "/headers", WEB_HOST)
}

/// A header that names [`FAR_CLIENT`], and a request.
fn web_text() -> String {
    format!(
        "PROXY TCP4 {FAR_CLIENT} {VIP_V4} 40000 {PLAIN}\r\n\
         GET /headers HTTP/1.1\r\nhost: {WEB_HOST}\r\nconnection: close\r\n\r\n"
    )
}

/// Requests `/` of the raw listener; returns its address and the client's port.
fn call_raw_listener(scene: &mut Scene<'_>, family: Family) -> Result<(SocketAddr, u16)> {
    let target = SocketAddr::new(family.vip(), RAW);
    let answer = scene.get(Place::Client, &Request::new(target, "/", RAW_HOST))?;
    Ok((target, answer.port.unwrap_or_default()))
}

/// What a raw listener got on its next connection; nothing, if none came.
fn show_record(place: &str, recorder: &Recorder) -> Vec<u8> {
    let bytes = recorder.next().unwrap_or_default();
    report::bytes(place, &bytes);
    bytes
}

/// A server of somebody else's reads the header.
fn real_receiver(scene: &mut Scene<'_>) -> Result<()> {
    let request = Request::new((VIP_V4, PROXIED).into(), "/headers", WEB_HOST);
    let answer = scene.get(Place::Client, &request)?;
    check_heard(scene, &answer.body, answer.port);
    Ok(())
}

fn check_heard(scene: &mut Scene<'_>, body: &str, port: Option<u16>) {
    let port = port.unwrap_or_default();
    let expected = format!("client by PROXY header: {LB_V4} port {port}\n");
    let claim = format!("nginx sees the client, {LB_V4}:{port}");
    scene.report.check(body.contains(&expected), &claim);
}

/// Checks the header with a reader that is not Foreword's.
fn check_v2(
    scene: &mut Scene<'_>,
    bytes: &[u8],
    source: SocketAddr,
    destination: SocketAddr,
    payload: &[u8],
) {
    let (family, name) = if source.is_ipv4() { (0x11, "IPv4") } else { (0x21, "IPv6") };
    let golden = [header::V2_SIGNATURE.as_slice(), &[0x21, family]].concat();
    let claim = format!(
        "first the signature, then 21 (version 2, PROXY) and {family:02x} (TCP over {name})"
    );
    scene.report.check(bytes.starts_with(&golden), &claim);

    let decoded = header::decode(bytes);
    let endpoints = decoded.as_ref().and_then(|it| it.endpoints);
    let claim = format!("the addresses in it: {source} to {destination}");
    scene.report.check(endpoints == Some(Endpoints { source, destination }), &claim);

    let follows = decoded.is_some_and(|it| it.payload.starts_with(payload));
    let claim = format!("right behind it: `{}…`", payload.escape_ascii());
    scene.report.check(follows, &claim);
}

/// The header comes before the TLS handshake, and the handshake goes through.
fn tls(scene: &mut Scene<'_>) -> Result<()> {
    let target = SocketAddr::from((VIP_V4, RAW));
    let request = Request::new(target, "/", RAW_HOST).with_tls();
    let port = scene.get(Place::Client, &request)?.port.unwrap_or_default();
    let bytes = show_record("backend", &scene.raw);
    check_v2(scene, &bytes, (LB_V4, port).into(), target, b"\x16\x03");

    let target = (VIP_V4, PROXIED_TLS).into();
    let request = Request::new(target, "/headers", WEB_HOST).with_tls();
    let answer = scene.get(Place::Client, &request)?;
    scene.report.check(answer.status == Some(200), "HTTPS through it: HTTP 200");
    check_heard(scene, &answer.body, answer.port);
    Ok(())
}

/// A client on the node itself gets no header: its bytes are those of an unattached port.
fn loopback(scene: &mut Scene<'_>) -> Result<()> {
    let ports = [RAW, UNATTACHED];
    let addresses: Vec<SocketAddr> = Family::BOTH
        .iter()
        .flat_map(|family| ports.map(|port| SocketAddr::new(family.loopback(), port)))
        .collect();
    let recorder = Recorder::start(&scene.lab.node, &addresses)?;
    for family in Family::BOTH {
        let request = |port| Request::new((family.loopback(), port).into(), "/", RAW_HOST);
        client::get(&scene.lab.node, &request(UNATTACHED))?;
        let unattached = recorder.next()?;

        scene.get(Place::Node, &request(RAW))?;
        let bytes = show_record("node", &recorder);
        let claim = format!("from {}: byte for byte what was sent", family.loopback());
        scene.report.check(bytes == unattached && bytes.starts_with(b"GET / "), &claim);
    }
    Ok(())
}
