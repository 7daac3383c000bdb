//! Tracks and samples to feed, and what was published read back.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code; each file uses its own share"
)]

pub mod check;
pub mod ladder;
pub mod playlist;

use std::collections::{BTreeMap, HashMap};

use aqueduct_common::codec::{AacConfig, AvcConfig, OpusConfig, Picture};
use aqueduct_common::track::Grid;
use aqueduct_common::{
    ClockMap, CodecConfig, Feed, MediaTime, Object, Sample, StreamName, Timescale, Track, TrackId, TrackSet,
    Update, WallTime,
};
use aqueduct_packager::checkpoint::{Checkpoint, Origin};
use aqueduct_packager::stream::{Output, Stream};
use bytes::Bytes;

/// Picture and sound from ten seconds on; keyframes every `gop` frames.
pub fn sources(set: &TrackSet, gop: u64) -> Vec<Source> {
    let gop = |track: &Track| if track.id == TrackId::VIDEO { gop } else { 1 };
    set.tracks.iter().map(|track| Source::new(track, 10.0, gop(track))).collect()
}

/// A High profile record with its extension; the parameter sets are those of a 1280x720 clip.
pub fn avc() -> AvcConfig {
    let record = [
        0x01, 0x64, 0x00, 0x1f, 0xff, 0xe1, 0x00, 0x05, 0x67, 0x64, 0x00, 0x1f, 0xac, 0x01, 0x00, 0x04, 0x68,
        0xee, 0x3c, 0x80, 0xfd, 0xf8, 0xf8, 0x00,
    ];
    AvcConfig {
        record: Bytes::from_static(Box::leak(Box::new(record))),
        length_size: 4,
        sps: vec![Bytes::from_static(&[0x67, 0x64, 0x00, 0x1f, 0xac])],
        pps: vec![Bytes::from_static(&[0x68, 0xee, 0x3c, 0x80])],
        picture: Picture { width: 1_280, height: 720, sar: (1, 1), ..Picture::default() },
    }
}

/// A fixed-grid video track: `(numerator, denominator)` frames a second, `b_frames` of reordering.
pub fn video(rate: (u32, u32), b_frames: i64) -> Track {
    let (scale, ticks) = match rate {
        (60_000, 1_001) => (60_000, 1_001),
        (24_000, 1_001) => (24_000, 1_001),
        (numerator, denominator) => (90_000, 90_000 * denominator / numerator),
    };
    let timescale = Timescale::of(scale);
    Track {
        id: TrackId::VIDEO,
        codec: CodecConfig::H264(avc()),
        timescale,
        grid: Grid::Fixed(MediaTime::new(ticks.into(), timescale)),
        reorder_delay: b_frames * i64::from(ticks),
        language: "und".into(),
        bandwidth: None,
    }
}

/// A rung of a ladder of this picture, of a height and bits a second; at half the rate if `half`.
pub fn rung(of: &Track, id: u8, height: u32, bandwidth: u64, half: bool) -> Track {
    let mut track = of.clone();
    track.id = TrackId(id);
    track.bandwidth = Some(bandwidth);
    if let CodecConfig::H264(config) = &mut track.codec {
        (config.picture.width, config.picture.height) = (height * 16 / 9, height);
        // Its init segment is its own.
        let mut record = config.record.to_vec();
        record[3] = height as u8;
        config.record = record.into();
    }
    if half && let Grid::Fixed(spacing) = track.grid {
        track.grid = Grid::Fixed(MediaTime::new(2 * spacing.ticks, spacing.scale));
    }
    track
}

/// An AAC track.
pub fn aac(rate: u32, frame_samples: u32) -> Track {
    let record = Bytes::from_static(&[0x11, 0x90]);
    let config = AacConfig { record, object_type: 2, output_rate: rate, channels: 2, frame_samples };
    sound(CodecConfig::Aac(config), rate, frame_samples)
}

/// An Opus track of 20 ms packets.
pub fn opus() -> Track {
    let record = Bytes::from_static(&[0, 2, 0x01, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0]);
    sound(CodecConfig::Opus(OpusConfig { record, channels: 2, pre_skip: 312 }), 48_000, 960)
}

