//! One track's way from parts to objects and lines.

use std::collections::VecDeque;
use std::sync::Arc;

use aqueduct_common::{ClockMap, MediaTime, Object, ObjectKind, Sample, Timescale, Track, Update};
use bytes::Bytes;

use crate::cutter::Part;
use crate::fmp4::{BoxError, chunk, init};
use crate::names::{self, Directory};
use crate::playlist::multivariant::{Sound, Video};
use crate::playlist::snapshot::PartLine;
use crate::publish;
use crate::rate::Meter;
use crate::targets;
use crate::window::{Opening, Window};

/// Where a segment begins, on all tracks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) msn: u64,
    pub(crate) at: i64,
    pub(crate) era: u64,
    pub(crate) discontinuity: bool,
    pub(crate) clock: ClockMap,
}

/// A line that waits for the other renditions (LLHLS-16).
#[derive(Debug)]
enum Line {
    Part(PartLine),
    Close { micros: u64, bytes: u64, frames: u64 },
}

#[derive(Debug)]
struct Staged {
    after: u64,
    opening: Opening,
    line: Line,
}

/// The segment whose parts are being written.
#[derive(Debug)]
struct Growing {
    opening: Opening,
    body: Vec<Bytes>,
    bytes: u64,
    ticks: u64,
    scale: Timescale,
    frames: u64,
}

/// What listing did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Listed {
    /// A line was added.
    pub(crate) changed: bool,
    /// A segment was completed.
    pub(crate) closed: bool,
}

/// One track's objects and lines.
#[derive(Debug)]
pub(crate) struct Rendition {
    pub(crate) track: Track,
    pub(crate) directory: Directory,
    pub(crate) window: Window,
    /// The init segment's content and file name.
    init: Bytes,
    map: Arc<str>,
    next_part: u64,
    growing: Option<Growing>,
    staged: VecDeque<Staged>,
    meter: Meter,
    millifps: Option<u64>,
    /// Objects that wait for the first playlist; `None` once it is out.
    held: Option<Vec<Update>>,
}

impl Rendition {
    /// A rendition whose first part will be `next_part`, for segments of about `segment` microseconds.
    pub(crate) fn new(
        track: &Track,
        directory: Directory,
        next_part: u64,
        segment: u64,
    ) -> Result<Self, BoxError> {
        let mut rendition = Self {
            track: track.clone(),
            directory,
            window: Window::new(next_part),
            init: Bytes::new(),
            map: "".into(),
            next_part,
            growing: None,
            staged: VecDeque::new(),
            meter: Meter::new(segment),
            millifps: None,
            held: Some(Vec::new()),
        };
        if let Some(update) = rendition.describe(track)? {
            rendition.held.get_or_insert_default().push(update);
        }
        Ok(rendition)
    }

    /// Takes the track as it is from now on; answers a new init segment if there is one (CMAF-4).
    pub(crate) fn describe(&mut self, track: &Track) -> Result<Option<Update>, BoxError> {
        let content = init::write(track)?;
        self.millifps = millifps(track).or(self.millifps);
        self.track = track.clone();
        if self.init == content {
            return Ok(None);
        }
        let map = names::init(&content, self.next_part);
        self.init = content.clone();
        self.map = map.as_str().into();
        let object = publish::media(ObjectKind::Init, track.kind(), self.directory.path(&map), vec![content]);
        Ok(self.ready(Update::Publish(object)))
    }

    /// Writes a part; answers its object, and what its line says.
    pub(crate) fn write(
        &mut self,
        part: &Part,
        start: &Start,
        clock: &ClockMap,
    ) -> Result<(Object, PartLine), BoxError> {
        let Some(first) = part.samples.first() else {
            return Err(BoxError::Empty);
        };
        let scale = first.dts.scale;
        let at = first.dts.offset(self.track.reorder_delay);
        let opening = self.opening(start, Some(at));
        let growing = self.growing.get_or_insert_with(|| Growing::new(opening, scale));
        let header = chunk::Header {
            sequence: self.next_part as u32,
            first: growing.body.is_empty(),
            captured: clock.wall_at(at),
            media_time: at.ticks,
        };
        let body = chunk::write(self.track.kind(), &header, &part.samples)?;
        growing.add(&body, &part.samples);
        let micros = micros(part.ticks(), scale);
        let line = PartLine { number: self.next_part, micros, independent: part.independent() };
        self.next_part += 1;
        self.staged.push_back(Staged {
            after: part.after,
            opening: growing.opening.clone(),
            line: Line::Part(line),
        });
        let path = self.directory.path(&names::part(line.number));
        Ok((publish::media(ObjectKind::Part, self.track.kind(), path, body), line))
    }

