//! Pictures that browsers do not play: they have to be transcoded before they are packaged.
//!
//! Each picture says itself what must be known of it. Sources: ITU-T T.81 B.2 (JPEG), ISO/IEC 13818-2 6.2.2.1,
//! 6.2.2.3, 6.2.3 and 6.3.3 (MPEG-2 video).

use bytes::Bytes;

use super::super::bits::Bits;
use super::super::{CodecError, Picture, picture_size};

/// Codecs of pictures that need a transcode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ForeignVideo {
    /// A JPEG for each picture, as old cameras send them.
    Mjpeg,
    /// MPEG-1 and -2 video.
    Mpeg2,
}

/// What is known of pictures that need a transcode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignPictures {
    /// The codec.
    pub codec: ForeignVideo,
    /// Always empty: pictures that decoding can start with say all.
    pub record: Bytes,
    /// What pictures look like.
    pub picture: Picture,
}

/// What one coded picture says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// Decoding can start here.
    pub sync: bool,
    /// No other picture needs it.
    pub disposable: bool,
    /// What pictures look like from here on, where it says so.
    pub picture: Option<Picture>,
}

impl ForeignVideo {
    /// All of them, in the order of their numbers in [`CodecConfig::to_bytes`](super::super::CodecConfig::to_bytes).
    pub(in super::super) const ALL: [Self; 2] = [Self::Mjpeg, Self::Mpeg2];

    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mjpeg => "MJPEG",
            Self::Mpeg2 => "MPEG-2 video",
        }
    }

    /// RFC 6381 string, by the object types of ISO/IEC 14496-1.
    pub const fn rfc6381(self) -> &'static str {
        match self {
            Self::Mjpeg => "mp4v.6C",
            Self::Mpeg2 => "mp4v.61",
        }
    }

    /// Reads what a coded picture says of itself.
    ///
    /// # Errors
    /// When it is none of this codec, or larger than any may be.
    pub fn look(self, picture: &[u8]) -> Result<Look, CodecError> {
        match self {
            Self::Mjpeg => jpeg(picture),
            Self::Mpeg2 => mpeg2(picture),
        }
    }

    /// The configuration of pictures that look like this.
    pub const fn with(self, picture: Picture) -> ForeignPictures {
        ForeignPictures { codec: self, record: Bytes::new(), picture }
    }
}

/// A JPEG: its frame header says how large it is (T.81, B.2.2).
fn jpeg(data: &[u8]) -> Result<Look, CodecError> {
    const RECORD: &str = "JPEG";
    let missing = |missing| CodecError::Missing { record: RECORD, missing };
    let mut fields = Bits::new(RECORD, data);
    if fields.bits(16)? != 0xFFD8 {
        return Err(missing("start of image"));
    }
    loop {
        if fields.byte()? != 0xFF {
            return Err(missing("marker"));
        }
        let mut marker = fields.byte()?;
        // Markers may be preceded by fill bytes.
        while marker == 0xFF {
            marker = fields.byte()?;
        }
        match marker {
            // Frame headers: all of their numbers but those of tables.
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => break,
            0xDA => return Err(missing("frame header before its scan")),
            0x01 | 0xD0..=0xD7 => {}
            _ => {
                let length = fields.bits(16)? as usize;
                fields.bytes(length.saturating_sub(2))?;
            }
        }
    }
    fields.skip(24)?; // length, precision
    let (height, width) = (fields.bits(16)?, fields.bits(16)?);
    let (width, height) = picture_size(RECORD, width.into(), height.into())?;
    let picture = Picture { width, height, sar: (1, 1), max_reorder: Some(0), ..Picture::default() };
    Ok(Look { sync: true, disposable: false, picture: Some(picture) })
}

/// Start codes of MPEG-2 video.
mod start {
    pub(super) const PICTURE: u8 = 0x00;
    pub(super) const SEQUENCE: u8 = 0xB3;
    pub(super) const EXTENSION: u8 = 0xB5;
}

const MPEG2: &str = "MPEG-2 picture";

/// A picture with the headers before it. Decoding starts with an intra picture behind a sequence header.
fn mpeg2(data: &[u8]) -> Result<Look, CodecError> {
    let mut sequence: Option<Picture> = None;
    let mut at = 0;
    while let Some((code, body)) = next_unit(data, &mut at) {
        let mut fields = Bits::new(MPEG2, body);
        match code {
            start::SEQUENCE => sequence = Some(sequence_header(&mut fields)?),
            start::EXTENSION => {
                if let Some(picture) = &mut sequence {
                    extend(picture, &mut fields)?;
                }
            }
            start::PICTURE => {
                fields.skip(10)?; // temporal_reference
                let kind = fields.bits(3)?;
                return Ok(Look {
                    sync: kind == 1 && sequence.is_some(),
                    disposable: kind == 3,
                    picture: sequence,
                });
            }
            _ => {}
        }
    }
    Err(CodecError::Missing { record: MPEG2, missing: "picture header" })
}

/// The next start code from `at` on, and all that follows it.
fn next_unit<'a>(data: &'a [u8], at: &mut usize) -> Option<(u8, &'a [u8])> {
    let rest = data.get(*at..)?;
    let found = rest.windows(3).position(|bytes| bytes == [0, 0, 1])?;
    *at += found + 4;
    let code = *data.get(*at - 1)?;
    Some((code, data.get(*at..).unwrap_or_default()))
}

