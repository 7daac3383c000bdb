//! VP9: the codec configuration record.

use bytes::Bytes;

use super::{CodecError, Picture};

/// A parsed `VPCodecConfigurationRecord`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vp9Config {
    /// The body of `vpcC`, with its version and flags.
    pub record: Bytes,
    /// Picture parameters; width and height come from the first key frame or the metadata.
    pub picture: Picture,
}

impl Vp9Config {
    /// Parses the body of a `vpcC`, with or without its 4 bytes of version and flags. The record holds no picture
    /// size: `size` is what the source's first key frame says.
    pub fn parse(_record: &Bytes, _size: (u32, u32)) -> Result<Self, CodecError> {
        Err(CodecError::Missing { record: "vpcC", missing: "parser" })
    }

    /// `vp09.PP.LL.DD`, with the optional colour fields where they are not the defaults.
    pub fn rfc6381(&self) -> String {
        String::new()
    }
}
