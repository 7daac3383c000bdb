//! The chunk: one part's `prft`, `moof` and `mdat`, and the `styp` before a segment's first (CMAF-8 to CMAF-14).

use aqueduct_common::{Sample, TrackKind, WallTime};
use bytes::Bytes;
use mp4_atom::{BufMut as _, Encode as _, FourCC, Mfhd, Moof, Styp, Tfdt, Tfhd, Traf, Trun, TrunEntry};

use super::BoxError;
use super::init::TRACK;

/// Payloads up to this many bytes are copied into one buffer with the boxes; longer ones are passed on as they came.
///
/// A slice keeps the whole buffer alive that it was cut from, which for an audio frame may be a hundred times its
/// size, and a list of tiny buffers is slower to send than the copy is to make.
const COPIED_MOST: usize = 4_096;

/// What a chunk says beside its samples.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// `mfhd` sequence number: one more than the chunk's before.
    pub sequence: u32,
    /// The chunk begins its segment.
    pub first: bool,
    /// When `media_time` was captured.
    pub captured: WallTime,
    /// Presentation time of the chunk's first instant, in track ticks.
    pub media_time: i64,
}

/// `sample_flags` (ISO/IEC 14496-12, 8.8.3.1): depends on no other.
const SYNC: u32 = 0x0200_0000;
/// Depends on others; not a sync sample.
const DEPENDS: u32 = 0x0101_0000;
/// No other depends on it.
const DISPOSABLE: u32 = 0x0080_0000;

/// Writes a chunk as a list of buffers: boxes are new, payloads longer than 4 KiB are not copied.
pub fn write(kind: TrackKind, header: &Header, samples: &[Sample]) -> Result<Vec<Bytes>, BoxError> {
    let small: usize =
        samples.iter().map(|sample| sample.payload.len()).filter(|len| *len <= COPIED_MOST).sum();
    let mut out = Vec::with_capacity(160 + 16 * samples.len() + small);
    if header.first {
        Styp {
            major_brand: FourCC::new(b"msdh"),
            minor_version: 0,
            compatible_brands: [b"msdh", b"cmfs"].map(FourCC::new).to_vec(),
        }
        .encode(&mut out)?;
    }
    write_prft(&mut out, header)?;
    write_moof(&mut out, kind, header.sequence, samples)?;
    write_mdat(out, samples)
}

/// `prft` version 1 (ISO/IEC 14496-12, 8.16.5), flags 24: the time is that of capture.
fn write_prft(out: &mut Vec<u8>, header: &Header) -> Result<(), BoxError> {
    out.encode_atom(b"prft", |out| {
        out.extend_from_slice(&[1, 0, 0, 24]);
        out.extend_from_slice(&TRACK.to_be_bytes());
        out.extend_from_slice(&header.captured.ntp().to_be_bytes());
        out.extend_from_slice(&header.media_time.max(0).cast_unsigned().to_be_bytes());
        Ok(())
    })?;
    Ok(())
}

/// `moof`, written twice: its own length is the sample data's offset.
fn write_moof(out: &mut Vec<u8>, kind: TrackKind, sequence: u32, samples: &[Sample]) -> Result<(), BoxError> {
    let entries: Vec<TrunEntry> = samples.iter().map(|sample| entry(kind, sample)).collect();
    let start = out.len();
    let mut moof = Moof {
        mfhd: Mfhd { sequence_number: sequence },
        traf: vec![Traf {
            tfhd: Tfhd {
                track_id: TRACK,
                default_base_is_moof: true,
                default_sample_flags: (kind == TrackKind::Audio).then_some(SYNC),
                ..Tfhd::default()
            },
            tfdt: Some(Tfdt {
                base_media_decode_time: samples.first().map_or(0, |first| first.dts.ticks.max(0) as u64),
            }),
            trun: vec![Trun { data_offset: Some(0), samples: entries.into() }],
            ..Traf::default()
        }],
    };
    moof.encode(out)?;
    let length = out.len() - start;
    for trun in moof.traf.iter_mut().flat_map(|traf| &mut traf.trun) {
        trun.data_offset = i32::try_from(length + 8).ok();
    }
    out.truncate(start);
    moof.encode(out)?;
    Ok(())
}

/// One row of `trun` (CMAF-10): sound needs no flags and no composition offset.
fn entry(kind: TrackKind, sample: &Sample) -> TrunEntry {
    let size = u32::try_from(sample.payload.len()).ok();
    let row = TrunEntry { duration: Some(sample.duration), size, flags: None, cts: None };
    if kind == TrackKind::Audio {
        return row;
    }
    let flags = if sample.sync { SYNC } else { DEPENDS };
    let flags = flags | if sample.disposable { DISPOSABLE } else { 0 };
    TrunEntry { flags: Some(flags), cts: Some(sample.pts.ticks - sample.dts.ticks), ..row }
}

/// The header of `mdat` and the payloads behind it.
fn write_mdat(mut out: Vec<u8>, samples: &[Sample]) -> Result<Vec<Bytes>, BoxError> {
    let length: usize = 8 + samples.iter().map(|sample| sample.payload.len()).sum::<usize>();
    let length = u32::try_from(length).map_err(|_| mp4_atom::Error::TooLarge(FourCC::new(b"mdat")))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(b"mdat");
    let mut body = Vec::new();
    for sample in samples {
        if sample.payload.len() <= COPIED_MOST {
            out.extend_from_slice(&sample.payload);
            continue;
        }
        if !out.is_empty() {
            body.push(Bytes::from(std::mem::take(&mut out)));
        }
        body.push(sample.payload.clone());
    }
    if !out.is_empty() {
        body.push(Bytes::from(out));
    }
    Ok(body)
}
