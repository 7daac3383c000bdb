//! Configurations as bytes, for other processes of this program.
//!
//! `kind` (1 byte), then for pictures their size, colour and HDR metadata, which a record need not hold, and for foreign sound its
//! parameters, then the record. Both ends are the same program, so the form may change with any version.

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::Bits;
use super::*;

const NAME: &str = "codec configuration";

impl CodecConfig {
    /// All of it as bytes that [`CodecConfig::from_bytes`] reads.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        let kind = match self {
            Self::H264(_) => 0,
            Self::H265(_) => 1,
            Self::Av1(_) => 2,
            Self::Vp9(_) => 3,
            Self::Aac(_) => 4,
            Self::Opus(_) => 5,
            Self::Foreign(_) => 6,
            Self::ForeignVideo(_) => 7,
        };
        out.put_u8(kind);
        if let Some(picture) = self.picture() {
            out.put_u32(picture.width);
            out.put_u32(picture.height);
            let colour = picture.colour.map_or([0; 5], |colour| {
                [1, colour.primaries, colour.transfer, colour.matrix, u8::from(colour.full_range)]
            });
            out.put_slice(&colour);
            put_hdr(&mut out, &picture.hdr);
        }
        if let Self::ForeignVideo(config) = self {
            put_foreign_video(&mut out, config);
        }
        if let Self::Foreign(config) = self {
            let number = ForeignCodec::ALL.iter().position(|codec| *codec == config.codec).unwrap_or(0);
            out.put_u8(number as u8);
            out.put_u32(config.rate);
            out.put_u16(config.channels);
        }
        out.put_slice(self.record());
        out.freeze()
    }

    /// Reads what [`CodecConfig::to_bytes`] wrote. The samples' NAL unit lengths have 4 bytes then, as
    /// [`Sample::payload`](crate::Sample::payload) says.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, CodecError> {
        let mut fields = Bits::new(NAME, bytes);
        let kind = fields.byte()?;
        match kind {
            0..=3 | 7 => video(kind, fields, bytes),
            4 => AacConfig::parse(&bytes.slice(1..)).map(Self::Aac),
            5 => OpusConfig::parse_record(&bytes.slice(1..)).map(Self::Opus),
            6 => foreign(fields, bytes),
            other => Err(fields.unsupported("kind", other.into())),
        }
    }
}

/// Which of the two there are, then those.
fn put_hdr(out: &mut BytesMut, hdr: &Hdr) {
    out.put_u8(u8::from(hdr.mastering.is_some()));
    if let Some(mastering) = &hdr.mastering {
        out.put_slice(&mastering.to_bytes());
    }
    out.put_u8(u8::from(hdr.light.is_some()));
    if let Some(light) = &hdr.light {
        out.put_slice(&light.to_bytes());
    }
}

fn take_hdr(fields: &mut Bits<'_>) -> Result<Hdr, CodecError> {
    let mut hdr = Hdr::default();
    if fields.flag_byte()? {
        let bytes = fields.bytes(MasteringDisplay::LENGTH)?;
        hdr.mastering = bytes.first_chunk().and_then(MasteringDisplay::from_bytes);
    }
    if fields.flag_byte()? {
        hdr.light = fields.bytes(ContentLight::LENGTH)?.first_chunk().and_then(ContentLight::from_bytes);
    }
    Ok(hdr)
}

fn video(kind: u8, mut fields: Bits<'_>, bytes: &Bytes) -> Result<CodecConfig, CodecError> {
    let size = (fields.bits(32)?, fields.bits(32)?);
    let told = fields.flag_byte()?;
    let (primaries, transfer, matrix) = (fields.byte()?, fields.byte()?, fields.byte()?);
    let full_range = fields.flag_byte()?;
    let hdr = take_hdr(&mut fields)?;
    if kind == 7 {
        return foreign_video(
            fields,
            size,
            told.then_some(Colour { primaries, transfer, matrix, full_range }),
        );
    }
    let record = bytes.slice(fields.bytes_read()..);
    let mut config = match kind {
        0 => AvcConfig::parse(&record).map(CodecConfig::H264)?,
        1 => HevcConfig::parse(&record).map(CodecConfig::H265)?,
        2 => Av1Config::parse(&record).map(CodecConfig::Av1)?,
        _ => Vp9Config::parse(&record, size).map(CodecConfig::Vp9)?,
    };
    config.set_colour(told.then_some(Colour { primaries, transfer, matrix, full_range }));
    config.set_hdr(hdr);
    Ok(config)
}

/// What no record holds: the codec, the shape of pixels, and what 0 leaves unsaid, reordering and the frame rate.
fn put_foreign_video(out: &mut BytesMut, config: &ForeignPictures) {
    let number = ForeignVideo::ALL.iter().position(|codec| *codec == config.codec).unwrap_or(0);
    let (frames, seconds) = config.picture.frame_rate.unwrap_or_default();
    out.put_u8(number as u8);
    out.put_u8(config.picture.max_reorder.map_or(0, |most| 1 + most.min(16) as u8));
    for value in [config.picture.sar.0, config.picture.sar.1, frames, seconds] {
        out.put_u32(value);
    }
}

fn foreign_video(
    mut fields: Bits<'_>,
    size: (u32, u32),
    colour: Option<Colour>,
) -> Result<CodecConfig, CodecError> {
    let number = fields.byte()?;
    let codec = ForeignVideo::ALL.get(usize::from(number)).copied();
    let codec = codec.ok_or(fields.unsupported("foreign codec", number.into()))?;
    let max_reorder = fields.byte()?.checked_sub(1).map(u32::from);
    let sar = (fields.bits(32)?, fields.bits(32)?);
    let rate = (fields.bits(32)?, fields.bits(32)?);
    let (width, height) = picture_size(NAME, size.0.into(), size.1.into())?;
    let frame_rate = (rate.0 > 0 && rate.1 > 0).then_some(rate);
    let picture = Picture { width, height, sar, colour, hdr: Hdr::default(), max_reorder, frame_rate };
    Ok(CodecConfig::ForeignVideo(codec.with(picture)))
}

fn foreign(mut fields: Bits<'_>, bytes: &Bytes) -> Result<CodecConfig, CodecError> {
    let number = fields.byte()?;
    let codec = ForeignCodec::ALL.get(usize::from(number)).copied();
    let codec = codec.ok_or(fields.unsupported("foreign codec", number.into()))?;
    let (rate, channels) = (fields.bits(32)?, fields.bits(16)? as u16);
    let record = bytes.slice(fields.bytes_read()..);
    ForeignConfig::new(codec, rate, channels, record).map(CodecConfig::Foreign)
}
