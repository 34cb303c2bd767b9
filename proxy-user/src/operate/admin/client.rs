//! The client of admin sockets. Every wait is bounded.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use serde::de::DeserializeOwned;

use super::{Request, Response, socket};
use crate::operate::report::{State, Status};

/// Longer than a run takes to report that it can't answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);

/// How long a run may take to answer whether it takes new connections.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the run that takes new connections.
pub fn ask<T: DeserializeOwned>(path: &Path, request: &Request) -> Result<T> {
    ask_within(path, request, ANSWER_TIMEOUT)
}

/// Asks the run that takes new connections, with a timeout for its answer.
pub fn ask_within<T: DeserializeOwned>(
    path: &Path,
    request: &Request,
    patience: Duration,
) -> Result<T> {
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if means_no_listener(&error) => match another(path) {
            Some(stream) => stream,
            None => {
                bail!("no Foreword answers at {}; --socket names another place", path.display())
            }
        },
        Err(error) => {
            return Err(error).with_context(|| format!("cannot ask at {}", path.display()));
        }
    };
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).context("the request can't be sent")?;
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut answer).context("no answer came")?;
    match Response::read(&answer) {
        Ok(Response::Response(value)) => {
            serde_json::from_value(value).context("it answers something else")
        }
        Ok(Response::Error(error)) => Err(anyhow!(error)),
        Err(error) => Err(error).context("it does not answer as a Foreword does"),
    }
}

fn means_no_listener(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

/// Another run at a path whose symlink is dangling, since the others have not noticed yet that its run is
/// gone. Prefers one that takes new connections.
fn another(path: &Path) -> Option<UnixStream> {
    let living = socket::instances(path).into_iter();
    let living: Vec<_> = living.filter(|socket| UnixStream::connect(socket).is_ok()).collect();
    let serves = |socket: &&PathBuf| {
        let status = ask_within::<Status>(socket, &Request::Status, STATUS_TIMEOUT);
        status.is_ok_and(|status| status.state == State::Serving)
    };
    let chosen = living.iter().find(serves).or(living.first())?;
    UnixStream::connect(chosen).ok()
}

/// The socket of the run in this container: the only one whose process is visible from here. If none is, or
/// several are, the path itself, which leads to the run that takes new connections.
pub fn nearest(path: &Path) -> PathBuf {
    let can_be_seen = |socket: &PathBuf| {
        let stream = UnixStream::connect(socket).ok()?;
        let peer = getsockopt(&stream, PeerCredentials).ok()?;
        // A process in another PID namespace is shown as 0.
        (peer.pid() != 0).then_some(())
    };
    let mut near = socket::instances(path).into_iter().filter(|at| can_be_seen(at).is_some());
    match (near.next(), near.next()) {
        (Some(only), None) => only,
        _ => path.to_owned(),
    }
}

/// Asks all runs at a path, draining ones included. Returns their answers, and the sockets that did not
/// answer.
pub fn ask_all<T: DeserializeOwned>(path: &Path, request: &Request) -> (Vec<T>, Vec<PathBuf>) {
    let mut sockets = socket::instances(path);
    if sockets.is_empty() && path.exists() {
        sockets.push(path.to_owned());
    }
    let (mut answers, mut silent) = (Vec::new(), Vec::new());
    for socket in sockets {
        match ask(&socket, request) {
            Ok(answer) => answers.push(answer),
            Err(_) => silent.push(socket),
        }
    }
    (answers, silent)
}
