//! RTMP as publishers speak it, without a socket and without a clock.
//!
//! A session takes bytes and `now`, and gives bytes to write and events. Raw bytes meet only our own
//! chunk reader; `rml_rtmp` sees vetted commands, one message at a time.

pub mod aggregate;
pub mod amf0;
pub mod chunk;
pub mod command;
pub mod dialogue;
pub mod handshake;
pub mod session;
pub mod wire;

pub use session::{Event, Limits, Publish, RefusalCode, Session, SessionError, Wake};

use bytes::Bytes;

/// What a media message carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MediaKind {
    /// Message type 8.
    Audio,
    /// Message type 9.
    Video,
    /// Message type 18 (or 15 without its leading byte): AMF0 such as `@setDataFrame`, `onMetaData`.
    Data,
}

/// One media message as it came from the publisher.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Audio, video or data.
    pub kind: MediaKind,
    /// The wire's absolute timestamp in milliseconds; wraps (RTMP-37).
    pub timestamp: u32,
    /// The FLV tag body.
    pub body: Bytes,
}
