//! The timeline as a whole: a simulated publisher in, the contract of the feed out.

mod further;
mod jumps;
mod pauses;
mod properties;
mod publisher;
mod returning;
mod steady;
mod troubled;

use std::time::{Duration, Instant};

use aqueduct_common::codec::{AacConfig, AvcConfig, CodecConfig, OpusConfig, Picture};
use aqueduct_common::feed::{Absence, Break};
use aqueduct_common::track::Grid;
use aqueduct_common::{ClockMap, Feed, MediaTime, Sample, Track, TrackId, TrackKind, TrackSet, WallTime};
use bytes::Bytes;

use super::Timeline;
use super::flicks::{self, MILLI, SECOND};
use crate::demux::CodedFrame;

pub(super) use publisher::{Beside, Publisher, Rate, Stamp};

/// Numbers that tracks may have.
const TRACKS: usize = 16;
/// UTC at which simulated time begins.
const WALL: i64 = 1_700_000_000_000_000;

fn avc(width: u32) -> CodecConfig {
    let record = Bytes::from(width.to_be_bytes().to_vec());
    let picture = Picture { width, height: 720, ..Picture::default() };
    CodecConfig::H264(AvcConfig { record, length_size: 4, sps: Vec::new(), pps: Vec::new(), picture })
}

/// AAC-LC, 48 kHz, stereo.
fn aac() -> CodecConfig {
    CodecConfig::Aac(AacConfig::parse(&Bytes::from_static(&[0x11, 0x90])).unwrap())
}

/// AAC-LC, 44.1 kHz, stereo.
fn aac_44() -> CodecConfig {
    CodecConfig::Aac(AacConfig::parse(&Bytes::from_static(&[0x12, 0x10])).unwrap())
}

/// HE-AAC, 48 kHz, stereo: no silent frame can be made.
fn he_aac() -> CodecConfig {
    CodecConfig::Aac(AacConfig::parse(&Bytes::from_static(&[0x2B, 0x11, 0x88, 0x00])).unwrap())
}

fn opus() -> CodecConfig {
    CodecConfig::Opus(OpusConfig::parse_head(&Bytes::new()).unwrap())
}

/// The first track of a kind.
pub(super) const fn first_of(kind: TrackKind) -> TrackId {
    match kind {
        TrackKind::Video => TrackId::VIDEO,
        TrackKind::Audio => TrackId::AUDIO,
    }
}

/// What came out, checked against the contract of [`Sample`] as it is taken in (TL-37).
#[derive(Debug, Default)]
pub(super) struct Feeds {
    pub(super) samples: Vec<Sample>,
    pub(super) tracks: Vec<TrackSet>,
    /// With the number of samples before each.
    pub(super) breaks: Vec<(usize, Break)>,
    pub(super) clocks: Vec<ClockMap>,
    ends: [Option<i64>; TRACKS],
    free: [bool; TRACKS],
    /// Further tracks whose samples stopped; they are back with a sync sample.
    pub(super) lost: Vec<(TrackId, Absence)>,
    pub(super) changed: Vec<Track>,
    away: [bool; TRACKS],
    needs_sync: bool,
    /// The source has negative composition offsets.
    pub(super) negative_offsets: bool,
    /// Samples are checked and not kept.
    pub(super) forgets: bool,
    pub(super) count: u64,
}

impl Feeds {
    pub(super) fn take(&mut self, timeline: &mut Timeline) {
        while let Some(feed) = timeline.poll() {
            self.push(feed);
        }
    }

    fn push(&mut self, feed: Feed) {
        match feed {
            Feed::Tracks(tracks) => {
                self.tracks.push((*tracks).clone());
                (self.free, self.needs_sync) = ([true; TRACKS], true);
            }
            Feed::Discontinuity(reason) => {
                self.breaks.push((self.samples.len(), reason));
                (self.free, self.needs_sync) = ([true; TRACKS], true);
            }
            Feed::Changed(track) => {
                assert!(track.id > TrackId::AUDIO, "the first tracks change by an announcement");
                self.changed.push((*track).clone());
            }
            Feed::Lost(track, why) => {
                assert!(track > TrackId::AUDIO, "the first tracks break, they are not lost");
                self.lost.push((track, why));
                self.free[usize::from(track.0)] = true;
                self.away[usize::from(track.0)] = true;
            }
            Feed::Returns(track, _) => panic!("{track:?} is not made here"),
            Feed::Clock(clock) => self.clocks.push(clock),
            Feed::Sample(sample) => self.check(sample),
        }
    }

    fn check(&mut self, sample: Sample) {
        let tracks = self.tracks.last().expect("tracks before samples");
        assert!(!self.clocks.is_empty(), "the clock before samples");
        let track =
            tracks.by_id(sample.track).unwrap_or_else(|| panic!("{:?} is not announced", sample.track));
        let slot = usize::from(sample.track.0);
        assert_eq!(sample.dts.scale, track.timescale);
        assert_eq!(sample.pts.scale, track.timescale);
        assert!(sample.duration >= 1 && sample.dts.ticks >= 0);
        assert!(
            sample.pts.ticks >= sample.dts.ticks || self.negative_offsets,
            "shown before it is decoded: {sample:?}"
        );
        if tracks.reference().is_some_and(|reference| reference.id == sample.track) {
            assert!(sample.sync || !self.needs_sync, "the reference goes on with a sync sample: {sample:?}");
            self.needs_sync = false;
        }
        let away = std::mem::take(&mut self.away[slot]);
        assert!(sample.sync || !away, "it is back with a sync sample: {sample:?}");
        if let Some(end) = self.ends[slot] {
            if self.free[slot] {
                let since = sample.dts.as_flicks() - end;
                assert!(
                    since >= -flicks::SECOND / 8_000,
                    "no overlap after a break: {since} flicks at {sample:?}"
                );
            } else {
                assert_eq!(sample.dts.as_flicks(), end, "contiguous: {sample:?}");
            }
        }
        self.free[slot] = false;
        self.ends[slot] = Some(sample.end().as_flicks());
        self.count += 1;
        if !self.forgets {
            self.samples.push(sample);
        }
    }

    pub(super) fn of(&self, id: TrackId) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.track == id)
    }

    pub(super) fn video(&self) -> Vec<&Sample> {
        self.of(TrackId::VIDEO).collect()
    }

    pub(super) fn audio(&self) -> Vec<&Sample> {
        self.of(TrackId::AUDIO).collect()
    }

    /// Output time of a track at its end, in seconds.
    pub(super) fn end(&self, id: TrackId) -> f64 {
        MediaTime::flicks(self.ends[usize::from(id.0)].unwrap_or(0)).seconds()
    }
}
