//! Clips: the samples of a small, trusted MP4 file.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::bmff::{self, be16, be32, be64};
use crate::check::init::specific_config;
use crate::{Failure, Outcome};

/// One coded frame, times in milliseconds as RTMP has them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Decode time.
    pub dts: i64,
    /// Presentation time minus decode time.
    pub cts: i32,
    /// Sync sample.
    pub key: bool,
    /// The payload.
    pub data: Vec<u8>,
}

/// One track.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Track {
    /// Four-character code of the sample entry.
    pub entry: [u8; 4],
    /// The codec record's content: avcC, hvcC, av1C, vpcC, AudioSpecificConfig, or dOps.
    pub config: Vec<u8>,
    /// Its frames in decode order.
    pub frames: Vec<Frame>,
}

/// A clip of at most one video and one audio track.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Clip {
    /// The first video track.
    pub video: Option<Track>,
    /// The first audio track.
    pub audio: Option<Track>,
    /// How long it lasts, in milliseconds: where a loop begins again.
    pub millis: i64,
}

/// The bundled footage.
pub fn footage() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("media/bigbuckbunny.mp4")
}

impl Clip {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is not a plain MP4 file.
    pub fn open(path: &Path) -> Outcome<Self> {
        Self::read(&std::fs::read(path)?)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    ///
    /// When they are not a plain MP4 file.
    pub fn read(data: &[u8]) -> Outcome<Self> {
        let moov = bmff::find(data, &[b"moov"]).ok_or("no moov")?;
        let mut clip = Self::default();
        for trak in bmff::boxes(moov)?.into_iter().filter(|one| &one.kind == b"trak") {
            let kind = bmff::find(trak.body, &[b"mdia", b"hdlr"]).and_then(|hdlr| hdlr.get(8..12));
            let slot = match kind {
                Some(b"vide") => &mut clip.video,
                Some(b"soun") => &mut clip.audio,
                _ => continue,
            };
            let (track, millis) = read_track(trak.body, data).ok_or("a track could not be read")?;
            clip.millis = clip.millis.max(millis);
            slot.get_or_insert(track);
        }
        Ok(clip)
    }
}

struct Tables<'a> {
    stbl: &'a [u8],
}

impl<'a> Tables<'a> {
    fn table(&self, kind: &[u8; 4]) -> Option<&'a [u8]> {
        bmff::find(self.stbl, &[kind])
    }

    /// A run-length table of (count, value), spread out.
    fn runs(&self, kind: &[u8; 4]) -> Option<Vec<u32>> {
        let table = self.table(kind)?;
        let entries = be32(table, 4)? as usize;
        let mut values = Vec::new();
        for index in 0..entries {
            let (count, value) = (be32(table, 8 + 8 * index)?, be32(table, 12 + 8 * index)?);
            values.extend(std::iter::repeat_n(value, count as usize));
        }
        Some(values)
    }

    fn sizes(&self) -> Option<Vec<usize>> {
        let table = self.table(b"stsz")?;
        let (fixed, count) = (be32(table, 4)?, be32(table, 8)? as usize);
        (0..count)
            .map(|index| {
                if fixed == 0 { be32(table, 12 + 4 * index) } else { Some(fixed) }.map(|s| s as usize)
            })
            .collect()
    }

    fn chunk_offsets(&self) -> Option<Vec<usize>> {
        if let Some(table) = self.table(b"stco") {
            return (0..be32(table, 4)? as usize)
                .map(|index| be32(table, 8 + 4 * index).map(|at| at as usize))
                .collect();
        }
        let table = self.table(b"co64")?;
        (0..be32(table, 4)? as usize).map(|index| be64(table, 8 + 8 * index).map(|at| at as usize)).collect()
    }

    /// Offset of every sample.
    fn offsets(&self, sizes: &[usize]) -> Option<Vec<usize>> {
        let table = self.table(b"stsc")?;
        let runs = be32(table, 4)? as usize;
        let mut offsets = Vec::new();
        for (chunk, start) in self.chunk_offsets()?.into_iter().enumerate() {
            let entry = (0..runs)
                .rev()
                .find(|run| be32(table, 8 + 12 * run).is_some_and(|first| first as usize <= chunk + 1))?;
            let mut at = start;
            for _ in 0..be32(table, 12 + 12 * entry)? {
                let Some(size) = sizes.get(offsets.len()) else { break };
                offsets.push(at);
                at += size;
            }
        }
        Some(offsets)
    }
}

