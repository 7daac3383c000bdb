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
