//! Media chunks: boxes, fields and what the samples really hold (CMAF-8..13).

use super::init::{Init, MediaFault};
use super::rule;
use crate::bmff::{self, Box4, be32, be64};

/// One sample, as the chunk tells of it and as its bytes are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sample {
    /// Ticks.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// Composition offset in ticks.
    pub offset: i32,
    /// The flags say that decoding can start here.
    pub sync: bool,
}

/// One chunk: what a part holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// It begins with `styp`.
    pub styp: bool,
    /// mfhd sequence_number.
    pub sequence: u32,
    /// tfdt baseMediaDecodeTime.
    pub decode_time: u64,
    /// Its samples.
    pub samples: Vec<Sample>,
}

impl Chunk {
    /// Ticks of all its samples.
    pub fn duration(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.duration)).sum()
    }
}

/// Reads the chunks that `data` consists of, and all that is wrong with them.
pub fn read_chunks(data: &[u8], init: &Init) -> (Vec<Chunk>, Vec<MediaFault>) {
    let (mut chunks, mut faults) = (Vec::new(), Vec::new());
    let all = match bmff::boxes(data) {
        Ok(all) => all,
        Err(error) => return (chunks, vec![(rule::CHUNK_BOXES, error.to_string())]),
    };
    let mut rest = all.as_slice();
    while !rest.is_empty() {
        let end = rest.iter().position(|one| &one.kind == b"mdat").map_or(rest.len(), |at| at + 1);
        let (one, after) = rest.split_at(end);
        rest = after;
        match read_chunk(one, init, &mut faults) {
            Some(chunk) => chunks.push(chunk),
            None => faults.push((rule::CHUNK_BOXES, format!("not a chunk: {}", names(one)))),
        }
    }
    if data.is_empty() {
        faults.push((rule::CHUNK_BOXES, "no bytes".into()));
    }
    (chunks, faults)
}

