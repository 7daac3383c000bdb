//! Audio messages: the legacy header and Enhanced RTMP's (RTMP-46, RTMP-55..57).

use aqueduct_common::codec::ForeignCodec;
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
    /// One that needs a transcode.
    Foreign(ForeignCodec),
}

/// What an audio message holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AudioPacket {
    /// An AudioSpecificConfig, an OpusHead (which may be empty), or FLAC's STREAMINFO.
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
        /// The header says that it has two channels; only for G.711 is there no better word.
        stereo: bool,
        /// The access unit, without ADTS.
        data: Bytes,
    },
    /// The publisher says that the track ends here.
    End,
    /// Sound that is not decoded here, and browsers do not play it; the codec's name.
    Undecoded(&'static str),
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
    let foreign = |codec, data| {
        let (codec, stereo) = (AudioCodec::Foreign(codec), first & 1 == 1);
        Ok(Tag::single(AudioPacket::Frame { codec, stereo, data }))
    };
    match first >> 4 {
        9 => extended(first & 0x0F, body),
        10 => aac(body),
        2 | 14 => foreign(ForeignCodec::Mp3, body),
        7 => foreign(ForeignCodec::ALaw, body),
        8 => foreign(ForeignCodec::MuLaw, body),
        0 | 3 => Ok(Tag::single(AudioPacket::Undecoded("PCM"))),
        1 => Ok(Tag::single(AudioPacket::Undecoded("ADPCM"))),
        4..=6 => Ok(Tag::single(AudioPacket::Undecoded("Nellymoser"))),
        11 => Ok(Tag::single(AudioPacket::Undecoded("Speex"))),
        other => Err(FlvError::UnknownCodec(other)),
    }
}

/// Legacy AAC: the header's rate, size and type bits say nothing.
fn aac(mut body: Bytes) -> Result<Tag<AudioPacket>, FlvError> {
    let packet = match take_u8(&mut body, "packet type")? {
        0 => AudioPacket::Header { codec: AudioCodec::Aac, record: body },
        1 => AudioPacket::Frame { codec: AudioCodec::Aac, stereo: true, data: body },
        other => return Err(FlvError::UnknownPacket(other)),
    };
    Ok(Tag::single(packet))
}

fn extended(packet_type: u8, mut body: Bytes) -> Result<Tag<AudioPacket>, FlvError> {
    let (packet_type, nanos) = ex::mod_ex(packet_type, &mut body)?;
    if packet_type != packet::MULTITRACK {
        let four_cc = take_four_cc(&mut body)?;
        return Ok(Tag { packet: one_track(packet_type, four_cc, body)?, nanos, ..Tag::empty() });
    }
    let mut tracks = Multitrack::open(body, packet::MULTITRACK)?;
    let mut tag = Tag { nanos, ..Tag::empty() };
    while let Some(track) = tracks.next()? {
        tag.add(track.track, one_track(tracks.packet_type, track.four_cc, track.body))?;
    }
    Ok(tag)
}

fn one_track(packet_type: u8, four_cc: FourCc, body: Bytes) -> Result<Option<AudioPacket>, FlvError> {
    let codec = match &four_cc.0 {
        b"mp4a" => AudioCodec::Aac,
        b"Opus" => AudioCodec::Opus,
        b"fLaC" => AudioCodec::Foreign(ForeignCodec::Flac),
        b"ac-3" => AudioCodec::Foreign(ForeignCodec::Ac3),
        b"ec-3" => AudioCodec::Foreign(ForeignCodec::Eac3),
        b".mp3" => AudioCodec::Foreign(ForeignCodec::Mp3),
        _ => return Err(FlvError::UnknownFourCc(four_cc)),
    };
    Ok(Some(match packet_type {
        packet::SEQUENCE_START => AudioPacket::Header { codec, record: body },
        packet::CODED_FRAMES => AudioPacket::Frame { codec, stereo: true, data: body },
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
        AudioPacket::Frame { codec, stereo: true, data: Bytes::from_static(data) }
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
    fn sound_that_needs_a_transcode_is_read_and_the_rest_is_named() {
        let foreign = |codec, data| Ok(Some(frame(AudioCodec::Foreign(codec), data)));
        assert_eq!(packet(&[0x2F, 1]), foreign(ForeignCodec::Mp3, &[1]));
        assert_eq!(packet(&[0x73, 1]), foreign(ForeignCodec::ALaw, &[1]));
        assert_eq!(packet(b"\x91fLaC\xFF"), foreign(ForeignCodec::Flac, &[0xFF]));
        assert_eq!(packet(b"\x91ac-3\x0B"), foreign(ForeignCodec::Ac3, &[0x0B]));
        let (codec, data) = (AudioCodec::Foreign(ForeignCodec::MuLaw), Bytes::from_static(&[1]));
        assert_eq!(packet(&[0x82, 1]), Ok(Some(AudioPacket::Frame { codec, stereo: false, data })));
        assert_eq!(packet(&[0xB2, 1]), Ok(Some(AudioPacket::Undecoded("Speex"))));
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
    fn multitrack_audio_is_read_track_by_track() {
        let tag = parse(&Bytes::from_static(b"\x95\x11mp4a\x01\0\0\x01A\x00\0\0\x01B\x09\0\0\x01C")).unwrap();
        assert_eq!((tag.packet, tag.extra_tracks), (Some(frame(AudioCodec::Aac, b"B")), 1 << 9));
        assert_eq!(tag.further, [(1, frame(AudioCodec::Aac, b"A"))]);
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let _ = parse(&Bytes::from(body));
        }
    }
}
