//! AAC: the AudioSpecificConfig.

mod quiet;
mod silence;

use bytes::Bytes;

use super::bits::Bits;
use super::{CodecError, check_length};

const RECORD: &str = "AudioSpecificConfig";
const LC: u8 = 2;
const SBR: u8 = 5;
const PS: u8 = 29;

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
    /// Parses an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1), as RTMP sequence headers carry it. Bytes beyond
    /// its end are not taken into the record.
    ///
    /// Accepted is what browsers decode: a Low Complexity core, alone or with SBR and PS.
    pub fn parse(record: &Bytes) -> Result<Self, CodecError> {
        check_length(RECORD, record.len())?;
        let mut bits = Bits::new(RECORD, record);
        let mut asc = Asc::parse(&mut bits)?;
        asc.sync_extension(&mut bits)?;
        let (object_type, channels) = match asc.extension {
            Some(Extension { parametric_stereo: true, .. }) => (PS, asc.channels.max(2)),
            Some(_) => (SBR, asc.channels),
            None => (LC, asc.channels),
        };
        let output_rate = asc.extension.map_or(asc.rate, |extension| extension.rate);
        if output_rate != asc.rate && output_rate != asc.rate.saturating_mul(2) {
            return Err(bits.unsupported("extensionSamplingFrequency", output_rate.into()));
        }
        let frame_samples = asc.core_samples * (output_rate / asc.rate);
        let record = Bytes::copy_from_slice(&record[..bits.bytes_read()]);
        Ok(Self { record, object_type, output_rate, channels, frame_samples })
    }

    /// `mp4a.40.N`.
    pub fn rfc6381(&self) -> String {
        format!("mp4a.40.{}", self.object_type)
    }

    /// One frame of digital silence with these parameters, or `None` where it cannot be made (SBR, program configs).
    pub fn silence(&self) -> Option<Bytes> {
        let asc = Asc::parse(&mut Bits::new(RECORD, &self.record)).ok()?;
        (self.object_type == LC).then(|| silence::raw_data_block(asc.configuration)).flatten()
    }
}

/// Nothing is coded in this frame (a `raw_data_block()`): it decodes to digital silence, however long it is.
pub fn is_silent(frame: &[u8]) -> bool {
    quiet::is_silent(frame)
}

/// The record up to its optional extension at the end.
struct Asc {
    rate: u32,
    configuration: u8,
    channels: u16,
    core_samples: u32,
    extension: Option<Extension>,
}

/// Spectral band replication.
#[derive(Clone, Copy)]
struct Extension {
    rate: u32,
    parametric_stereo: bool,
}

impl Asc {
    fn parse(bits: &mut Bits<'_>) -> Result<Self, CodecError> {
        let mut object_type = object_type(bits)?;
        let rate = sampling_rate(bits)?;
        let configuration = bits.bits(4)? as u8;
        let mut extension = None;
        if object_type == SBR || object_type == PS {
            let parametric_stereo = object_type == PS;
            extension = Some(Extension { rate: sampling_rate(bits)?, parametric_stereo });
            object_type = self::object_type(bits)?;
        }
        if object_type != LC {
            return Err(bits.unsupported("audioObjectType", object_type.into()));
        }
        let core_samples = if bits.flag()? { 960 } else { 1_024 };
        if bits.flag()? {
            bits.skip(14)?; // coreCoderDelay
        }
        let extended = bits.flag()?;
        let channels =
            if configuration == 0 { program_config(bits)? } else { channels(bits, configuration)? };
        if extended {
            bits.skip(1)?; // extensionFlag3
        }
        Ok(Self { rate, configuration, channels, core_samples, extension })
    }

    /// Backward compatible signalling: SBR and PS behind a sync word that older decoders do not read (1.6.6).
    fn sync_extension(&mut self, bits: &mut Bits<'_>) -> Result<(), CodecError> {
        const SBR_SYNC: u32 = 0x2b7;
        const PS_SYNC: u32 = 0x548;
        let mut ahead = bits.clone();
        if self.extension.is_some() || ahead.left() < 16 || ahead.bits(11)? != SBR_SYNC {
            return Ok(());
        }
        if object_type(&mut ahead)? != SBR {
            return Ok(());
        }
        *bits = ahead;
        if !bits.flag()? {
            return Ok(());
        }
        let mut extension = Extension { rate: sampling_rate(bits)?, parametric_stereo: false };
        let mut ahead = bits.clone();
        if ahead.left() >= 12 && ahead.bits(11)? == PS_SYNC {
            extension.parametric_stereo = ahead.flag()?;
            *bits = ahead;
        }
        self.extension = Some(extension);
        Ok(())
    }
}

/// `GetAudioObjectType()`: 5 bits, or 6 more behind the escape.
fn object_type(bits: &mut Bits<'_>) -> Result<u8, CodecError> {
    const ESCAPE: u32 = 31;
    match bits.bits(5)? {
        ESCAPE => Ok(32 + bits.bits(6)? as u8),
        kind => Ok(kind as u8),
    }
}

/// A sampling rate by its index (table 1.18), or in full behind the escape.
fn sampling_rate(bits: &mut Bits<'_>) -> Result<u32, CodecError> {
    const ESCAPE: u32 = 15;
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
    ];
    let index = bits.bits(4)?;
    let rate = match index {
        ESCAPE => bits.bits(24)?,
        _ => *RATES.get(index as usize).ok_or(bits.unsupported("samplingFrequencyIndex", index.into()))?,
    };
    if (1_000..=192_000).contains(&rate) {
        Ok(rate)
    } else {
        Err(bits.unsupported("samplingFrequency", rate.into()))
    }
}

/// Channels of a `channelConfiguration` (table 1.19).
fn channels(bits: &Bits<'_>, configuration: u8) -> Result<u16, CodecError> {
    match configuration {
        1..=6 => Ok(configuration.into()),
        11 => Ok(7),
        7 | 12 | 14 => Ok(8),
        13 => Ok(24),
        _ => Err(bits.unsupported("channelConfiguration", configuration.into())),
    }
}

/// Reads a `program_config_element()` (4.4.1.1) for its channel count.
fn program_config(bits: &mut Bits<'_>) -> Result<u16, CodecError> {
    bits.skip(4 + 2 + 4)?; // element_instance_tag, object_type, sampling_frequency_index
    let speakers = bits.bits(4)? + bits.bits(4)? + bits.bits(4)?; // front, side, back
    let low_frequency = bits.bits(2)?;
    let (associated_data, coupling) = (bits.bits(3)?, bits.bits(4)?);
    for mixdown in [4, 4, 3] {
        if bits.flag()? {
            bits.skip(mixdown)?;
        }
    }
    let mut channels = low_frequency;
    for _ in 0..speakers {
        channels += 1 + bits.bits(1)?; // a pair counts twice
        bits.skip(4)?;
    }
    bits.skip((4 * low_frequency + 4 * associated_data + 5 * coupling) as usize)?;
    bits.align();
    let comment = bits.byte()?;
    bits.skip(usize::from(comment) * 8)?;
    if channels == 0 {
        Err(bits.unsupported("program_config_element channels", 0))
    } else {
        Ok(channels as u16)
    }
}

#[cfg(test)]
pub(super) mod tests;