    /// Completes a segment; answers its object, or `None` where there was no media.
    pub(crate) fn close(&mut self, start: &Start, after: u64, end: i64) -> Option<Object> {
        let Some(growing) = self.growing.take_if(|growing| growing.opening.msn == start.msn) else {
            let micros = MediaTime::flicks(end - start.at).micros().max(0).cast_unsigned();
            let line = Line::Close { micros, bytes: 0, frames: 0 };
            self.staged.push_back(Staged { after, opening: self.opening(start, None), line });
            return None;
        };
        let micros = micros(growing.ticks, growing.scale);
        let line = Line::Close { micros, bytes: growing.bytes, frames: growing.frames };
        let path = self.directory.path(&names::segment(start.msn));
        self.staged.push_back(Staged { after, opening: growing.opening, line });
        Some(publish::media(ObjectKind::Segment, self.track.kind(), path, growing.body))
    }

    /// Lists what waits for at most `settled` boundaries.
    pub(crate) fn list(&mut self, settled: u64) -> Listed {
        let mut listed = Listed::default();
        while self.staged.front().is_some_and(|staged| staged.after <= settled) {
            let Some(staged) = self.staged.pop_front() else { break };
            listed.changed = true;
            match staged.line {
                Line::Part(line) => self.window.push(&staged.opening, line),
                Line::Close { micros, bytes, frames } => {
                    self.window.close(&staged.opening, micros);
                    listed.closed = true;
                    if bytes > 0 {
                        self.meter.push(bytes, micros);
                        self.millifps =
                            self.millifps.or_else(|| (frames * 1_000_000_000).checked_div(micros));
                    }
                }
            }
        }
        listed
    }

    /// The update, if the playlist is out; else it is held for then.
    pub(crate) fn ready(&mut self, update: Update) -> Option<Update> {
        match &mut self.held {
            Some(held) => {
                held.push(update);
                None
            }
            None => Some(update),
        }
    }

    /// The playlist goes out: answers all that was held.
    pub(crate) fn go_live(&mut self) -> Vec<Update> {
        self.held.take().unwrap_or_default()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.held.is_none()
    }

    /// Number that the next part will have.
    pub(crate) fn next_part(&self) -> u64 {
        self.next_part
    }

    /// Its entry in the multivariant playlist, if it is video.
    pub(crate) fn video(&self) -> Option<Video> {
        let picture = self.track.codec.picture()?;
        Some(Video {
            uri: self.directory.from_multivariant(),
            codec: self.track.codec.rfc6381(),
            rate: self.meter.stated(),
            size: picture.display(),
            millifps: self.millifps,
            range: picture.colour.map_or(aqueduct_common::codec::VideoRange::Sdr, |colour| colour.range()),
        })
    }

    /// Its entry in the multivariant playlist, if it is sound.
    pub(crate) fn sound(&self) -> Option<Sound> {
        let (_, channels) = self.track.codec.sound()?;
        let tag = &self.track.language;
        let printable =
            !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        Some(Sound {
            uri: self.directory.from_multivariant(),
            codec: self.track.codec.rfc6381(),
            rate: self.meter.stated(),
            channels,
            language: if printable { tag.clone() } else { "und".to_owned() },
        })
    }

    /// What a segment is known by. All renditions print the same date for it (TL-34, TL-38), save one whose media
    /// begins more than a sample away from the boundary.
    fn opening(&self, start: &Start, first: Option<MediaTime>) -> Opening {
        let boundary = MediaTime::flicks(start.at);
        let spacing = targets::spacing(&self.track);
        let begins = first.filter(|first| (first.as_flicks() - start.at).abs() > spacing).unwrap_or(boundary);
        Opening {
            msn: start.msn,
            era: start.era,
            discontinuity: start.discontinuity,
            map: self.map.clone(),
            date: start.clock.wall_at(begins),
        }
    }
}

impl Growing {
    fn new(opening: Opening, scale: Timescale) -> Self {
        Self { opening, body: Vec::new(), bytes: 0, ticks: 0, scale, frames: 0 }
    }

    fn add(&mut self, body: &[Bytes], samples: &[Sample]) {
        self.body.extend_from_slice(body);
        self.bytes += body.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        self.ticks += samples.iter().map(|sample| u64::from(sample.duration)).sum::<u64>();
        self.frames += samples.len() as u64;
    }
}

fn micros(ticks: u64, scale: Timescale) -> u64 {
    MediaTime::new(ticks.cast_signed(), scale).micros().max(0).cast_unsigned()
}

/// Frames per 1 000 seconds of a fixed grid. A variable rate is measured over the first segment: what such a
/// bitstream says is a tick, as a thousandth of a second, and no rate.
fn millifps(track: &Track) -> Option<u64> {
    track.codec.picture()?;
    match track.grid {
        aqueduct_common::track::Grid::Fixed(_) => {
            let spacing = targets::spacing(track).cast_unsigned();
            Some((u64::from(Timescale::FLICKS.hz()) * 1_000 + spacing / 2) / spacing)
        }
        aqueduct_common::track::Grid::Variable { .. } => None,
    }
}
