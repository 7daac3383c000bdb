//! H.264 / AVC: the decoder configuration record and the sequence parameter set.

mod sps;

use bytes::Bytes;

use super::bits::{Bits, rbsp};
use super::sets::Sets;
use super::{CodecError, Picture, check_length};
use sps::Sps;

const RECORD: &str = "avcC";
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;

/// A parsed `AVCDecoderConfigurationRecord`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AvcConfig {
    /// The record as a sample entry carries it: 4-byte lengths, complete with the high-profile extension.
    pub record: Bytes,
    /// Bytes of a NAL unit's length prefix *in the source's* samples: 1, 2 or 4.
    pub length_size: u8,
    /// Sequence parameter sets, with their NAL header.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, with their NAL header.
    pub pps: Vec<Bytes>,
    /// Picture parameters of the first SPS.
    pub picture: Picture,
}

impl AvcConfig {
    /// Parses the body of an `avcC` (ISO/IEC 14496-15, 5.3.3.1), as RTMP sequence headers carry it.
    ///
    /// Refused are versions other than 1, 3-byte lengths, records without both kinds of parameter sets, and
    /// pictures beyond [`PICTURE_MAX`](super::PICTURE_MAX).
    pub fn parse(record: &Bytes) -> Result<Self, CodecError> {
        check_length(RECORD, record.len())?;
        let mut fields = Bits::new(RECORD, record);
        let version = fields.byte()?;
        if version != 1 {
            return Err(fields.unsupported("configurationVersion", version.into()));
        }
        fields.skip(24)?; // profile, compatibility and level: the SPS says the same
        let length_size = (fields.byte()? & 3) + 1;
        if length_size == 3 {
            return Err(fields.unsupported("lengthSizeMinusOne", 2));
        }
        let count = fields.byte()? & 0x1f;
        let sps = parameter_sets(&mut fields, count)?;
        let count = fields.byte()?;
        let pps = parameter_sets(&mut fields, count)?;
        // Many encoders leave the extension out, so one that is cut short counts as absent.
        let extensions = fields.skip(24).and_then(|()| fields.byte());
        let extensions = extensions.and_then(|count| parameter_sets(&mut fields, count)).unwrap_or_default();
        Ok(Self { length_size, ..Self::build(&sps, &pps, &extensions)? })
    }

    /// Makes the configuration from parameter sets found in band (RTMP-49), each with its NAL header. NAL units
    /// of another type are passed over, so both lists may be the same mixed one. `length_size` is 4.
    pub fn from_parameter_sets(sps: &[Bytes], pps: &[Bytes]) -> Result<Self, CodecError> {
        Self::build(sps, pps, &[])
    }

    /// The configuration after parameter sets found in band (RTMP-49): one with a known id takes the old one's
    /// place, one with a new id is added. `None` where that changes nothing.
    pub fn updated(&self, found: &[Bytes]) -> Result<Option<Self>, CodecError> {
        let mut sets = Sets::new([&self.sps[..], &self.pps].concat(), set_id);
        found.iter().for_each(|set| sets.store(set));
        let Some(sets) = sets.changed() else { return Ok(None) };
        let built = Self::build(&sets, &sets, &[])?;
        Ok(Some(Self { length_size: self.length_size, ..built }))
    }

    /// `avc1.PPCCLL` from bytes 1 to 3 of the SPS.
    pub fn rfc6381(&self) -> String {
        match self.record.get(1..4) {
            Some([profile, compatibility, level]) => {
                format!("avc1.{profile:02x}{compatibility:02x}{level:02x}")
            }
            _ => "avc1".into(),
        }
    }

    fn build(sps: &[Bytes], pps: &[Bytes], extensions: &[Bytes]) -> Result<Self, CodecError> {
        let sps = of_type(sps, NAL_SPS, 31);
        let pps = of_type(pps, NAL_PPS, 255);
        let first =
            sps.first().ok_or(CodecError::Missing { record: RECORD, missing: "sequence parameter set" })?;
        if pps.is_empty() {
            return Err(CodecError::Missing { record: RECORD, missing: "picture parameter set" });
        }
        let parsed = Sps::parse(&rbsp(first))?;
        let record = write_record(&parsed, &sps, &pps, &of_type(extensions, sps::NAL_EXTENSION, 255));
        check_length(RECORD, record.len())?;
        Ok(Self { record: record.into(), length_size: 4, picture: parsed.picture, sps, pps })
    }
}

/// Reads `count` NAL units, each behind its 16-bit length.
fn parameter_sets(fields: &mut Bits<'_>, count: u8) -> Result<Vec<Bytes>, CodecError> {
    let mut sets = Vec::new();
    for _ in 0..count {
        let length = fields.bits(16)? as usize;
        sets.push(Bytes::copy_from_slice(fields.bytes(length)?));
    }
    Ok(sets)
}

fn nal_type(nal: &[u8]) -> Option<u8> {
    nal.first().map(|header| header & 0x1f)
}

/// The first `most` units of one type, each no longer than its 16-bit length can say. Copies, so that a
/// configuration does not hold on to the message that brought it.
fn of_type(sets: &[Bytes], wanted: u8, most: usize) -> Vec<Bytes> {
    let fits = |set: &&Bytes| nal_type(set) == Some(wanted) && set.len() <= usize::from(u16::MAX);
    sets.iter().filter(fits).take(most).map(|set| Bytes::copy_from_slice(set)).collect()
}

/// Type and id of a parameter set; `None` for other units. The id stands among the first bytes.
fn set_id(nal: &[u8]) -> Option<(u8, u32)> {
    let kind = nal_type(nal)?;
    let head = rbsp(&nal[..nal.len().min(16)]);
    let id = match kind {
        NAL_SPS => Bits::new("SPS", head.get(4..)?).ue_max("seq_parameter_set_id", 31),
        NAL_PPS => Bits::new("PPS", head.get(1..)?).ue_max("pic_parameter_set_id", 255),
        _ => return None,
    };
    Some((kind, id.ok()?))
}

/// Writes the record with 4-byte lengths. The counts fit: `of_type` has seen to it.
fn write_record(parsed: &Sps, sps: &[Bytes], pps: &[Bytes], extensions: &[Bytes]) -> Vec<u8> {
    let mut out = vec![1];
    out.extend(parsed.profile_and_level);
    out.push(0xfc | 3);
    write_sets(&mut out, 0xe0, sps);
    write_sets(&mut out, 0, pps);
    if parsed.has_high_fields() {
        out.push(0xfc | parsed.chroma_format);
        out.push(0xf8 | parsed.depth_luma_minus8);
        out.push(0xf8 | parsed.depth_chroma_minus8);
        write_sets(&mut out, 0, extensions);
    }
    out
}

fn write_sets(out: &mut Vec<u8>, reserved: u8, sets: &[Bytes]) {
    out.push(reserved | sets.len() as u8);
    for set in sets {
        out.extend((set.len() as u16).to_be_bytes());
        out.extend_from_slice(set);
    }
}

#[cfg(test)]
pub(super) mod tests;
