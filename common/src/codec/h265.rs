//! H.265 / HEVC: the decoder configuration record and the sequence parameter set.

mod sei;
mod sps;

use bytes::Bytes;

use super::bits::{Bits, rbsp};
use super::sets::Sets;
use super::{CodecError, Picture, check_length};
use sps::Sps;

const RECORD: &str = "hvcC";
const NAL_VPS: u8 = 32;
const NAL_SPS: u8 = 33;
const NAL_PPS: u8 = 34;
const NAL_SEI_PREFIX: u8 = 39;
const NAL_SEI_SUFFIX: u8 = 40;
/// Most NAL units of a record: every id of VPS, SPS and PPS fits, and SEI beside them.
const MAX_UNITS: usize = 128;
/// The id of a parameter set stands within these many bytes, even where every third one is emulation prevention.
const ID_WITHIN: usize = 128;

/// A parsed `HEVCDecoderConfigurationRecord`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HevcConfig {
    /// The record as a sample entry carries it: 4-byte lengths, arrays marked complete (hvc1).
    pub record: Bytes,
    /// Bytes of a NAL unit's length prefix *in the source's* samples: 1, 2 or 4.
    pub length_size: u8,
    /// Picture parameters of the first SPS, and the HDR10 metadata of the record's SEI.
    pub picture: Picture,
}

impl HevcConfig {
    /// Parses the body of an `hvcC` (ISO/IEC 14496-15, 8.3.3.1).
    ///
    /// Refused are versions other than 1, 3-byte lengths, records that lack a kind of parameter set, and pictures
    /// beyond [`PICTURE_MAX`](super::PICTURE_MAX).
    pub fn parse(record: &Bytes) -> Result<Self, CodecError> {
        check_length(RECORD, record.len())?;
        let source = Source::parse(record)?;
        let built = build(&source.hints, &source.units)?;
        Ok(Self { length_size: source.length_size, ..built })
    }

    /// Makes the configuration from parameter sets found in band (RTMP-49), each with its NAL header. NAL units
    /// of another type are passed over, so the lists may all be the same mixed one. `length_size` is 4.
    pub fn from_parameter_sets(vps: &[Bytes], sps: &[Bytes], pps: &[Bytes]) -> Result<Self, CodecError> {
        let of =
            |sets: &[Bytes], kind| sets.iter().filter(|set| nal_type(set) == Some(kind)).cloned().collect();
        let units: [Vec<Bytes>; 3] = [of(vps, NAL_VPS), of(sps, NAL_SPS), of(pps, NAL_PPS)];
        build(&Hints::default(), &units.concat())
    }

    /// The configuration after parameter sets found in band (RTMP-49): one with a known id takes the old one's
    /// place, one with a new id is added. `None` where that changes nothing.
    pub fn updated(&self, found: &[Bytes]) -> Result<Option<Self>, CodecError> {
        let Source { hints, units, .. } = Source::parse(&self.record)?;
        let mut sets = Sets::new(units, set_id);
        found.iter().for_each(|set| sets.store(set));
        let Some(units) = sets.changed() else { return Ok(None) };
        let built = build(&hints, &units)?;
        Ok(Some(Self { length_size: self.length_size, ..built }))
    }

    /// The configuration with the HDR10 metadata in front of a keyframe, which wins over the record's. `None` where that
    /// changes nothing. `sample` has 4-byte lengths.
    pub fn described(&self, sample: &Bytes) -> Option<Self> {
        let hdr = sei::of_sample(sample).or(self.picture.hdr);
        let picture = Picture { hdr, ..self.picture };
        (picture != self.picture).then(|| Self { picture, ..self.clone() })
    }

    /// Parameter sets of the record, with their NAL headers: VPS, SPS, PPS.
    pub fn parameter_sets(&self) -> Vec<Bytes> {
        let mut units = Source::parse(&self.record).map(|source| source.units).unwrap_or_default();
        units.retain(|unit| matches!(nal_type(unit), Some(NAL_VPS | NAL_SPS | NAL_PPS)));
        units
    }

    /// `hvc1.…` by ISO/IEC 14496-15 annex E: profile, reversed compatibility flags, tier and level, and the
    /// constraint bytes without trailing zeros.
    pub fn rfc6381(&self) -> String {
        let Some(ptl) = self.record.get(1..13) else { return "hvc1".into() };
        let space = ["", "A", "B", "C"][usize::from(ptl[0] >> 6)];
        let tier = if ptl[0] & 0x20 == 0 { 'L' } else { 'H' };
        let profile = ptl[0] & 0x1f;
        let compatible = u32::from_be_bytes([ptl[1], ptl[2], ptl[3], ptl[4]]).reverse_bits();
        let constraints = &ptl[5..11];
        let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let constraints: String = constraints[..used].iter().map(|byte| format!(".{byte:02X}")).collect();
        format!("hvc1.{space}{profile}.{compatible:X}.{tier}{}{constraints}", ptl[11])
    }
}

/// Fields of a record that no SPS holds. Zero means "not known" in each.
#[derive(Default)]
struct Hints {
    min_spatial_segmentation: u16,
    parallelism: u8,
    avg_frame_rate: u16,
    constant_frame_rate: u8,
}

/// A record as it was sent.
struct Source {
    hints: Hints,
    length_size: u8,
    units: Vec<Bytes>,
}

