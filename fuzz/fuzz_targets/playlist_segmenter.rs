//! The packager under any feed that keeps its contract: playlists keep their promises, and list nothing that is not
//! there.
#![no_main]

use std::collections::VecDeque;
use std::sync::Arc;

use aqueduct_common::feed::{Absence, Break};
use aqueduct_common::track::Grid;
use aqueduct_common::{ClockMap, Feed, MediaTime, Sample, Timescale, Track, TrackId, TrackSet, WallTime};
use aqueduct_fuzz::codecs;
use aqueduct_fuzz::contract::Contract;
use aqueduct_fuzz::listing::Listing;
use aqueduct_packager::Plan;
use aqueduct_packager::checkpoint::{Checkpoint, Directories, Origin};
use aqueduct_packager::stream::{Output, Stream};
use bytes::Bytes;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// Audio frames that come without a picture in one go: far more than the second that the packager waits.
const AHEAD_MOST: u8 = 255;

#[derive(Arbitrary, Debug)]
struct Source {
    kinds: Kinds,
    /// Frames a second, for a fixed grid.
    fps: u8,
    fixed: bool,
    config: bool,
    audio: u8,
    /// Rungs below the picture, and which of them have half its frames.
    rungs: u8,
    halves: u8,
}

#[derive(Arbitrary, Debug, PartialEq)]
enum Kinds {
    Both,
    Video,
    Audio,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// Media for this many pictures, the first of `gop` a sync sample; sound follows up to `lag` ms later.
    Run {
        pictures: u8,
        gop: u8,
        lag: u8,
        narrow: u8,
    },
    /// Only one of the tracks goes on.
    Alone {
        sound: bool,
        count: u8,
    },
    Break {
        reason: u8,
        skip: u16,
    },
    Tracks {
        source: Source,
        skip: u16,
    },
    Clock {
        by: i32,
    },
    Rung {
        which: u8,
        turn: Turn,
    },
}

/// What happens to a rung.
#[derive(Arbitrary, Debug)]
enum Turn {
    /// Its encoder is gone, with or without a word.
    Lose(u8),
    /// It makes frames again: of all since the newest keyframe, or from a sync sample with the next frame on, which may
    /// be announced.
    Start { replay: bool, now: bool, announced: bool },
    /// It comes this many frames behind the picture.
    Late(u8),
    /// Its next frame is no sync sample, whatever it should be.
    Miss,
    /// Another encoder has taken over, with these parameters.
    Change { config: bool },
}

/// A rung as an encoder makes it of the picture's frames.
struct Rung {
    track: Track,
    half: bool,
    on: bool,
    miss: bool,
    late: u8,
    begins: bool,
    odd: bool,
    held: Option<Sample>,
    coming: VecDeque<Sample>,
}

impl Rung {
    fn encode(&mut self, frame: &Sample) {
        if !self.on {
            return;
        }
        let begins = std::mem::take(&mut self.begins);
        let sync = begins || frame.sync && !std::mem::take(&mut self.miss);
        let own = Sample { track: self.track.id, sync, ..frame.clone() };
        self.odd = !(begins || frame.sync || self.odd);
        match self.held.take() {
            _ if !self.half => self.coming.push_back(own),
            Some(mut held) if self.odd => {
                held.duration += own.duration;
                self.coming.push_back(held);
            }
            held => {
                self.coming.extend(held);
                self.held = Some(own);
            }
        }
    }
}

struct Feeder {
    stream: Stream,
    contract: Contract,
    listing: Listing,
    source: Source,
    tracks: Arc<TrackSet>,
    /// Where each track's next sample begins, in its ticks.
    next: [i64; 2],
    awaits_sync: bool,
    since_sync: u8,
    rungs: Vec<Rung>,
    /// Frames since the newest keyframe.
    gop: Vec<Sample>,
}

fuzz_target!(|input: (Source, bool, Vec<Step>)| {
    let (source, resumed, steps) = input;
    let resumed = resumed.then_some(Checkpoint {
        epoch: 7,
        next_msn: 40,
        missed_msn: 33,
        next_part: 900,
        era: 2,
        target_duration: 2,
        part_target: 250,
        wall_micros: 0,
        directories: Directories { used: [1, 2], on_air: [Some(0), Some(1)] },
    });
    let mut feeder = Feeder::new(Origin { fresh: 8, resumed });
    feeder.announce(source, 7_200);
    for step in steps.into_iter().take(16) {
        feeder.take(step);
    }
    feeder.stream.finish(feeder.wall());
    feeder.drain();
});

