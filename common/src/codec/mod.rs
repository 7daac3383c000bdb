//! Codec configuration records: parsed once, at the border, with their RFC 6381 strings.
//!
//! Sources: ISO/IEC 14496-15 (avcC, hvcC), ITU-T H.264 7.3.2.1 and H.265 7.3.2.2 (SPS), the AV1 and VP codec
//! ISO media bindings, ISO/IEC 14496-3 1.6.2 (AudioSpecificConfig), RFC 7845 and the Opus-in-ISOBMFF mapping.

pub mod aac;
pub mod av1;
mod bits;
pub mod foreign;
pub mod h264;
pub mod h265;
pub mod hdr;
pub mod nal;
pub mod opus;
mod sets;
pub mod vp9;
mod vui;
mod wire;

use bytes::Bytes;

pub use aac::AacConfig;
pub use av1::Av1Config;
pub use foreign::{ForeignCodec, ForeignConfig, ForeignPictures, ForeignVideo};
pub use h264::AvcConfig;
pub use h265::HevcConfig;
pub use hdr::{ContentLight, Hdr, MasteringDisplay};
pub use opus::OpusConfig;
pub use vp9::Vp9Config;

use crate::track::TrackKind;

/// Widest and tallest picture that is accepted, in pixels (RTMP-65).
pub const PICTURE_MAX: u32 = 8_192;

/// Longest configuration record that is accepted, in bytes; real ones have less than 1,000.
pub const RECORD_MAX: usize = 65_536;

/// Why a configuration record was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The record ends before its fields do.
    #[error("{record} is cut short at bit {at}")]
    Truncated {
        /// Which record.
        record: &'static str,
        /// Bit position at which more was needed.
        at: usize,
    },
    /// A field has a value that its standard forbids or that is not supported.
    #[error("{record}: {field} = {value} is not supported")]
    Unsupported {
        /// Which record.
        record: &'static str,
        /// Which field.
        field: &'static str,
        /// What it held.
        value: u64,
    },
    /// The record lacks a parameter set that decoding needs.
    #[error("{record} holds no {missing}")]
    Missing {
        /// Which record.
        record: &'static str,
        /// What is missing.
        missing: &'static str,
    },
}

/// What a decoder of pictures must know before the first one, and what the sample entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Picture {
    /// Coded width after cropping, in pixels.
    pub width: u32,
    /// Coded height after cropping, in pixels.
    pub height: u32,
    /// Sample aspect ratio as (horizontal, vertical); (1, 1) when unstated.
    pub sar: (u32, u32),
    /// Colour description; `None` when unstated.
    pub colour: Option<Colour>,
    /// HDR10's static metadata.
    pub hdr: Hdr,
    /// Frames that a decoder may hold back to reorder; `None` when unstated.
    pub max_reorder: Option<u32>,
    /// Frame rate stated by the bitstream as (numerator, denominator); advisory.
    pub frame_rate: Option<(u32, u32)>,
}

impl Picture {
    /// Width and height as shown, after the sample aspect ratio (the wider side stretched).
    pub fn display(&self) -> (u32, u32) {
        let (h, v) = (u64::from(self.sar.0.max(1)), u64::from(self.sar.1.max(1)));
        let scaled = (u64::from(self.width) * h + v / 2) / v;
        (u32::try_from(scaled).unwrap_or(self.width).max(1), self.height)
    }
}

/// Checks a picture's size against [`PICTURE_MAX`] (RTMP-65).
fn picture_size(record: &'static str, width: u64, height: u64) -> Result<(u32, u32), CodecError> {
    let side = |field, value| match u32::try_from(value) {
        Ok(pixels @ 1..=PICTURE_MAX) => Ok(pixels),
        _ => Err(CodecError::Unsupported { record, field, value }),
    };
    Ok((side("picture width", width)?, side("picture height", height)?))
}

/// Refuses a record beyond [`RECORD_MAX`].
const fn check_length(record: &'static str, length: usize) -> Result<(), CodecError> {
    match length {
        0..=RECORD_MAX => Ok(()),
        _ => Err(CodecError::Unsupported { record, field: "length", value: length as u64 }),
    }
}

/// Colour description, by the numbers of ITU-T H.273.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Colour {
    /// `colour_primaries`.
    pub primaries: u8,
    /// `transfer_characteristics`.
    pub transfer: u8,
    /// `matrix_coefficients`.
    pub matrix: u8,
    /// Full range.
    pub full_range: bool,
}

/// Range of a video rendition, HLS's VIDEO-RANGE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VideoRange {
    /// Standard dynamic range.
    Sdr,
    /// SMPTE ST 2084.
    Pq,
    /// ARIB STD-B67.
    Hlg,
}

impl Colour {
    /// Primaries, transfer and matrix of a bitstream that does not say.
    const UNSTATED: (u8, u8, u8) = (2, 2, 2);

    /// A colour description, or `None` where it says nothing: all "unspecified" and limited range.
    pub const fn stated(primaries: u8, transfer: u8, matrix: u8, full_range: bool) -> Option<Self> {
        match (primaries, transfer, matrix, full_range) {
            (2, 2, 2, false) => None,
            _ => Some(Self { primaries, transfer, matrix, full_range }),
        }
    }

