//! A simulated publisher: rates, stamps and arrivals, all by the test's clock.

use super::*;

/// A constant rate: `units` frames in `seconds`.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Rate(pub(in super::super) i64, pub(in super::super) i64);

impl Rate {
    /// Flicks at which frame `n` lies.
    fn at(self, n: i64) -> i64 {
        (i128::from(n) * i128::from(SECOND) * i128::from(self.1) / i128::from(self.0)) as i64
    }
}

/// The stamp in milliseconds of a frame of a kind at a true time in flicks.
pub(in super::super) type Stamp = fn(TrackKind, i64) -> i64;

/// Sends interleaved video and audio in order of their times, and takes what comes out.
pub(in super::super) struct Publisher {
    pub(in super::super) timeline: Timeline,
    pub(in super::super) feeds: Feeds,
    began: Instant,
    /// Flicks of simulated true time.
    pub(in super::super) clock: i64,
    pub(in super::super) video: Option<Rate>,
    pub(in super::super) audio: Option<(i64, u32)>,
    /// Frames between key frames.
    pub(in super::super) gop: i64,
    /// Composition offsets in milliseconds, cyclic over the GOP.
    pub(in super::super) offsets: Vec<i32>,
    /// Stamp in milliseconds of true time in flicks, per kind.
    pub(in super::super) stamp: Stamp,
    /// Arrival minus true time, in flicks.
    pub(in super::super) delay: fn(TrackKind, i64) -> i64,
    /// Whether a frame is sent.
    pub(in super::super) keep: fn(TrackKind, i64) -> bool,
    /// Added to the stamps of each kind, in milliseconds.
    pub(in super::super) shift: [i64; 2],
    /// Kinds of which nothing is sent.
    pub(in super::super) mute: [bool; 2],
    /// Further tracks.
    pub(in super::super) further: Vec<Beside>,
    sent: [i64; 2],
    start: i64,
}

/// A further track: it has the first one's frames of its kind, or some of them.
pub(in super::super) struct Beside {
    pub(in super::super) id: TrackId,
    /// Whether the first track's frame `n` of a session is one of its own, and then whether it is a sync sample.
    pub(in super::super) frame: fn(i64) -> Option<bool>,
    /// Frames that its encoder is behind.
    pub(in super::super) behind: usize,
    waiting: std::collections::VecDeque<CodedFrame>,
}

impl Beside {
    pub(in super::super) fn new(id: u8, frame: fn(i64) -> Option<bool>) -> Self {
        Self { id: TrackId(id), frame, behind: 0, waiting: std::collections::VecDeque::new() }
    }
}

impl Publisher {
    pub(in super::super) fn new() -> Self {
        Self {
            timeline: Timeline::new(),
            feeds: Feeds::default(),
            began: crate::stream::clock(),
            clock: 0,
            video: Some(Rate(30, 1)),
            audio: Some((48_000, 1_024)),
            gop: 60,
            offsets: vec![0],
            stamp: |_, time| time.div_euclid(MILLI),
            delay: |_, _| 0,
            keep: |_, _| true,
            shift: [0, 0],
            mute: [false, false],
            further: Vec::new(),
            sent: [0, 0],
            start: 0,
        }
    }

    /// Begins a session at the present time; frame numbers and times start again.
    pub(in super::super) fn begin(&mut self, configs: &[CodecConfig]) -> &mut Self {
        self.timeline.begin();
        for config in configs {
            self.timeline.config(first_of(config.kind()), config.clone());
        }
        (self.sent, self.start) = ([0, 0], self.clock);
        self
    }

    pub(in super::super) fn standard(&mut self) -> &mut Self {
        self.begin(&[avc(1280), aac()])
    }

    /// Sends until `seconds` more have gone by.
    pub(in super::super) fn run(&mut self, seconds: i64) -> &mut Self {
        self.run_millis(seconds * 1_000)
    }

    pub(in super::super) fn run_millis(&mut self, millis: i64) -> &mut Self {
        let until = self.clock + millis * MILLI - self.start;
        loop {
            let video = self.video.map(|rate| rate.at(self.sent[0]));
            let audio = self.audio.map(|(rate, samples)| Rate(rate, samples.into()).at(self.sent[1]));
            let (kind, time) = match (video, audio) {
                (Some(video), Some(audio)) if audio < video => (TrackKind::Audio, audio),
                (Some(video), _) => (TrackKind::Video, video),
                (None, Some(audio)) => (TrackKind::Audio, audio),
                (None, None) => break,
            };
            if time >= until {
                break;
            }
            self.send(kind, time);
        }
        self.clock = self.start + until;
        self
    }

