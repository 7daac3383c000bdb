//! Sound that browsers do not play, or not all of them: it needs a transcode before it is packaged. So do pictures of
//! some codecs.
//!
//! What must be known of each is its rate, its channels and how many samples a packet holds. MP2, MP3 and AC-3 say so in
//! every packet, FLAC and Vorbis in a record at the start, G.711 by convention, G.726 and PCM in the session's description. Sources: ISO/IEC 11172-3 2.4.1.3
//! (MP3), ETSI TS 102 366 4.4 and E.1.2 (AC-3, E-AC-3), RFC 9639 8.2 and 9.1 (FLAC), Vorbis I 4.2, ITU-T G.711.

mod flac;
mod pictures;
mod syncframe;

use bytes::Bytes;

pub use pictures::{ForeignPictures, ForeignVideo, Look};

use super::bits::Bits;
use super::{CodecError, check_length};

/// G.711's sampling rate, in Hz.
const G711_RATE: u32 = 8_000;
/// Most channels that are accepted.
const CHANNELS_MAX: u16 = 8;

/// Codecs of sound that need a transcode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ForeignCodec {
    /// MPEG-1, -2 or -2.5 audio, layer III.
    Mp3,
    /// The same, layer II.
    Mp2,
    /// G.711 A-law.
    ALaw,
    /// G.711 µ-law.
    MuLaw,
    /// AC-3.
    Ac3,
    /// E-AC-3.
    Eac3,
    /// FLAC.
    Flac,
    /// Vorbis.
    Vorbis,
    /// G.722.
    G722,
    /// Linear PCM of 16 bits in network byte order.
    Pcm16,
    /// G.726, whose codes fill bytes from the low bits on (RFC 3551, 4.5.4). The record is one byte: bits of a code.
    G726,
    /// G.726, whose codes fill bytes from the high bits on, as in AAL2. The record is one byte: bits of a code.
    G726High,
}

impl ForeignCodec {
    /// All of them, in the order of their numbers in [`CodecConfig::to_bytes`](super::CodecConfig::to_bytes).
    pub(super) const ALL: [Self; 12] = [
        Self::Mp3,
        Self::Mp2,
        Self::ALaw,
        Self::MuLaw,
        Self::Ac3,
        Self::Eac3,
        Self::Flac,
        Self::Vorbis,
        Self::G722,
        Self::Pcm16,
        Self::G726,
        Self::G726High,
    ];

    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mp3 => "MP3",
            Self::Mp2 => "MP2",
            Self::ALaw | Self::MuLaw => "G.711",
            Self::Ac3 => "AC-3",
            Self::Eac3 => "E-AC-3",
            Self::Flac => "FLAC",
            Self::Vorbis => "Vorbis",
            Self::G722 => "G.722",
            Self::Pcm16 => "PCM",
            Self::G726 | Self::G726High => "G.726",
        }
    }

    /// RFC 6381 string, or the codec's registered name where there is none.
    pub const fn rfc6381(self) -> &'static str {
        match self {
            Self::Mp3 => "mp4a.40.34",
            Self::Mp2 => "mp4a.40.33",
            Self::ALaw => "alaw",
            Self::MuLaw => "ulaw",
            Self::Ac3 => "ac-3",
            Self::Eac3 => "ec-3",
            Self::Flac => "fLaC",
            Self::Vorbis => "vorbis",
            Self::G722 => "g722",
            Self::Pcm16 => "l16",
            Self::G726 | Self::G726High => "g726",
        }
    }
}

/// What is known of sound that needs a transcode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignConfig {
    /// The codec.
    pub codec: ForeignCodec,
    /// FLAC's STREAMINFO block without its header; Vorbis's three headers in Xiph lacing; of G.726 how many
    /// bits a code has; else empty.
    pub record: Bytes,
    /// Sampling rate of the decoded sound, in Hz: the track's timescale.
    pub rate: u32,
    /// Channels of the decoded sound.
    pub channels: u16,
}

impl ForeignConfig {
    /// Checks the parts of a configuration. `record` is as [`ForeignConfig::record`] says.
    ///
    /// # Errors
    /// For a rate of 0 or beyond 192 kHz, no channel or more than 8, and records that are too long.
    pub fn new(codec: ForeignCodec, rate: u32, channels: u16, record: Bytes) -> Result<Self, CodecError> {
        check_length(codec.name(), record.len())?;
        if !(1..=192_000).contains(&rate) {
            return Err(unsupported(codec, "sampling rate", rate.into()));
        }
        if !(1..=CHANNELS_MAX).contains(&channels) {
            return Err(unsupported(codec, "channel count", channels.into()));
        }
        Ok(Self { codec, record, rate, channels })
    }