impl Source {
    fn parse(record: &[u8]) -> Result<Self, CodecError> {
        let mut fields = Bits::new(RECORD, record);
        let version = fields.byte()?;
        if version != 1 {
            return Err(fields.unsupported("configurationVersion", version.into()));
        }
        fields.skip(96)?; // profile, tier and level: the SPS says the same
        let min_spatial_segmentation = fields.bits(16)? as u16 & 0x0fff;
        let parallelism = fields.byte()? & 3;
        fields.skip(24)?; // chroma format and bit depths: likewise
        let avg_frame_rate = fields.bits(16)? as u16;
        let flags = fields.byte()?;
        let length_size = (flags & 3) + 1;
        if length_size == 3 {
            return Err(fields.unsupported("lengthSizeMinusOne", 2));
        }
        let hints =
            Hints { min_spatial_segmentation, parallelism, avg_frame_rate, constant_frame_rate: flags >> 6 };
        Ok(Self { hints, length_size, units: arrays(&mut fields)? })
    }
}

/// Reads the NAL units of all arrays. The units' own headers say their type.
fn arrays(fields: &mut Bits<'_>) -> Result<Vec<Bytes>, CodecError> {
    let mut units = Vec::new();
    for _ in 0..fields.byte()? {
        fields.skip(8)?; // array_completeness and NAL_unit_type
        for _ in 0..fields.bits(16)? {
            if units.len() == MAX_UNITS {
                return Err(too_many(units.len() + 1));
            }
            let length = fields.bits(16)? as usize;
            units.push(Bytes::copy_from_slice(fields.bytes(length)?));
        }
    }
    Ok(units)
}

const fn too_many(units: usize) -> CodecError {
    CodecError::Unsupported { record: RECORD, field: "number of NAL units", value: units as u64 }
}

fn build(hints: &Hints, units: &[Bytes]) -> Result<HevcConfig, CodecError> {
    if units.len() > MAX_UNITS {
        return Err(too_many(units.len()));
    }
    let missing = |missing| CodecError::Missing { record: RECORD, missing };
    let first = |kind| units.iter().find(|unit| nal_type(unit) == Some(kind));
    first(NAL_VPS).ok_or(missing("video parameter set"))?;
    let sps = first(NAL_SPS).ok_or(missing("sequence parameter set"))?;
    first(NAL_PPS).ok_or(missing("picture parameter set"))?;
    let sps = Sps::parse(&rbsp(sps))?;
    let record = write_record(&sps, hints, units);
    check_length(RECORD, record.len())?;
    let picture = Picture { hdr: sei::of_units(units), ..sps.picture };
    Ok(HevcConfig { record: record.into(), length_size: 4, picture })
}

/// NAL unit type of a unit of the base layer with at least a header.
fn nal_type(nal: &[u8]) -> Option<u8> {
    match nal {
        [first, second, ..] if first & 1 == 0 && second >> 3 == 0 => Some(first >> 1 & 0x3f),
        _ => None,
    }
}

/// Type and id of a parameter set; `None` for other units.
fn set_id(nal: &[u8]) -> Option<(u8, u32)> {
    let kind = nal_type(nal)?;
    let nal = &nal[..nal.len().min(ID_WITHIN)];
    let id = match kind {
        NAL_VPS => u32::from(nal.get(2)? >> 4),
        NAL_SPS => Sps::id(&rbsp(nal)).ok()?,
        NAL_PPS => Bits::new("PPS", &rbsp(&nal[2..])).ue_max("pps_pic_parameter_set_id", 63).ok()?,
        _ => return None,
    };
    Some((kind, id))
}

fn write_record(sps: &Sps, hints: &Hints, units: &[Bytes]) -> Vec<u8> {
    let mut out = vec![1];
    out.extend(sps.profile_tier_level);
    out.extend((0xf000 | hints.min_spatial_segmentation).to_be_bytes());
    out.push(0xfc | hints.parallelism);
    out.push(0xfc | sps.chroma_format);
    out.push(0xf8 | sps.depth_luma_minus8);
    out.push(0xf8 | sps.depth_chroma_minus8);
    out.extend(hints.avg_frame_rate.to_be_bytes());
    out.push(
        hints.constant_frame_rate << 6 | sps.temporal_layers << 3 | u8::from(sps.temporal_nesting) << 2 | 3,
    );
    let kinds = [NAL_VPS, NAL_SPS, NAL_PPS, NAL_SEI_PREFIX, NAL_SEI_SUFFIX];
    let arrays = kinds.map(|kind| (kind, of_type(units, kind)));
    let filled = arrays.iter().filter(|(_, units)| !units.is_empty());
    out.push(filled.clone().count() as u8);
    for (kind, units) in filled {
        // hvc1: all parameter sets are here. SEI stays in the samples as well (LLHLS-37), so its arrays are not
        // complete.
        let complete = if matches!(*kind, NAL_VPS | NAL_SPS | NAL_PPS) { 0x80 } else { 0 };
        out.push(complete | kind);
        out.extend((units.len() as u16).to_be_bytes());
        for unit in units {
            out.extend((unit.len() as u16).to_be_bytes());
            out.extend_from_slice(unit);
        }
    }
    out
}

/// Units of one type whose number and lengths fit in their 16-bit fields.
fn of_type(units: &[Bytes], wanted: u8) -> Vec<&Bytes> {
    let most = usize::from(u16::MAX);
    units.iter().filter(|unit| nal_type(unit) == Some(wanted) && unit.len() <= most).take(most).collect()
}

#[cfg(test)]
pub(super) mod tests;
