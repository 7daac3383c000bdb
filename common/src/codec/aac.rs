//! AAC: the AudioSpecificConfig.

use bytes::Bytes;

use super::CodecError;

/// A parsed `AudioSpecificConfig`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AacConfig {
    /// The AudioSpecificConfig's bytes.
    pub record: Bytes,
    /// Audio object type as RFC 6381 names it: 2 LC, 5 HE, 29 HE v2.
    pub object_type: u8,
    /// Sampling rate of the decoded sound, in Hz (twice the core's with SBR): the track's timescale (CMAF-6).
    pub output_rate: u32,
    /// Channels of the decoded sound.
    pub channels: u16,
    /// Decoded samples of one frame at the output rate: 1024, 960, or 2048 with SBR.
    pub frame_samples: u32,
}

impl AacConfig {
    /// Parses an AudioSpecificConfig, as RTMP sequence headers carry it.
    pub fn parse(_record: &Bytes) -> Result<Self, CodecError> {
        Err(CodecError::Missing { record: "AudioSpecificConfig", missing: "parser" })
    }

    /// `mp4a.40.N`.
    pub fn rfc6381(&self) -> String {
        String::new()
    }

    /// One frame of digital silence with these parameters, or `None` where it cannot be made (SBR, program configs).
    pub fn silence(&self) -> Option<Bytes> {
        None
    }
}
