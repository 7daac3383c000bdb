//! The types that cross a folder edge, and the queue they cross on.
//!
//! `common` knows time, samples, codec records, names, objects and events. It opens no file and no socket,
//! and reads no clock. A type lives here only when two stages need it.
#![forbid(unsafe_code)]

pub mod codec;
pub mod event;
pub mod feed;
pub mod name;
pub mod object;
pub mod pattern;
pub mod queue;
pub mod secret;
pub mod source;
pub mod time;
pub mod track;

pub use codec::CodecConfig;
pub use event::{Event, EventSender};
pub use feed::{ClockMap, Feed, Publication, Sample};
pub use name::StreamName;
pub use object::{Object, ObjectKind, ObjectPath, Publish, Update, Version};
pub use pattern::StreamPattern;
pub use secret::Secret;
pub use source::SourceName;
pub use time::{MediaTime, Timescale, WallTime};
pub use track::{Track, TrackId, TrackKind, TrackSet};
