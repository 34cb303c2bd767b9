//! A server that answers nothing and keeps what it gets: `nc -l` in a loop, with the bytes at hand.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use netlab::Netns;

/// How long a client may take to send its first bytes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A silence of this length ends the record of a connection.
const SILENCE: Duration = Duration::from_millis(300);

/// The raw listener. Dropping it closes its sockets.
pub struct Recorder {
    records: Receiver<Vec<u8>>,
    stopped: Arc<AtomicBool>,
}

impl Recorder {
    /// Listens inside a namespace.
    pub fn start(netns: &Netns, addresses: &[SocketAddr]) -> Result<Self> {
        let (sender, records) = mpsc::channel();
        let stopped = Arc::new(AtomicBool::new(false));
        for &address in addresses {
            let listener = netns
                .run(|| TcpListener::bind(address))
                .with_context(|| format!("cannot listen on {address} in {}", netns.name()))?;
            listener.set_nonblocking(true)?;
            let (sender, stopped) = (sender.clone(), Arc::clone(&stopped));
            thread::spawn(move || accept(&listener, &sender, &stopped));
        }
        Ok(Self { records, stopped })
    }

    /// All bytes of the next connection, once it is over.
    pub fn next(&self) -> Result<Vec<u8>> {
        let patience = PATIENCE + SILENCE + SILENCE;
        self.records.recv_timeout(patience).context("the raw listener got no connection")
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

fn accept(listener: &TcpListener, records: &Sender<Vec<u8>>, stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let records = records.clone();
                thread::spawn(move || records.send(record(stream)));
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Reads until the client closes or falls silent, then closes.
fn record(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let mut patience = PATIENCE;
    let _ = stream.set_nonblocking(false);
    loop {
        let _ = stream.set_read_timeout(Some(patience));
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return bytes,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
        patience = SILENCE;
    }
}
