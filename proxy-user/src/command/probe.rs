//! `foreword probe`: what an upstream makes of PROXY headers.

use std::io::{self, Write as _};
use std::net::ToSocketAddrs as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::Failure;
use super::cli::Probe;
use crate::address::UpstreamAddr;
use crate::config::Invalid;
use crate::config::validate::flag_duration;
use crate::inspect::probe::exchange::{Timeouts, exchange, reach};
use crate::inspect::probe::message::{HeaderKind, Request};
use crate::inspect::probe::plan::{ProbePlan, ProbeStep};
use crate::inspect::probe::reply::Reply;
use crate::inspect::probe::verdict::{Outcome, Verdict, judge};

/// A pause as long as this ends the reply to a request.
const SETTLED: Duration = Duration::from_millis(300);

/// Exit code 0 for a clear verdict, 1 for an unclear one.
pub fn run(arguments: &Probe) -> Result<ExitCode, Failure> {
    let host = host(&arguments.upstream)?;
    let plan = ProbePlan { header: header(&arguments.send)?, request: request(arguments, host)? };
    let timeout = flag_duration("--timeout", &arguments.timeout)?;
    if timeout.is_zero() {
        return Err(Invalid::flag("--timeout", &arguments.timeout, "write a time above 0").into());
    }
    Ok(probe(&arguments.upstream, &plan, timeout)?)
}

/// The host without its port and without an IPv6 address's brackets.
fn host(upstream: &str) -> Result<&str, Invalid> {
    let parts = upstream.rsplit_once(':').filter(|(host, port)| {
        let is_plain = host.bytes().all(|byte| byte.is_ascii_graphic());
        is_plain && !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    let Some((host, _)) = parts else {
        let shown = upstream.escape_debug().to_string();
        return Err(Invalid::flag(
            "HOST:PORT",
            &shown,
            "write it as example.org:443 or [fd00::1]:443",
        ));
    };
    Ok(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
}

fn header(word: &str) -> Result<HeaderKind, Invalid> {
    word.parse().map_err(|_| {
        Invalid::flag("--send", &word.escape_debug().to_string(), "write v1, v2 or local")
    })
}

fn request(arguments: &Probe, host: &str) -> Result<Request, Invalid> {
    match &arguments.request {
        Some(text) => Request::own(text).map_err(|_| {
            let fix = r"write \r, \n, \t, \0, \\ or \x and two hex digits after a backslash";
            Invalid::flag("--request", &text.escape_debug().to_string(), fix)
        }),
        None if arguments.tls => Ok(Request::tls(host)),
        None => Ok(Request::http(host)),
    }
}

fn probe(upstream: &str, plan: &ProbePlan, timeout: Duration) -> Result<ExitCode> {
    let addresses =
        upstream.to_socket_addrs().with_context(|| format!("cannot find {upstream}"))?;
    let addresses: Vec<_> = addresses.map(UpstreamAddr::new).collect();
    let verdict = match reach(&addresses, timeout) {
        Ok(path) => {
            say(format_args!("{path}; header {}", plan.header))?;
            let evidence = plan.conduct(|step| ask(path.upstream, plan, step, timeout));
            evidence.map(|evidence| judge(&evidence))
        }
        Err(error) => Err(anyhow!(error).context(format!("cannot connect to {upstream}"))),
    };
    conclude(
        &verdict
            .unwrap_or_else(|error| Verdict { word: Outcome::Unclear, why: format!("{error:#}") }),
    )
}

fn ask(
    upstream: UpstreamAddr,
    plan: &ProbePlan,
    step: ProbeStep,
    timeout: Duration,
) -> Result<Reply> {
    // Without a question there is no telling when the answer is complete.
    let more = if step.has_request() { SETTLED.min(timeout) } else { timeout };
    let timeouts = Timeouts { first: timeout, more };
    let reply = exchange(upstream, timeouts, |endpoints| plan.message(step, endpoints));
    let reply = reply.with_context(|| format!("cannot connect again ({})", step.name()))?;
    say(format_args!("{:<20}{reply}", step.name()))?;
    Ok(reply)
}

fn conclude(verdict: &Verdict) -> Result<ExitCode> {
    let Verdict { word, why } = verdict;
    if *word == Outcome::Unclear {
        say(format_args!("verdict: {word} ({why})"))?;
        return Ok(ExitCode::FAILURE);
    }
    say(format_args!("{:<20}{why}", "so"))?;
    say(format_args!("verdict: {word}"))?;
    Ok(ExitCode::SUCCESS)
}

fn say(line: std::fmt::Arguments<'_>) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("cannot write to standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_what_stands_before_the_port() {
        assert_eq!(host("example.org:443"), Ok("example.org"));
        assert_eq!(host("[fd00::1]:443"), Ok("fd00::1"));
        assert_eq!(host("192.0.2.1:1"), Ok("192.0.2.1"));
        for text in ["", "example.org", ":443", "example.org:0", "a b:1", "a:65536", "x\r\n:80"] {
            assert!(host(text).is_err(), "{text}");
        }
        let message = host("\u{1b}[2J").unwrap_err().to_string();
        assert!(message.starts_with(r"HOST:PORT '\u{1b}[2J' is not valid"), "{message}");
    }
}
