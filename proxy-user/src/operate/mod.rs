//! What whoever runs Foreword gets to see of it.

pub mod admin;
pub mod budget;
pub mod config_file;
pub mod doctor;
pub mod logs;
pub mod memory_budget;
pub mod outlet;
pub mod report;
pub mod resolver;
pub mod summary;
pub mod watch;
