//! The end of the probe: the tracks are announced, the epoch is placed, and the held frames go out (TL-4, TL-25).

use std::sync::Arc;

use aqueduct_common::codec::CodecConfig;
use aqueduct_common::feed::Break;
use aqueduct_common::track::Grid;
use aqueduct_common::{Feed, Track, TrackId, TrackKind, TrackSet, WallTime};

use super::flicks::{self, SECOND};
use super::grid::Fit;
use super::pictures::Pictures;
use super::probe::Probe;
use super::sound::Sound;
use super::source::Placed;
use super::{Phase, Timeline};

/// Where output time begins, so that no later time is negative (TL-5).
const OUTPUT_START: i64 = 10 * SECOND;

impl Timeline {
    /// Ends the probe when enough came.
    pub(super) fn release_if_decided(&mut self) {
        let Phase::Probing(probe) = &self.phase else { return };
        let known = self.continues(probe);
        let configured = [self.configs[0].is_some(), self.configs[1].is_some()];
        if !known && !probe.is_decided(configured) {
            return;
        }
        if let Phase::Probing(probe) = std::mem::replace(&mut self.phase, Phase::Live) {
            self.release(probe, known);
        }
    }

    /// The publisher sends exactly the tracks that were announced: nothing has to be found out again.
    fn continues(&self, probe: &Probe) -> bool {
        let same = |kind| {
            let config = self.configs[kind as usize].as_ref();
            self.announced(kind) == config && config.is_some() == probe.has(kind)
        };
        let spacing = self.pictures.as_ref().and_then(Pictures::spacing);
        self.tracks.is_some() && same(TrackKind::Video) && same(TrackKind::Audio) && !probe.differs(spacing)
    }

    fn release(&mut self, probe: Probe, known: bool) {
        let Some(first) = probe.first() else { return };
        let (at, cts) = (first.arrival.at, first.frame.cts);
        let has_video = probe.has(TrackKind::Video);
        let (fit, widest) = if has_video && !known { probe.grid() } else { (None, 0) };
        let origin = fit.map_or(first.time, |fit| fit.origin);
        // What the publisher before left waiting goes before the mark.
        if let Some(pictures) = &mut self.pictures {
            pictures.flush();
        }
        self.drain();
        let begins = self.begins(at);
        self.offset = begins - origin;
        if has_video {
            self.prepare_pictures(fit, widest, known, begins);
        }
        let shown = begins + if has_video { self.delay_of(cts) } else { 0 };
        let audio = self.prepare_sound(&probe, has_video, shown);
        let beside = self.release_further(&probe, known, if has_video { cts } else { 0 }, shown);
        let video = self.configs[TrackKind::Video as usize].clone().filter(|_| has_video);
        let cts = if has_video { cts } else { 0 };
        self.mark(self.track_set([video, audio], cts));
        let pictures = self.pictures.as_ref().filter(|_| has_video);
        let delay = |cts| pictures.map_or(0, |pictures| pictures.offset(cts));
        self.clock.anchor(begins, captured(&probe, origin, delay));
        self.awaiting = None;
        self.joining = None;
        self.rejoining = false;
        let mut frames = probe.into_frames();
        if let Some(first) = frames.first_mut() {
            first.breaks = false;
        }
        let mut beside = beside.into_iter().peekable();
        for placed in &frames {
            // What came before it goes before it. The first tracks' own order is not by arrival alone.
            while let Some(earlier) = beside.next_if(|other| other.arrival.at < placed.arrival.at) {
                self.place(&earlier);
            }
            self.place(placed);
        }
        beside.for_each(|placed| self.place(&placed));
    }

    /// Decides about further tracks. Gives their sound that was held.
    fn release_further(&mut self, probe: &Probe, known: bool, cts: i32, begins: i64) -> Vec<Placed> {
        self.further.restart(begins);
        if known {
            return self.further.take_held();
        }
        let delay = self.delay(cts);
        self.further.decide(probe.of(TrackKind::Video), delay, begins)
    }

    /// Output time of the first frame: ten seconds, or as much later than the last one as the wall clock says, and
    /// after all that is out (TL-5, TL-25).
    fn begins(&self, at: i64) -> i64 {
        match self.newest {
            None => OUTPUT_START,
            Some(newest) => (newest.time + (at - newest.at)).max(self.end_time()),
        }
    }