fn sound(codec: CodecConfig, rate: u32, samples: u32) -> Track {
    let timescale = Timescale::of(rate);
    Track {
        id: TrackId::AUDIO,
        codec,
        timescale,
        grid: Grid::Fixed(MediaTime::new(samples.into(), timescale)),
        reorder_delay: 0,
        language: "und".into(),
        bandwidth: None,
    }
}

pub fn tracks(tracks: &[Track]) -> TrackSet {
    TrackSet { tracks: tracks.to_vec() }
}

/// Makes one track's samples, each where the last one ended.
#[derive(Clone, Debug)]
pub struct Source {
    pub track: Track,
    pub dts: i64,
    pub count: u64,
    /// Frames between sync samples.
    pub gop: u64,
    /// Bytes of a payload.
    pub size: usize,
    /// How much later than its time it comes, in seconds.
    pub late: f64,
}

impl Source {
    /// The first sample is presented at `seconds`.
    pub fn new(track: &Track, seconds: f64, gop: u64) -> Self {
        let start = (seconds * f64::from(track.timescale.hz())).round() as i64;
        Self { track: track.clone(), dts: start - track.reorder_delay, count: 0, gop, size: 500, late: 0.0 }
    }

    /// Presentation time of the next sample in decode order, were it in order.
    pub fn seconds(&self) -> f64 {
        MediaTime::new(self.dts, self.track.timescale).seconds()
    }

    /// The next sample, of the grid's spacing.
    pub fn next(&mut self) -> Sample {
        let spacing = self.track.grid.spacing().rescale(self.track.timescale).ticks as u32;
        self.next_lasting(spacing)
    }

    /// The next sample, of this many ticks.
    pub fn next_lasting(&mut self, duration: u32) -> Sample {
        let scale = self.track.timescale;
        let (sync, pts) = self.place(duration);
        let sample = Sample {
            track: self.track.id,
            dts: MediaTime::new(self.dts, scale),
            pts: MediaTime::new(pts, scale),
            duration,
            sync,
            disposable: false,
            payload: Bytes::from(vec![self.count as u8; if sync { 3 * self.size } else { self.size }]),
            received: wall(self.dts, scale),
        };
        self.dts += i64::from(duration);
        self.count += 1;
        sample
    }

    /// The next frame is a sync sample, whatever the count.
    pub fn restart_gop(&mut self) {
        self.count = 0;
    }

    fn place(&self, duration: u32) -> (bool, i64) {
        let sync = self.count.is_multiple_of(self.gop);
        let delay = self.track.reorder_delay;
        let b_frames = delay / i64::from(duration.max(1));
        if sync || b_frames == 0 {
            return (sync, self.dts + delay);
        }
        // Groups of one P and `b_frames` B: the P is shown last.
        let within = (self.count % self.gop - 1) as i64 % (b_frames + 1);
        let shift =
            if within == 0 { delay + b_frames * i64::from(duration) } else { delay - i64::from(duration) };
        (false, self.dts + shift)
    }
}

/// Samples arrive when they are shown, counted from 2025-11-20T10:20:00Z.
fn wall(ticks: i64, scale: Timescale) -> WallTime {
    clock().wall_at(MediaTime::new(ticks, scale))
}

/// Ten seconds of media time are 2025-11-20T10:20:00Z.
pub fn clock() -> ClockMap {
    ClockMap { media: MediaTime::new(10, Timescale::of(1)), wall: WallTime { micros: 1_763_634_000_000_000 } }
}

/// A stream and everything that it published.
pub struct World {
    pub stream: Stream,
    pub now: WallTime,
    /// Newest body of each path, with its object.
    pub objects: HashMap<String, Object>,
    /// All updates and events, in order.
    pub log: Vec<Output>,
    pub checkpoint: Option<Checkpoint>,
    pub checks: check::Checks,
}

impl World {
    pub fn new() -> Self {
        Self::begin(Origin { fresh: 1_763_634_000, resumed: None })
    }

    pub fn begin(origin: Origin) -> Self {
        Self::with(aqueduct_packager::Plan::default(), origin)
    }

