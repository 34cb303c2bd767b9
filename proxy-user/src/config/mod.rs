//! The configuration: from what a person wrote to settings that can be relied on.
//!
//! [`raw`] defines each option, and holds what was written: in a [`file`](mod@file), or as flags.
//! [`validate`](mod@validate) is the one place that turns it into [`settings`] or refuses it; nothing is
//! checked again behind it. Nothing here touches the machine: an upstream's name is looked up by
//! whoever runs the configuration, and only its addresses are validated here.

pub mod change;
pub mod difference;
pub mod explain;
pub mod field;
pub mod file;
#[cfg(test)]
pub mod fixtures;
pub mod import;
pub mod invalid;
pub mod raw;
pub mod settings;
pub mod times;
pub mod validate;
pub mod value;

pub use field::Syntax;
pub use invalid::Invalid;
pub use raw::RawConfig;
pub use settings::Settings;
pub use validate::{Found, Names, validate};
