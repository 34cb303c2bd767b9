//! Metrics and probes over HTTP, read-only, for everybody who can connect.
//!
//! `/metrics` is text as Prometheus reads it, `/healthz` says whether the run still answers and all of its
//! workers come round, `/readyz` whether it takes new connections as well. A connection brings one
//! request, and has little time for it; [`ConnectionSlots`] says how many there may be.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as BlockingListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, yield_now};
use tokio::time::{sleep, timeout};

use super::RequestSender;
use super::connection_slots::ConnectionSlots;
use super::snapshots::Snapshots;
use crate::operate::report::{Status, metrics};

/// How long the head of a request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last, its response included.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after a failed `accept`.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct HttpServer(JoinHandle<()>);

impl HttpServer {
    /// Serves what a listener accepts, which does not block. Others may have it as well:
    /// predecessor and successor do.
    pub fn serve(listener: BlockingListener, requests: RequestSender) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        Ok(Self(tokio::spawn(accept(listener, requests))))
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The slots, shared by the tasks that serve and the one that accepts.
#[derive(Clone, Debug)]
struct Connections(Arc<Mutex<ConnectionSlots<AbortHandle>>>);

impl Connections {
    fn slots(&self) -> MutexGuard<'_, ConnectionSlots<AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Releases its slot when dropped.
struct SlotGuard {
    connections: Connections,
    number: u64,
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.connections.slots().release(self.number);
    }
}

async fn accept(listener: TcpListener, requests: RequestSender) {
    let connections = Connections(Arc::new(Mutex::new(ConnectionSlots::new())));
    let snapshots = Arc::new(Snapshots::at(requests));
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let evicted = connections.slots().admit(from.ip(), |number| {
                    let slot = SlotGuard { connections: connections.clone(), number };
                    tokio::spawn(converse(stream, slot, Arc::clone(&snapshots))).abort_handle()
                });
                if let Some(evicted) = evicted {
                    evicted.abort();
                }
                // However many come in a row, the tasks with requests get their turn.
                yield_now().await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept at the metrics address");
                sleep(BACK_OFF).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, slot: SlotGuard, snapshots: Arc<Snapshots>) {
    let service = service_fn(|request| {
        slot.connections.slots().note_request(slot.number);
        respond(request, &snapshots)
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).keep_alive(false);
    // The client sees the failure itself.
    let _ =
        timeout(CONNECTION_TIMEOUT, server.serve_connection(TokioIo::new(stream), service)).await;
}

async fn respond(
    request: Request<Incoming>,
    snapshots: &Snapshots,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refusal);
    }
    Ok(match request.uri().path() {
        "/healthz" => verdict(&snapshots.status().await.status, Status::unhealthy_reason, "ok\n"),
        "/readyz" => verdict(&snapshots.status().await.status, Status::unready_reason, "ready\n"),
        "/metrics" => match snapshots.scrape().await.metrics() {
            Ok(text) => response(StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
    })
}

/// The response to a probe: 200, or 503 with the reason.
fn verdict(
    status: &Result<Status, String>,
    wrong: impl FnOnce(&Status) -> Option<String>,
    good: &'static str,
) -> Response<Full<Bytes>> {
    match status.as_ref().map_or_else(|why| Some(why.clone()), wrong) {
        None => plain(StatusCode::OK, good),
        Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text)
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    text: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
