//! Clips made by the ffmpeg program, and a worker in this process.

pub mod clip;
pub mod job;
pub mod look;
pub mod worker;
