//! What whoever runs Foreword gets to see of it.

pub mod config_file;
pub mod logs;
pub mod summary;
