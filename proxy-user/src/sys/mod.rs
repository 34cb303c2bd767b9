//! The system calls and kernel files that the rest of the program needs, under names that say what
//! they are for.
//!
//! Each module does one thing to one kind of kernel object, and decides nothing. `nix`, `rustix`,
//! `socket2`, `caps` and `procfs` wrap almost everything, so this program needs no `unsafe`. Files
//! in `/proc` are read directly only where `procfs` doesn't cover them (`fdinfo` of BPF objects, most
//! sysctls) or would parse far more than we ask for. Should a call ever need `unsafe`, it belongs here.

pub mod buffers;
pub mod capability;
pub mod cgroup;
pub mod directory_watch;
pub mod environment;
pub mod fact;
pub mod fdinfo;
pub mod file_lock;
pub mod kernel;
pub mod low_fds;
pub mod memory;
pub mod netns;
pub mod pipe;
pub mod poll;
pub mod resolver;
pub mod rlimit;
pub mod scm_rights;
pub mod socket;
pub mod sysctl;
pub mod timer;