fn names(boxes: &[Box4<'_>]) -> String {
    boxes.iter().map(Box4::name).collect::<Vec<_>>().join(" ")
}

fn read_chunk(boxes: &[Box4<'_>], init: &Init, faults: &mut Vec<MediaFault>) -> Option<Chunk> {
    let [head @ .., moof, mdat] = boxes else { return None };
    if &moof.kind != b"moof" || &mdat.kind != b"mdat" {
        return None;
    }
    // [styp] [prft] [emsg …]: each kind at most where this order allows it.
    let rank = |one: &Box4<'_>| [b"styp", b"prft", b"emsg"].iter().position(|kind| **kind == one.kind);
    let ranks: Option<Vec<_>> = head.iter().map(rank).collect();
    let ordered = ranks.is_some_and(|ranks| ranks.windows(2).all(|w| w[0] < w[1] || w == [2, 2]));
    if !ordered {
        faults.push((rule::CHUNK_BOXES, format!("before moof: {}", names(head))));
    }
    let inner = bmff::boxes(moof.body).ok()?;
    let [mfhd, traf] = inner.as_slice() else { return None };
    let parts = bmff::boxes(traf.body).ok()?;
    let [tfhd, tfdt, trun] = parts.as_slice() else { return None };
    let kinds = [mfhd, traf, tfhd, tfdt, trun].map(|one| one.kind);
    if kinds != [*b"mfhd", *b"traf", *b"tfhd", *b"tfdt", *b"trun"] {
        return None;
    }
    let defaults = Defaults::read(tfhd.body, faults)?;
    let samples = read_trun(trun.body, &defaults, moof.size, faults)?;
    let chunk = Chunk {
        styp: head.first().is_some_and(|one| &one.kind == b"styp"),
        sequence: be32(mfhd.body, 4)?,
        decode_time: read_tfdt(tfdt.body, faults)?,
        samples,
    };
    check_payload(&chunk, mdat.body, init, faults);
    Some(chunk)
}

/// What tfhd says for samples that do not say it themselves.
#[derive(Default)]
struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

impl Defaults {
    fn read(tfhd: &[u8], faults: &mut Vec<MediaFault>) -> Option<Self> {
        let flags = be32(tfhd, 0)? & 0xff_ffff;
        if flags & 0x02_0000 == 0 || flags & 0x1 != 0 {
            faults.push((rule::CHUNK_FIELDS, format!("tfhd flags {flags:06x} without default-base-is-moof")));
        }
        let mut at = 8;
        let mut next = |bit: u32| {
            if flags & bit == 0 {
                return Some(0);
            }
            let value = be32(tfhd, at);
            at += 4;
            value
        };
        next(0x2)?;
        Some(Self { duration: next(0x8)?, size: next(0x10)?, flags: next(0x20)? })
    }
}

fn read_tfdt(tfdt: &[u8], faults: &mut Vec<MediaFault>) -> Option<u64> {
    if tfdt.first()? == &1 {
        return be64(tfdt, 4);
    }
    faults.push((rule::CHUNK_FIELDS, "tfdt is not version 1".into()));
    be32(tfdt, 4).map(u64::from)
}

fn read_trun(
    trun: &[u8],
    defaults: &Defaults,
    moof_size: usize,
    faults: &mut Vec<MediaFault>,
) -> Option<Vec<Sample>> {
    let (version, flags) = (*trun.first()?, be32(trun, 0)? & 0xff_ffff);
    if version != 1 || flags & 1 == 0 {
        faults.push((rule::CHUNK_FIELDS, format!("trun version {version}, flags {flags:06x}")));
    }
    if flags & 1 != 0 && be32(trun, 8)? as usize != moof_size + 8 {
        faults.push((rule::CHUNK_FIELDS, "trun data_offset is not the first byte of mdat's payload".into()));
    }
    let mut at = 8 + 4 * (flags & 1) as usize;
    let first_flags = if flags & 4 == 0 { None } else { be32(trun, at) };
    at += (flags & 4) as usize;
    let count = be32(trun, 4)? as usize;
    let mut samples = Vec::new();
    for index in 0..count {
        let mut field = |bit: u32, default: u32| {
            if flags & bit == 0 {
                return Some(default);
            }
            at += 4;
            be32(trun, at - 4)
        };
        let (duration, size) = (field(0x100, defaults.duration)?, field(0x200, defaults.size)?);
        let default = first_flags.filter(|_| index == 0).unwrap_or(defaults.flags);
        let (sample_flags, offset) = (field(0x400, default)?, field(0x800, 0)?);
        check_flags(sample_flags, faults);
        samples.push(Sample { duration, size, offset: offset as i32, sync: sample_flags & 0x1_0000 == 0 });
    }
    if at != trun.len() || samples.is_empty() {
        faults.push((rule::CHUNK_FIELDS, "trun does not hold its samples".into()));
    }
    if samples.iter().any(|sample| sample.duration == 0) {
        faults.push((rule::ZERO_DURATION, "a sample's duration is 0".into()));
    }
    Some(samples)
}

/// A sync sample depends on no other; another one does (CMAF-10).
fn check_flags(flags: u32, faults: &mut Vec<MediaFault>) {
    let (depends, non_sync) = (flags >> 24 & 3, flags >> 16 & 1);
    if (depends, non_sync) != (2, 0) && (depends, non_sync) != (1, 1) {
        faults.push((
            rule::SAMPLE_FLAGS,
            format!("flags {flags:08x} say depends_on={depends}, non_sync={non_sync}"),
        ));
    }
}

fn check_payload(chunk: &Chunk, mut payload: &[u8], init: &Init, faults: &mut Vec<MediaFault>) {
    for (index, sample) in chunk.samples.iter().enumerate() {
        let Some((bytes, rest)) = payload.split_at_checked(sample.size as usize) else {
            return faults.push((rule::CHUNK_FIELDS, "sample sizes exceed mdat".into()));
        };
        payload = rest;
        match init.nal_length {
            Some(length) => check_nal_units(index, sample, bytes, length, init, faults),
            None if !init.video && !sample.sync => {
                faults.push((rule::SAMPLE_FLAGS, "an audio sample is not sync".into()));
            }
            None => {}
        }
    }
    if !payload.is_empty() {
        faults.push((rule::CHUNK_FIELDS, format!("{} bytes of mdat belong to no sample", payload.len())));
    }
}

/// What a NAL unit is, as far as the rules ask.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nal {
    Random,
    Picture,
    Delimiter,
    Other,
}

fn classify(first: u8, hevc: bool) -> Nal {
    if hevc {
        return match first >> 1 & 0x3f {
            16..=21 => Nal::Random,
            0..=31 => Nal::Picture,
            35 => Nal::Delimiter,
            _ => Nal::Other,
        };
    }
    match first & 0x1f {
        5 => Nal::Random,
        1..=4 => Nal::Picture,
        9 => Nal::Delimiter,
        _ => Nal::Other,
    }
}

fn check_nal_units(
    index: usize,
    sample: &Sample,
    mut bytes: &[u8],
    length: usize,
    init: &Init,
    faults: &mut Vec<MediaFault>,
) {
    let (mut random, mut picture, mut delimiter) = (false, false, false);
    while !bytes.is_empty() {
        let size = bytes
            .get(..length)
            .map(|size| size.iter().fold(0usize, |all, byte| all << 8 | usize::from(*byte)));
        let Some(unit) =
            size.and_then(|size| bytes.get(length..)?.get(..size)).filter(|unit| !unit.is_empty())
        else {
            return faults.push((rule::NAL_LENGTHS, format!("sample {index}")));
        };
        bytes = &bytes[length + unit.len()..];
        let kind = classify(unit[0], &init.entry == b"hvc1");
        random |= kind == Nal::Random;
        picture |= matches!(kind, Nal::Random | Nal::Picture);
        delimiter |= kind == Nal::Delimiter;
    }
    if !picture {
        faults.push((rule::ONLY_SEI, format!("sample {index}")));
    } else if random != sample.sync {
        let truth = if random { "is" } else { "is not" };
        faults.push((rule::SAMPLE_FLAGS, format!("sample {index} {truth} a random access picture")));
    }
    if delimiter {
        faults.push((rule::IN_BAND, format!("sample {index}")));
    }
}
