//! A source that is not on air: its configuration, and its last seconds from a sync sample on. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use aqueduct_common::codec::CodecConfig;
use aqueduct_common::event::StandbyTick;
use aqueduct_common::{TrackId, TrackKind, WallTime};

use crate::demux::{CodedFrame, Demuxed};
use crate::timeline::{Known, Pacer, StampLine};

/// What a standby may hold: as much as two seconds of a stream at the limit of bitrates.
const BYTES: usize = 24 << 20;
const ITEMS: usize = 8_192;
/// Stamps from which a source's frame grid is found before it goes on air.
const STAMPS: usize = 64;
/// A newcomer may begin with what was captured this much before the one before ended: dates may overlap by less than a
/// second (TL-33), of which sound that runs ahead and the delays of two networks take their share.
const OVERLAP: Duration = Duration::from_millis(700);
/// How long a newcomer's next sync sample is waited for where the last one lies farther back.
const PATIENCE: Duration = Duration::from_secs(1);

/// One item as it came.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) at: Instant,
    pub(super) wall: WallTime,
    pub(super) item: Demuxed,
}

/// From what a source's part begins, and all that came of it since.
#[derive(Debug)]
pub(super) struct Beginning {
    /// What its tracks are coded with there.
    pub(super) configs: BTreeMap<TrackId, CodecConfig>,
    /// What follows.
    pub(super) items: VecDeque<Held>,
    /// What was found out about its tracks.
    pub(super) known: Option<Known>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Standby {
    horizon: Duration,
    /// What its tracks are coded with where the items begin, and where they end.
    base: BTreeMap<TrackId, CodecConfig>,
    newest: BTreeMap<TrackId, CodecConfig>,
    items: VecDeque<Held>,
    bytes: usize,
    /// The source's stamps on one axis, and the newest of its first video track on it.
    line: StampLine,
    stamps: VecDeque<i64>,
    pacer: Pacer,
    began: Option<Instant>,
    sync_at: Option<Instant>,
    tick: StandbyTick,
}

impl Standby {
    /// A source that comes. At least what came within `horizon` is kept.
    pub(super) fn new(horizon: Duration) -> Self {
        Self {
            horizon,
            base: BTreeMap::new(),
            newest: BTreeMap::new(),
            items: VecDeque::new(),
            bytes: 0,
            line: StampLine::default(),
            stamps: VecDeque::new(),
            pacer: Pacer::default(),
            began: None,
            sync_at: None,
            tick: StandbyTick::default(),
        }
    }

    /// Whether the source is alive by this frame: by its pictures where it has them, else by its sound.
    pub(super) fn counts(&self, frame: &CodedFrame) -> bool {
        match frame.kind {
            TrackKind::Video => frame.track == TrackId::VIDEO,
            TrackKind::Audio => frame.track == TrackId::AUDIO && !self.has_pictures(),
        }
    }

    fn has_pictures(&self) -> bool {
        self.newest.contains_key(&TrackId::VIDEO)
    }

    /// Remembers what a source is coded with and how its frames are spaced, whether it is on air or not.
    pub(super) fn note(&mut self, now: Instant, item: &Demuxed) {
        match item {
            Demuxed::Config(track, config) => {
                let before = self.newest.insert(*track, config.clone());
                if *track == TrackId::VIDEO && before.as_ref() != Some(config) {
                    self.stamps.clear();
                }
            }
            Demuxed::Frame(frame) => self.note_frame(now, frame),
        }
    }

    fn note_frame(&mut self, now: Instant, frame: &CodedFrame) {
        let began = *self.began.get_or_insert(now);
        if frame.track == TrackId::VIDEO {
            let (time, jumped) = self.line.place(frame);
            if jumped {
                self.stamps.clear();
            }
            self.stamps.push_back(time);
            while self.stamps.len() > STAMPS {
                self.stamps.pop_front();
            }
            self.pacer.note_at(time, now.saturating_duration_since(began), jumped);
            self.sync_at = if frame.sync { Some(now) } else { self.sync_at };
        } else if self.counts(frame) {
            let (time, jumped) = self.line.place(frame);
            self.pacer.note_at(time, now.saturating_duration_since(began), jumped);
        }
    }

    /// Holds an item of a source that stands by.
    pub(super) fn hold(&mut self, now: Instant, wall: WallTime, item: Demuxed) {
        self.tick_item(&item);
        if let Demuxed::Frame(frame) = &item {
            self.bytes += frame.payload.len();
        }
        self.items.push_back(Held { at: now, wall, item });
        self.trim(now);
    }

