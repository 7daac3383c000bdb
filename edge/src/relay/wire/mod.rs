//! What two relay nodes say to each other, as bytes: `aqr/1`. Sans-IO: values in and out, nothing trusted.
//!
//! There is one bidirectional *control* stream, opened by the edge, which carries [`Frame`]s, and one unidirectional
//! stream for each object, opened by the origin: a [`Head`], then the bytes that it announces, then the end. An object
//! that does not come whole is discarded. Numbers are big-endian; ranges of numbers are LEB128 differences.
//!
//! The protocol grows without a new name: control frames of unknown types are skipped, unknown trailing bytes of a known
//! frame or head are ignored, unknown flags in the low byte of a head as well. Anything else needs another ALPN.
//! A single object that is not pushed is *fetched*: the edge opens a bidirectional stream for it, says [`Frame::Fetch`] and
//! nothing else, and gets [`Frame::Lent`] and the bytes, or [`Frame::Missing`]. Only a node that says [`Frame::Lends`] is
//! asked so.
//!
//! What an edge asks for under a name that none has is skipped as well: viewers choose such names.

mod frame;
mod head;
mod ranges;
mod text;

pub use frame::{Frame, FrameReader};
pub use head::{Body, Head, HeadReader, ListHead, Media, What};
pub(crate) use head::{path_of, split};
pub use ranges::Ranges;
pub(crate) use text::is_name;

/// The protocol's name and version (ALPN).
pub const ALPN: &[u8] = b"aqr/1";
/// Longest control frame, in bytes.
pub const MAX_FRAME: usize = 256 * 1_024;
/// Longest head of an object, in bytes.
pub const MAX_HEAD: usize = 256 * 1_024;
/// Longest body of an object, in bytes.
pub const MAX_BODY: usize = 8 * 1_024 * 1_024;
/// Longest body of an object that is fetched, which may be a whole segment, in bytes.
pub const MAX_LENT: usize = 32 * 1_024 * 1_024;
/// Longest name of a line, a file or a node, in bytes.
pub const MAX_NAME: usize = 200;

/// Why bytes of a peer are no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// It ends in the middle of a field.
    #[error("a message ends in the middle of a field")]
    Short,
    /// A length is above its limit.
    #[error("{0} is above its limit")]
    TooLong(&'static str),
    /// A name with characters that none has.
    #[error("a name is empty where it may not be, too long, or holds what no name does")]
    Name,
    /// A value that this version does not know, where it cannot be skipped.
    #[error("{0} has an unknown value")]
    Unknown(&'static str),
    /// Numbers that are not in order.
    #[error("numbers are not in order, or have none after them")]
    Ranges,
}
