//! Temporal units: the samples of AV1.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::obu::{FRAME, FRAME_HEADER, Obus, PADDING, SEQUENCE_HEADER, TEMPORAL_DELIMITER};
use super::sequence::Sequence;
use crate::codec::CodecError;
use crate::codec::bits::Bits;

/// A temporal unit as a sample carries it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TemporalUnit {
    /// Its OBUs without temporal delimiters and padding (RTMP-54).
    pub payload: Bytes,
    /// Decoding can start here: the first frame is a key frame and shown (AV1 ISOBMFF binding, 2.5).
    pub sync: bool,
    /// It holds a frame.
    pub has_picture: bool,
    /// Its sequence header OBU, OBU header included.
    pub sequence_header: Option<Bytes>,
}

/// Reads the OBUs of one temporal unit in the low-overhead format with sizes. The payload is a slice of the input
/// where what is left out stands at its ends, else a copy.
///
/// An OBU that is longer than what remains is an error: the unit is to be dropped (RTMP-65).
pub fn temporal_unit(data: &Bytes) -> Result<TemporalUnit, CodecError> {
    let mut kept = Kept::default();
    let mut reduced = false;
    let mut sequence_header = None;
    let mut first_frame = None;
    for obu in Obus::new(data) {
        let obu = obu?;
        match obu.kind {
            TEMPORAL_DELIMITER | PADDING => continue,
            SEQUENCE_HEADER => {
                let parsed = Sequence::parse(&data[obu.payload])?;
                reduced = parsed.reduced;
                sequence_header = Some(data.slice(obu.whole.clone()));
            }
            FRAME | FRAME_HEADER if first_frame.is_none() => {
                first_frame = Some(reduced || shown_key_frame(&data[obu.payload])?);
            }
            _ => {}
        }
        kept.add(obu.whole);
    }
    let (sync, has_picture) = (first_frame == Some(true), first_frame.is_some());
    Ok(TemporalUnit { payload: kept.of(data), sync, has_picture, sequence_header })
}

/// Begins a frame header (AV1 5.9.2): neither a frame shown again nor a hidden one starts decoding.
fn shown_key_frame(payload: &[u8]) -> Result<bool, CodecError> {
    const KEY_FRAME: u32 = 0;
    let mut bits = Bits::new("frame header", payload);
    let show_existing = bits.flag()?;
    Ok(!show_existing && bits.bits(2)? == KEY_FRAME && bits.flag()?)
}

/// The ranges that stay, neighbours joined.
#[derive(Default)]
struct Kept {
    ranges: Vec<Range<usize>>,
}

impl Kept {
    fn add(&mut self, range: Range<usize>) {
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.ranges.push(range),
        }
    }

    fn of(&self, data: &Bytes) -> Bytes {
        match self.ranges.as_slice() {
            [] => Bytes::new(),
            [only] => data.slice(only.clone()),
            several => {
                let mut out = BytesMut::with_capacity(several.iter().map(Range::len).sum());
                several.iter().for_each(|range| out.extend_from_slice(&data[range.clone()]));
                out.freeze()
            }
        }
    }
}