impl Feeder {
    fn new(origin: Origin) -> Self {
        let name = "live/show".parse().expect("a name");
        Self {
            stream: Stream::new(name, Plan::default(), origin),
            contract: Contract::default(),
            listing: Listing::default(),
            source: Source {
                kinds: Kinds::Both,
                fps: 25,
                fixed: true,
                config: true,
                audio: 0,
                rungs: 0,
                halves: 0,
            },
            tracks: Arc::default(),
            next: [0, 0],
            awaits_sync: true,
            since_sync: 0,
            rungs: Vec::new(),
            gop: Vec::new(),
        }
    }

    /// Ticks of a picture.
    fn spacing(&self) -> i64 {
        90_000 / i64::from(self.source.fps.clamp(1, 240))
    }

    fn seconds(&self) -> f64 {
        (self.next[0] as f64 / 90_000.0).max(self.next[1] as f64 / f64::from(self.rate()))
    }

    /// Ticks of a second of sound.
    fn rate(&self) -> u32 {
        codecs::rate(&codecs::audio(self.source.audio).0)
    }

    fn wall(&self) -> WallTime {
        WallTime { micros: 1_700_000_000_000_000 + (self.seconds() * 1e6) as i64 }
    }

    fn announce(&mut self, source: Source, skip: u16) {
        let start = self.seconds() + f64::from(skip) / 100.0;
        self.source = source;
        let (audio, samples) = codecs::audio(self.source.audio);
        let rate = Timescale::new(codecs::rate(&audio)).expect("a rate");
        let spacing = MediaTime::new(self.spacing(), Timescale::VIDEO);
        let grid = if self.source.fixed { Grid::Fixed(spacing) } else { Grid::Variable { widest: spacing } };
        let track = |id, codec, timescale, grid| Track {
            id,
            codec,
            timescale,
            grid,
            reorder_delay: 0,
            language: "und".into(),
            bandwidth: None,
        };
        let mut tracks = Vec::new();
        self.rungs.clear();
        if self.source.kinds != Kinds::Audio {
            tracks.push(track(TrackId::VIDEO, codecs::video(self.source.config), Timescale::VIDEO, grid));
            // Rungs of a source of no fixed rate are made of another one.
            let count = if self.source.fixed { self.source.rungs % 4 } else { 0 };
            for index in 0..count {
                // Half of a slow picture is made by nobody: a ladder halves what is faster than 30 a second.
                let half = self.source.halves & (1 << index) != 0 && self.source.fps > 30;
                let spacing = MediaTime::new(self.spacing() * if half { 2 } else { 1 }, Timescale::VIDEO);
                let id = TrackId(TrackId::FIRST_ENCODED.0 + index);
                let codec = codecs::video(self.source.config);
                let track = Track {
                    bandwidth: Some(300_000),
                    ..track(id, codec, Timescale::VIDEO, Grid::Fixed(spacing))
                };
                tracks.push(track.clone());
                let (on, held, coming) = (true, None, VecDeque::new());
                let (miss, begins, late, odd) = (false, false, 0, false);
                self.rungs.push(Rung { track, half, on, miss, late, begins, odd, held, coming });
            }
        }
        if self.source.kinds != Kinds::Video {
            let grid = Grid::Fixed(MediaTime::new(samples.into(), rate));
            tracks.push(track(TrackId::AUDIO, audio, rate, grid));
        }
        self.gop.clear();
        self.tracks = Arc::new(TrackSet { tracks });
        self.next = [(start * 90_000.0).ceil() as i64, (start * f64::from(rate.hz())).ceil() as i64];
        self.push(Feed::Tracks(self.tracks.clone()));
        self.clock(0);
        self.awaits_sync = true;
    }

