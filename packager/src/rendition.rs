//! One track's way from parts to objects and lines.

use std::sync::Arc;

use aqueduct_common::feed::Absence;
use aqueduct_common::{
    ClockMap, MediaTime, Object, ObjectKind, Sample, Timescale, Track, Update, Version, WallTime,
};
use bytes::Bytes;

use crate::cutter::Part;
use crate::fmp4::{BoxError, chunk, init};
use crate::names::{self, Directory};
use crate::playlist::multivariant::{Rate, Sound, Video};
use crate::playlist::snapshot::PartLine;
use crate::publish;
use crate::rate::Meter;
use crate::targets;
use crate::window::{Opening, Window};

/// So many missed segments are listed at most: more would be a list of nothing.
const MISSED: u64 = 120;

/// Where a segment begins, on all tracks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) msn: u64,
    pub(crate) at: i64,
    pub(crate) era: u64,
    pub(crate) discontinuity: bool,
    pub(crate) clock: ClockMap,
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
    /// Microseconds of parts that are gaps.
    gaps: u64,
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
    /// How its track is described from the next segment on.
    next: Option<Track>,
    meter: Meter,
    millifps: Option<u64>,
    /// Objects that wait for the first playlist; `None` once it is out.
    held: Option<Vec<Update>>,
    /// Why it has no samples.
    pub(crate) absence: Option<Absence>,
    /// It slept and is back: its playlist is out with its first part.
    pub(crate) waking: bool,
    /// What its playlist says, where one is out.
    pub(crate) shown: Option<Version>,
    /// What its playlist should say has changed.
    pub(crate) changed: bool,
    /// A segment was completed since the window was last trimmed.
    pub(crate) closed: bool,
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
            next: None,
            meter: Meter::new(segment),
            millifps: None,
            held: Some(Vec::new()),
            absence: None,
            waking: false,
            shown: None,
            changed: false,
            closed: false,
        };
        if let Some(update) = rendition.describe(track)? {
            rendition.held.get_or_insert_default().push(update);
        }
        Ok(rendition)
    }

    /// Takes the track as it is from now on; answers a new init segment if there is one (CMAF-4).
    pub(crate) fn describe(&mut self, track: &Track) -> Result<Option<Update>, BoxError> {
        self.next = None;
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

    /// The track is described so from the next segment on.
    pub(crate) fn describe_next(&mut self, track: &Track) {
        self.next = Some(track.clone());
    }

    /// Writes a part and lists it; answers its object, and what its line says.
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
        self.waking = false;
        let micros = micros(part.ticks(), scale);
        let line = PartLine { number: self.next_part, micros, independent: part.independent(), gap: false };
        self.list(line);
        let path = self.directory.path(&names::part(line.number));
        Ok((publish::media(ObjectKind::Part, self.track.kind(), path, body), line))
    }

    /// Lists a part from `from` on that is not there. Before there was media nothing is listed, save of one that is
    /// offered: its playlist has to have something when it wakes. A list begins with all of a segment.
    pub(crate) fn skip(&mut self, start: &Start, from: i64, micros: u64) {
        let begins_within = self.window.is_blank() && self.growing.is_none() && from > start.at;
        if begins_within || self.lists_nothing() {
            return;
        }
        let (opening, scale) = (self.opening(start, None), self.track.timescale);
        let growing = self.growing.get_or_insert_with(|| Growing::new(opening, scale));
        growing.gaps += micros;
        self.list(PartLine { number: self.next_part, micros, independent: false, gap: true });
    }

    /// Lists what nobody has any more between `from` and a restart's first segment: a player that finds no number of its
    /// last list in the next one has to guess where that belongs, and may wait at a place that nothing reaches.
    pub(crate) fn miss(&mut self, from: u64, since: WallTime, start: &Start, target_duration: u32) {
        let from = from.max(start.msn.saturating_sub(MISSED));
        let count = start.msn.saturating_sub(from);
        if count == 0 || !self.window.is_empty() {
            return;
        }
        let longest = 1_000_000 * i64::from(target_duration);
        let passed = start.clock.wall_at(MediaTime::flicks(start.at)).micros.saturating_sub(since.micros);
        let micros = (passed / count.cast_signed().max(1)).clamp(longest / 10, longest);
        // The era before is one that may have begun since: only the last number is surely nobody's.
        let era = start.era.saturating_sub(u64::from(start.discontinuity));
        for (msn, before) in (from..start.msn).zip(0..) {
            let last = msn + 1 == start.msn;
            let opening = Opening {
                msn,
                era: era.saturating_sub(u64::from(!last)),
                discontinuity: last,
                map: self.map.clone(),
                date: since.offset(micros.saturating_mul(before)),
            };
            self.window.miss(&opening, micros.cast_unsigned());
        }
    }

    /// Completes a segment and lists it; answers its object, or `None` where there was no media for all of it.
    pub(crate) fn close(&mut self, start: &Start, end: i64) -> Option<Object> {
        let growing = self.growing.take_if(|growing| growing.opening.msn == start.msn);
        (self.changed, self.closed) = (true, true);
        let Some(growing) = growing else {
            if !self.lists_nothing() {
                let micros = MediaTime::flicks(end - start.at).micros().max(0).cast_unsigned();
                let opening = self.opening(start, None);
                self.window.close(&opening, micros);
            }
            return None;
        };
        let micros = micros(growing.ticks, growing.scale) + growing.gaps;
        self.window.close(&growing.opening, micros);
        if growing.gaps > 0 {
            return None;
        }
        self.meter.push(growing.bytes, micros);
        self.millifps = self.millifps.or_else(|| (growing.frames * 1_000_000_000).checked_div(micros));
        let path = self.directory.path(&names::segment(start.msn));
        Some(publish::media(ObjectKind::Segment, self.track.kind(), path, growing.body))
    }

    /// A segment is complete: what is described for the next one applies; answers a new init segment.
    pub(crate) fn renew(&mut self) -> Result<Option<Update>, BoxError> {
        match self.next.take() {
            Some(track) => self.describe(&track),
            None => Ok(None),
        }
    }

    fn list(&mut self, line: PartLine) {
        if let Some(growing) = &self.growing {
            self.window.push(&growing.opening, line);
            self.next_part += 1;
            self.changed = true;
        }
    }

    fn lists_nothing(&self) -> bool {
        self.window.is_blank() && !self.is_live() && self.absence != Some(Absence::Asleep)
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
        self.changed = true;
        self.held.take().unwrap_or_default()
    }

    /// It may go out: there is a complete segment (LLHLS-9), or a request for it is what it waits for.
    pub(crate) fn is_ready(&self) -> bool {
        self.window.is_ready() || self.absence == Some(Absence::Asleep)
    }

    /// Its playlist is out, or goes out with the next change.
    pub(crate) fn is_shown(&self) -> bool {
        let there = self.absence != Some(Absence::Asleep) && !self.waking;
        self.is_live() && there && !self.window.is_empty()
    }

    /// It is in the multivariant playlist.
    pub(crate) fn is_offered(&self) -> bool {
        self.is_live() && self.absence != Some(Absence::Shed)
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
            rate: self.rate(16),
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
            rate: self.rate(8),
            channels,
            language: if printable { tag.clone() } else { "und".to_owned() },
        })
    }

    /// What the multivariant playlist says of its bits; `row` bytes of boxes come with each sample.
    fn rate(&self, row: u64) -> Rate {
        let spacing = targets::spacing(&self.track).cast_unsigned();
        let samples = u64::from(Timescale::FLICKS.hz()) * 1_000 / spacing;
        let promised = self.track.bandwidth.map(|promised| self.meter.promised(promised, samples, row));
        promised.unwrap_or_else(|| self.meter.stated())
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
        Self { opening, body: Vec::new(), bytes: 0, ticks: 0, scale, frames: 0, gaps: 0 }
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
