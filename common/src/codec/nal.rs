//! NAL units in length-prefixed samples.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::CodecError;

const RECORD: &str = "access unit";

/// Iterates over the NAL units of a sample, each a slice of it without its length. Units of length zero are passed
/// over. A length beyond what remains is an error, and ends the iteration (RTMP-65).
#[derive(Clone, Debug)]
pub struct Nals<'a> {
    payload: &'a Bytes,
    ranges: Ranges<'a>,
}

impl<'a> Nals<'a> {
    /// `length_size` is the bytes of a length prefix, 1 to 4.
    pub fn new(payload: &'a Bytes, length_size: u8) -> Self {
        Self { payload, ranges: Ranges::new(payload, length_size) }
    }
}

impl Iterator for Nals<'_> {
    type Item = Result<Bytes, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.ranges.next().map(|range| range.map(|range| self.payload.slice(range)))
    }
}

/// Which NAL unit header applies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NalCodec {
    /// H.264: one byte.
    H264,
    /// H.265: two bytes.
    H265,
}

/// A coded picture as its sample carries it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessUnit {
    /// NAL units with 4-byte lengths, without delimiters, parameter sets, filler and end-of-sequence (CMAF-5). SEI
    /// stays (LLHLS-37).
    pub payload: Bytes,
    /// Decoding can start here: an IDR picture (H.264) or an IRAP picture (H.265).
    pub sync: bool,
    /// No other picture needs it.
    pub disposable: bool,
    /// Parameter sets found in band (RTMP-49): SPS and PPS, VPS with H.265.
    pub parameter_sets: Vec<Bytes>,
    /// There is a slice in it.
    pub has_picture: bool,
}

/// Sorts the NAL units of one access unit. The payload is a slice of the input where lengths have 4 bytes and what
/// is left out stands at its ends, else one copy.
///
/// A unit longer than what remains is an error: the access unit is to be dropped (RTMP-65).
pub fn access_unit(payload: &Bytes, length_size: u8, codec: NalCodec) -> Result<AccessUnit, CodecError> {
    let mut scan = Scan::default();
    for range in Ranges::new(payload, length_size) {
        let range = range?;
        let unit = &payload[range.clone()];
        match codec.classify(unit) {
            Unit::Slice { sync, reference } => {
                scan.slices += 1;
                scan.sync |= sync;
                scan.referenced |= reference;
                scan.keep(range, length_size);
            }
            Unit::Kept => scan.keep(range, length_size),
            Unit::ParameterSet => scan.store(payload.slice(range))?,
            Unit::Dropped => {}
        }
    }
    let payload = if length_size == 4 && !scan.scattered {
        payload.slice(scan.span.clone())
    } else {
        copy_kept(payload, length_size, codec, scan.length)?
    };
    let has_picture = scan.slices > 0;
    Ok(AccessUnit {
        payload,
        sync: scan.sync,
        disposable: has_picture && !scan.referenced,
        parameter_sets: scan.parameter_sets,
        has_picture,
    })
}

/// What becomes of a NAL unit.
enum Unit {
    Slice { sync: bool, reference: bool },
    Kept,
    ParameterSet,
    Dropped,
}

impl NalCodec {
    fn classify(self, unit: &[u8]) -> Unit {
        match (self, unit) {
            (Self::H264, [header, ..]) => classify_h264(*header),
            (Self::H265, [header, _, ..]) => classify_h265(*header),
            _ => Unit::Dropped,
        }
    }
}

/// ITU-T H.264, table 7-1.
const fn classify_h264(header: u8) -> Unit {
    match header & 0x1f {
        kind @ 1..=5 => Unit::Slice { sync: kind == 5, reference: header & 0x60 != 0 },
        7 | 8 => Unit::ParameterSet,
        // Unspecified, delimiter, ends of sequence and stream, filler, SPS extension, subset SPS.
        0 | 9..=13 | 15 => Unit::Dropped,
        _ => Unit::Kept,
    }
}

/// ITU-T H.265, table 7-1. Slices of even type below 16 are not used for reference in their sub-layer.
const fn classify_h265(header: u8) -> Unit {
    match header >> 1 & 0x3f {
        kind @ 0..=31 => {
            Unit::Slice { sync: matches!(kind, 16..=21), reference: kind >= 16 || kind % 2 == 1 }
        }
        32..=34 => Unit::ParameterSet,
        35..=38 => Unit::Dropped, // delimiter, ends of sequence and bitstream, filler
        _ => Unit::Kept,
    }
}

/// What one pass over an access unit finds.
#[derive(Default)]
struct Scan {
    /// From the first kept unit's length to the end of the last.
    span: Range<usize>,
    /// Something between kept units was left out.
    scattered: bool,
    /// Bytes of the kept units with 4-byte lengths.
    length: usize,
    slices: usize,
    sync: bool,
    referenced: bool,
    parameter_sets: Vec<Bytes>,
}

impl Scan {
    fn keep(&mut self, unit: Range<usize>, length_size: u8) {
        let start = unit.start - usize::from(length_size);
        if self.length == 0 {
            self.span.start = start;
        } else {
            self.scattered |= self.span.end != start;
        }
        self.span.end = unit.end;
        self.length += 4 + unit.len();
    }

    /// Real access units hold three to ten; thousands are an attempt at memory.
    fn store(&mut self, set: Bytes) -> Result<(), CodecError> {
        const MOST: usize = 64;
        if self.parameter_sets.len() == MOST {
            return Err(CodecError::Unsupported {
                record: RECORD,
                field: "parameter sets",
                value: MOST as u64 + 1,
            });
        }
        self.parameter_sets.push(set);
        Ok(())
    }
}

/// Second pass: copies what the first one kept; `length` is what that was measured to take.
fn copy_kept(payload: &Bytes, length_size: u8, codec: NalCodec, length: usize) -> Result<Bytes, CodecError> {
    let mut out = BytesMut::with_capacity(length);
    for range in Ranges::new(payload, length_size) {
        let unit = &payload[range?];
        if matches!(codec.classify(unit), Unit::Slice { .. } | Unit::Kept) {
            out.extend_from_slice(&(unit.len() as u32).to_be_bytes());
            out.extend_from_slice(unit);
        }
    }
    Ok(out.freeze())
}

/// Where the NAL units of a sample stand.
#[derive(Clone, Debug)]
struct Ranges<'a> {
    data: &'a [u8],
    length_size: usize,
    at: usize,
}

impl<'a> Ranges<'a> {
    fn new(data: &'a [u8], length_size: u8) -> Self {
        Self { data, length_size: usize::from(length_size).clamp(1, 4), at: 0 }
    }

    fn read(&self) -> Result<Range<usize>, CodecError> {
        let truncated = CodecError::Truncated { record: RECORD, at: self.data.len() * 8 };
        let start = self.at + self.length_size;
        let prefix = self.data.get(self.at..start).ok_or(truncated.clone())?;
        let length = prefix.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)) as usize;
        if length > self.data.len() - start { Err(truncated) } else { Ok(start..start + length) }
    }
}

impl Iterator for Ranges<'_> {
    type Item = Result<Range<usize>, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.data.len() {
            let range = self.read();
            self.at = range.as_ref().map_or(self.data.len(), |range| range.end);
            match range {
                Ok(range) if range.is_empty() => {}
                _ => return Some(range),
            }
        }
        None
    }
}

#[cfg(test)]
pub(super) mod tests;
