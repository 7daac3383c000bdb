//! AV1: the configuration record, the sequence header, and temporal units.

use bytes::Bytes;

use super::{CodecError, Picture};

/// A parsed `AV1CodecConfigurationRecord`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Av1Config {
    /// The record as a sample entry carries it: 4 bytes and the sequence header OBU.
    pub record: Bytes,
    /// Picture parameters of the sequence header.
    pub picture: Picture,
}

impl Av1Config {
    /// Parses the body of an `av1C`.
    pub fn parse(_record: &Bytes) -> Result<Self, CodecError> {
        Err(CodecError::Missing { record: "av1C", missing: "parser" })
    }

    /// `av01.P.LLT.DD`, with the optional colour fields where they are not the defaults.
    pub fn rfc6381(&self) -> String {
        String::new()
    }
}
