//! HAProxy and nginx on loopback, each with one listener, as an unprivileged user can run them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use netlab::{Daemon, wait_until};
use tempfile::TempDir;

/// How a listener is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `accept-proxy`, `proxy_protocol`.
    pub reads_headers: bool,
    /// TLS with a certificate of its own.
    pub tls: bool,
}

impl Listener {
    /// All four.
    pub const ALL: [Self; 4] = [
        Self { reads_headers: false, tls: false },
        Self { reads_headers: true, tls: false },
        Self { reads_headers: false, tls: true },
        Self { reads_headers: true, tls: true },
    ];
}

/// A running server, killed by its pid at the end.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    daemon: Daemon,
    _directory: TempDir,
}

impl Server {
    pub fn nginx(listener: Listener) -> Self {
        Self::start("nginx", |directory, address| {
            let options = [("ssl", listener.tls), ("proxy_protocol", listener.reads_headers)];
            let options = chosen(options);
            let certificate = if listener.tls {
                "ssl_certificate certificate.pem; ssl_certificate_key certificate.pem;"
            } else {
                ""
            };
            let configuration = format!(
                "daemon off; master_process off; pid pid; error_log stderr info; events {{}}
                 http {{
                   access_log off; client_body_temp_path a; proxy_temp_path b;
                   fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
                   server {{ listen {address}{options}; {certificate} return 200 hello; }}
                 }}"
            );
            let path = directory.join("nginx.conf");
            fs::write(&path, configuration).unwrap();
            let mut command = Command::new(installed("nginx"));
            command.arg("-e").arg("stderr").arg("-p").arg(directory).arg("-c").arg(path);
            command
        })
    }

    pub fn haproxy(listener: Listener) -> Self {
        Self::start("haproxy", |directory, address| {
            let tls = format!("ssl crt {}", directory.join("certificate.pem").display());
            let options = [(tls.as_str(), listener.tls), ("accept-proxy", listener.reads_headers)];
            let options = chosen(options);
            let configuration = format!(
                "defaults\n mode http\n timeout client 20s\n timeout connect 20s\n \
                 timeout server 20s\nfrontend f\n bind {address}{options}\n \
                 http-request return status 200 content-type text/plain string hello\n"
            );
            let path = directory.join("haproxy.cfg");
            fs::write(&path, configuration).unwrap();
            let mut command = Command::new(installed("haproxy"));
            command.arg("-db").arg("-f").arg(path);
            command
        })
    }

    /// Tries again where another process was faster to take the port.
    fn start(name: &str, configure: impl Fn(&Path, SocketAddr) -> Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        certify(directory.path());
        let mut log = String::new();
        for _ in 0..3 {
            let address = free_address();
            let mut daemon = Daemon::start(name, configure(directory.path(), address)).unwrap();
            let listens = wait_until(Duration::from_secs(10), "a listener", || {
                !daemon.is_running() || TcpStream::connect(address).is_ok()
            });
            if listens.is_ok() && daemon.is_running() {
                return Self { address, daemon, _directory: directory };
            }
            log = daemon.output();
        }
        panic!("{name} does not start: {log}");
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.daemon.output()
    }
}

/// The words whose condition holds, each with a space in front.
fn chosen(words: [(&str, bool); 2]) -> String {
    words.iter().filter(|(_, holds)| *holds).flat_map(|(word, _)| [" ", *word]).collect()
}

/// The path of a program that Debian has in the package of its name.
fn installed(program: &str) -> PathBuf {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{program} is missing; install the package `{program}`"))
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Leaves `certificate.pem`, with its key.
fn certify(directory: &Path) {
    let key = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let names = ["-subj", "/CN=localhost", "-days", "1", "-keyout", "key.pem", "-out", "cert.pem"];
    let mut openssl = Command::new(installed("openssl"));
    let output = openssl.args(key).args(names).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let part = |name| fs::read_to_string(directory.join(name)).unwrap();
    fs::write(directory.join("certificate.pem"), part("cert.pem") + &part("key.pem")).unwrap();
}
