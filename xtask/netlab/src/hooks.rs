//! The ways of attaching to TC.

use std::sync::LazyLock;

use nix::sys::utsname::uname;

/// Every hook that this kernel has, the one that `auto` stands for first. tcx came with Linux 6.6.
pub fn hooks() -> &'static [&'static str] {
    const ALL: &[&str] = &["tcx", "clsact"];
    static HAS_TCX: LazyLock<bool> = LazyLock::new(|| kernel() >= (6, 6));
    if *HAS_TCX { ALL } else { &ALL[1..] }
}

/// The kernel's version: 6.12 as `(6, 12)`.
fn kernel() -> (u32, u32) {
    let name = uname().expect("every kernel has a name");
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|it| it.parse().ok());
    let mut number = || numbers.next().unwrap_or_else(|| panic!("no version: {release}"));
    (number(), number())
}