fn sequence_header(fields: &mut Bits<'_>) -> Result<Picture, CodecError> {
    let (width, height) = (fields.bits(12)?, fields.bits(12)?);
    let (aspect, rate) = (fields.bits(4)?, fields.bits(4)?);
    let (width, height) = picture_size(MPEG2, width.into(), height.into())?;
    let frame_rate = match rate {
        1 => Some((24_000, 1_001)),
        2 => Some((24, 1)),
        3 => Some((25, 1)),
        4 => Some((30_000, 1_001)),
        5 => Some((30, 1)),
        6 => Some((50, 1)),
        7 => Some((60_000, 1_001)),
        8 => Some((60, 1)),
        _ => None,
    };
    // The aspect is the whole picture's (6.3.3).
    let sar = match aspect {
        2 => (4 * height, 3 * width),
        3 => (16 * height, 9 * width),
        4 => (221 * height, 100 * width),
        _ => (1, 1),
    };
    Ok(Picture { width, height, sar: reduced(sar), frame_rate, ..Picture::default() })
}

/// The sequence extension: more bits of the size and the rate, and whether pictures are reordered.
fn extend(picture: &mut Picture, fields: &mut Bits<'_>) -> Result<(), CodecError> {
    const SEQUENCE_EXTENSION: u32 = 1;
    if fields.bits(4)? != SEQUENCE_EXTENSION {
        return Ok(());
    }
    fields.skip(11)?; // profile and level, progressive, chroma
    let (wide, high) = (fields.bits(2)?, fields.bits(2)?);
    let size = (wide << 12 | picture.width, high << 12 | picture.height);
    (picture.width, picture.height) = picture_size(MPEG2, size.0.into(), size.1.into())?;
    fields.skip(12 + 1 + 8)?; // bit rate, marker, buffer
    picture.max_reorder = Some(u32::from(!fields.flag()?));
    let (more, fewer) = (fields.bits(2)? + 1, fields.bits(5)? + 1);
    picture.frame_rate = picture
        .frame_rate
        .and_then(|(frames, seconds)| Some((frames.checked_mul(more)?, seconds.checked_mul(fewer)?)));
    Ok(())
}

fn reduced((h, v): (u32, u32)) -> (u32, u32) {
    let (mut a, mut b) = (h, v);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    h.checked_div(a).zip(v.checked_div(a)).unwrap_or((1, 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::CodecConfig;
    use crate::codec::tests::hex;

    /// The beginnings of what ffmpeg 5.1 writes for `testsrc=s=720x576:r=25,setdar=16/9`.
    const JPEG: &str =
        "ffd8 ffe00010 4a46494600010100000100010000 ffc00011 08 0240 02d0 03 012200 021100 031100";
    const INTRA: &str =
        "000001b3 2d0240 33 ffffe018 000001b5 148a0001 0000 000001b8 00080040 00000100 000f fff8";
    const B_PICTURE: &str = "00000100 009f fff8";

    #[test]
    fn a_jpeg_says_how_large_it_is_and_each_is_whole() {
        let look = ForeignVideo::Mjpeg.look(&hex(JPEG)).unwrap();
        let picture = look.picture.unwrap();
        assert_eq!((picture.width, picture.height, look.sync), (720, 576, true));
        let scan = hex("ffd8 ffda 0008 0101 0000 3f00");
        assert!(matches!(ForeignVideo::Mjpeg.look(&scan), Err(CodecError::Missing { .. })));
        assert!(ForeignVideo::Mjpeg.look(b"GIF89a").is_err());
    }

    #[test]
    fn decoding_of_mpeg2_starts_with_an_intra_picture_behind_a_sequence_header() {
        let look = ForeignVideo::Mpeg2.look(&hex(INTRA)).unwrap();
        let picture = look.picture.unwrap();
        assert_eq!((picture.width, picture.height, picture.sar), (720, 576, (64, 45)));
        assert_eq!((picture.frame_rate, picture.max_reorder), (Some((25, 1)), Some(1)));
        assert!(look.sync && !look.disposable);
        let alone = ForeignVideo::Mpeg2.look(&hex("00000100 000f fff8")).unwrap();
        assert_eq!(alone, Look { sync: false, disposable: false, picture: None });
        assert!(ForeignVideo::Mpeg2.look(&hex(B_PICTURE)).unwrap().disposable);
        assert!(ForeignVideo::Mpeg2.look(&hex("000001b8 00080040")).is_err());
    }

    #[test]
    fn a_rate_that_is_multiplied_again_and_again_is_none() {
        let intra = hex(INTRA);
        let at = intra.windows(4).position(|bytes| bytes == [0, 0, 1, start::EXTENSION]).unwrap();
        // The most that one extension can say of the rate, in its sixth byte.
        let extension = [&intra[at..at + 9], &[0x7f]].concat();
        let data = [&intra[..at], &extension.repeat(12), &intra[at + 10..]].concat();
        let picture = ForeignVideo::Mpeg2.look(&data).unwrap().picture.unwrap();
        assert_eq!(picture.frame_rate, None);
    }

    #[test]
    fn another_process_reads_the_same_configuration() {
        for (codec, data) in [(ForeignVideo::Mjpeg, JPEG), (ForeignVideo::Mpeg2, INTRA)] {
            let picture = codec.look(&hex(data)).unwrap().picture.unwrap();
            let config = CodecConfig::ForeignVideo(codec.with(picture));
            assert_eq!(CodecConfig::from_bytes(&config.to_bytes()), Ok(config.clone()));
            assert!(!config.is_playable() && config.picture().is_some());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut data in proptest::collection::vec(any::<u8>(), 0..200), begin in 0usize..3) {
            let head: &[u8] = [&[][..], &[0xFF, 0xD8, 0xFF], &[0, 0, 1, 0xB3]][begin];
            data.splice(0..0, head.iter().copied());
            for codec in ForeignVideo::ALL {
                let _ = codec.look(&data);
            }
        }
    }
}
