//! `foreword health`: what a probe asks, over the admin socket.

use std::path::Path;

use anyhow::{Result, anyhow};

use super::cli::Health;
use crate::config::times::PROBE;
use crate::operate::admin::{Request, client};
use crate::operate::report::{State, Status};

/// Fails, with the reason, if it is not healthy. The run is the one in this container; where that
/// one drains, its successor says whether new connections are taken.
pub fn run(arguments: &Health) -> Result<()> {
    let path = &arguments.admin.socket;
    let ask = |socket: &Path| client::ask_within::<Status>(socket, &Request::Status, PROBE);
    let run = ask(&client::nearest(path))?;
    let wrong = match run.unhealthy_reason() {
        None if arguments.ready && run.state != State::Serving => ask(path)?.unready_reason(),
        unhealthy_reason => unhealthy_reason,
    };
    wrong.map_or(Ok(()), |why| Err(anyhow!(why)))
}
