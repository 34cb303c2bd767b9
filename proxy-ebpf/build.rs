//! Rebuilds the object when the linker changes.

/// The object is linked by `bpf-linker`; a new version of it may emit other code or BTF.
fn main() {
    if let Ok(linker) = which::which("bpf-linker") {
        println!("cargo:rerun-if-changed={}", linker.display());
    }
}
