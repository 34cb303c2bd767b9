//! The demo's stage: the lab, its programs, and the report on what they do.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use netlab::{Client, End, Foreword, Lab, Netns, Reply, interrupt, wait_until};

use super::bpftool::{self, Counters};
use super::client::{self, Answer, Request};
use super::recorder::Recorder;
use super::report::{self, Report};
use super::server::Server;
use super::traces::{self, Traces};

/// Foreword's userspace writes its counters once a second.
const COUNTERS_DELAY: Duration = Duration::from_secs(3);

/// How long the kernel may take to free what a process has left.
const FREEING: Duration = Duration::from_secs(10);

/// A place to type commands at.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Where load balancer and clients are.
    Client,
    /// Where Foreword runs.
    Node,
}

/// Everything that a stage of the demo works with.
pub struct Scene<'a> {
    /// The network.
    pub lab: &'a Lab,
    /// The built `foreword`.
    pub binary: &'a Path,
    /// nginx, in the backend.
    pub server: Server<'a>,
    /// The raw listener in the backend.
    pub raw: Recorder,
    /// What is printed.
    pub report: Report,
    /// Packets that Foreword counted, summed over the stages so far.
    pub packets: Counters,
    /// Connections that Foreword refused or saw cut short, summed likewise.
    pub reasons: Counters,
}

impl Scene<'_> {
    /// Runs a stage: attaches Foreword with `args`, takes `steps`, checks that the refusals are
    /// counted as `expected`, detaches, and checks that nothing is left.
    pub fn stage(
        &mut self,
        title: &str,
        args: &str,
        expected: &[(&str, u64)],
        steps: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        interrupt::check()?;
        self.report.stage(title);
        report::command("node", &format!("foreword attach {args}"));
        let rules = traces::policy_rules(&self.lab.node)?;
        let words: Vec<&str> = args.split_whitespace().collect();
        let mut foreword = Foreword::attach(&self.lab.node, self.binary, &words)?;
        let attached = foreword.output();
        report::output(&attached);
        let traces = Traces::of(foreword.pid())?;

        steps(self)?;

        self.count(foreword.pid(), expected);
        report::command("node", &format!("kill -TERM {}", foreword.pid()));
        let status = foreword.terminate()?;
        let output = foreword.output();
        report::output(output.get(attached.len()..).unwrap_or_default().trim_start());
        self.report.check(status.success(), "drained and detached, exit code 0");
        self.check_nothing_left(&traces);
        let same = traces::policy_rules(&self.lab.node)? == rules;
        self.report.check(same, "the node's policy rules (`ip rule`) are what they were");
        Ok(())
    }

    /// Makes a request, and shows the command and what came back.
    pub fn get(&mut self, place: Place, request: &Request) -> Result<Answer> {
        interrupt::check()?;
        report::command(place.name(), &client::line(request));
        let answer = client::get(place.netns(self.lab), request)?;
        report::output(&answer.shown);
        Ok(answer)
    }

    /// Sends text by hand from one of the client's addresses, and shows the command that would do
    /// the same and what came back.
    pub fn send(&mut self, source: IpAddr, target: SocketAddr, text: &str) -> Result<Reply> {
        interrupt::check()?;
        let (ip, port) = (target.ip(), target.port());
        let typed = text.replace("\r\n", r"\r\n");
        report::command("client", &format!("printf '{typed}' | nc -s {source} {ip} {port}"));
        // A first packet that is dropped is a connection that never opens.
        let reply = Client::try_connect(&self.lab.client, source, target).map(|mut client| {
            client.offer(text.as_bytes());
            client.rest()
        });
        let reply = reply.unwrap_or(Reply { bytes: Vec::new(), end: End::Silence });
        let shown = match reply.end {
            End::Silence if reply.bytes.is_empty() => "(silence)".to_owned(),
            _ if reply.bytes.is_empty() => "(closed without a word)".to_owned(),
            _ => String::from_utf8_lossy(&reply.bytes).replace('\r', ""),
        };
        report::output(&shown);
        Ok(reply)
    }

    /// Checks how many connections the HTTP server has accepted while `exchange` ran.
    pub fn reaching<T>(
        &mut self,
        expected: u64,
        exchange: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let before = self.server.connections()?;
        let result = exchange(self)?;
        let came = self.server.connections()? - before;
        let what = match came {
            0 => "no connection",
            1 => "one connection",
            _ => "several connections",
        };
        report::received("backend", what);
        let claim =
            if expected == 0 { "no upstream was opened" } else { "one upstream was opened" };
        self.report.check(came == expected, claim);
        Ok(result)
    }

    /// Ends the programs in the lab.
    pub fn close(self) -> Report {
        self.report
    }

    /// Adds an instance's counters to the sums, once the refusals are as expected.
    fn count(&mut self, instance: u32, expected: &[(&str, u64)]) {
        let expected: Counters =
            expected.iter().map(|&(reason, count)| (reason.to_owned(), count)).collect();
        let mut found = Counters::new();
        let counted = wait_until(COUNTERS_DELAY, "the counters", || {
            found = bpftool::reasons(instance).unwrap_or_default();
            // A first packet that gets no answer is sent again, and counted again.
            found.keys().eq(expected.keys()) && expected.iter().all(|(name, n)| found[name] >= *n)
        });
        if !expected.is_empty() {
            report::command("node", &bpftool::reasons_line(instance));
            report::output(&bpftool::table(&found));
            self.report.check(counted.is_ok(), "each refusal is counted by its reason");
        }
        bpftool::add(&mut self.reasons, found);
        match bpftool::packets(instance) {
            Ok(packets) => bpftool::add(&mut self.packets, packets),
            Err(error) => self.report.check(false, &format!("the counters can be read: {error:#}")),
        }
    }

    fn check_nothing_left(&mut self, traces: &Traces) {
        let mut left = Vec::new();
        let nothing = wait_until(FREEING, "the kernel to free everything", || {
            left = traces.left(&self.lab.node).unwrap_or_else(|error| vec![format!("{error:#}")]);
            left.is_empty()
        });
        let claim = format!("nothing is left: {traces}, veth, filter, pins, cgroup are gone");
        self.report.check(nothing.is_ok() && !traces.is_empty(), &claim);
        report::output(&left.join("\n"));
    }
}

impl Place {
    /// Its name in the report.
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Node => "node",
        }
    }

    fn netns(self, lab: &Lab) -> &Netns {
        match self {
            Self::Client => &lab.client,
            Self::Node => &lab.node,
        }
    }
}
