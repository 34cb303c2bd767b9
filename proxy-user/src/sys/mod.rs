//! The system calls that the rest of the program needs, under names that say what they are for.
//!
//! What is here does one thing to one kernel object, and decides nothing. `nix`, `rustix` and
//! `socket2` wrap each call that we need, so there is no `unsafe` in this program, and
//! of `libc` only the structure that describes a lock; if more is ever needed, this is its only room.

pub mod alarm;
pub mod bpf_link;
pub mod buffers;
pub mod capability;
pub mod cgroup;
pub mod file_lock;
pub mod file_watch;
pub mod kernel;
pub mod memory;
pub mod netns;
pub mod passing;
pub mod pipe;
pub mod place;
pub mod poll;
pub mod program;
pub mod resolver;
pub mod slots;
pub mod socket;
pub mod sysctls;
pub mod unseen;
