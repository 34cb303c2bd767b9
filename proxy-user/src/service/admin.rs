//! The admin socket and the HTTP listener of a run, across takeovers.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::address::AdminAddr;
use crate::config::Settings;
use crate::config::raw::defaults;
use crate::operate::admin::http::HttpServer;
use crate::operate::admin::socket::AdminSocket;
use crate::operate::admin::{RequestSender, listener};
use crate::steer::{ListenerLock, Steering, listener_owner};

/// The admin socket, if there is one, and HTTP, if it is configured.
#[derive(Debug)]
pub struct Admin {
    pub socket: Option<AdminSocket>,
    pub http: Option<Http>,
}

impl Admin {
    /// Points the socket's path to this run.
    pub fn lead(&self) {
        if let Some(Err(error)) = self.socket.as_ref().map(AdminSocket::lead) {
            tracing::warn!(error = %format!("{error:#}"), "`foreword reload` will not find this run");
        }
    }

    /// Points the socket's path to this run if the run that it led to is gone.
    pub fn keep_path(&self) {
        match self.socket.as_ref().map(AdminSocket::lead_if_nobody_does) {
            Some(Ok(true)) => {
                tracing::info!("the admin socket's path led to nobody; it leads here now");
            }
            Some(Err(error)) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "the admin socket's path leads to nobody");
            }
            Some(Ok(false)) | None => {}
        }
    }

    /// The HTTP address, while a predecessor still listens there.
    pub fn wanted(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(Http::wanted)
    }
}

/// Opens the admin socket. A failure at the default path is only logged, since traffic matters more; at a
/// path that was configured it is an error.
pub fn open_socket(
    settings: &Settings,
    instance: u32,
    requests: RequestSender,
) -> Result<Option<AdminSocket>> {
    let Some(path) = &settings.admin.socket else { return Ok(None) };
    match AdminSocket::open(path, instance, requests) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if path == Path::new(defaults::ADMIN_SOCKET) => {
            tracing::warn!(error = %format!("{error:#}"), "`foreword status` will see less");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// HTTP at one address, from before it can be answered until a successor answers there.
#[derive(Debug)]
pub struct Http {
    address: AdminAddr,
    requests: RequestSender,
    server: Option<HttpServer>,
    listener: Option<TcpListener>,
    lock: Option<ListenerLock>,
}

impl Http {
    /// Listens, unless another Foreword does, which may pass its listener on.
    pub fn prepare(address: AdminAddr, requests: RequestSender) -> Result<Self> {
        let listener = match listener::bind(address) {
            Ok(listener) => Some(listener),
            Err(error) if is_one_of_us(&error, address) => None,
            Err(error) => return Err(error).with_context(|| cannot_listen(address)),
        };
        Ok(Self { address, requests, server: None, listener, lock: None })
    }

    fn wanted(&self) -> Option<SocketAddr> {
        self.listener.is_none().then(|| self.address.get())
    }

    /// Answers, at the listener that was passed on, or at one of our own. That a predecessor still
    /// has the address is an error of the kind `AddrInUse`.
    pub fn serve(&mut self, passed: Option<OwnedFd>, steering: &Steering) -> io::Result<()> {
        let passed = passed.and_then(|file| listener::adopt(file, self.address.get()));
        if let Some(listener) = passed.or(self.listener.take()) {
            self.listener = Some(listener);
        } else {
            self.listener = Some(listener::bind(self.address)?);
        }
        self.resume(steering)
    }

    /// Answers at the listener that there is.
    pub fn resume(&mut self, steering: &Steering) -> io::Result<()> {
        if let Some(listener) = &self.listener {
            self.server = Some(HttpServer::serve(listener.try_clone()?, self.requests.clone())?);
            self.lock = steering.claim_listener(self.address.get());
        }
        Ok(())
    }

    /// The listener for a successor that wants to answer at this address. We go on answering until
    /// it does.
    pub fn pass_on(&mut self, wanted: Option<SocketAddr>) -> Option<BorrowedFd<'_>> {
        wanted.filter(|wanted| *wanted == self.address.get())?;
        self.lock = None;
        Some(self.listener.as_ref()?.as_fd())
    }

    /// Answers no more, but could again.
    pub fn pause(&mut self) {
        self.server = None;
    }

    /// Says why it can't answer.
    pub fn complaint(&self) -> String {
        cannot_listen(self.address)
    }
}

fn cannot_listen(address: AdminAddr) -> String {
    format!("cannot listen at {address}")
}

fn is_one_of_us(error: &io::Error, address: AdminAddr) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
        && listener_owner(address.get()).is_ok_and(|owner| owner.is_some())
}
