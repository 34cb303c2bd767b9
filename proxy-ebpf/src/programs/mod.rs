//! The programs, one file each, named after the program without `foreword_`. (`return` is a
//! keyword, so `foreword_return` is in `return_path.rs`.)

pub mod answer;
pub mod egress;
pub mod guard;
pub mod hold;
pub mod hold_tx;
pub mod lookup;
pub mod return_path;
pub mod steer;
pub mod synack;
pub mod track;
