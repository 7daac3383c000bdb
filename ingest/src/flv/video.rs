//! Video messages: the legacy header and Enhanced RTMP's (RTMP-45, RTMP-47, RTMP-52..54, RTMP-56..58).

use aqueduct_common::codec::ForeignVideo;
use bytes::Bytes;

pub use super::colour::ColourInfo;
use super::ex::{self, Multitrack};
use super::{FlvError, FourCc, Tag, colour, take_cts, take_four_cc, take_u8};

/// Codecs of pictures that are taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VideoCodec {
    /// H.264.
    Avc,
    /// H.265.
    Hevc,
    /// AV1.
    Av1,
    /// VP9.
    Vp9,
    /// One that needs a transcode; RTMP brings none.
    Foreign(ForeignVideo),
}

/// What a video message holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VideoPacket {
    /// A configuration record: avcC, hvcC, av1C or vpcC.
    Header {
        /// Its codec.
        codec: VideoCodec,
        /// The record.
        record: Bytes,
    },
    /// One coded frame.
    Frame {
        /// Its codec.
        codec: VideoCodec,
        /// The header says that it is a key frame; a hint (RTMP-47).
        key: bool,
        /// PTS − DTS in milliseconds (RTMP-40).
        cts: i32,
        /// The frame as the codec's RTMP mapping carries it.
        data: Bytes,
    },
    /// What the publisher says of the colours, or that it says nothing any more (RTMP-58).
    Colour(ColourInfo),
    /// The publisher says that the track ends here.
    End,
}

/// Frame type of commands and information frames.
const COMMAND: u8 = 5;
const KEY: u8 = 1;
/// Generated key frame: a key frame made by a server.
const GENERATED_KEY: u8 = 4;

/// Packet types of Enhanced RTMP.
mod packet {
    pub(super) const SEQUENCE_START: u8 = 0;
    pub(super) const CODED_FRAMES: u8 = 1;
    pub(super) const SEQUENCE_END: u8 = 2;
    pub(super) const CODED_FRAMES_X: u8 = 3;
    pub(super) const METADATA: u8 = 4;
    pub(super) const MPEG2TS_SEQUENCE_START: u8 = 5;
    pub(super) const MULTITRACK: u8 = 6;
}

/// Reads a video message.
///
/// # Errors
/// When the body is cut short, or its codec or packet type is not known. The message is then dropped and counted.
pub fn parse(body: &Bytes) -> Result<Tag<VideoPacket>, FlvError> {
    let mut body = body.clone();
    if body.is_empty() {
        return Ok(Tag::empty());
    }
    let first = take_u8(&mut body, "video header")?;
    if first & 0x80 == 0 {
        legacy(first >> 4, first & 0x0F, body)
    } else {
        extended(first >> 4 & 7, first & 0x0F, body)
    }
}

fn legacy(frame_type: u8, codec: u8, mut body: Bytes) -> Result<Tag<VideoPacket>, FlvError> {
    if frame_type == COMMAND {
        return Ok(Tag::empty());
    }
    let codec = match codec {
        7 => VideoCodec::Avc,
        12 => VideoCodec::Hevc,
        other => return Err(FlvError::UnknownCodec(other)),
    };
    let packet_type = take_u8(&mut body, "packet type")?;
    let cts = take_cts(&mut body)?;
    let packet = match packet_type {
        0 => VideoPacket::Header { codec, record: body },
        1 => VideoPacket::Frame { codec, key: matches!(frame_type, KEY | GENERATED_KEY), cts, data: body },
        2 => VideoPacket::End,
        other => return Err(FlvError::UnknownPacket(other)),
    };
    Ok(Tag::single(packet))
}

fn extended(frame_type: u8, packet_type: u8, mut body: Bytes) -> Result<Tag<VideoPacket>, FlvError> {
    let (packet_type, nanos) = ex::mod_ex(packet_type, &mut body)?;
    // The frame type of a metadata packet says nothing (RTMP-58); a command frame's body is one byte.
    if frame_type == COMMAND && packet_type != packet::METADATA {
        return Ok(Tag::empty());
    }
    let key = matches!(frame_type, KEY | GENERATED_KEY);
    if packet_type != packet::MULTITRACK {
        let four_cc = take_four_cc(&mut body)?;
        return Ok(Tag { packet: one_track(packet_type, key, four_cc, body)?, nanos, ..Tag::empty() });
    }
    let mut tracks = Multitrack::open(body, packet::MULTITRACK)?;
    let mut tag = Tag { nanos, ..Tag::empty() };
    while let Some(track) = tracks.next()? {
        tag.add(track.track, one_track(tracks.packet_type, key, track.four_cc, track.body))?;
    }
    Ok(tag)
}

