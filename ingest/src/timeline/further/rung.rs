//! A further video track: each of its frames goes where the first track's frame of the same stamp went (TL-4).

use std::collections::VecDeque;
use std::sync::Arc;

use aqueduct_common::codec::CodecConfig;
use aqueduct_common::feed::Absence;
use aqueduct_common::track::Grid;
use aqueduct_common::{Feed, MediaTime, Sample, Track, TrackId, WallTime};

use super::fit::{self, STAMP_TOLERANCE, Seen, later};
use crate::demux::{CodedFrame, Unfit};
use crate::timeline::flicks::{self, SECOND};
use crate::timeline::pictures::{OFFSET_MAX, STRETCH_MAX};

/// Frames that wait for the first track's at most, once it is live.
const WAITING_MAX: usize = 64;
/// Frames and bytes that are held before that at most: a track that sends more has to begin again.
const HELD_MAX: usize = 640;
const HELD_BYTES: usize = 8 << 20;
/// Without a frame for so long, in flicks, the track is dead.
const DEAD_AFTER: i64 = SECOND;

/// Where a frame of the first video track went.
#[derive(Clone, Debug)]
pub(super) struct Anchor {
    pub(super) seen: Seen,
    /// Its sample, without payload.
    pub(super) sample: Sample,
}

/// What is to become of the track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Not announced.
    Held,
    /// Announced. `end` is where its last sample ends, in ticks; `None` where it goes on with a sync sample.
    Carried { end: Option<i64> },
    /// Announced, and away: it is back with a sync sample.
    Lost,
    /// Not used any more.
    Unfit(Unfit),
}

/// Something of the track that waits for its place.
#[derive(Debug)]
enum Item {
    Frame(CodedFrame, WallTime),
    /// Frames that follow are coded with this.
    Config(CodecConfig),
}

/// A further video track.
#[derive(Debug)]
pub(super) struct Rung {
    id: TrackId,
    /// What its next frame is coded with.
    config: Option<CodecConfig>,
    items: VecDeque<Item>,
    bytes: usize,
    /// The first track's frames for each of its own.
    every: u32,
    state: State,
    /// Presentation delay of its sync samples, in ticks.
    delay: i64,
    /// Where its last sample ends, in ticks: nothing goes before it, over breaks too.
    ends: i64,
    /// Decode time, in ticks, since which nothing came.
    since: Option<i64>,
    notice: Option<Unfit>,
}

impl Rung {
    pub(super) const fn new(id: TrackId) -> Self {
        Self {
            id,
            config: None,
            items: VecDeque::new(),
            bytes: 0,
            every: 1,
            state: State::Held,
            delay: 0,
            ends: 0,
            since: None,
            notice: None,
        }
    }

    /// Another publisher begins. What was announced stays so.
    pub(super) fn begin(&mut self) {
        self.items.clear();
        self.bytes = 0;
        self.restart();
    }

    /// What comes next does not follow on what was: a sync sample does.
    pub(super) fn restart(&mut self) {
        if let State::Carried { end } = &mut self.state {
            *end = None;
        }
        self.since = None;
    }

    pub(super) fn config(&mut self, config: CodecConfig) {
        self.items.push_back(Item::Config(config));
    }

    /// Takes a frame. `live` says whether the first track's frames are being placed.
    pub(super) fn push(&mut self, frame: CodedFrame, received: WallTime, live: bool) {
        if let State::Unfit(why) = self.state {
            // As long as it comes, the streamer should hear of it.
            self.notice = Some(why);
            return;
        }
        if live && self.state == State::Held {
            return self.refuse(Unfit::Late);
        }
        self.bytes += frame.payload.len();
        self.items.push_back(Item::Frame(frame, received));
        let most = if live { WAITING_MAX } else { HELD_MAX };
        while self.items.len() > most || self.bytes > HELD_BYTES {
            self.drop_first();
        }
    }

    /// Decides, by the first track's frames that were held, whether this is a rung. `delay` is the presentation delay of
    /// both.
    pub(super) fn decide(&mut self, first: &[Seen], delay: i64) {
        self.state = State::Held;
        self.delay = delay;
        let seen: Vec<Seen> =
            self.items.iter().filter_map(Item::seen).skip_while(|seen| !seen.sync).collect();
        let configured =
            self.config.is_some() || self.items.iter().any(|item| matches!(item, Item::Config(_)));
        if !configured || seen.is_empty() {
            // Nothing came of it.
            return;
        }
        match fit::every(first, &seen) {
            Ok(every) => {
                self.every = every;
                self.state = State::Carried { end: None };
                self.take_configs();
            }
            Err(unfit) => self.refuse(unfit),
        }
    }

    /// It belongs to the tracks that are announced.
    pub(super) const fn is_announced(&self) -> bool {
        matches!(self.state, State::Carried { .. } | State::Lost)
    }

    /// The track, beside the first one.
    pub(super) fn track(&self, beside: &Track) -> Option<Track> {
        let codec = self.config.clone().filter(|_| self.is_announced())?;
        let times = |span: MediaTime| MediaTime::new(span.ticks * i64::from(self.every), span.scale);
        let grid = match beside.grid {
            Grid::Fixed(spacing) => Grid::Fixed(times(spacing)),
            Grid::Variable { widest } => Grid::Variable { widest: times(widest) },
        };
        let reorder_delay = self.delay;
        Some(Track { id: self.id, codec, grid, reorder_delay, ..beside.clone() })
    }

    /// It is announced, and its samples do not come.
    pub(super) fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    /// Why it is not used, once.
    pub(super) const fn take_notice(&mut self) -> Option<Unfit> {
        self.notice.take()
    }