    /// Lets time go by without a frame.
    pub(in super::super) fn pass_millis(&mut self, millis: i64) -> &mut Self {
        self.clock += millis * MILLI;
        self
    }

    /// Instant and UTC of a simulated time.
    pub(in super::super) fn at(&self, flicks: i64) -> (Instant, WallTime) {
        let micros = flicks::micros(flicks);
        (self.began + Duration::from_micros(micros as u64), WallTime { micros: WALL + micros })
    }

    fn send(&mut self, kind: TrackKind, time: i64) {
        let n = self.sent[kind as usize];
        self.sent[kind as usize] += 1;
        if !(self.keep)(kind, time) || self.mute[kind as usize] {
            return;
        }
        let video = kind == TrackKind::Video;
        let offset = self.offsets[(n % self.gop) as usize % self.offsets.len()];
        let due = self.start + time + if video { i64::from(offset) * MILLI } else { 0 };
        let (rate, samples) = self.audio.unwrap_or((48_000, 0));
        let frame = CodedFrame {
            track: first_of(kind),
            kind,
            timestamp: ((self.stamp)(kind, time) + self.shift[kind as usize]) as u32,
            nanos: 0,
            cts: if video { offset } else { 0 },
            sync: !video || n % self.gop == 0,
            disposable: false,
            samples: if video { 0 } else { samples },
            nominal: if video { 0 } else { i64::from(samples) * SECOND / rate },
            // The true time at which it is due, so that tests can compare.
            payload: Bytes::from(due.to_be_bytes().to_vec()),
        };
        let (now, wall) = self.at(self.start + time + (self.delay)(kind, time));
        self.timeline.push(now, wall, frame.clone());
        for beside in self.further.iter_mut().filter(|beside| is_kind(beside.id, kind)) {
            if let Some(sync) = (beside.frame)(n) {
                beside.waiting.push_back(CodedFrame { track: beside.id, sync, ..frame.clone() });
            }
            while beside.waiting.len() > beside.behind {
                let frame = beside.waiting.pop_front().unwrap();
                self.timeline.push(now, wall, frame);
            }
        }
        self.feeds.take(&mut self.timeline);
    }

    /// Ends the session and takes what is left.
    pub(in super::super) fn end(&mut self) -> &mut Self {
        self.timeline.end();
        self.feeds.take(&mut self.timeline);
        self
    }

    pub(in super::super) fn counts(&mut self) -> super::super::Counts {
        let mut counts = super::super::Counts::default();
        for (kind, count) in self.timeline.take_counts() {
            counts.add_many(kind, count);
        }
        counts
    }
}

/// Whether a further track is of a kind.
fn is_kind(id: TrackId, kind: TrackKind) -> bool {
    crate::demux::wire_number(id).0 == kind
}

/// The true time at which a simulated sample is due, in flicks; `None` for silence that was put in.
pub(in super::super) fn truth(sample: &Sample) -> Option<i64> {
    Some(i64::from_be_bytes(sample.payload.as_ref().try_into().ok()?))
}

/// Largest difference between the output relation of sound and pictures and their true one, over samples whose true
/// time is at least `from`.
pub(in super::super) fn skew(feeds: &Feeds, from: i64) -> i64 {
    let offsets = |id| -> Vec<(i64, i64)> {
        let late = feeds.of(id).filter_map(|s| Some((truth(s)?, s))).filter(|(t, _)| *t >= from);
        late.map(|(t, s)| (t, s.pts.as_flicks() - t)).collect()
    };
    let (video, audio) = (offsets(TrackId::VIDEO), offsets(TrackId::AUDIO));
    let mut worst = 0;
    let mut near = 0;
    for (time, offset) in audio {
        while near + 1 < video.len() && video[near + 1].0 <= time {
            near += 1;
        }
        if let Some((_, beside)) = video.get(near) {
            worst = worst.max((offset - beside).abs());
        }
    }
    worst
}
