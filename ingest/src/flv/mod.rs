//! FLV tag bodies and Enhanced RTMP: what one audio, video or data message holds.
//!
//! Pure parsers over `Bytes`; what they return shares the message's memory. Sources: the FLV file format v10.1
//! (E.4.2, E.4.3) and Enhanced RTMP v2. A body that cannot be read is an [`FlvError`], which callers count and
//! drop: it never ends a session (RTMP-60, RTMP-65).

pub mod audio;
mod colour;
pub mod data;
mod ex;
pub mod video;

use std::fmt;

use bytes::{Buf, Bytes};

pub use audio::AudioPacket;
pub use data::Metadata;
pub use video::VideoPacket;

/// A four-character codec code, as Enhanced RTMP writes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    /// The four characters; bytes that are not printable ASCII as `\xNN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a tag body was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlvError {
    /// It ends before its fields do.
    #[error("the tag body ends inside its {0}")]
    Truncated(&'static str),
    /// A codec number of the legacy header that is not supported.
    #[error("FLV codec number {0} is not supported")]
    UnknownCodec(u8),
    /// A FourCC that is not supported.
    #[error("codec {0} is not supported")]
    UnknownFourCc(FourCc),
    /// A packet type that is not known.
    #[error("packet type {0} is not known")]
    UnknownPacket(u8),
    /// A multitrack packet within a multitrack packet, or a multitrack type beyond 2.
    #[error("the multitrack header is malformed")]
    Multitrack,
    /// A data message that is not AMF0 within its limits.
    #[error("the data message is not well-formed AMF0")]
    Amf,
}

/// Further tracks of a kind that are taken, beside track 0 (RTMP-62).
pub const FURTHER_TRACKS: u8 = 5;

/// What one message holds (RTMP-56, RTMP-62).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag<P> {
    /// The packet of track 0; `None` where the message has none.
    pub packet: Option<P>,
    /// Nanoseconds to add to this message's timestamp (RTMP-57), at most 999 999.
    pub nanos: u32,
    /// Packets of tracks 1 to [`FURTHER_TRACKS`], in order.
    pub further: Vec<(u8, P)>,
    /// Tracks above 0 that came in this message and cannot be taken: bit n for track n, bit 31 for all beyond.
    pub extra_tracks: u32,
}

impl<P> Tag<P> {
    /// A tag of one track.
    const fn single(packet: P) -> Self {
        Self { packet: Some(packet), nanos: 0, further: Vec::new(), extra_tracks: 0 }
    }

    /// A tag without media: a command frame, metadata, a silence marker.
    const fn empty() -> Self {
        Self { packet: None, nanos: 0, further: Vec::new(), extra_tracks: 0 }
    }

    /// Adds a track of a multitrack message. What is wrong with a further one concerns nobody else.
    fn add(&mut self, track: u8, packet: Result<Option<P>, FlvError>) -> Result<(), FlvError> {
        match (track, packet) {
            (0, packet) => self.packet = packet?,
            (1..=FURTHER_TRACKS, Ok(packet)) => self.further.extend(packet.map(|packet| (track, packet))),
            _ => self.extra_tracks |= 1 << track.min(31),
        }
        Ok(())
    }
}

/// Takes `count` bytes off the front, sharing them.
fn take(body: &mut Bytes, count: usize, what: &'static str) -> Result<Bytes, FlvError> {
    if body.len() < count {
        return Err(FlvError::Truncated(what));
    }
    Ok(body.split_to(count))
}

/// Takes one byte off the front.
fn take_u8(body: &mut Bytes, what: &'static str) -> Result<u8, FlvError> {
    if body.is_empty() {
        return Err(FlvError::Truncated(what));
    }
    Ok(body.get_u8())
}

/// Takes a big-endian number of `count` bytes (at most 4) off the front.
fn take_uint(body: &mut Bytes, count: usize, what: &'static str) -> Result<u32, FlvError> {
    if body.len() < count {
        return Err(FlvError::Truncated(what));
    }
    Ok(body.get_uint(count) as u32)
}

/// Takes a signed 24-bit composition offset off the front, sign-extended (RTMP-40: 0xFFFFD8 is −40).
fn take_cts(body: &mut Bytes) -> Result<i32, FlvError> {
    let raw = take_uint(body, 3, "composition offset")?;
    Ok(((raw << 8) as i32) >> 8)
}

/// Takes a FourCC off the front.
fn take_four_cc(body: &mut Bytes) -> Result<FourCc, FlvError> {
    let raw = take_uint(body, 4, "FourCC")?;
    Ok(FourCc(raw.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_composition_offset_is_sign_extended() {
        let cts = |bytes: [u8; 3]| take_cts(&mut Bytes::copy_from_slice(&bytes)).unwrap();
        assert_eq!([cts([0xFF, 0xFF, 0xD8]), cts([0, 0, 0x21]), cts([0x80, 0, 0])], [-40, 33, -8_388_608]);
    }

    #[test]
    fn a_four_cc_from_the_network_prints_safely() {
        assert_eq!(FourCc(*b"avc1").to_string(), "avc1");
        assert_eq!(FourCc([b'a', 0, b'\n', 0xFF]).to_string(), "a\\x00\\n\\xff");
    }
}
