//! AV1: the configuration record, the sequence header, and temporal units.

mod obu;
mod sequence;
mod unit;

use bytes::Bytes;

use super::bits::Bits;
use super::{CodecError, Colour, Picture, check_length};
use obu::{Obus, SEQUENCE_HEADER};
use sequence::Sequence;

pub use unit::{TemporalUnit, temporal_unit};

const RECORD: &str = "av1C";

/// A parsed `AV1CodecConfigurationRecord`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Av1Config {
    /// The record as a sample entry carries it: 4 bytes and the sequence header OBU.
    pub record: Bytes,
    /// Picture parameters of the sequence header.
    pub picture: Picture,
}

impl Av1Config {
    /// Parses the body of an `av1C` (AV1 ISOBMFF binding, 2.3).
    ///
    /// A record without a sequence header is answered with [`CodecError::Missing`]: the first temporal unit
    /// holds one ([`TemporalUnit::sequence_header`]), and [`Av1Config::from_sequence_header`] takes it.
    pub fn parse(record: &Bytes) -> Result<Self, CodecError> {
        check_length(RECORD, record.len())?;
        let mut fields = Bits::new(RECORD, record);
        let version = fields.byte()?;
        if version != 0x81 {
            return Err(fields.unsupported("marker and version", version.into()));
        }
        fields.skip(24)?; // profile, level and format: the sequence header says the same
        for obu in Obus::new(&record[4..]) {
            let obu = obu?;
            if obu.kind == SEQUENCE_HEADER {
                return Self::from_payload(&record[4..][obu.payload]);
            }
        }
        Err(CodecError::Missing { record: RECORD, missing: "sequence header" })
    }

    /// Makes the configuration from a sequence header OBU, OBU header included.
    pub fn from_sequence_header(obu: &Bytes) -> Result<Self, CodecError> {
        check_length("sequence header", obu.len())?;
        match Obus::new(obu).next() {
            Some(Ok(first)) if first.kind == SEQUENCE_HEADER => Self::from_payload(&obu[first.payload]),
            Some(Err(error)) => Err(error),
            _ => Err(CodecError::Missing { record: "OBU", missing: "sequence header" }),
        }
    }

    /// `av01.P.LLT.DD`, with the optional colour fields where they are not the defaults (AV1 ISOBMFF binding, 5).
    pub fn rfc6381(&self) -> String {
        let Some(&[profile_level, format]) = self.record.get(1..3) else { return "av01".into() };
        let tier = if format & 0x80 == 0 { 'M' } else { 'H' };
        let depth = match format & 0x60 {
            0x60 => 12,
            0x40 => 10,
            _ => 8,
        };
        let base = format!("av01.{}.{:02}{tier}.{depth:02}", profile_level >> 5, profile_level & 0x1f);
        let mono = format >> 4 & 1;
        let (x, y, position) = (format >> 3 & 1, format >> 2 & 1, format & 3);
        if self.picture.colour.is_none() && (mono, x, y, position) == (0, 1, 1, 0) {
            return base;
        }
        let (primaries, transfer, matrix) = Colour::UNSTATED;
        let colour = self.picture.colour.unwrap_or(Colour { primaries, transfer, matrix, full_range: false });
        let Colour { primaries, transfer, matrix, full_range } = colour;
        let full_range = u8::from(full_range);
        match (mono, x, y, position, primaries, transfer, matrix, full_range) {
            (0, 1, 1, 0, 1, 1, 1, 0) => base,
            _ => format!(
                "{base}.{mono}.{x}{y}{position}.{primaries:02}.{transfer:02}.{matrix:02}.{full_range}"
            ),
        }
    }

    /// Builds the record around a sequence header's payload, with a size field and without an extension.
    fn from_payload(payload: &[u8]) -> Result<Self, CodecError> {
        let sequence = Sequence::parse(payload)?;
        let mut record = vec![0x81];
        record.push(sequence.profile << 5 | sequence.level);
        record.push(sequence.format_byte());
        record.push(0); // no initial_presentation_delay
        record.push(SEQUENCE_HEADER << 3 | 2);
        obu::write_leb128(&mut record, payload.len());
        record.extend_from_slice(payload);
        Ok(Self { record: record.into(), picture: sequence.picture })
    }
}

#[cfg(test)]
pub(super) mod tests;
