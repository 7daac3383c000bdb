//! Sources that libavformat reads: a worker opens them, the server takes what it finds.
//!
//! A pull's worker only takes a container apart. It is a process of its own kind ([`worker`]), in a cage as the
//! encoding worker's, which leaves a network open where its source is there and nothing else. It speaks
//! [`protocol`]: packets as the container has them, with the container's times. What they are coded with is read here, in
//! the server, by [`tracks`]: parsers without `unsafe`, since whoever feeds the source may be anyone. [`host`] starts
//! workers and hears them.

pub mod host;
pub mod protocol;
pub mod tracks;
pub mod worker;
