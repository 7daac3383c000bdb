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

#[cfg(test)]
mod tests {
    use aqueduct_common::{MediaTime, Timescale, TrackId};

    use super::*;

    fn sample(dts: i64, cts: i64, size: usize, sync: bool) -> Sample {
        let scale = Timescale::VIDEO;
        Sample {
            track: TrackId::VIDEO,
            dts: MediaTime::new(dts, scale),
            pts: MediaTime::new(dts + cts, scale),
            duration: 3_000,
            sync,
            disposable: false,
            payload: Bytes::from(vec![0xAB; size]),
            received: WallTime::default(),
        }
    }

    /// The three samples of the worked example under CMAF-13.
    fn example() -> Vec<Sample> {
        vec![
            sample(894_000, 6_000, 9_000, true),
            sample(897_000, 12_000, 800, false),
            sample(900_000, 3_000, 500, false),
        ]
    }

    fn header(first: bool) -> Header {
        Header {
            sequence: 42,
            first,
            captured: WallTime { micros: 1_763_634_000_250_000 },
            media_time: 900_000,
        }
    }

    #[test]
    fn the_moof_of_the_worked_example() {
        let mut out = Vec::new();
        write_moof(&mut out, TrackKind::Video, 42, &example()).unwrap();
        let expected = "000000886d6f6f66 000000106d66686400000000 0000002a 0000007074726166 \
             00000010746668640002000000000001 00000014746664740100000000000000000da430 \
             000000447472756e01000f010000000300000090 \
             00000bb8000023280200000000001770 00000bb8000003200101000000002ee0 00000bb8000001f40101000000000bb8";
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.replace(' ', ""));
    }

    #[test]
    fn prft_says_when_the_first_instant_was_captured() {
        let body = write(TrackKind::Video, &header(false), &example()).unwrap().concat();
        let expected = "00000020 70726674 01000018 00000001 ecc969d040000000 00000000000dbba0";
        let hex: String = body[..32].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.replace(' ', ""));
    }

    #[test]
    fn only_the_first_chunk_of_a_segment_has_a_styp() {
        let first = write(TrackKind::Video, &header(true), &example()).unwrap().concat();
        assert_eq!(&first[..24], b"\0\0\0\x18stypmsdh\0\0\0\0msdhcmfs");
        let later = write(TrackKind::Video, &header(false), &example()).unwrap().concat();
        assert_eq!(first[24..], later);
    }

    #[test]
    fn sound_has_no_flags_and_no_offsets_per_sample() {
        let samples = [sample(480_000, 0, 300, true), sample(483_000, 0, 310, true)];
        let mut out = Vec::new();
        write_moof(&mut out, TrackKind::Audio, 1, &samples).unwrap();
        let trun = out.windows(4).position(|four| four == b"trun").unwrap();
        assert_eq!(out[trun + 4..trun + 8], [1, 0, 3, 1], "CMAF-10");
        let tfhd = out.windows(4).position(|four| four == b"tfhd").unwrap();
        assert_eq!(out[tfhd + 4..tfhd + 16], [0, 2, 0, 0x20, 0, 0, 0, 1, 2, 0, 0, 0]);
    }

    #[test]
    fn a_disposable_frame_says_that_nothing_depends_on_it() {
        let disposable = Sample { disposable: true, ..sample(0, 0, 1, false) };
        assert_eq!(entry(TrackKind::Video, &disposable).flags, Some(0x0181_0000));
    }

    #[test]
    fn large_payloads_are_passed_on_and_small_ones_copied() {
        let samples = example();
        let body = write(TrackKind::Video, &header(false), &samples).unwrap();
        let pointers: Vec<bool> =
            body.iter().map(|bytes| bytes.as_ptr() == samples[0].payload.as_ptr()).collect();
        assert_eq!(pointers, [false, true, false], "boxes, the key frame as it came, the two small frames");
        let mdat = body.concat().windows(4).position(|four| four == b"mdat").unwrap();
        let length = u32::from_be_bytes(body.concat()[mdat - 4..mdat].try_into().unwrap());
        assert_eq!(length, 8 + 9_000 + 800 + 500);
    }
}
