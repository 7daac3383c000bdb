//! The packager under any feed that keeps its contract: playlists keep their promises, and list nothing that is not
//! there.
#![no_main]

use std::sync::Arc;

use aqueduct_common::feed::Break;
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
}

fuzz_target!(|input: (Source, bool, Vec<Step>)| {
    let (source, resumed, steps) = input;
    let resumed = resumed.then_some(Checkpoint {
        epoch: 7,
        next_msn: 40,
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
            source: Source { kinds: Kinds::Both, fps: 25, fixed: true, config: true, audio: 0 },
            tracks: Arc::default(),
            next: [0, 0],
            awaits_sync: true,
            since_sync: 0,
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
        };
        let mut tracks = Vec::new();
        if self.source.kinds != Kinds::Audio {
            tracks.push(track(TrackId::VIDEO, codecs::video(self.source.config), Timescale::VIDEO, grid));
        }
        if self.source.kinds != Kinds::Video {
            let grid = Grid::Fixed(MediaTime::new(samples.into(), rate));
            tracks.push(track(TrackId::AUDIO, audio, rate, grid));
        }
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
            }
            Step::Tracks { source, skip } => self.announce(source, skip),
            Step::Clock { by } => self.clock(by),
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
        self.push(Feed::Sample(Sample {
            track,
            dts,
            pts: dts,
            duration: duration as u32,
            sync,
            disposable: false,
            payload: Bytes::from_static(b"coded frame"),
            received: self.wall(),
        }));
    }

    fn push(&mut self, message: Feed) {
        self.contract.check(&message);
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