    pub fn with(plan: aqueduct_packager::Plan, origin: Origin) -> Self {
        let name: StreamName = "live/show".parse().unwrap();
        Self {
            stream: Stream::new(name, plan, origin),
            now: clock().wall,
            objects: HashMap::new(),
            log: Vec::new(),
            checkpoint: None,
            checks: check::Checks::default(),
        }
    }

    pub fn tracks(&mut self, set: &TrackSet) {
        self.push(Feed::Tracks(set.clone().into()));
        self.push(Feed::Clock(clock()));
    }

    pub fn push(&mut self, feed: Feed) {
        if let Feed::Sample(sample) = &feed {
            self.now = self.now.max(sample.received);
            self.checks.fed(sample);
        }
        self.stream.push(feed, self.now);
        self.collect();
    }

    pub fn finish(&mut self) {
        self.stream.finish(self.now);
        self.collect();
    }

    /// Feeds all sources up to `seconds`, interleaved by decode time; `lag` delays the sound.
    pub fn feed(&mut self, sources: &mut [Source], seconds: f64, lag: f64) {
        loop {
            let key = |source: &Source| {
                source.seconds() + source.late + if source.track.id == TrackId::AUDIO { lag } else { 0.0 }
            };
            let earliest = sources.iter_mut().min_by(|a, b| key(a).total_cmp(&key(b)));
            let Some(source) = earliest.filter(|source| key(source) < seconds) else { return };
            let sample = source.next();
            self.push(Feed::Sample(sample));
        }
    }

    fn collect(&mut self) {
        let outputs: Vec<Output> = self.stream.drain().collect();
        for output in outputs {
            match &output {
                Output::Update(update) => {
                    self.checks.update(update);
                    if let Update::Publish(object) = update {
                        self.objects.insert(object.path.as_str().to_owned(), object.clone());
                    }
                }
                Output::Checkpoint(checkpoint) => self.checkpoint = Some(*checkpoint),
                Output::Ended => self.checkpoint = None,
                Output::Part { .. } | Output::Event(_) => {}
            }
            self.log.push(output);
        }
    }

    /// Text of the newest object whose path ends so.
    pub fn text(&self, suffix: &str) -> String {
        let found = self.objects.iter().find(|(path, _)| path.ends_with(suffix));
        let (_, object) = found.unwrap_or_else(|| panic!("no {suffix} among {:?}", self.objects.keys()));
        String::from_utf8(object.body.concat()).unwrap()
    }

    /// Where each segment of a rendition begins on the presentation timeline, in seconds.
    pub fn starts(&self, dir: &str, track: &Track) -> BTreeMap<u64, f64> {
        let of_dir = self.checks.starts.iter().filter(|((path, _), _)| path.ends_with(&format!("/{dir}/")));
        let seconds =
            |tfdt: u64| MediaTime::new(tfdt as i64 + track.reorder_delay, track.timescale).seconds();
        of_dir.map(|((_, msn), tfdt)| (*msn, seconds(*tfdt))).collect()
    }

    /// Sound begins within half a sample of the picture in every segment (TL-38).
    pub fn assert_aligned(&self, set: &TrackSet) {
        let (pictures, sounds) = (self.starts("v0", &set.tracks[0]), self.starts("a0", &set.tracks[1]));
        assert!(pictures.len() > 1 && sounds.len() > 1);
        let half = set.tracks[1].grid.spacing().seconds() / 2.0 + 1e-6;
        for (msn, sound) in sounds {
            // A sound may be the first of a segment's that is out.
            let Some(picture) = pictures.get(&msn) else {
                assert!(pictures.keys().all(|other| *other < msn), "segment {msn} has no picture");
                continue;
            };
            assert!((sound - picture).abs() <= half, "segment {msn}: picture {picture}, sound {sound}");
        }
    }

    /// Newest list of a rendition.
    pub fn list(&self, dir: &str) -> playlist::Playlist {
        playlist::read(&self.text(&format!("/{dir}/media.m3u8")))
    }

    pub fn events(&self) -> Vec<&aqueduct_common::Event> {
        fn event(output: &Output) -> Option<&aqueduct_common::Event> {
            match output {
                Output::Event(event) => Some(event),
                _ => None,
            }
        }
        self.log.iter().filter_map(event).collect()
    }
}