fn one_track(
    packet_type: u8,
    key: bool,
    four_cc: FourCc,
    mut body: Bytes,
) -> Result<Option<VideoPacket>, FlvError> {
    if packet_type == packet::METADATA {
        return Ok(colour::parse(&body).map(VideoPacket::Colour));
    }
    let codec = match &four_cc.0 {
        b"avc1" => VideoCodec::Avc,
        b"hvc1" => VideoCodec::Hevc,
        b"av01" => VideoCodec::Av1,
        b"vp09" => VideoCodec::Vp9,
        _ => return Err(FlvError::UnknownFourCc(four_cc)),
    };
    Ok(Some(match packet_type {
        packet::SEQUENCE_START => VideoPacket::Header { codec, record: body },
        packet::CODED_FRAMES => {
            let offset = matches!(codec, VideoCodec::Avc | VideoCodec::Hevc);
            let cts = if offset { take_cts(&mut body)? } else { 0 };
            VideoPacket::Frame { codec, key, cts, data: body }
        }
        packet::CODED_FRAMES_X => VideoPacket::Frame { codec, key, cts: 0, data: body },
        packet::SEQUENCE_END => VideoPacket::End,
        packet::MPEG2TS_SEQUENCE_START => return Err(FlvError::UnknownPacket(packet_type)),
        other => return Err(FlvError::UnknownPacket(other)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_hex(text: &str) -> Result<Tag<VideoPacket>, FlvError> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let bytes = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect::<Vec<_>>();
        parse(&Bytes::from(bytes))
    }

    fn frame(codec: VideoCodec, key: bool, cts: i32, data: &'static [u8]) -> VideoPacket {
        VideoPacket::Frame { codec, key, cts, data: Bytes::from_static(data) }
    }

    #[test]
    fn the_legacy_header_of_avc_and_of_hevc_12_is_read() {
        assert_eq!(
            parse_hex("17 00 000000 0142").unwrap().packet,
            Some(VideoPacket::Header { codec: VideoCodec::Avc, record: Bytes::from_static(&[1, 0x42]) })
        );
        assert_eq!(
            parse_hex("27 01 FFFFD8 AABB").unwrap().packet,
            Some(frame(VideoCodec::Avc, false, -40, &[0xAA, 0xBB]))
        );
        assert_eq!(
            parse_hex("1C 01 000021 AA").unwrap().packet,
            Some(frame(VideoCodec::Hevc, true, 33, &[0xAA]))
        );
        assert_eq!(parse_hex("17 02 000000").unwrap().packet, Some(VideoPacket::End));
    }

    #[test]
    fn command_frames_and_empty_bodies_hold_no_media() {
        for body in ["", "57 00", "57", "D1 00", "91 68766331 000000 00".replace("91", "D1").as_str()] {
            assert_eq!(parse_hex(body).unwrap(), Tag::empty(), "{body}");
        }
    }

    #[test]
    fn the_composition_offset_is_there_for_coded_frames_of_avc_and_hevc_only() {
        // RTMP-53: CodedFrames of hvc1 carries it, CodedFramesX and AV1 do not.
        assert_eq!(
            parse_hex("A1 68766331 000021 AA").unwrap().packet,
            Some(frame(VideoCodec::Hevc, false, 33, &[0xAA]))
        );
        assert_eq!(
            parse_hex("93 68766331 AA").unwrap().packet,
            Some(frame(VideoCodec::Hevc, true, 0, &[0xAA]))
        );
        assert_eq!(
            parse_hex("91 61763031 000021").unwrap().packet,
            Some(frame(VideoCodec::Av1, true, 0, &[0, 0, 0x21]))
        );
        assert_eq!(
            parse_hex("A1 76703039 AA").unwrap().packet,
            Some(frame(VideoCodec::Vp9, false, 0, &[0xAA]))
        );
    }

    #[test]
    fn a_multitrack_message_is_read_track_by_track() {
        // The digest's example (RTMP-56): track 1 alone.
        let tag = parse_hex("A6 01 68766331 01 000021 AABB").unwrap();
        assert_eq!(
            (tag.packet, tag.further),
            (None, vec![(1, frame(VideoCodec::Hevc, false, 33, &[0xAA, 0xBB]))])
        );
        // ManyTracks: tracks 1 and 0, one FourCC, sized bodies.
        let tag = parse_hex("A6 11 68766331 01 000004 000000 CC  00 000004 000021 AA").unwrap();
        assert_eq!(tag.packet, Some(frame(VideoCodec::Hevc, false, 33, &[0xAA])));
        assert_eq!(tag.further, [(1, frame(VideoCodec::Hevc, false, 0, &[0xCC]))]);
        // ManyTracksManyCodecs: a FourCC each.
        let tag = parse_hex("96 23 61766331 00 000001 AA  61763031 02 000002 BBBB").unwrap();
        assert_eq!(tag.packet, Some(frame(VideoCodec::Avc, true, 0, &[0xAA])));
        assert_eq!(tag.further, [(2, frame(VideoCodec::Av1, true, 0, &[0xBB, 0xBB]))]);
        // A further track that cannot be read, or has too high a number, leaves the others alone.
        let tag =
            parse_hex("96 23 61766331 00 000001 AA  76766331 02 000002 BBBB 61766331 07 000001 CC").unwrap();
        assert_eq!((tag.further, tag.extra_tracks), (vec![], 1 << 2 | 1 << 7));
        assert!(tag.packet.is_some());
        // A track that ends early.
        assert_eq!(parse_hex("A6 11 68766331 00 0000FF AA"), Err(FlvError::Truncated("track body")));
        assert_eq!(parse_hex("A6 16 68766331"), Err(FlvError::Multitrack));
    }

    #[test]
    fn mod_ex_adds_nanoseconds_to_this_message() {
        // RTMP-57: size 3 (02 + 1), 500 000 ns, type 0, next packet type 3.
        let tag = parse_hex("97 02 07A120 03 68766331 AA").unwrap();
        assert_eq!((tag.nanos, tag.packet), (500_000, Some(frame(VideoCodec::Hevc, true, 0, &[0xAA]))));
        // An unknown ModEx type of 256 bytes (FF, then its length), then a known one.
        let long = format!("97 FF 00FF {} 17 02 000001 03 68766331 AA", "00".repeat(256));
        assert_eq!(parse_hex(&long).unwrap().nanos, 1);
        assert_eq!(
            parse_hex(&format!("97 {}", "00 00 07 ".repeat(40))),
            Err(FlvError::Truncated("nanosecond offset"))
        );
        assert_eq!(parse_hex(&format!("97 {}", "00 00 17 ".repeat(40))), Err(FlvError::UnknownPacket(7)));
    }

    #[test]
    fn colours_are_read_whatever_the_frame_type() {
        // RTMP-58: an empty object takes back what was said.
        for first in ["94", "A4", "D4"] {
            let body = format!("{first} 68766331 020009 636F6C6F72496E666F 03 000009");
            assert_eq!(
                parse_hex(&body).unwrap().packet,
                Some(VideoPacket::Colour(ColourInfo::default())),
                "{first}"
            );
        }
    }

    #[test]
    fn other_metadata_is_passed_over_whatever_its_frame_type() {
        for body in ["94 68766331 02000963", "D4 68766331", "A4 00000000"] {
            assert_eq!(parse_hex(body).unwrap().packet, None, "{body}");
        }
    }

    #[test]
    fn unknown_codecs_and_packet_types_are_errors() {
        assert_eq!(parse_hex("12 00"), Err(FlvError::UnknownCodec(2)));
        assert_eq!(parse_hex("91 76766331 00"), Err(FlvError::UnknownFourCc(FourCc(*b"vvc1"))));
        assert_eq!(parse_hex("9A 68766331 00"), Err(FlvError::UnknownPacket(10)));
        assert_eq!(parse_hex("17 01 0000"), Err(FlvError::Truncated("composition offset")));
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let _ = parse(&Bytes::from(body));
        }
    }
}
