//! What Foreword is told to do: from what a person wrote to settings that can be relied on.
//!
//! [`raw`] is what was written, word for word: in a [`file`](mod@file), or as flags.
//! [`validate`](mod@validate) is the one place that turns it into [`settings`], and the one place
//! that refuses; behind it nobody checks again. Nothing here touches the machine: an upstream's name is
//! looked up by whoever runs the configuration, and only judged here.

pub mod change;
pub mod difference;
pub mod explain;
pub mod field;
pub mod file;
pub mod import;
pub mod raw;
pub mod settings;
pub mod times;
pub mod validate;
pub mod word;

pub use raw::RawConfig;
pub use settings::Settings;
pub use validate::{Found, Invalid, Names, Written, validate};