fn read_track(trak: &[u8], file: &[u8]) -> Option<(Track, i64)> {
    let mdia = bmff::find(trak, &[b"mdia"])?;
    let timescale = i64::from(be32(bmff::find(mdia, &[b"mdhd"])?, 12)?);
    let tables = Tables { stbl: bmff::find(mdia, &[b"minf", b"stbl"])? };
    let (entry, config) = read_entry(tables.table(b"stsd")?)?;
    let (sizes, deltas) = (tables.sizes()?, tables.runs(b"stts")?);
    let offsets = tables.offsets(&sizes)?;
    let shifts = tables.runs(b"ctts").unwrap_or_default();
    let sync = tables.table(b"stss").map(|table| {
        (0..be32(table, 4).unwrap_or(0) as usize)
            .filter_map(|index| be32(table, 8 + 4 * index))
            .collect::<Vec<_>>()
    });
    let mut frames = Vec::new();
    let mut ticks = 0;
    let millis = |ticks: i64| (ticks * 1_000 + timescale / 2).div_euclid(timescale);
    for (index, (size, at)) in sizes.iter().zip(offsets).enumerate() {
        let shift = i64::from(shifts.get(index).copied().unwrap_or(0) as i32);
        frames.push(Frame {
            dts: millis(ticks),
            cts: (millis(ticks + shift) - millis(ticks)) as i32,
            key: sync.as_ref().is_none_or(|sync| sync.contains(&(index as u32 + 1))),
            data: file.get(at..at + size)?.to_vec(),
        });
        ticks += i64::from(*deltas.get(index)?);
    }
    Some((Track { entry, config, frames }, millis(ticks)))
}

fn read_entry(stsd: &[u8]) -> Option<([u8; 4], Vec<u8>)> {
    let entries = bmff::boxes(stsd.get(8..)?).ok()?;
    let entry = entries.first()?;
    let children = |skip| entry.body.get(skip..);
    let record = |skip, kind| bmff::find(children(skip)?, &[kind]).map(<[u8]>::to_vec);
    let config = match &entry.kind {
        b"avc1" => record(78, b"avcC"),
        b"hvc1" | b"hev1" => record(78, b"hvcC"),
        b"av01" => record(78, b"av1C"),
        // The record without the version and flags of the box around it.
        b"vp09" => record(78, b"vpcC").and_then(|full| full.get(4..).map(<[u8]>::to_vec)),
        b"mp4a" => specific_config(bmff::find(audio_children(entry.body)?, &[b"esds"])?.get(4..)?)
            .map(<[u8]>::to_vec),
        b"Opus" => record(28, b"dOps"),
        _ => None,
    };
    Some((entry.kind, config?))
}

/// A QuickTime sound entry of version 1 has 16 bytes more.
fn audio_children(entry: &[u8]) -> Option<&[u8]> {
    entry.get(if be16(entry, 8)? == 1 { 44 } else { 28 }..)
}

/// Makes a clip with ffmpeg once and keeps it beside other build products.
///
/// # Errors
///
/// When ffmpeg is missing or fails.
pub fn made(name: &str, arguments: &[&str]) -> Outcome<PathBuf> {
    let folder = crate::world::target_folder().join("test-media");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    static DRAWING: Mutex<()> = Mutex::new(());
    let _turn = DRAWING.lock().map_err(|_| "a clip could not be drawn in another test")?;
    if path.exists() {
        return Ok(path);
    }
    // Test programs may run beside each other: whoever is first renames a whole file into place.
    let part = folder.join(format!("{}-{name}", std::process::id()));
    let output = std::process::Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
        .args(arguments)
        .arg(&part)
        .output()
        .map_err(|error| format!("cannot run ffmpeg: {error}"))?;
    if !output.status.success() {
        return Err(Failure::from(format!("ffmpeg: {}", String::from_utf8_lossy(&output.stderr))));
    }
    std::fs::rename(&part, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_footage_is_read_whole() {
        let clip = Clip::open(&footage()).unwrap();
        let (video, audio) = (clip.video.unwrap(), clip.audio.unwrap());
        assert_eq!((&video.entry, video.frames.len()), (b"avc1", 132));
        assert_eq!(video.frames[1].dts - video.frames[0].dts, 40);
        assert!(video.frames[0].key && !video.frames[1].key);
        assert_eq!(&audio.entry, b"mp4a");
        // AAC-LC, 48 kHz, 5.1.
        assert_eq!(audio.config[..2], [0x11, 0xb0]);
        assert_eq!(clip.millis, 5_312);
        // NAL unit lengths fill the first access unit.
        let first = &video.frames[0].data;
        let size = be32(first, 0).unwrap() as usize;
        assert!(size + 4 <= first.len());
    }
}