    /// Gives the frames whose places are known. `anchors` are the first track's newest, in order.
    pub(super) fn settle(&mut self, anchors: &VecDeque<Anchor>, beside: &Track, out: &mut VecDeque<Feed>) {
        let Some(newest) = anchors.back() else { return };
        while self.is_announced() {
            let Some(item) = self.items.front() else { break };
            let Item::Frame(frame, _) = item else {
                self.reconfigure(beside, out);
                continue;
            };
            let stamp = frame.timestamp;
            let place =
                anchors.iter().rev().find(|anchor| later(anchor.seen.stamp, stamp).abs() <= STAMP_TOLERANCE);
            match place {
                Some(anchor) => self.place(anchor, out),
                // The first track's frame is to come.
                None if later(stamp, newest.seen.stamp) > 0 => break,
                None => self.drop_first(),
            }
        }
        self.watch(newest, out);
    }

    fn place(&mut self, anchor: &Anchor, out: &mut VecDeque<Feed>) {
        let Some(Item::Frame(frame, received)) = self.items.pop_front() else { return };
        self.bytes -= frame.payload.len();
        if frame.sync != anchor.seen.sync {
            return self.expel(Unfit::Keyframes, out);
        }
        let at = anchor.sample.dts.ticks;
        let stretch = flicks::ticks(STRETCH_MAX, anchor.sample.dts.scale);
        let begins = match self.state {
            State::Carried { end: Some(end) } if at - end <= stretch && end - at <= stretch => end,
            _ if !frame.sync => return self.lose(out),
            State::Carried { end: None } | State::Lost => at.max(self.ends),
            // Too much is missing to hide it.
            _ => {
                self.lose(out);
                at.max(self.ends)
            }
        };
        let end = (at + i64::from(anchor.sample.duration) * i64::from(self.every)).max(begins + 1);
        self.state = State::Carried { end: Some(end) };
        (self.since, self.ends) = (Some(end), end);
        let scale = anchor.sample.dts.scale;
        let moved = ticks_of_millis(believed(frame.cts) - believed(anchor.seen.cts), scale.hz());
        let mut shown = anchor.sample.pts.ticks + moved;
        if frame.cts >= 0 {
            shown = shown.max(begins);
        }
        out.push_back(Feed::Sample(Sample {
            track: self.id,
            dts: MediaTime::new(begins, scale),
            pts: MediaTime::new(shown, scale),
            duration: u32::try_from(end - begins).unwrap_or(1),
            sync: frame.sync,
            disposable: frame.disposable,
            payload: frame.payload,
            received,
        }));
    }

    /// A frame that cannot be used before the next sync sample: where samples were coming, they stop.
    fn lose(&mut self, out: &mut VecDeque<Feed>) {
        if let State::Carried { end: Some(_) } = self.state {
            self.state = State::Lost;
            out.push_back(Feed::Lost(self.id, Absence::Failed));
        }
    }

    /// It is of no use from now on.
    fn expel(&mut self, unfit: Unfit, out: &mut VecDeque<Feed>) {
        out.push_back(Feed::Lost(self.id, Absence::Shed));
        self.refuse(unfit);
    }

    fn refuse(&mut self, unfit: Unfit) {
        self.state = State::Unfit(unfit);
        self.notice = Some(unfit);
        self.items.clear();
        self.bytes = 0;
    }

    /// A track that is silent while the first one goes on is not waited for.
    fn watch(&mut self, newest: &Anchor, out: &mut VecDeque<Feed>) {
        if !matches!(self.state, State::Carried { .. }) {
            return;
        }
        let now = newest.sample.dts;
        let since = *self.since.get_or_insert(now.ticks);
        if now.ticks - since > flicks::ticks(DEAD_AFTER, now.scale) {
            self.state = State::Lost;
            self.notice = Some(Unfit::Silent);
            out.push_back(Feed::Lost(self.id, Absence::Shed));
        }
    }

    /// Frames that follow are coded otherwise: an encoder began again.
    fn reconfigure(&mut self, beside: &Track, out: &mut VecDeque<Feed>) {
        let Some(Item::Config(config)) = self.items.pop_front() else { return };
        if self.config.as_ref() == Some(&config) {
            return;
        }
        self.config = Some(config);
        if let Some(track) = self.track(beside) {
            out.push_back(Feed::Changed(Arc::new(track)));
        }
    }

    /// The configuration of the first frame that is held.
    fn take_configs(&mut self) {
        while let Some(Item::Config(_)) = self.items.front() {
            if let Some(Item::Config(config)) = self.items.pop_front() {
                self.config = Some(config);
            }
        }
    }

    fn drop_first(&mut self) {
        match self.items.pop_front() {
            Some(Item::Frame(frame, _)) => self.bytes -= frame.payload.len(),
            Some(Item::Config(config)) => self.config = Some(config),
            None => {}
        }
    }
}

impl Item {
    fn seen(&self) -> Option<Seen> {
        match self {
            Self::Frame(frame, _) => Some(Seen { stamp: frame.timestamp, sync: frame.sync, cts: frame.cts }),
            Self::Config(_) => None,
        }
    }
}

/// A composition offset as far as it is believed (RTMP-40).
fn believed(cts: i32) -> i32 {
    cts.clamp(-OFFSET_MAX, OFFSET_MAX)
}

/// Ticks of a scale, to nearest.
fn ticks_of_millis(millis: i32, hz: u32) -> i64 {
    (i64::from(millis) * i64::from(hz) + 500).div_euclid(1_000)
}