    fn prepare_pictures(&mut self, fit: Option<Fit>, widest: i64, known: bool, begins: i64) {
        match &mut self.pictures {
            Some(pictures) => {
                if !known {
                    pictures.regrid(fit, widest);
                }
                pictures.restart(begins);
            }
            None => {
                let mut pictures = Pictures::new(fit, widest);
                pictures.restart(begins);
                self.pictures = Some(pictures);
            }
        }
    }

    /// Returns the configuration of the audio that is announced: what came, or what was promised and can be silent
    /// (TL-21).
    fn prepare_sound(&mut self, probe: &Probe, has_video: bool, begins: i64) -> Option<CodecConfig> {
        if let Some(first) = probe.first_of(TrackKind::Audio) {
            let config = self.configs[TrackKind::Audio as usize].clone()?;
            if self.sound.as_ref().is_none_or(|sound| *sound.config() != config) {
                self.sound = Some(Sound::new(config.clone(), first.frame.samples));
            }
            let sound = self.sound.as_mut()?;
            sound.expect();
            sound.restart(begins);
            return Some(config);
        }
        let promised = self.announced(TrackKind::Audio).is_some();
        match &mut self.sound {
            Some(sound) if promised && has_video && sound.can_be_silent() => {
                sound.restart(begins);
                sound.go_missing();
                Some(sound.config().clone())
            }
            _ => None,
        }
    }

    /// Announces the tracks where they are new, or else the break.
    fn mark(&mut self, tracks: Arc<TrackSet>) {
        match &self.tracks {
            Some(before) if is_same(before, &tracks) => {
                self.out.push_back(Feed::Discontinuity(Break::Reconnect))
            }
            _ => {
                self.tracks = Some(tracks.clone());
                self.out.push_back(Feed::Tracks(tracks));
            }
        }
        self.out.extend(self.further.lost());
    }

    /// Tracks with these configurations; `cts` is the video's first composition offset in milliseconds.
    pub(super) fn track_set(&self, [video, audio]: [Option<CodecConfig>; 2], cts: i32) -> Arc<TrackSet> {
        let video = video.zip(self.pictures.as_ref()).map(|(codec, pictures)| Track {
            id: TrackId::VIDEO,
            codec,
            timescale: pictures.timescale(),
            grid: pictures.grid(),
            reorder_delay: self.delay(cts),
            language: "und".to_owned(),
            bandwidth: None,
        });
        let audio = audio.zip(self.sound.as_ref()).map(|(codec, sound)| Track {
            id: TrackId::AUDIO,
            codec,
            timescale: sound.timescale(),
            grid: sound.grid(),
            reorder_delay: 0,
            language: self.further.language(TrackId::AUDIO),
            bandwidth: None,
        });
        let further = self.further.tracks(video.as_ref());
        Arc::new(TrackSet { tracks: video.into_iter().chain(audio).chain(further).collect() })
    }
}

/// UTC at which the picture at `origin` was captured at the latest: no frame arrives before it was captured.
fn captured(probe: &Probe, origin: i64, delay: impl Fn(i32) -> i64) -> WallTime {
    let kind = if probe.has(TrackKind::Video) { TrackKind::Video } else { TrackKind::Audio };
    let at = |placed: &super::source::Placed| {
        placed.arrival.captured().micros - flicks::micros(placed.time + delay(placed.frame.cts) - origin)
    };
    // A clamped offset says nothing about when the picture was captured (RTMP-40).
    let believed = probe.of(kind).filter(|placed| !Pictures::clamps(placed.frame.cts)).map(at).min();
    WallTime { micros: believed.or_else(|| probe.of(kind).map(at).min()).unwrap_or(0) }
}

/// Nothing differs that a playlist or an init segment would show. What was measured of a variable rate may.
fn is_same(before: &TrackSet, after: &TrackSet) -> bool {
    before.tracks.len() == after.tracks.len()
        && before.tracks.iter().zip(&after.tracks).all(|(before, after)| {
            let variable =
                matches!((before.grid, after.grid), (Grid::Variable { .. }, Grid::Variable { .. }));
            let after = if variable { &Track { grid: before.grid, ..after.clone() } } else { after };
            before == after
        })
}
