//! Metrics and probes over HTTP, for everybody who can connect: nothing can be changed here.
//!
//! `/metrics` is text as Prometheus reads it, `/healthz` says whether the run still answers and all of its
//! workers come round, `/readyz` whether it takes new connections as well. A connection brings one
//! request, and has little time for it; [`Places`] says how many there may be.

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

use super::Desk;
use super::latest::Latest;
use super::places::Places;
use crate::operate::report::{Status, metrics};

/// How long a request's head may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may take in all, its answer included.
const LIFETIME: Duration = Duration::from_secs(30);
/// Before the next try, when nobody can be accepted.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct HttpServer(JoinHandle<()>);

impl HttpServer {
    /// Serves what a listener accepts, which does not block. Others may have it as well:
    /// predecessor and successor do.
    pub fn serve(listener: BlockingListener, desk: Desk) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        Ok(Self(tokio::spawn(accept(listener, desk))))
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Who is connected, for those who serve and the one that accepts.
#[derive(Clone, Debug)]
struct Connected(Arc<Mutex<Places<AbortHandle>>>);

impl Connected {
    fn places(&self) -> MutexGuard<'_, Places<AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, until it is dropped.
struct Place {
    connected: Connected,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connected.places().leave(self.number);
    }
}

async fn accept(listener: TcpListener, desk: Desk) {
    let connected = Connected(Arc::new(Mutex::new(Places::new())));
    let latest = Arc::new(Latest::at(desk));
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let evicted = connected.places().admit(from.ip(), |number| {
                    let place = Place { connected: connected.clone(), number };
                    tokio::spawn(converse(stream, place, Arc::clone(&latest))).abort_handle()
                });
                if let Some(evicted) = evicted {
                    evicted.abort();
                }
                // However many come in a row: those who have asked are answered meanwhile.
                yield_now().await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept at the metrics address");
                sleep(BACK_OFF).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, place: Place, latest: Arc<Latest>) {
    let service = service_fn(|request| {
        place.connected.places().asks(place.number);
        respond(request, &latest)
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
    // The client sees how it fails; nobody else needs to.
    let _ = timeout(LIFETIME, server.serve_connection(TokioIo::new(stream), service)).await;
}

async fn respond(
    request: Request<Incoming>,
    latest: &Latest,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refusal);
    }
    Ok(match request.uri().path() {
        "/healthz" => verdict(&latest.status().await.status, Status::ailment, "ok\n"),
        "/readyz" => verdict(&latest.status().await.status, Status::unreadiness, "ready\n"),
        "/metrics" => match latest.scrape().await.metrics() {
            Ok(text) => response(StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
    })
}

/// What a probe wants to know: whether anything is wrong, and what.
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
