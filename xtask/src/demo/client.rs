//! The HTTP client: curl.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result};
use netlab::Netns;

use crate::ui;

/// One GET.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to: always an address and a port.
    pub target: SocketAddr,
    /// The path, with its slash.
    pub path: &'static str,
    /// What the `host` header says.
    pub host: &'static str,
    /// Whether a PROXY header (version 1, naming the connection's own ends) goes first.
    pub header: bool,
    /// Whether to speak TLS, and to believe any certificate.
    pub tls: bool,
}

impl Request {
    /// A request without header and TLS.
    pub fn new(target: SocketAddr, path: &'static str, host: &'static str) -> Self {
        Self { target, path, host, header: false, tls: false }
    }

    /// With a PROXY header.
    pub fn with_header(self) -> Self {
        Self { header: true, ..self }
    }

    /// Over TLS.
    pub fn with_tls(self) -> Self {
        Self { tls: true, ..self }
    }
}

/// What came of a request.
#[derive(Debug)]
pub struct Answer {
    /// What a person sees.
    pub shown: String,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The body of the answer.
    pub body: String,
    /// Whether the connection was closed in order, without a byte: curl's error 52.
    pub empty: bool,
    /// The client's end of the connection.
    pub port: Option<u16>,
}

/// The request as a person would type it.
pub fn line(request: &Request) -> String {
    ui::shell_line(Command::new("curl").args(arguments(request)))
}

/// The first words of a program's account of itself.
pub fn first_words(program: &str, option: &str, count: usize) -> String {
    let output = Command::new(program).arg(option).output();
    let text = output.map(|it| [it.stdout, it.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let words: Vec<&str> = text.split_whitespace().take(count).collect();
    words.join(" ")
}

fn url(request: &Request) -> String {
    let scheme = if request.tls { "https" } else { "http" };
    format!("{scheme}://{}{}", request.target, request.path)
}

fn arguments(request: &Request) -> Vec<String> {
    let mut arguments = vec!["-sSi".to_owned()];
    if request.tls {
        arguments.push("-k".to_owned());
    }
    if request.header {
        arguments.push("--haproxy-protocol".to_owned());
    }
    arguments.push(url(request));
    arguments.extend(["-H".to_owned(), format!("host: {}", request.host)]);
    arguments.extend(["-m".to_owned(), "10".to_owned()]);
    arguments.extend(["-w".to_owned(), r"from port %{local_port}\n".to_owned()]);
    arguments
}

/// Makes the request from inside a namespace.
pub fn get(netns: &Netns, request: &Request) -> Result<Answer> {
    let mut command = netns.command("curl");
    // The user's own settings would send the request elsewhere.
    command.arg("-q").args(arguments(request));
    for variable in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(variable);
    }
    let output = command.output().context("cannot run curl")?;
    let stdout = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let (response, port) = stdout.rsplit_once("from port ").unwrap_or((&stdout, ""));
    let mut answer = Answer::of_response(response);
    answer.shown = [&answer.shown, &*stderr, "from port ", port].concat();
    answer.empty = output.status.code() == Some(52);
    answer.port = port.trim().parse().ok();
    Ok(answer)
}

impl Answer {
    /// Takes an HTTP response apart. Lines end in LF. Of the headers, only the first line is shown.
    fn of_response(response: &str) -> Self {
        let (head, body) = response.split_once("\n\n").unwrap_or((response, ""));
        let first = head.lines().next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|it| it.get(..3)?.parse().ok());
        let shown = if status.is_some() { format!("{first}\n{body}") } else { String::new() };
        Self { shown, status, body: body.to_owned(), empty: false, port: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_response_apart() {
        let answer = Answer::of_response("HTTP/1.1 200 OK\nserver: x\n\npeer: 10.77.2.1\n");
        assert_eq!(answer.status, Some(200));
        assert_eq!(answer.body, "peer: 10.77.2.1\n");
        assert_eq!(answer.shown, "HTTP/1.1 200 OK\npeer: 10.77.2.1\n");
        assert_eq!(Answer::of_response("").status, None);
    }

    #[test]
    fn shows_a_command_that_can_be_typed() {
        let target = "203.0.113.10:8080".parse().unwrap();
        let request = Request::new(target, "/headers", "www.example.com:8080").with_header();
        assert!(line(&request).starts_with(
            "curl -sSi --haproxy-protocol http://203.0.113.10:8080/headers \
             -H 'host: www.example.com:8080'"
        ));
    }
}
