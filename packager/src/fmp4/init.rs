//! The init segment: `ftyp` and `moov` of one track (CMAF-1 to CMAF-4).

use aqueduct_common::{Track, TrackKind};
use bytes::Bytes;
use mp4_atom::{
    BufMut as _, Dinf, Dref, DrefEntry, Encode as _, FixedPoint, FourCC, Ftyp, Hdlr, Mdhd, Mvhd, Smhd, Stco,
    Stsc, Stsz, Stts, Tkhd, Trex, Url, Vmhd,
};

use super::{BoxError, sample_entry};

/// Track number in every file: one track per file.
pub(super) const TRACK: u32 = 1;

/// Writes the init segment of a track. The same track always gives the same bytes.
pub fn write(track: &Track) -> Result<Bytes, BoxError> {
    let mut out = Vec::with_capacity(1_024);
    Ftyp {
        major_brand: FourCC::new(b"iso6"),
        minor_version: 0,
        compatible_brands: [b"iso6", b"cmfc", b"mp41"].map(FourCC::new).to_vec(),
    }
    .encode(&mut out)?;
    // Containers are opened here, for their children's order (CMAF-1).
    let mut entry = Vec::new();
    sample_entry::write(&mut entry, track)?;
    out.encode_atom(b"moov", |out| {
        Mvhd {
            timescale: 1_000,
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: TRACK + 1,
            ..Mvhd::default()
        }
        .encode(out)?;
        out.encode_atom(b"trak", |out| {
            track_header(track).encode(out)?;
            out.encode_atom(b"mdia", |out| write_media(out, track, &entry))
        })?;
        out.encode_atom(b"mvex", |out| {
            Trex { track_id: TRACK, default_sample_description_index: 1, ..Trex::default() }.encode(out)
        })
    })?;
    Ok(out.into())
}

/// `tkhd`: enabled and in the movie; the size is the displayed one, after the sample aspect ratio (CMAF-2).
fn track_header(track: &Track) -> Tkhd {
    let (width, height) = track.codec.picture().map_or((0, 0), |picture| picture.display());
    let pixels = |size: u32| FixedPoint::from(u16::try_from(size).unwrap_or(u16::MAX));
    Tkhd {
        track_id: TRACK,
        enabled: true,
        in_movie: true,
        volume: u8::from(track.kind() == TrackKind::Audio).into(),
        width: pixels(width),
        height: pixels(height),
        ..Tkhd::default()
    }
}

/// Children of `mdia`.
fn write_media(out: &mut Vec<u8>, track: &Track, entry: &[u8]) -> mp4_atom::Result<()> {
    let (handler, name) = match track.kind() {
        TrackKind::Video => (b"vide", "video"),
        TrackKind::Audio => (b"soun", "audio"),
    };
    Mdhd { timescale: track.timescale.hz(), language: language(&track.language).into(), ..Mdhd::default() }
        .encode(out)?;
    Hdlr { handler: FourCC::new(handler), name: name.into() }.encode(out)?;
    out.encode_atom(b"minf", |out| {
        match track.kind() {
            TrackKind::Video => Vmhd::default().encode(out)?,
            TrackKind::Audio => Smhd::default().encode(out)?,
        }
        // An empty location says that the media is in the file itself: flags 1.
        Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } }.encode(out)?;
        out.encode_atom(b"stbl", |out| {
            out.encode_atom(b"stsd", |out| {
                // Version, flags, and one entry.
                out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
                out.extend_from_slice(entry);
                Ok(())
            })?;
            Stts::default().encode(out)?;
            Stsc::default().encode(out)?;
            Stsz::default().encode(out)?;
            Stco::default().encode(out)
        })
    })
}

