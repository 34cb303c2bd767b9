//! Metrics and probes over HTTP, for whoever can connect: nothing can be changed here.
//!
//! `/metrics` is text as Prometheus reads it, `/healthz` says whether the run still answers, `/readyz` whether
//! it takes new connections.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{Answer, Ask, Desk};
use crate::address::AdminAddr;
use crate::operate::report::{State, Status, metrics};

/// Connections at once; more wait.
const CONNECTIONS: usize = 32;
/// How long a request's head may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before the next try, when nobody can be accepted.
const BACK_OFF: Duration = Duration::from_millis(100);
const BACKLOG: i32 = 64;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct HttpServer(JoinHandle<()>);

impl HttpServer {
    /// Listens. A predecessor may still do so, until it has handed over.
    pub fn open(address: AdminAddr, desk: Desk) -> Result<Self> {
        let listener = listen(address).with_context(|| format!("cannot listen at {address}"))?;
        Ok(Self(tokio::spawn(serve(listener, desk))))
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn listen(address: AdminAddr) -> Result<TcpListener> {
    let address = address.get();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into())?)
}

async fn serve(listener: TcpListener, desk: Desk) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = desk.clone();
                tokio::spawn(async move {
                    let _place = place;
                    let service = service_fn(|request| respond(request, &desk));
                    let mut server = http1::Builder::new();
                    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
                    // Whoever asks learns of it, and nobody else cares.
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept at the metrics address");
                sleep(BACK_OFF).await;
            }
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    desk: &Desk,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refusal);
    }
    Ok(match request.uri().path() {
        "/healthz" => match status(desk).await {
            Ok(_) => plain(StatusCode::OK, "ok\n"),
            Err(error) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        },
        "/readyz" => match status(desk).await {
            Ok(status) if status.state == State::Serving => plain(StatusCode::OK, "ready\n"),
            Ok(status) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", status.state.name()))
            }
            Err(error) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        },
        "/metrics" => match status(desk)
            .await
            .and_then(|status| metrics::encode(&status).map_err(|error| error.to_string()))
        {
            Ok(text) => response(StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
    })
}

async fn status(desk: &Desk) -> Result<Status, String> {
    match desk.ask(Ask::Status).await {
        Answer::Answer(value) => serde_json::from_value(value).map_err(|error| error.to_string()),
        Answer::Error(error) => Err(error),
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
