//! Memory and open files.

use std::fs;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

/// What some connections take, or would have to give back.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// Resident memory of the proxy in bytes.
    pub rss: u64,
    /// Open files of the proxy.
    pub descriptors: u64,
    /// Slab and TCP buffers of the whole machine in bytes.
    pub kernel: u64,
}

impl Footprint {
    /// Looks at some processes and at the kernel.
    pub fn take(processes: &[u32]) -> Result<Self> {
        let mut footprint = Self { rss: 0, descriptors: 0, kernel: kernel()? };
        for process in processes {
            footprint.rss += rss(*process)?;
            footprint.descriptors += descriptors(*process)?;
        }
        Ok(footprint)
    }
}

/// The sum over the mappings is exact; the counter in `status` may lag behind.
fn rss(process: u32) -> Result<u64> {
    let rollup = read(&format!("/proc/{process}/smaps_rollup"))?;
    kibibytes(&rollup, "Rss:").context("smaps_rollup names no Rss")
}

fn descriptors(process: u32) -> Result<u64> {
    let folder = format!("/proc/{process}/fd");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
    Ok(entries.map(|_| 1).sum())
}

fn kernel() -> Result<u64> {
    let slab = kibibytes(&read("/proc/meminfo")?, "Slab:").context("meminfo names no Slab")?;
    let pages = tcp_pages(&read("/proc/net/sockstat")?).context("sockstat names no TCP memory")?;
    let page = sysconf(SysconfVar::PAGE_SIZE)?.context("the kernel has no page size")?;
    Ok(slab + pages * page.unsigned_abs())
}

/// Reads `LABEL  123 kB`, in bytes.
fn kibibytes(text: &str, label: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(label))?;
    Some(value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Reads `TCP: inuse 1 orphan 0 tw 0 alloc 2 mem 3`; `mem` is of all namespaces.
fn tcp_pages(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    line.split_once(" mem ")?.1.split_whitespace().next()?.parse().ok()
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kernel_files() {
        let meminfo = "MemTotal:  24683520 kB\nSlab:      70000 kB\n";
        assert_eq!(kibibytes(meminfo, "Slab:"), Some(70_000 * 1024));
        assert_eq!(kibibytes(meminfo, "Rss:"), None);
        let sockstat =
            "sockets: used 9\nTCP: inuse 1 orphan 0 tw 0 alloc 2 mem 3\nUDP: inuse 0 mem 7\n";
        assert_eq!(tcp_pages(sockstat), Some(3));
    }

    #[test]
    fn we_have_memory_and_files() {
        let ours = Footprint::take(&[std::process::id()]).unwrap();
        assert!(ours.rss > 0 && ours.descriptors > 0 && ours.kernel > 0);
    }
}
