//! Any ladder whose rungs come and go as they like becomes playlists that keep the rules of `support::check`; and a
//! rung that is there is cut where the reference is, part by part (TL-30, TL-38, LLHLS-16, LLHLS-18).

mod support;

use std::collections::{BTreeMap, VecDeque};

use aqueduct_common::feed::{Absence, Break};
use aqueduct_common::{Feed, MediaTime, Sample, Track, TrackSet};
use proptest::prelude::*;
use support::{Source, World, aac, opus, rung, tracks, video};

/// A rung as a worker makes it of the reference's frames.
struct Rung {
    track: Track,
    half: bool,
    /// It makes frames.
    on: bool,
    /// It has never been away.
    steady: bool,
    /// Pictures since its GOP began.
    within: u64,
    /// Frames that are kept whatever their number.
    extra: u64,
    /// Places that the newest frame takes.
    slots: u64,
    /// Every second frame lasts until the next.
    held: Option<Sample>,
    /// Frames on their way, and when they are there.
    coming: VecDeque<(f64, Sample)>,
    late: f64,
    /// Its next frame that it keeps is a sync sample.
    begins: bool,
}

impl Rung {
    /// Makes what comes of one frame of the reference.
    fn encode(&mut self, frame: &Sample, now: f64) {
        if !self.on {
            return;
        }
        let mut own =
            Sample { track: self.track.id, pts: frame.dts.offset(self.track.reorder_delay), ..frame.clone() };
        // The picture is that of the reference, B-frames aside: shown when it is due.
        if frame.pts.ticks > own.pts.ticks && self.track.reorder_delay == 0 {
            own.pts = frame.pts;
        }
        own.sync |= std::mem::take(&mut self.begins);
        if !self.half {
            return self.coming.push_back((now + self.late, own));
        }
        let spacing = self.track.grid.spacing().rescale(self.track.timescale).ticks.max(2) as u64 / 2;
        let slots = (u64::from(frame.duration) + spacing / 2) / spacing;
        let mut late = 0;
        if own.sync {
            late = u64::from(self.slots > 1);
            (self.within, self.extra) = (0, 0);
        }
        let keep = self.within.is_multiple_of(2) || self.extra > 0;
        self.extra = self.extra.saturating_sub(1);
        self.within += slots + late;
        self.slots = slots;
        if slots > 1 {
            self.extra = self.extra.max(1 + slots / 4);
        }
        if keep {
            let whole = self.held.replace(own);
            self.coming.extend(whole.map(|whole| (now + self.late, whole)));
        } else if let Some(mut held) = self.held.take() {
            held.duration += frame.duration;
            self.coming.push_back((now + self.late, held));
        }
    }

