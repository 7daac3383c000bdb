//! Publisher bytes in, samples out.
//!
//! Sockets live in [`server`]; everything behind them takes bytes and `now` and returns values:
//!
//! ```text
//! bytes ─▶ rtmp::Session ─▶ rtmp::Message ─▶ stream::Lease (flv ─▶ demux ─▶ timeline) ─▶ Feed
//! RTP packets ─▶ rtsp::Assembly ─▶ Demuxed ─▶ stream::Lease (timeline) ─▶ Feed
//! ```
#![forbid(unsafe_code)]

pub mod config;
pub mod demux;
pub mod error;
pub mod flv;
pub mod keys;
pub mod limits;
pub mod pull;
pub mod rtmp;
pub mod rtsp;
pub mod server;
pub mod stream;
pub mod timeline;

pub use config::{Config, ConfigError, Plan};
pub use error::Error;
pub use keys::KeyRing;
pub use rtsp::pull::Pulls;
pub use server::Server;
pub use stream::Streams;
