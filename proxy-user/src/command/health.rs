//! `foreword health`: what a probe asks, over the admin socket.

use std::path::Path;

use anyhow::{Result, anyhow};

use super::cli::Health;
use crate::config::times::PROBE;
use crate::operate::admin::{Ask, client};
use crate::operate::report::{State, Status};

/// Fails, with the reason, if it is not healthy. The run is the one in this container; where that
/// one drains, its successor says whether new connections are taken.
pub fn run(arguments: &Health) -> Result<()> {
    let path = &arguments.admin.socket;
    let ask = |socket: &Path| client::ask_within::<Status>(socket, &Ask::Status, PROBE);
    let run = ask(&client::nearest(path))?;
    let wrong = match run.ailment() {
        None if arguments.ready && run.state != State::Serving => ask(path)?.unreadiness(),
        ailment => ailment,
    };
    wrong.map_or(Ok(()), |why| Err(anyhow!(why)))
}
