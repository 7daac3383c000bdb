//! Hears every stage's events and what viewers' players report, and makes of them what people look at: how each stream
//! is and why, what viewers live through, alerts, counters for Prometheus, and a history on disk.
//!
//! Nothing here slows media: events come over a bounded bus that drops and counts, readers take snapshots, and one thread
//! writes what is kept.
#![forbid(unsafe_code)]

pub mod alert;
pub mod beacon;
pub mod board;
mod cluster;
pub mod cmcd;
pub mod health;
mod histogram;
pub mod latency;
mod metrics;
pub mod nodes;
mod pull;
mod qoe;
mod relay;
pub mod score;
pub mod series;
mod sound;
mod sources;
pub mod store;
mod streams;
mod transcode;
pub mod viewers;
mod watch;
mod ways;

pub use board::{Board, Overview, Setup, Told, run};
pub use metrics::Metrics;
pub use sources::{PushView, SourceState, SourceView, SwitchView};
pub use streams::{Advised, ROW, State, StreamRow, StreamView, Streams};
pub use transcode::{RenditionView, TranscodeView};
pub use watch::{Happening, ViewersBy};
