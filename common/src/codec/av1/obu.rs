//! Open bitstream units in the low-overhead format (AV1 5.3).

use std::ops::Range;

use crate::codec::CodecError;

pub(super) const SEQUENCE_HEADER: u8 = 1;
pub(super) const TEMPORAL_DELIMITER: u8 = 2;
pub(super) const FRAME_HEADER: u8 = 3;
pub(super) const FRAME: u8 = 6;
pub(super) const PADDING: u8 = 15;

/// One OBU, by its place in the data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Obu {
    /// `obu_type`.
    pub(super) kind: u8,
    /// Header, size and payload.
    pub(super) whole: Range<usize>,
    /// The payload alone.
    pub(super) payload: Range<usize>,
}

/// Iterates over the OBUs of a buffer; ends after an error.
#[derive(Clone, Debug)]
pub(super) struct Obus<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Obus<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// Reads the OBU at `self.at`. One without a size field reaches to the end of the data, which only the last
    /// one may (AV1 ISOBMFF binding, 2.4).
    fn read(&self) -> Result<Obu, CodecError> {
        let truncated = CodecError::Truncated { record: "OBU", at: self.data.len() * 8 };
        let header = self.data[self.at];
        if header & 0x80 != 0 {
            return Err(CodecError::Unsupported { record: "OBU", field: "obu_forbidden_bit", value: 1 });
        }
        let extension = usize::from(header >> 2 & 1);
        let rest = self.data.get(self.at + 1 + extension..).ok_or(truncated.clone())?;
        let (size, size_bytes) = if header & 2 == 0 { (rest.len(), 0) } else { leb128(rest)? };
        let start = self.at + 1 + extension + size_bytes;
        if size > self.data.len() - start {
            return Err(truncated);
        }
        Ok(Obu { kind: header >> 3 & 0x0f, whole: self.at..start + size, payload: start..start + size })
    }
}

impl Iterator for Obus<'_> {
    type Item = Result<Obu, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.data.len() {
            return None;
        }
        let obu = self.read();
        self.at = obu.as_ref().map_or(self.data.len(), |obu| obu.whole.end);
        Some(obu)
    }
}

/// A little-endian base 128 number and the bytes it takes (AV1 4.10.5); at most 2^32 − 1.
fn leb128(data: &[u8]) -> Result<(usize, usize), CodecError> {
    let mut value = 0u64;
    for (index, byte) in data.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return match u32::try_from(value) {
                Ok(size) => Ok((size as usize, index + 1)),
                Err(_) => Err(CodecError::Unsupported { record: "OBU", field: "obu_size", value }),
            };
        }
    }
    Err(CodecError::Truncated { record: "OBU", at: data.len().min(8) * 8 })
}

pub(super) fn write_leb128(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    out.push(value as u8);
}
