//! Reads a CMAF part just far enough: its samples by `trun` (ISO/IEC 14496-12, 8.8.8), and the frames they carry.

use crate::error::Error;
use crate::marker;

const FIRST_FLAGS: u32 = 0x4;
const DURATION: u32 = 0x100;
const SIZE: u32 = 0x200;
const FLAGS: u32 = 0x400;
const OFFSET: u32 = 0x800;

/// What a part holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// How many samples.
    pub samples: usize,
    /// The marker of its last sample.
    pub last_frame: u32,
}

/// Reads a part of one track.
pub fn read(bytes: &[u8]) -> Result<Part, Error> {
    let (moof_at, moof) = find(bytes, b"moof").ok_or(unreadable("there is no moof"))?;
    let (_, traf) = find(moof, b"traf").ok_or(unreadable("there is no traf"))?;
    let (_, trun) = find(traf, b"trun").ok_or(unreadable("there is no trun"))?;
    let (data_offset, sizes) =
        sample_sizes(trun).ok_or(unreadable("its trun is cut short or has no sizes"))?;
    let before: usize = sizes.iter().rev().skip(1).sum();
    let start = moof_at + data_offset + before;
    let last = sizes.last().copied().ok_or(unreadable("its trun has no samples"))?;
    let sample = bytes.get(start..start + last).ok_or(unreadable("its last sample lies outside"))?;
    let last_frame = marker::read(sample).ok_or(unreadable("its last sample has no marker"))?;
    Ok(Part { samples: sizes.len(), last_frame })
}

fn unreadable(why: &'static str) -> Error {
    Error::Unreadable { what: "a part".into(), why }
}

/// The first box of a kind among siblings: where it begins, and its content.
fn find<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<(usize, &'a [u8])> {
    let mut at = 0;
    loop {
        let size = word(bytes, at)? as usize;
        let whole = bytes.get(at..at.checked_add(size.max(8))?)?;
        if &whole[4..8] == kind {
            return Some((at, &whole[8..]));
        }
        at += whole.len();
    }
}

/// `data_offset` and the sizes of all samples.
fn sample_sizes(trun: &[u8]) -> Option<(usize, Vec<usize>)> {
    let flags = word(trun, 0)? & 0x00ff_ffff;
    let count = word(trun, 4)? as usize;
    let data_offset = word(trun, 8).filter(|_| flags & 1 != 0)? as usize;
    let mut at = if flags & FIRST_FLAGS == 0 { 12 } else { 16 };
    let mut sizes = Vec::new();
    for _ in 0..count {
        at += if flags & DURATION == 0 { 0 } else { 4 };
        sizes.push(word(trun, at).filter(|_| flags & SIZE != 0)? as usize);
        at += 4 + [FLAGS, OFFSET].iter().filter(|flag| flags & **flag != 0).count() * 4;
    }
    Some((data_offset, sizes))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut out = (content.len() as u32 + 8).to_be_bytes().to_vec();
        out.extend(kind);
        out.extend(content);
        out
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn the_last_frame_of_a_part_is_found_by_its_trun() {
        let trun = boxed(b"trun", &words(&[0x0100_0f01, 2, 0xfeed, 3_000, 20, 0, 0, 3_000, 24, 0, 0]));
        let traf = boxed(b"traf", &[boxed(b"tfhd", &words(&[0x20000, 1])), trun].concat());
        let moof = boxed(b"moof", &[boxed(b"mfhd", &words(&[0, 1])), traf].concat());
        let data_offset = moof.len() as u32 + 8;
        let at = moof.windows(4).position(|window| window == words(&[0xfeed])).unwrap();
        let mut moof = moof;
        moof[at..at + 4].copy_from_slice(&data_offset.to_be_bytes());
        let samples = [&marker::of(41)[..], &[0; 4], &[0; 8], &marker::of(42)[..]].concat();
        let part = [boxed(b"styp", b"msdh"), moof, boxed(b"mdat", &samples)].concat();
        assert_eq!(read(&part).unwrap(), Part { samples: 2, last_frame: 42 });
        for cut in 0..part.len() {
            assert!(read(&part[..cut]).is_err(), "cut at {cut}");
        }
    }
}