    /// PQ and HLG are told by their transfer characteristics.
    pub const fn range(&self) -> VideoRange {
        match self.transfer {
            16 => VideoRange::Pq,
            18 => VideoRange::Hlg,
            _ => VideoRange::Sdr,
        }
    }
}

/// A codec and its parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CodecConfig {
    /// H.264 / AVC.
    H264(AvcConfig),
    /// H.265 / HEVC.
    H265(HevcConfig),
    /// AV1.
    Av1(Av1Config),
    /// VP9.
    Vp9(Vp9Config),
    /// AAC.
    Aac(AacConfig),
    /// Opus.
    Opus(OpusConfig),
    /// Sound that has to be transcoded before it is packaged.
    Foreign(ForeignConfig),
    /// Pictures that have to be transcoded before they are packaged.
    ForeignVideo(ForeignPictures),
}

impl CodecConfig {
    /// Video or audio.
    pub const fn kind(&self) -> TrackKind {
        match self {
            Self::H264(_) | Self::H265(_) | Self::Av1(_) | Self::Vp9(_) | Self::ForeignVideo(_) => {
                TrackKind::Video
            }
            Self::Aac(_) | Self::Opus(_) | Self::Foreign(_) => TrackKind::Audio,
        }
    }

    /// It can be packaged as it is; else it plays nowhere, or not everywhere, without a transcode.
    pub const fn is_playable(&self) -> bool {
        !matches!(self, Self::Foreign(_) | Self::ForeignVideo(_))
    }

    /// RFC 6381 string, as CODECS wants it: `avc1.64001f`, `mp4a.40.2`, `opus`.
    pub fn rfc6381(&self) -> String {
        match self {
            Self::H264(config) => config.rfc6381(),
            Self::H265(config) => config.rfc6381(),
            Self::Av1(config) => config.rfc6381(),
            Self::Vp9(config) => config.rfc6381(),
            Self::Aac(config) => config.rfc6381(),
            Self::Opus(_) => "opus".into(),
            Self::Foreign(config) => config.codec.rfc6381().into(),
            Self::ForeignVideo(config) => config.codec.rfc6381().into(),
        }
    }

    /// The configuration record of the sample entry: the body of avcC, hvcC, av1C, vpcC (with its version and
    /// flags), dOps, or the AudioSpecificConfig; of foreign codecs what their decoder needs.
    pub fn record(&self) -> &Bytes {
        match self {
            Self::H264(config) => &config.record,
            Self::H265(config) => &config.record,
            Self::Av1(config) => &config.record,
            Self::Vp9(config) => &config.record,
            Self::Aac(config) => &config.record,
            Self::Opus(config) => &config.record,
            Self::Foreign(config) => &config.record,
            Self::ForeignVideo(config) => &config.record,
        }
    }

    /// What pictures look like; `None` for audio.
    pub const fn picture(&self) -> Option<&Picture> {
        match self {
            Self::H264(config) => Some(&config.picture),
            Self::H265(config) => Some(&config.picture),
            Self::Av1(config) => Some(&config.picture),
            Self::Vp9(config) => Some(&config.picture),
            Self::ForeignVideo(config) => Some(&config.picture),
            Self::Aac(_) | Self::Opus(_) | Self::Foreign(_) => None,
        }
    }

    /// Says what colours the pictures have, where the bitstream does not; nothing for audio. The record stays.
    pub const fn set_colour(&mut self, colour: Option<Colour>) {
        match self {
            Self::H264(config) => config.picture.colour = colour,
            Self::H265(config) => config.picture.colour = colour,
            Self::Av1(config) => config.picture.colour = colour,
            Self::Vp9(config) => config.picture.colour = colour,
            Self::ForeignVideo(config) => config.picture.colour = colour,
            Self::Aac(_) | Self::Opus(_) | Self::Foreign(_) => {}
        }
    }

    /// Says what the pictures' HDR10 metadata is, where the bitstream does not; nothing for audio. The record stays.
    pub const fn set_hdr(&mut self, hdr: Hdr) {
        match self {
            Self::H264(config) => config.picture.hdr = hdr,
            Self::H265(config) => config.picture.hdr = hdr,
            Self::Av1(config) => config.picture.hdr = hdr,
            Self::Vp9(config) => config.picture.hdr = hdr,
            Self::ForeignVideo(config) => config.picture.hdr = hdr,
            Self::Aac(_) | Self::Opus(_) | Self::Foreign(_) => {}
        }
    }

    /// Sampling rate in Hz and channel count; `None` for video.
    pub const fn sound(&self) -> Option<(u32, u16)> {
        match self {
            Self::Aac(config) => Some((config.output_rate, config.channels)),
            Self::Opus(config) => Some((48_000, config.channels as u16)),
            Self::Foreign(config) => Some((config.rate, config.channels)),
            Self::H264(_) | Self::H265(_) | Self::Av1(_) | Self::Vp9(_) | Self::ForeignVideo(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
