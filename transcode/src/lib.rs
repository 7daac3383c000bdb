//! Samples in, samples of every rendition out: decode once, scale in a cascade, encode N times, with sync samples at
//! the same instants in all of them.
//!
//! Two halves and the wire between them. [`host`] runs in the server: it feeds a worker process, joins what comes
//! back with the source's own samples, and replaces the worker when it dies. [`worker`] runs in that process and is
//! the only user of libav; its `unsafe` lives in `sys`. They speak [`protocol`], length-prefixed frames on
//! the worker's standard streams.

pub mod audio;
pub mod config;
pub mod hardware;
pub mod host;
pub mod ladder;
pub mod protocol;
pub mod pull;
pub mod push;
pub mod snapshot;
mod sys;
pub mod worker;
