//! What whoever runs Foreword gets to see of it.

pub mod logs;
pub mod summary;
