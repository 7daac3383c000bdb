//! Audio messages: the legacy header and Enhanced RTMP's (RTMP-46, RTMP-55..57).

use bytes::Bytes;

use super::ex::{self, Multitrack};
use super::{FlvError, FourCc, Tag, take_four_cc, take_u8};

/// Codecs of sound that are taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AudioCodec {
    /// AAC.
    Aac,
    /// Opus.
    Opus,
}

/// What an audio message holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AudioPacket {
    /// An AudioSpecificConfig or an OpusHead (which may be empty).
    Header {
        /// Its codec.
        codec: AudioCodec,
        /// The record.
        record: Bytes,
    },
    /// One access unit.
    Frame {
        /// Its codec.
        codec: AudioCodec,
        /// The access unit, without ADTS.
        data: Bytes,
    },
    /// The publisher says that the track ends here.
    End,
    /// Sound that plays nowhere without a transcode; the codec's name.
    Foreign(&'static str),
}

/// Packet types of Enhanced RTMP.
mod packet {
    pub(super) const SEQUENCE_START: u8 = 0;
    pub(super) const CODED_FRAMES: u8 = 1;
    pub(super) const SEQUENCE_END: u8 = 2;
    pub(super) const MULTICHANNEL_CONFIG: u8 = 4;
    pub(super) const MULTITRACK: u8 = 5;
}

/// Reads an audio message. A body without bytes is a silence marker and holds no media.
///
/// # Errors
/// When the body is cut short, or its codec or packet type is not known. The message is then dropped and counted.
pub fn parse(body: &Bytes) -> Result<Tag<AudioPacket>, FlvError> {
    let mut body = body.clone();
    if body.is_empty() {
        return Ok(Tag::empty());
    }
    let first = take_u8(&mut body, "audio header")?;
    match first >> 4 {
        9 => extended(first & 0x0F, body),
        10 => aac(body),
        2 | 14 => Ok(Tag::single(AudioPacket::Foreign("MP3"))),
        0 | 3 => Ok(Tag::single(AudioPacket::Foreign("PCM"))),
        1 => Ok(Tag::single(AudioPacket::Foreign("ADPCM"))),
        4..=6 => Ok(Tag::single(AudioPacket::Foreign("Nellymoser"))),
        7 | 8 => Ok(Tag::single(AudioPacket::Foreign("G.711"))),
        11 => Ok(Tag::single(AudioPacket::Foreign("Speex"))),
        other => Err(FlvError::UnknownCodec(other)),
    }
}

/// Legacy AAC: the header's rate, size and type bits say nothing.
fn aac(mut body: Bytes) -> Result<Tag<AudioPacket>, FlvError> {
    let packet = match take_u8(&mut body, "packet type")? {
        0 => AudioPacket::Header { codec: AudioCodec::Aac, record: body },
        1 => AudioPacket::Frame { codec: AudioCodec::Aac, data: body },
        other => return Err(FlvError::UnknownPacket(other)),
    };
    Ok(Tag::single(packet))
}

fn extended(packet_type: u8, mut body: Bytes) -> Result<Tag<AudioPacket>, FlvError> {
    let (packet_type, nanos) = ex::mod_ex(packet_type, &mut body)?;
    if packet_type != packet::MULTITRACK {
        let four_cc = take_four_cc(&mut body)?;
        return Ok(Tag { packet: one_track(packet_type, four_cc, body)?, nanos, extra_tracks: 0 });
    }
    let mut tracks = Multitrack::open(body, packet::MULTITRACK)?;
    let mut tag = Tag { packet: None, nanos, extra_tracks: 0 };
    while let Some(track) = tracks.next()? {
        if track.track == 0 {
            tag.packet = one_track(tracks.packet_type, track.four_cc, track.body)?;
        } else {
            tag.extra_tracks |= 1 << track.track.min(31);
        }
    }
    Ok(tag)
}