    fn clock(&mut self, by: i32) {
        let media = MediaTime::new(self.next[0], Timescale::VIDEO);
        let wall = self.wall().offset(by.into());
        self.push(Feed::Clock(ClockMap { media, wall }));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Run { pictures, gop, lag, narrow } => self.run(pictures, gop, lag, narrow),
            Step::Alone { sound: true, count } => (0..count % AHEAD_MOST).for_each(|_| self.sound()),
            Step::Alone { sound: false, count } => (0..count).for_each(|_| self.picture(255, 0)),
            Step::Break { reason, skip } => {
                let reasons = [Break::TimestampJump, Break::Reconnect, Break::Overflow];
                self.push(Feed::Discontinuity(reasons[usize::from(reason % 3)]));
                let start = self.seconds() + f64::from(skip) / 100.0;
                self.next =
                    [(start * 90_000.0).ceil() as i64, (start * f64::from(self.rate())).ceil() as i64];
                self.clock(0);
                self.awaits_sync = true;
                self.gop.clear();
                for rung in &mut self.rungs {
                    rung.held = None;
                    rung.coming.clear();
                }
            }
            Step::Rung { which, turn } => self.turn(which, turn),
            Step::Tracks { source, skip } => self.announce(source, skip),
            Step::Clock { by } => self.clock(by),
        }
    }

    fn turn(&mut self, which: u8, turn: Turn) {
        let index = usize::from(which) % self.rungs.len().max(1);
        let Some(rung) = self.rungs.get_mut(index) else { return };
        match turn {
            Turn::Lose(how) => {
                (rung.on, rung.held) = (false, None);
                rung.coming.clear();
                let track = rung.track.id;
                let absences = [Absence::Failed, Absence::Shed, Absence::Asleep];
                if let Some(absence) = absences.get(usize::from(how % 4)) {
                    self.push(Feed::Lost(track, *absence));
                }
            }
            Turn::Start { replay, now, announced } if !rung.on => {
                (rung.on, rung.odd, rung.begins) = (true, false, now);
                let track = rung.track.id;
                if replay {
                    self.gop.iter().for_each(|frame| rung.encode(frame));
                }
                if announced {
                    self.push(Feed::Returns(track, MediaTime::new(self.next[0], Timescale::VIDEO)));
                }
            }
            Turn::Start { .. } => {}
            Turn::Late(frames) => rung.late = frames,
            Turn::Miss => rung.miss = true,
            Turn::Change { config } => {
                rung.track.codec = codecs::video(config);
                let track = rung.track.clone();
                self.push(Feed::Changed(Arc::new(track)));
            }
        }
    }

    fn run(&mut self, pictures: u8, gop: u8, lag: u8, narrow: u8) {
        let rate = i64::from(self.rate());
        for _ in 0..pictures {
            self.picture(gop, narrow);
            let until = (self.next[0] - i64::from(lag) * 90) * rate / 90_000;
            while self.source.kinds != Kinds::Video && self.next[1] < until {
                self.sound();
            }
        }
    }

    fn picture(&mut self, gop: u8, narrow: u8) {
        if self.source.kinds == Kinds::Audio {
            return self.sound();
        }
        let sync = self.awaits_sync || self.since_sync >= gop.max(1);
        self.since_sync = if sync { 1 } else { self.since_sync.saturating_add(1) };
        self.awaits_sync = false;
        // On a variable grid pictures come closer than the widest spacing that was seen, or up to a second farther.
        let spacing = match (self.source.fixed, i64::from(narrow)) {
            (true, _) => self.spacing(),
            (false, n @ ..128) => self.spacing() * (512 - 4 * n) / 512,
            (false, n) => (self.spacing() + (n - 127) * 703).min(90_000),
        };
        self.sample(TrackId::VIDEO, spacing, sync);
    }

    /// What the rungs make of a picture.
    fn encode(&mut self, frame: &Sample) {
        if frame.sync {
            self.gop.clear();
        }
        self.gop.push(frame.clone());
        let mut there = Vec::new();
        for rung in &mut self.rungs {
            rung.encode(frame);
            let late = usize::from(rung.late);
            while rung.coming.len() > late {
                there.extend(rung.coming.pop_front());
            }
        }
        there.into_iter().for_each(|sample| self.push(Feed::Sample(sample)));
    }

    fn sound(&mut self) {
        if self.source.kinds == Kinds::Video {
            return;
        }
        let (_, samples) = codecs::audio(self.source.audio);
        self.sample(TrackId::AUDIO, samples.into(), true);
    }

    fn sample(&mut self, track: TrackId, duration: i64, sync: bool) {
        let scale = self.tracks.by_id(track).expect("an announced track").timescale;
        let next = &mut self.next[usize::from(track.0)];
        let dts = MediaTime::new(*next, scale);
        *next += duration;
        let sample = Sample {
            track,
            dts,
            pts: dts,
            duration: duration as u32,
            sync,
            disposable: false,
            payload: Bytes::from_static(b"coded frame"),
            received: self.wall(),
        };
        self.push(Feed::Sample(sample.clone()));
        if track == TrackId::VIDEO {
            self.encode(&sample);
        }
    }

    fn push(&mut self, message: Feed) {
        // What a worker makes may break off; the contract is that of a publisher.
        let of_rung = match &message {
            Feed::Sample(sample) => sample.track >= TrackId::FIRST_ENCODED,
            Feed::Changed(_) | Feed::Lost(..) | Feed::Returns(..) => true,
            _ => false,
        };
        if !of_rung {
            self.contract.check(&message);
        }
        self.stream.push(message, self.wall());
        self.drain();
    }

    fn drain(&mut self) {
        for output in self.stream.drain() {
            if let Output::Update(update) = output {
                self.listing.check(&update);
            }
        }
    }
}
