//! The relay without steering: workers behind an ordinary listener, serving the rules of a
//! configuration file. `cargo xtask bench` sets it beside the listeners of other proxies.
//!
//! Not part of the product: where a connection was aimed is taken to be the listener's own address.
//!
//! ```console
//! $ listener 10.9.0.2:9000 foreword.yaml
//! ```

use std::env;
use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use foreword::budget::DescriptorBudget;
use foreword::budget::MemoryBudget;
use foreword::logging;
use foreword::relay::{Pods, Workers};
use foreword::service::config_file::ConfigFile;
use foreword::service::resolver::look_up_now;
use foreword::sys::netns::Namespace;
use foreword::sys::rlimit;
use foreword::sys::socket::{self, Listeners};

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [address, config] = &arguments[..] else { bail!("usage: listener ADDRESS CONFIG") };
    let address: SocketAddrV4 = address.parse().context("ADDRESS is IPv4 and a port")?;
    let (file, settings) = ConfigFile::open(Path::new(config))?;
    let names = file.judge_names(&settings, &look_up_now(&settings.upstream_names())?)?;
    logging::start(logging::Format::Text).expect("there are threads");
    let budget = DescriptorBudget::of(rlimit::raise_open_files()?)?;
    let count = settings.workers.map_or(1, Into::into);
    let listen = || Ok(Listeners { v4: socket::listen(address.into())?, v6: None });
    let listeners: Result<Vec<_>> = (0..count).map(|_| listen()).collect();
    // Where clients' addresses would be used, if a rule wanted that.
    let private = Namespace::create()?;
    let ceilings = MemoryBudget::look()?.ceilings(budget.connections);
    let nobody = Pods::new(|_, _| false);
    let workers = Workers::start(&settings, &names, ceilings, listeners?, None, &private, &nobody)?;
    println!("ready: {count} workers at {address}");
    while !workers.has_stopped() {
        std::thread::sleep(Duration::from_secs(1));
    }
    bail!("a worker has stopped");
}
