//! What Foreword is told to do: from what a person wrote to settings that can be relied on.
//!
//! [`raw`] is what was written, word for word. [`validate`] is the one place that turns it into
//! [`settings`], and the one place that refuses; behind it nobody checks again. Nothing here
//! touches the machine, except that an upstream's name is looked up.

pub mod raw;
pub mod settings;
pub mod validate;

pub use raw::RawAttach;
pub use settings::Settings;
pub use validate::{Invalid, validate};