    /// G.711 at 8 kHz.
    ///
    /// # Errors
    /// For no channel or more than 8.
    pub fn g711(codec: ForeignCodec, channels: u16) -> Result<Self, CodecError> {
        Self::new(codec, G711_RATE, channels, Bytes::new())
    }

    /// G.722, which is always 16 kHz.
    ///
    /// # Errors
    /// For no channel or more than 8.
    pub fn g722(channels: u16) -> Result<Self, CodecError> {
        Self::new(ForeignCodec::G722, 16_000, channels, Bytes::new())
    }

    /// G.726 with codes of so many bits, at 8 kHz in mono as it always is.
    ///
    /// # Errors
    /// For other than 2 to 5 bits.
    pub fn g726(codec: ForeignCodec, bits: u8) -> Result<Self, CodecError> {
        match bits {
            2..=5 => Self::new(codec, G711_RATE, 1, Bytes::copy_from_slice(&[bits])),
            _ => Err(unsupported(codec, "bits of a code", bits.into())),
        }
    }

    /// What a packet of MP2, MP3, AC-3 or E-AC-3 says of itself; other codecs do not.
    ///
    /// # Errors
    /// When the packet does not begin with a frame's header.
    pub fn of_packet(codec: ForeignCodec, packet: &[u8]) -> Result<Self, CodecError> {
        let frame = match codec {
            ForeignCodec::Mp2 => syncframe::mp2(packet)?,
            ForeignCodec::Mp3 => syncframe::mp3(packet)?,
            ForeignCodec::Ac3 | ForeignCodec::Eac3 => syncframe::ac3(packet)?,
            _ => return Err(CodecError::Missing { record: codec.name(), missing: "sequence header" }),
        };
        Self::new(codec, frame.rate, frame.channels, Bytes::new())
    }

    /// FLAC by its STREAMINFO block, with or without the stream marker before it.
    ///
    /// # Errors
    /// When it is none.
    pub fn flac(header: &Bytes) -> Result<Self, CodecError> {
        let info = flac::stream_info(header)?;
        Self::new(ForeignCodec::Flac, info.rate, info.channels, info.record)
    }

    /// Vorbis by its three headers in Xiph lacing, of which the first is read (Vorbis I, 4.2.2).
    ///
    /// # Errors
    /// When they are none.
    pub fn vorbis(record: &Bytes) -> Result<Self, CodecError> {
        const RECORD: &str = "Vorbis headers";
        check_length(RECORD, record.len())?;
        let mut fields = Bits::new(RECORD, record);
        let packets = fields.byte()?;
        // Each lacing value of 255 says that the length goes on.
        let mut ends = 0;
        while ends < packets.min(2) {
            ends += u8::from(fields.byte()? != 255);
        }
        if packets != 2 || fields.bytes(7)? != b"\x01vorbis" {
            return Err(CodecError::Missing { record: RECORD, missing: "identification header" });
        }
        fields.skip(32)?; // version
        let channels = u16::from(fields.byte()?);
        let rate = fields.bits(32)?.swap_bytes();
        Self::new(ForeignCodec::Vorbis, rate, channels, record.clone())
    }

    /// Decoded samples of a packet; `None` where it does not say, or is malformed.
    pub fn samples(&self, packet: &[u8]) -> Option<u32> {
        const LONGEST: usize = 65_536;
        let samples = match self.codec {
            ForeignCodec::Mp2 => syncframe::samples(packet, syncframe::mp2)?,
            ForeignCodec::Mp3 => syncframe::samples(packet, syncframe::mp3)?,
            ForeignCodec::Ac3 | ForeignCodec::Eac3 => syncframe::samples(packet, syncframe::ac3)?,
            ForeignCodec::ALaw | ForeignCodec::MuLaw => packet.len() / usize::from(self.channels),
            ForeignCodec::Flac => flac::frame_samples(packet).ok()? as usize,
            // Two samples of 16 kHz a byte, whatever the clock of its packets says (RFC 3551, 4.5.2).
            ForeignCodec::G722 => 2 * packet.len() / usize::from(self.channels),
            ForeignCodec::Pcm16 => packet.len() / 2 / usize::from(self.channels),
            ForeignCodec::G726 | ForeignCodec::G726High => {
                packet.len() * 8 / usize::from(self.record.first().copied().filter(|bits| *bits > 0)?)
            }
            ForeignCodec::Vorbis => return None,
        };
        (1..=LONGEST).contains(&samples).then_some(samples as u32)
    }
}

const fn unsupported(codec: ForeignCodec, field: &'static str, value: u64) -> CodecError {
    CodecError::Unsupported { record: codec.name(), field, value }
}

#[cfg(test)]
mod tests;
