//! `foreword connections`: what is open, live.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use super::render::connections::list;
use super::{Failure, cli};
use crate::config::Invalid;
use crate::config::validate::flag_duration;
use crate::operate::admin::{Request, client};
use crate::operate::report::connections::{Connection, Filter};
use crate::operate::report::pinned;
use crate::steer;

/// Shows those that are wanted, of all runs. Of instances that don't answer, it shows what the
/// kernel knows.
pub fn run(arguments: &cli::Connections) -> Result<(), Failure> {
    let filter = filter(arguments)?;
    let mut connections = all(arguments);
    connections.retain(|connection| filter.matches(connection));
    Ok(show(connections, arguments.json)?)
}

fn show(connections: Vec<Connection>, json: bool) -> Result<()> {
    let report = if json {
        format!("{}\n", serde_json::to_string_pretty(&connections)?)
    } else if connections.is_empty() {
        "no such connection is open\n".to_owned()
    } else {
        list(connections)
    };
    io::stdout().write_all(report.as_bytes()).context("cannot write to standard output")
}

fn all(arguments: &cli::Connections) -> Vec<Connection> {
    let socket = &arguments.admin.socket;
    let (lists, _) = client::ask_all::<Vec<Connection>>(socket, &Request::Connections);
    if lists.is_empty() {
        let instances = steer::pinned::instances().unwrap_or_default();
        return instances.iter().flat_map(pinned::connections).collect();
    }
    lists.into_iter().flatten().collect()
}

fn filter(arguments: &cli::Connections) -> Result<Filter, Failure> {
    let client = arguments.client.as_ref().map(|text| {
        let fix = "write an address or a range, such as 203.0.113.0/24";
        text.parse().map_err(|_| Invalid::flag("--client", text, fix))
    });
    let older = arguments.older.as_ref();
    let older = older.map(|text| flag_duration("--older", text));
    Ok(Filter {
        rule: arguments.rule.clone(),
        client: client.transpose()?,
        port: arguments.port,
        older: older.transpose()?,
    })
}