fn one_track(packet_type: u8, four_cc: FourCc, body: Bytes) -> Result<Option<AudioPacket>, FlvError> {
    let codec = match &four_cc.0 {
        b"mp4a" => AudioCodec::Aac,
        b"Opus" => AudioCodec::Opus,
        b"fLaC" => return Ok(Some(AudioPacket::Foreign("FLAC"))),
        b"ac-3" => return Ok(Some(AudioPacket::Foreign("AC-3"))),
        b"ec-3" => return Ok(Some(AudioPacket::Foreign("E-AC-3"))),
        b".mp3" => return Ok(Some(AudioPacket::Foreign("MP3"))),
        _ => return Err(FlvError::UnknownFourCc(four_cc)),
    };
    Ok(Some(match packet_type {
        packet::SEQUENCE_START => AudioPacket::Header { codec, record: body },
        packet::CODED_FRAMES => AudioPacket::Frame { codec, data: body },
        packet::SEQUENCE_END => AudioPacket::End,
        // The channel order is in the codec's own record too.
        packet::MULTICHANNEL_CONFIG => return Ok(None),
        other => return Err(FlvError::UnknownPacket(other)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(body: &'static [u8]) -> Result<Option<AudioPacket>, FlvError> {
        parse(&Bytes::from_static(body)).map(|tag| tag.packet)
    }

    fn frame(codec: AudioCodec, data: &'static [u8]) -> AudioPacket {
        AudioPacket::Frame { codec, data: Bytes::from_static(data) }
    }

    #[test]
    fn aac_is_read_whatever_its_rate_bits_say() {
        let header =
            AudioPacket::Header { codec: AudioCodec::Aac, record: Bytes::from_static(&[0x12, 0x10]) };
        assert_eq!(packet(&[0xAF, 0, 0x12, 0x10]), Ok(Some(header)));
        assert_eq!(packet(&[0xA0, 1, 0x21]), Ok(Some(frame(AudioCodec::Aac, &[0x21]))));
        assert_eq!(packet(&[0xAF]), Err(FlvError::Truncated("packet type")));
    }

    #[test]
    fn a_silence_marker_holds_no_media() {
        assert_eq!(packet(&[]), Ok(None));
    }

    #[test]
    fn sound_that_browsers_do_not_play_is_named() {
        assert_eq!(packet(&[0x2F, 1]), Ok(Some(AudioPacket::Foreign("MP3"))));
        assert_eq!(packet(&[0x72, 1]), Ok(Some(AudioPacket::Foreign("G.711"))));
        assert_eq!(packet(b"\x91fLaC\x00"), Ok(Some(AudioPacket::Foreign("FLAC"))));
        assert_eq!(packet(&[0xC0]), Err(FlvError::UnknownCodec(12)));
    }

    #[test]
    fn enhanced_aac_and_opus_are_read() {
        let start = |codec, record| AudioPacket::Header { codec, record: Bytes::from_static(record) };
        assert_eq!(packet(b"\x90Opus"), Ok(Some(start(AudioCodec::Opus, b""))));
        assert_eq!(packet(b"\x90mp4a\x12\x10"), Ok(Some(start(AudioCodec::Aac, b"\x12\x10"))));
        assert_eq!(packet(b"\x91Opus\xFC"), Ok(Some(frame(AudioCodec::Opus, b"\xFC"))));
        assert_eq!(packet(b"\x92Opus"), Ok(Some(AudioPacket::End)));
        assert_eq!(packet(b"\x94Opus\x01\x02"), Ok(None));
        assert_eq!(packet(b"\x91xxxx"), Err(FlvError::UnknownFourCc(FourCc(*b"xxxx"))));
    }

    #[test]
    fn multitrack_audio_uses_track_0() {
        let tag = parse(&Bytes::from_static(b"\x95\x11mp4a\x01\0\0\x01A\x00\0\0\x01B")).unwrap();
        assert_eq!((tag.packet, tag.extra_tracks), (Some(frame(AudioCodec::Aac, b"B")), 0b10));
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let _ = parse(&Bytes::from(body));
        }
    }
}