    /// Its encoder is gone, with what it had.
    fn stop(&mut self) {
        (self.on, self.steady, self.begins) = (false, false, false);
        self.held = None;
        self.coming.clear();
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// All goes on.
    Run { seconds: f64 },
    /// A rung's encoder fails, is taken off or put to sleep.
    Lose { rung: usize, absence: Absence },
    /// A rung stops without a word.
    Stall { rung: usize },
    /// A rung's encoder begins.
    Start { rung: usize, how: How },
    /// A rung ignores the order to begin a GOP.
    NoKey { rung: usize },
    /// Frames are lost at the source.
    Drop { frames: u64, at_key: bool },
    /// Keyframes come at this distance.
    Gop(u64),
    /// Timestamps jump.
    Break { gap: f64 },
    /// A rung goes on with other parameters of the same kind.
    Change { rung: usize, salt: u8 },
}

/// Where an encoder begins.
#[derive(Clone, Copy, PartialEq, Debug)]
enum How {
    /// With the GOP's start.
    Replay,
    /// With the next GOP.
    NextGop,
    /// With the next frame.
    Now,
    /// With the next frame, which is announced.
    Announced,
}

fn op() -> impl Strategy<Value = Op> {
    let how = prop::sample::select(vec![How::Replay, How::NextGop, How::Now, How::Announced]);
    let absence = prop::sample::select(vec![Absence::Failed, Absence::Shed, Absence::Asleep]);
    prop_oneof![
        8 => (0.1..3.0).prop_map(|seconds| Op::Run { seconds }),
        3 => (0_usize..3, absence).prop_map(|(rung, absence)| Op::Lose { rung, absence }),
        1 => (0_usize..3).prop_map(|rung| Op::Stall { rung }),
        6 => (0_usize..3, how).prop_map(|(rung, how)| Op::Start { rung, how }),
        1 => (0_usize..3).prop_map(|rung| Op::NoKey { rung }),
        3 => (1_u64..20, any::<bool>()).prop_map(|(frames, at_key)| Op::Drop { frames, at_key }),
        1 => (10_u64..150).prop_map(Op::Gop),
        1 => (0.5..5.0).prop_map(|gap| Op::Break { gap }),
        1 => (0_usize..3, any::<u8>()).prop_map(|(rung, salt)| Op::Change { rung, salt }),
    ]
}

/// A ladder under way.
struct Life {
    world: World,
    picture: Source,
    sound: Source,
    rungs: Vec<Rung>,
    /// Frames since the newest keyframe.
    gop: Vec<Sample>,
    no_key: Option<usize>,
    /// Parts of each segment by rendition: microseconds, and whether they are gaps.
    parts: BTreeMap<(String, u64), Vec<(u64, bool)>>,
    seen: BTreeMap<String, usize>,
}

impl Life {
    fn begin(set: &TrackSet, halves: &[bool], lates: &[f64], gop: u64, from_start: &[bool]) -> Self {
        let mut world = World::new();
        world.tracks(set);
        let rungs = halves.iter().zip(lates).zip(from_start).zip(&set.tracks[1..]);
        let rungs = rungs.map(|(((half, late), on), track)| Rung {
            track: track.clone(),
            half: *half,
            on: *on,
            steady: *on,
            within: 0,
            extra: 0,
            slots: 1,
            held: None,
            coming: VecDeque::new(),
            late: *late,
            begins: false,
        });
        let rungs = rungs.collect();
        let mut picture = Source::new(&set.tracks[0], 10.0, gop);
        let mut sound = Source::new(set.tracks.last().expect("a sound"), 10.0, 1);
        (picture.size, sound.size) = (20, 20);
        Self {
            world,
            picture,
            sound,
            rungs,
            gop: Vec::new(),
            no_key: None,
            parts: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    /// One frame of the source, which lasts over `lost` more.
    fn frame(&mut self, lost: u64) {
        let mut sample = self.picture.next();
        let frame = self.picture.track.grid.spacing().rescale(self.picture.track.timescale).ticks;
        let late = lost as i64 * frame;
        sample.duration += late as u32;
        sample.pts = sample.pts.offset(late);
        self.picture.dts += late;
        if sample.sync {
            self.gop.clear();
        }
        self.gop.push(sample.clone());
        self.world.push(Feed::Sample(sample.clone()));
        let now = self.picture.seconds();
        for (index, rung) in self.rungs.iter_mut().enumerate() {
            let mut seen = sample.clone();
            if seen.sync && self.no_key == Some(index) {
                (seen.sync, rung.steady) = (false, false);
                self.no_key = None;
            }
            rung.encode(&seen, now);
        }
        self.deliver(now);
        self.world.feed(std::slice::from_mut(&mut self.sound), now, 0.0);
        self.note();
    }

    fn deliver(&mut self, now: f64) {
        for rung in &mut self.rungs {
            while rung.coming.front().is_some_and(|(due, _)| *due <= now) {
                let (_, sample) = rung.coming.pop_front().expect("there is one");
                self.world.push(Feed::Sample(sample));
            }
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Run { seconds } => {
                let until = self.picture.seconds() + seconds;
                while self.picture.seconds() < until {
                    self.frame(0);
                }
            }
            Op::Lose { rung, absence } => {
                let Some(rung) = self.rungs.get_mut(rung) else { return };
                rung.stop();
                let track = rung.track.id;
                self.world.push(Feed::Lost(track, absence));
            }
            Op::Stall { rung } => self.rungs.get_mut(rung).into_iter().for_each(Rung::stop),
            Op::Start { rung, how } => self.start(rung, how),
            Op::NoKey { rung } => self.no_key = Some(rung),
            Op::Drop { frames, at_key } => {
                let begins = |source: &Source| source.count.is_multiple_of(source.gop);
                while begins(&self.picture) != at_key {
                    self.frame(0);
                }
                self.frame(frames.min(self.most_lost()));
                // Where a keyframe comes soon, one of half the frames may have too few for the parts that a loss leaves
                // empty: it is a gap then, if a lawful one.
                self.rungs.iter_mut().for_each(|rung| rung.steady &= !rung.half);
                // Enough to absorb it.
                (0..40).for_each(|_| self.frame(0));
            }
            Op::Gop(frames) => {
                self.picture.gop = frames;
                // Where no keyframe comes in time, one of half the frames may have none where a segment ends.
                self.rungs.iter_mut().for_each(|rung| rung.steady &= !rung.half);
            }
            Op::Break { gap } => self.jump(gap),
            Op::Change { rung, salt } => self.change(rung, salt),
        }
    }

    /// Frames of less than a second.
    fn most_lost(&self) -> u64 {
        (0.6 / self.picture.track.grid.spacing().seconds()) as u64
    }

    fn start(&mut self, index: usize, how: How) {
        let (now, picture) = (self.picture.seconds(), &self.picture);
        let next = MediaTime::new(picture.dts + picture.track.reorder_delay, picture.track.timescale);
        let Some(rung) = self.rungs.get_mut(index).filter(|rung| !rung.on) else { return };
        (rung.on, rung.held) = (true, None);
        match how {
            How::Replay => {
                let kept = std::mem::take(&mut self.gop);
                kept.iter().for_each(|frame| rung.encode(frame, now));
                self.gop = kept;
            }
            // Frames up to the next keyframe are of no use.
            How::NextGop => {}
            How::Now => rung.begins = true,
            How::Announced => {
                rung.begins = true;
                let track = rung.track.id;
                self.world.push(Feed::Returns(track, next));
            }
        }
    }

    fn jump(&mut self, gap: f64) {
        self.world.push(Feed::Discontinuity(Break::TimestampJump));
        let seconds = self.picture.seconds() + gap;
        for source in [&mut self.picture, &mut self.sound] {
            let (track, gop) = (source.track.clone(), source.gop);
            *source = Source { size: 20, ..Source::new(&track, seconds, gop) };
        }
        for rung in &mut self.rungs {
            (rung.held, rung.within) = (None, 0);
            rung.coming.clear();
        }
        self.gop.clear();
    }

    fn change(&mut self, index: usize, salt: u8) {
        let Some(rung) = self.rungs.get_mut(index) else { return };
        if let aqueduct_common::CodecConfig::H264(config) = &mut rung.track.codec {
            let mut record = config.record.to_vec();
            record.push(salt);
            config.record = record.into();
        }
        let track = rung.track.clone();
        self.world.push(Feed::Changed(track.into()));
    }

    /// Remembers the parts of complete segments.
    fn note(&mut self) {
        for (path, lists) in &self.world.checks.lists {
            let seen = self.seen.entry(path.clone()).or_default();
            for list in lists.iter().skip(std::mem::replace(seen, lists.len())) {
                for segment in list.segments.iter().filter(|one| one.uri.is_some() && !one.parts.is_empty()) {
                    let parts = segment.parts.iter().map(|part| (part.micros, part.gap)).collect();
                    let dir = path.split('/').nth(1).expect("a directory").to_owned();
                    self.parts.entry((dir, segment.msn)).or_insert(parts);
                }
            }
        }
    }

    fn assert_rungs(&self) {
        for (index, rung) in self.rungs.iter().enumerate() {
            let dir = format!("v{}", index + 1);
            for ((_, msn), own) in self.parts.iter().filter(|((one, _), _)| *one == dir) {
                let Some(whole) = self.parts.get(&("v0".to_owned(), *msn)) else { continue };
                assert!(!rung.steady || own.iter().all(|(_, gap)| !gap), "{dir}, segment {msn}: {own:?}");
                assert!(follows(own, whole), "{dir}, segment {msn}: {own:?} of {whole:?}");
            }
            for ((path, msn), sync) in &self.world.checks.sync_starts {
                let of = path.ends_with(&format!("/{dir}/"));
                let first = format!("{}/v0/", path.split('/').next().expect("an epoch"));
                let long = self.world.checks.sync_starts.get(&(first, *msn)) == Some(&false);
                assert!(!of || *sync || long, "{dir}: segment {msn} begins without a sync sample (TL-30)");
            }
        }
    }
}

/// Each part lies where the reference's does, or is split into a gap and what follows it; the last one may be cut off.
fn follows(own: &[(u64, bool)], whole: &[(u64, bool)]) -> bool {
    let mut own = own.iter().copied().peekable();
    for (micros, _) in whole {
        // The frames that were on their way are lost where the timeline breaks.
        let Some((mut sum, gap)) = own.next() else { return true };
        if gap && sum + 2 < *micros {
            sum += own.next_if(|(_, gap)| !gap).map_or(0, |(rest, _)| rest);
        }
        if sum.abs_diff(*micros) > 2 && own.peek().is_some() {
            return false;
        }
    }
    own.next().is_none()
}

fn ladder() -> impl Strategy<Value = (TrackSet, Vec<bool>)> {
    let rates = vec![(24, 1), (25, 1), (30_000, 1_001), (30, 1), (50, 1), (60_000, 1_001), (60, 1)];
    let sounds = vec![aac(48_000, 1_024), aac(44_100, 1_024), opus()];
    let rungs = prop::collection::vec(any::<bool>(), 1..4);
    (prop::sample::select(rates), 0_i64..3, prop::sample::select(sounds), rungs).prop_map(
        |(rate, b_frames, sound, halves)| {
            let top = video(rate, b_frames);
            let fast = rate.0 / rate.1 >= 50;
            let halves: Vec<bool> = halves.into_iter().map(|half| half && fast).collect();
            let mut all = vec![top.clone()];
            let heights = [480_u32, 360, 240];
            all.extend(
                halves
                    .iter()
                    .enumerate()
                    .map(|(index, half)| rung(&top, 16 + index as u8, heights[index], 1_000_000, *half)),
            );
            all.push(sound);
            (tracks(&all), halves)
        },
    )
}

/// Wherever a picture or three are lost on the way, who is on a rung of half the frames sees no gap.
#[test]
fn a_few_lost_frames_leave_a_rung_of_half_the_frames_whole() {
    for (rate, gop) in [((60, 1), 60), ((30, 1), 30), ((60_000, 1_001), 120), ((50, 1), 100)] {
        let top = video(rate, 0);
        let set = tracks(&[top.clone(), rung(&top, 16, 480, 1_000_000, true), aac(48_000, 1_024)]);
        for (lost, before) in (1..4).flat_map(|lost| (0..gop).map(move |before| (lost, before))) {
            let mut life = Life::begin(&set, &[true], &[0.02], gop, &[true]);
            (0..3 * gop + before).for_each(|_| life.frame(0));
            life.frame(lost);
            (0..3 * gop).for_each(|_| life.frame(0));
            life.assert_rungs();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_ladder_keeps_the_rules(
        (set, halves) in ladder(),
        lates in prop::collection::vec(0.0..0.4_f64, 3),
        from_start in prop::collection::vec(prop::bool::weighted(0.8), 3),
        gop in 10_u64..90,
        ops in prop::collection::vec(op(), 1..16),
    ) {
        let mut life = Life::begin(&set, &halves, &lates, gop, &from_start);
        for op in &ops {
            life.apply(op);
        }
        life.apply(&Op::Run { seconds: 0.5 });
        life.assert_rungs();
        life.world.finish();
        let ended = life.world.checks.lists.values().all(|lists| lists.last().is_some_and(|list| list.ended));
        prop_assert!(ended, "all lists end together (LLHLS-17)");
    }
}
