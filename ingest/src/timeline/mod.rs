//! The timeline: frames as a publisher stamps them in, samples on one continuous output axis out (spec/timeline).
//!
//! ```text
//! CodedFrame ─▶ Source (unroll, jumps) ─▶ Probe (what tracks, what grid) ─▶ Pictures, Sound ─▶ Feed
//!                                                                          └▶ WallClock ─▶ Feed::Clock
//! ```
//!
//! Source times of one session, in flicks, become output times by adding one offset for all tracks (TL-4). Output
//! begins at ten seconds (TL-5) and goes on over jumps, losses and returning publishers by as much as the wall clock
//! did (TL-25). No part of it reads a clock: `now` comes in with each frame.

mod arrival;
mod content;
mod counts;
mod flicks;
mod further;
mod grid;
mod known;
mod live;
mod pace;
mod pictures;
mod probe;
mod readings;
mod release;
mod residual;
mod silence;
mod sound;
mod source;
mod steadiness;
mod unwrap;
mod wall;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_common::codec::CodecConfig;
use aqueduct_common::event::{Anomaly, IngestTick};
use aqueduct_common::feed::Break;
use aqueduct_common::{Feed, MediaTime, TrackId, TrackKind, TrackSet, WallTime};

pub use counts::Counts;
pub use known::{Known, StampLine};
pub use pace::Pacer;

use crate::demux::{CodedFrame, Notice};
use content::Content;
use further::Further;
use pictures::Pictures;
use probe::Probe;
use readings::Readings;
use sound::Sound;
use source::{Arrival, Source};
use wall::WallClock;

/// What the publisher is doing.
#[derive(Debug)]
enum Phase {
    /// There is none.
    Away,
    /// Its first frames are held.
    Probing(Probe),
    /// Its frames become samples.
    Live,
}

/// The newest sample of the reference track.
#[derive(Clone, Copy, Debug)]
struct Newest {
    /// Output decode time in flicks.
    time: i64,
    /// Arrival in flicks.
    at: i64,
}

/// The timeline of one stream, over all its publishers within the grace time.
#[derive(Debug)]
pub struct Timeline {
    began: Option<Instant>,
    phase: Phase,
    source: Source,
    pacer: Pacer,
    /// What this publisher's frames are coded with: video, audio.
    configs: [Option<CodecConfig>; 2],
    /// What was announced.
    tracks: Option<Arc<TrackSet>>,
    pictures: Option<Pictures>,
    sound: Option<Sound>,
    further: Further,
    /// Output time minus source time.
    offset: i64,
    /// A break that waits for the reference track's next sync sample; everything before it is dropped.
    awaiting: Option<Break>,
    /// Sound with a new configuration came: samples of a frame. It joins at the next video sync sample.
    joining: Option<u32>,
    /// Sound paused and nothing can stand in for it: it goes on behind a break at the next video sync sample, and is
    /// dropped until then. Pictures go on meanwhile.
    rejoining: bool,
    newest: Option<Newest>,
    /// How long frames are under way, in microseconds.
    delay: i64,
    clock: WallClock,
    readings: Readings,
    content: Content,
    counts: Counts,
    out: VecDeque<Feed>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new()
    }
}

impl Timeline {
    /// A timeline on which nothing happened yet.
    pub fn new() -> Self {
        Self {
            began: None,
            phase: Phase::Away,
            source: Source::default(),
            pacer: Pacer::default(),
            configs: [None, None],
            tracks: None,
            pictures: None,
            sound: None,
            further: Further::default(),
            offset: 0,
            awaiting: None,
            joining: None,
            rejoining: false,
            newest: None,
            delay: 0,
            clock: WallClock::new(),
            readings: Readings::default(),
            content: Content::default(),
            counts: Counts::default(),
            out: VecDeque::new(),
        }
    }

    /// A publisher begins, the first one or another.
    pub fn begin(&mut self) {
        self.end();
        self.phase = Phase::Probing(Probe::default());
        self.source = Source::default();
        self.pacer = Pacer::default();
        self.readings = Readings::default();
        self.content = Content::default();
        self.configs = [None, None];
        self.awaiting = None;
        self.joining = None;
        self.rejoining = false;
        self.delay = 0;
        self.further.begin();
    }

    /// What is known of the publisher that has just begun: only what is not is waited for.
    pub fn expect(&mut self, known: Known) {
        if let Phase::Probing(probe) = &mut self.phase {
            probe.expect(known);
        }
    }

    /// How long after their capture frames come from now on, where the source's own clock says so (TL-34).
    pub fn set_delay(&mut self, delay: Duration) {
        self.delay = i64::try_from(delay.as_micros()).unwrap_or(0);
    }

    /// Frames of this track that follow are coded with `config`.
    pub fn config(&mut self, track: TrackId, config: CodecConfig) {
        if is_further(track) {
            return self.further.config(track, config);
        }
        let kind = config.kind();
        let before = self.configs[kind as usize].replace(config);
        if let Phase::Probing(probe) = &mut self.phase
            && before != self.configs[kind as usize]
        {
            probe.forget(kind);
        }
    }

