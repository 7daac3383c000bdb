//! Samples in, objects out: CMAF parts and segments, and every HLS playlist that lists them.
//!
//! Pure cores, one thin shell: [`cutter`] decides where parts and segments end, [`fmp4`] writes their boxes,
//! [`window`] holds what is listed, [`playlist`] turns that into text, [`stream`] ties them together for one stream,
//! and [`run()`] feeds it and publishes what it makes.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod config;
pub mod cutter;
mod epoch;
pub mod fmp4;
mod lane;
pub mod names;
pub mod playlist;
pub mod publish;
pub mod rate;
mod rendition;
mod retime;
mod run;
mod standby;
pub mod stream;
pub mod targets;
pub mod window;

pub use checkpoint::{Checkpoints, Elsewhere};
pub use config::{Config, ConfigError, Plan};
pub use run::{Lead, run};