/// The ISO 639-2 code that `mdhd` packs; `und` where there is only another kind of tag.
fn language(tag: &str) -> &str {
    let packs = tag.len() == 3 && tag.bytes().all(|byte| byte.is_ascii_lowercase());
    if packs { tag } else { "und" }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::codec::{
        AacConfig, Av1Config, AvcConfig, Colour, ContentLight, Hdr, HevcConfig, MasteringDisplay, OpusConfig,
        Picture,
    };
    use aqueduct_common::track::Grid;
    use aqueduct_common::{CodecConfig, MediaTime, Timescale, TrackId};
    use mp4_atom::{Codec, Decode as _, Moov};

    use super::*;

    fn track(codec: CodecConfig, scale: u32) -> Track {
        let timescale = Timescale::of(scale);
        let grid = Grid::Fixed(MediaTime::new(1_000, timescale));
        Track {
            id: TrackId::VIDEO,
            codec,
            timescale,
            grid,
            reorder_delay: 0,
            language: "und".into(),
            bandwidth: None,
        }
    }

    fn avc() -> Track {
        let record = Bytes::from_static(&[
            1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 5, 0x67, 0x64, 0, 0x28, 0xac, 1, 0, 4, 0x68, 0xee, 0x3c, 0x80,
            0xfd, 0xf8, 0xf8, 0,
        ]);
        let colour = Some(Colour { primaries: 1, transfer: 1, matrix: 1, full_range: false });
        let picture = Picture { width: 1_440, height: 1_080, sar: (4, 3), colour, ..Picture::default() };
        let config = AvcConfig { record, length_size: 4, sps: Vec::new(), pps: Vec::new(), picture };
        track(CodecConfig::H264(config), 90_000)
    }

    /// FourCCs of the boxes in the order they begin.
    fn order(bytes: &[u8], kinds: &[&str]) -> Vec<String> {
        let is = |four: &&[u8]| std::str::from_utf8(four).is_ok_and(|four| kinds.contains(&four));
        bytes.windows(4).filter(is).map(|four| String::from_utf8_lossy(four).into_owned()).collect()
    }

    #[test]
    fn boxes_stand_in_the_order_of_cmaf_1() {
        let bytes = write(&avc()).unwrap();
        let expected = [
            "ftyp", "moov", "mvhd", "trak", "tkhd", "mdia", "mdhd", "hdlr", "minf", "vmhd", "dinf", "dref",
            "url ", "stbl", "stsd", "avc1", "avcC", "colr", "pasp", "stts", "stsc", "stsz", "stco", "mvex",
            "trex",
        ];
        assert_eq!(order(&bytes, &expected), expected);
        assert_eq!(&bytes[..28], b"\0\0\0\x1cftypiso6\0\0\0\0iso6cmfcmp41");
        assert!(!order(&bytes, &["edts", "mehd"]).iter().any(|_| true));
    }

    #[test]
    fn the_record_goes_in_byte_for_byte_and_reads_back() {
        let track = avc();
        let bytes = write(&track).unwrap();
        let record = track.codec.record();
        assert!(bytes.windows(record.len()).any(|window| window == record));
        let moov = Moov::decode(&mut &bytes[28..]).unwrap();
        let trak = &moov.trak[0];
        assert_eq!((trak.tkhd.width.integer(), trak.tkhd.height.integer()), (1_920, 1_080), "displayed size");
        assert_eq!(trak.mdia.mdhd.timescale, 90_000);
        let Codec::Avc1(entry) = &trak.mdia.minf.stbl.stsd.codecs[0] else { panic!("no avc1") };
        assert_eq!((entry.visual.width, entry.visual.height), (1_440, 1_080));
        assert_eq!(entry.pasp.as_ref().map(|pasp| (pasp.h_spacing, pasp.v_spacing)), Some((4, 3)));
        assert!(entry.avcc.ext.is_some(), "the high-profile extension is kept");
    }

    #[test]
    fn aac_is_described_by_its_specific_config() {
        let record = Bytes::from_static(&[0x11, 0x90]);
        let config =
            AacConfig { record, object_type: 2, output_rate: 48_000, channels: 2, frame_samples: 1_024 };
        let bytes = write(&track(CodecConfig::Aac(config), 48_000)).unwrap();
        let moov = Moov::decode(&mut &bytes[28..]).unwrap();
        let Codec::Mp4a(entry) = &moov.trak[0].mdia.minf.stbl.stsd.codecs[0] else { panic!("no mp4a") };
        let decoder = &entry.esds.es_desc.dec_config;
        assert_eq!((decoder.object_type_indication, decoder.stream_type), (0x40, 5));
        assert_eq!(
            decoder.dec_specific.as_ref().map(|specific| specific.raw.clone()),
            Some(vec![0x11, 0x90])
        );
        assert_eq!((entry.audio.channel_count, entry.audio.sample_rate.integer()), (2, 48_000));
    }

    #[test]
    fn opus_and_rates_beyond_16_bits() {
        let record = Bytes::from_static(&[0, 2, 0x01, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0]);
        let bytes =
            write(&track(CodecConfig::Opus(OpusConfig { record, channels: 2, pre_skip: 312 }), 48_000))
                .unwrap();
        let moov = Moov::decode(&mut &bytes[28..]).unwrap();
        let Codec::Opus(entry) = &moov.trak[0].mdia.minf.stbl.stsd.codecs[0] else { panic!("no Opus") };
        assert_eq!((entry.dops.pre_skip, entry.dops.input_sample_rate), (312, 48_000));

        let record = Bytes::from_static(&[0x10, 0x10]);
        let config =
            AacConfig { record, object_type: 2, output_rate: 96_000, channels: 2, frame_samples: 1_024 };
        assert!(write(&track(CodecConfig::Aac(config), 96_000)).is_ok());
    }

    #[test]
    fn another_config_is_another_init_segment() {
        let mut other = avc();
        assert_eq!(write(&avc()).unwrap(), write(&other).unwrap());
        if let CodecConfig::H264(config) = &mut other.codec {
            config.picture.width = 1_280;
        }
        assert_ne!(write(&avc()).unwrap(), write(&other).unwrap());
    }

    fn hdr_picture(transfer: u8, hdr: Hdr) -> Picture {
        let colour = Some(Colour { primaries: 9, transfer, matrix: 9, full_range: false });
        Picture { width: 1_920, height: 1_080, sar: (1, 1), colour, hdr, ..Picture::default() }
    }

    /// HEVC with this transfer and this metadata. The record is not looked into here.
    fn hevc(transfer: u8, hdr: Hdr) -> Bytes {
        let picture = hdr_picture(transfer, hdr);
        let config = HevcConfig { record: Bytes::from_static(&[1; 23]), length_size: 4, picture };
        write(&track(CodecConfig::H265(config), 90_000)).unwrap()
    }

    const MDCV: &[u8] = b"\0\0\0\x20mdcv\x33\xc2\x86\xc4\x1d\x4c\x0b\xb8\x84\xd0\x3e\x80\x3d\x13\x40\x42\
                          \x00\x98\x96\x80\0\0\0\x32";
    const CLLI: &[u8] = b"\0\0\0\x0cclli\x03\xe8\x01\x90";

    fn holds(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn hdr10_metadata_is_written_for_pq_alone() {
        let mastering = MasteringDisplay {
            primaries: [(13_250, 34_500), (7_500, 3_000), (34_000, 16_000)],
            white: (15_635, 16_450),
            max_luminance: 10_000_000,
            min_luminance: 50,
        };
        let light = Some(ContentLight { max_content: 1_000, max_average: 400 });
        let bytes = hevc(16, Hdr { mastering: Some(mastering), light });
        // Together, and the last in hvc1.
        assert!(holds(&bytes, &[MDCV, CLLI].concat()));
        let kinds = ["hvc1", "hvcC", "colr", "mdcv", "clli", "stts"];
        assert_eq!(order(&bytes, &kinds), kinds);
        let at = bytes.windows(4).position(|four| four == b"hvc1").unwrap() - 4;
        let entry = usize::try_from(u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())).unwrap();
        assert!(bytes[..at + entry].ends_with(CLLI));

        let hlg = hevc(18, Hdr { mastering: Some(mastering), light });
        assert!(!holds(&hlg, b"mdcv") && !holds(&hlg, b"clli"));
        let bare = MasteringDisplay { max_luminance: 10_000_000, ..MasteringDisplay::default() };
        let bare = hevc(16, Hdr { mastering: Some(bare), light });
        assert!(
            !holds(&bare, b"mdcv") && holds(&bare, CLLI),
            "a display of which only the luminance is known"
        );
        let picture = hdr_picture(16, Hdr { mastering: None, light });
        let config = Av1Config { record: Bytes::from_static(&[0x81, 0, 0x0c, 0]), picture };
        assert!(holds(&write(&track(CodecConfig::Av1(config), 90_000)).unwrap(), CLLI));
        let none = hevc(16, Hdr::default());
        assert!(!holds(&none, b"mdcv") && !holds(&none, b"clli"));
    }
}