    /// What the sound of a track is spoken in, from the next announcement on: an RFC 5646 tag.
    pub fn set_language(&mut self, track: TrackId, language: String) {
        self.further.set_language(track, language);
    }

    /// What the streamer should hear of a further track.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.further.take_notice()
    }

    /// Takes a frame that arrived at `now`, which is `wall` in UTC. Drain [`poll`](Self::poll) after it.
    pub fn push(&mut self, now: Instant, wall: WallTime, frame: CodedFrame) {
        let began = *self.began.get_or_insert(now);
        let at = MediaTime::from_duration(now.saturating_duration_since(began)).ticks;
        let arrival = Arrival { at, wall, delay: self.delay };
        if is_further(frame.track) {
            return self.push_further(frame, arrival);
        }
        self.source.push(frame, arrival);
        while let Some(placed) = self.source.poll() {
            self.pacer.note(placed.time, at, placed.breaks);
            self.readings.note(&placed);
            if let Some(config) = &self.configs[placed.frame.kind as usize] {
                self.content.note(&placed.frame, config);
            }
            match &mut self.phase {
                Phase::Away => {}
                Phase::Live => self.place(&placed),
                Phase::Probing(probe) => {
                    probe.push(placed);
                    self.release_if_decided();
                }
            }
        }
        self.place_beside();
    }

    /// The publisher is gone: what waited for a next frame goes out, what was held is dropped.
    pub fn end(&mut self) {
        if let Some(pictures) = &mut self.pictures {
            pictures.flush();
        }
        self.drain();
        self.phase = Phase::Away;
    }

    /// The next message for the packager.
    pub fn poll(&mut self) -> Option<Feed> {
        self.out.pop_front()
    }

    /// How long the publisher should wait, since it is ahead of real time (RTMP-69).
    pub fn wait(&self) -> Duration {
        self.pacer.wait()
    }

    /// Writes the figures of the last second into `tick` and starts the next.
    pub fn take_readings(&mut self, tick: &mut IngestTick) {
        self.readings.take(tick);
        self.content.take(tick);
        let video = self.announced(TrackKind::Video).is_some();
        tick.grid_millifps = self.pictures.as_ref().filter(|_| video).and_then(Pictures::millifps);
        tick.codecs = self.configs.iter().flatten().map(CodecConfig::rfc6381).collect();
    }

    /// Repairs since they were last asked for.
    pub fn take_counts(&mut self) -> impl Iterator<Item = (Anomaly, u32)> + use<> {
        let mut all = self.counts;
        self.counts = Counts::default();
        let sources = [
            Some(&mut self.source.counts),
            self.pictures.as_mut().map(|pictures| &mut pictures.counts),
            self.sound.as_mut().map(|sound| &mut sound.counts),
        ];
        for counts in sources.into_iter().flatten() {
            for (kind, count) in counts.take() {
                all.add_many(kind, count);
            }
        }
        all.take()
    }

    /// The video is announced without a grid (TL-11).
    pub fn has_variable_rate(&self) -> bool {
        self.announced(TrackKind::Video).is_some()
            && self.pictures.as_ref().is_some_and(|p| p.millifps().is_none())
    }

    /// Stamps are not believed any more (TL-9).
    pub const fn is_arrival_clocked(&self) -> bool {
        self.source.is_arrival_clocked()
    }

    /// The announced configuration of a kind.
    fn announced(&self, kind: TrackKind) -> Option<&CodecConfig> {
        self.tracks.as_ref()?.first(kind).map(|track| &track.codec)
    }

    /// The kind of the announced reference track.
    fn reference(&self) -> TrackKind {
        let video = self.announced(TrackKind::Video).is_some();
        if video { TrackKind::Video } else { TrackKind::Audio }
    }

    /// Where the last sample of any track ends, in flicks.
    fn end_time(&self) -> i64 {
        let pictures = self.pictures.as_ref().map_or(0, Pictures::end_time);
        let sound = self.sound.as_ref().map_or(0, Sound::end_time);
        pictures.max(sound)
    }

    /// Moves what the tracks made into the output, the wall clock first.
    fn drain(&mut self) {
        if let Some(map) = self.clock.poll() {
            self.out.push_back(Feed::Clock(map));
        }
        for sample in self.pictures.iter_mut().flat_map(|pictures| pictures.out.drain(..)) {
            self.further.note_sample(&sample);
            self.out.push_back(Feed::Sample(sample));
        }
        if let Some(sound) = &mut self.sound {
            self.out.extend(sound.out.drain(..).map(Feed::Sample));
        }
        self.drain_further();
    }
}

/// It is neither the first video track nor the first audio track.
const fn is_further(track: TrackId) -> bool {
    track.0 > TrackId::AUDIO.0
}

#[cfg(test)]
mod tests;