    fn tick_item(&mut self, item: &Demuxed) {
        let Demuxed::Frame(frame) = item else { return };
        self.tick.bytes += frame.payload.len() as u64;
        match frame.kind {
            TrackKind::Video => self.tick.video_frames += 1,
            TrackKind::Audio => self.tick.audio_frames += 1,
        }
    }

    /// The figures since they were last asked for.
    pub(super) fn take_tick(&mut self, now: Instant) -> StandbyTick {
        let age = |at| u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX);
        let codecs = self.newest.values().map(CodecConfig::rfc6381).collect();
        let tick = std::mem::take(&mut self.tick);
        StandbyTick { keyframe_age_millis: self.sync_at.map(age), codecs, ..tick }
    }

    /// How long the source should wait, since it is ahead of real time (RTMP-69).
    pub(super) fn wait(&self) -> Duration {
        self.pacer.wait()
    }

    /// Where a newcomer begins that takes over from one whose last media came at `lost`; the change is due since
    /// `since`. `None` where it is better to wait for its next sync sample.
    pub(super) fn start(&self, lost: Option<Instant>, since: Instant, now: Instant) -> Option<usize> {
        let Some(lost) = lost else { return Some(0) };
        let fresh = self.items.front().is_none_or(|first| first.at >= lost);
        let early = |held: &Held| held.at < lost;
        // What both have sent is shown twice rather than not at all.
        let twice = |held: &Held| early(held) && held.at + OVERLAP >= lost && self.is_sync(held);
        let after = |held: &Held| !early(held) && self.is_sync(held);
        let near = self.items.iter().rposition(twice).or_else(|| self.items.iter().position(after));
        if near.is_some() || fresh {
            // Of a publisher that has only just come, nothing is known that its own probe would not find.
            return near.or(Some(0));
        }
        let waited = now.saturating_duration_since(since) >= PATIENCE;
        waited.then(|| self.items.iter().rposition(|held| self.is_sync(held)).unwrap_or(self.items.len()))
    }

    /// Items held.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes of payload held.
    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The newest item is one that a source which comes back may begin with.
    pub(super) fn ends_with_sync(&self) -> bool {
        self.items.back().is_some_and(|held| self.is_sync(held))
    }

    /// Gives what came from this item on. What is held then begins anew.
    pub(super) fn take_from(&mut self, start: usize) -> Beginning {
        let mut items = std::mem::take(&mut self.items);
        let mut configs = std::mem::take(&mut self.base);
        for held in items.drain(..start.min(items.len())) {
            enter(&mut configs, held.item);
        }
        self.forget();
        Beginning { configs, items, known: self.known() }
    }

    /// The source goes off air: what it sends from here on is held.
    pub(super) fn forget(&mut self) {
        self.items.clear();
        self.bytes = 0;
        self.base.clone_from(&self.newest);
    }

    /// What the source's frames show, where enough came: nothing has to be waited for when it goes on air.
    fn known(&self) -> Option<Known> {
        let enough = !self.has_pictures() || self.stamps.len() >= STAMPS;
        let kinds = [TrackId::VIDEO, TrackId::AUDIO].map(|track| self.newest.contains_key(&track));
        enough.then(|| Known::of(kinds, self.stamps.iter().copied()))
    }

    fn is_sync(&self, held: &Held) -> bool {
        match &held.item {
            Demuxed::Frame(frame) => frame.sync && self.counts(frame),
            Demuxed::Config(..) => false,
        }
    }

    /// Lets go what is older than the horizon, up to a sync sample; and what is more than may be held.
    fn trim(&mut self, now: Instant) {
        let horizon = self.horizon;
        let old = |held: &Held| now.saturating_duration_since(held.at) > horizon;
        while let Some(next) = self.items.iter().skip(1).position(|held| self.is_sync(held)) {
            // The next part must reach back to the horizon by itself.
            if !self.items.get(next + 1).is_some_and(old) {
                break;
            }
            self.drop_front(next + 1);
        }
        if !self.items.iter().any(|held| self.is_sync(held)) {
            let count = self.items.iter().take_while(|held| old(held)).count();
            self.drop_front(count);
        }
        while self.bytes > BYTES || self.items.len() > ITEMS {
            let next = self.items.iter().skip(1).position(|held| self.is_sync(held));
            let count = next.map_or(self.items.len(), |next| next + 1);
            self.tick.overflowed += count as u64;
            self.drop_front(count);
        }
    }

    fn drop_front(&mut self, count: usize) {
        for held in self.items.drain(..count) {
            if let Demuxed::Frame(frame) = &held.item {
                self.bytes -= frame.payload.len();
            }
            enter(&mut self.base, held.item);
        }
    }
}

fn enter(configs: &mut BTreeMap<TrackId, CodecConfig>, item: Demuxed) {
    if let Demuxed::Config(track, config) = item {
        configs.insert(track, config);
    }
}
