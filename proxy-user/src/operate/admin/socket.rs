//! The Unix socket. Each instance has one of its own, called by the path and its number; the path
//! itself is a symlink to the one that takes new connections. So a takeover never leaves the path
//! without a socket, and the one that drains can still be asked. Instances on different interfaces can
//! share a path: it leads to the one that began last, and when that one is gone, to another that takes
//! new connections.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::unistd::Uid;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{Request, RequestSender, Response};
use crate::config::raw::defaults::ADMIN_SOCKET;

/// The longest request, in bytes.
const MAX_REQUEST: u64 = 4096;
/// How long a client may take to send its request, and to read the response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after a failed `accept`.
const BACK_OFF: Duration = Duration::from_millis(100);
/// The folder can be removed by an instance that ends while we begin.
const ATTEMPTS: usize = 3;

/// A socket that is listened to, until it is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    path: PathBuf,
    own: PathBuf,
    serving: JoinHandle<()>,
}

impl AdminSocket {
    /// Listens at the instance's own path. Removes what dead instances have left beside it.
    pub fn open(path: &Path, instance: u32, requests: RequestSender) -> Result<Self> {
        sweep(path);
        let own = suffixed(path, instance);
        let listener =
            bind(path, &own).with_context(|| format!("cannot listen at {}", own.display()))?;
        let serving = tokio::spawn(serve(listener, requests));
        Ok(Self { path: path.to_owned(), own, serving })
    }

    /// Points the path to this instance.
    pub fn lead(&self) -> Result<()> {
        let next = suffixed(&self.own, "link");
        // Left by one that died in the middle of this.
        let _ = fs::remove_file(&next);
        symlink(self.own.file_name().unwrap_or_default(), &next)
            .and_then(|()| fs::rename(&next, &self.path))
            .with_context(|| format!("cannot make {} a link", self.path.display()))
    }

    /// Points the path to this instance if it is dangling, because the instance that it led to has ended.
    /// Returns whether it did.
    pub fn lead_if_nobody_does(&self) -> Result<bool> {
        let leads_here = fs::read_link(&self.path).is_ok_and(|to| self.own.ends_with(to));
        let is_taken = self.path.exists() && !is_dead(&self.path);
        if leads_here || is_taken {
            return Ok(false);
        }
        self.lead().map(|()| true)
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        self.serving.abort();
        let _ = fs::remove_file(&self.own);
        unlink_if_dead(&self.path);
        remove_folder(&self.path);
    }
}

/// Removes the sockets at a path that nobody listens to, and returns them.
pub fn sweep(path: &Path) -> Vec<PathBuf> {
    let dead: Vec<_> = instances(path).into_iter().filter(|socket| is_dead(socket)).collect();
    let removed = dead.into_iter().filter(|socket| fs::remove_file(socket).is_ok()).collect();
    unlink_if_dead(path);
    remove_folder(path);
    removed
}

/// The sockets of all instances at a path, dead ones included.
pub fn instances(path: &Path) -> Vec<PathBuf> {
    let Some((folder, prefix)) = path.parent().zip(path.file_name()) else { return Vec::new() };
    let mut prefix = prefix.to_owned();
    prefix.push(".");
    let is_instance = |name: &OsString| {
        let suffix = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        suffix.is_some_and(|suffix| !suffix.is_empty() && suffix.iter().all(u8::is_ascii_digit))
    };
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut sockets: Vec<_> = names.filter(is_instance).map(|name| folder.join(name)).collect();
    sockets.sort();
    sockets
}

fn suffixed(path: &Path, suffix: impl Display) -> PathBuf {
    let mut suffixed = path.as_os_str().to_owned();
    suffixed.push(format!(".{suffix}"));
    suffixed.into()
}

/// Listens under another name first: a socket that is bound but does not listen yet looks dead.
fn bind(path: &Path, own: &Path) -> io::Result<UnixListener> {
    let begun = suffixed(own, "new");
    let mut attempt = 1;
    loop {
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            DirBuilder::new().recursive(is_usual(path)).mode(0o700).create(folder)?;
        }
        // Left by one that died in the middle of this.
        let _ = fs::remove_file(&begun);
        match UnixListener::bind(&begun) {
            Ok(listener) => {
                fs::set_permissions(&begun, Permissions::from_mode(0o600))?;
                fs::rename(&begun, own)?;
                return Ok(listener);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_usual(path: &Path) -> bool {
    path == Path::new(ADMIN_SOCKET)
}

/// Whether a connection would be refused: nobody listens there any more. Does not wait for a listener
/// that is stuck.
fn is_dead(socket: &Path) -> bool {
    let connect = || {
        let stream = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        stream.connect(&SockAddr::unix(socket)?)
    };
    connect().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Removes the link if it leads nowhere.
fn unlink_if_dead(path: &Path) {
    if path.is_symlink() && !path.exists() {
        let _ = fs::remove_file(path);
    }
}

/// The usual folder is ours alone, and goes with the last that was in it.
fn remove_folder(path: &Path) {
    if let Some(folder) = path.parent().filter(|_| is_usual(path)) {
        let _ = fs::remove_dir(folder);
    }
}

async fn serve(listener: UnixListener, requests: RequestSender) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let requests = requests.clone();
                tokio::spawn(async move {
                    // The client sees the failure itself.
                    let _ = converse(stream, &requests).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept at the admin socket");
                sleep(BACK_OFF).await;
            }
        }
    }
}

async fn converse(mut stream: UnixStream, requests: &RequestSender) -> io::Result<()> {
    let allowed = may_ask(&stream);
    // Read in any case: unread bytes would reset the connection before the response is read.
    let answer = match timeout(REQUEST_TIMEOUT, read(&mut stream)).await.map(|ask| allowed.and(ask))
    {
        Ok(Ok(ask)) => requests.ask(ask).await,
        Ok(Err(error)) => Response::Error(error.to_string()),
        Err(_) => Response::Error("no question came".to_owned()),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    let written = async {
        stream.write_all(&line).await?;
        stream.shutdown().await
    };
    // A response that the client does not read must not be kept.
    timeout(REQUEST_TIMEOUT, written).await.unwrap_or_else(|late| Err(late.into()))
}

/// Between the bind and its permissions, others could have connected.
fn may_ask(stream: &UnixStream) -> io::Result<()> {
    let asks = Uid::from_raw(stream.peer_cred()?.uid());
    if asks.is_root() || asks == Uid::effective() {
        return Ok(());
    }
    Err(io::Error::other("only root and the user that runs it may ask"))
}

async fn read(stream: &mut UnixStream) -> io::Result<Request> {
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_REQUEST)).read_until(b'\n', &mut line).await?;
    Request::read(&line)
        .map_err(|error| io::Error::other(format!("this is nothing that can be asked: {error}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as BlockingListener;

    use tempfile::TempDir;

    use super::*;

    fn open(path: &Path, instance: u32) -> AdminSocket {
        let socket = AdminSocket::open(path, instance, RequestSender::open().0).unwrap();
        socket.lead().unwrap();
        socket
    }

    fn leads_to(path: &Path) -> PathBuf {
        fs::read_link(path).unwrap()
    }

    #[tokio::test]
    async fn a_path_that_leads_to_nobody_is_taken_and_no_other() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("admin.sock");
        let first = open(&path, 1);
        assert!(!first.lead_if_nobody_does().unwrap(), "it leads here");
        let second = open(&path, 2);
        assert!(!first.lead_if_nobody_does().unwrap(), "it leads to somebody who lives");
        assert_eq!(leads_to(&path), Path::new("admin.sock.2"));
        drop(second);
        assert!(first.lead_if_nobody_does().unwrap(), "it has ended");
        assert_eq!(leads_to(&path), Path::new("admin.sock.1"));

        // A killed one leaves its socket and the link.
        drop(BlockingListener::bind(folder.path().join("admin.sock.3")).unwrap());
        fs::remove_file(&path).unwrap();
        symlink("admin.sock.3", &path).unwrap();
        assert!(first.lead_if_nobody_does().unwrap(), "it was killed");
        fs::remove_file(&path).unwrap();
        assert!(first.lead_if_nobody_does().unwrap(), "somebody has tidied up");
        assert_eq!(leads_to(&path), Path::new("admin.sock.1"));
    }

    #[test]
    fn a_stuck_listener_is_not_waited_for() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("admin.sock.1");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        // More than wait to be accepted.
        for _ in 0..3 {
            assert!(!is_dead(&path));
        }
        drop(listener);
        assert!(is_dead(&path));
    }
}
