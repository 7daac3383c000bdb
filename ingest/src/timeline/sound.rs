//! The audio track's output: decode times by counting samples; stamps only check them (TL-15, TL-16, TL-21).

use std::collections::VecDeque;

use aqueduct_common::codec::CodecConfig;
use aqueduct_common::event::Anomaly;
use aqueduct_common::track::Grid;
use aqueduct_common::{MediaTime, Sample, Timescale, TrackId, WallTime};
use bytes::Bytes;

use super::counts::Counts;
use super::flicks::{self, MILLI, SECOND};
use super::pictures::{Placing, STRETCH_MAX};
use super::silence;
use super::source::Placed;

/// Stamps may differ from the count by this much (TL-15).
const TOLERANCE: i64 = 40 * MILLI;
/// Packets in a row beyond it that are believed (TL-15).
const BELIEVED_AFTER: u8 = 5;
/// A difference that is believed at once.
const OBVIOUS: i64 = SECOND;
/// Sound that lags this much behind pictures, beyond its usual lag, is missing and is filled (TL-21).
const MISSING_AFTER: i64 = SECOND;
/// Frames of silence that one gap is filled with at most; a longer one is a break.
const FILL_MAX: i64 = 256;

/// What may be done about a difference between count and stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The first frame is to come: it may set the count.
    Starting,
    /// Frames come.
    Steady,
    /// None came; silence goes in step with the pictures.
    Missing,
    /// Frames are dropped until stamps have caught up with the count.
    Cutting,
}

/// The audio track of a stream.
#[derive(Debug)]
pub(super) struct Sound {
    track: TrackId,
    config: CodecConfig,
    scale: Timescale,
    state: State,
    /// Decode time of the next sample, in ticks.
    next: i64,
    /// Packets in a row that were late or early, by sign.
    off: i8,
    /// Samples of a frame.
    frame: u32,
    silence: Option<Bytes>,
    usual_lag: i64,
    pub(super) out: VecDeque<Sample>,
    pub(super) counts: Counts,
}

impl Sound {
    /// A track with this configuration, whose frames have `frame` samples.
    pub(super) fn new(config: CodecConfig, frame: u32) -> Self {
        let rate = config.sound().map_or(48_000, |(rate, _)| rate);
        let silence = silence::frame(&config, frame);
        Self {
            track: TrackId::AUDIO,
            config,
            scale: Timescale::of(rate),
            state: State::Starting,
            next: 0,
            off: 0,
            frame: frame.max(1),
            silence,
            usual_lag: 0,
            out: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// The same on another track than the first.
    pub(super) fn on_track(self, track: TrackId) -> Self {
        Self { track, ..self }
    }

    /// Codec and parameters.
    pub(super) const fn config(&self) -> &CodecConfig {
        &self.config
    }

    /// The track's scale: its sampling rate (TL-3).
    pub(super) const fn timescale(&self) -> Timescale {
        self.scale
    }

    /// How samples are spaced.
    pub(super) fn grid(&self) -> Grid {
        Grid::Fixed(MediaTime::new(self.frame.into(), self.scale))
    }

    /// Silence can stand in for it.
    pub(super) const fn can_be_silent(&self) -> bool {
        self.silence.is_some()
    }

    /// End of the last sample, in flicks.
    pub(super) fn end_time(&self) -> i64 {
        flicks::of_ticks(self.next, self.scale)
    }

    /// Goes on at `time` flicks or later, leaving a hole. The first frame that comes says exactly where.
    pub(super) fn restart(&mut self, time: i64) {
        self.next = flicks::ticks(time, self.scale).max(self.next);
        if self.state != State::Missing {
            self.state = State::Starting;
        }
        self.off = 0;
        self.usual_lag = 0;
    }

    /// No frames are to be expected: silence from now on (TL-21).
    pub(super) const fn go_missing(&mut self) {
        self.state = State::Missing;
    }

    /// Frames are to be expected again.
    pub(super) const fn expect(&mut self) {
        self.state = State::Starting;
    }

    /// Places a frame whose source time is `time` flicks on the output's axis. `pictures` is the source time of the
    /// newest video frame.
    pub(super) fn place(&mut self, placed: &Placed, time: i64, pictures: Option<i64>) -> Placing {
        self.note_size(placed.frame.samples);
        let lag = pictures.map_or(0, |pictures| (pictures - time).max(0));
        self.usual_lag = lag.max(self.usual_lag - self.usual_lag / 512);
        let ticks = flicks::ticks(time, self.scale);
        let error = ticks - self.next;
        let half = i64::from(self.frame / 2);
        match self.state {
            State::Starting => {
                self.start(placed, error, half);
                Placing::Done
            }
            State::Steady => {
                let limit = flicks::ticks(TOLERANCE, self.scale);
                self.off = match error {
                    _ if error > limit => self.off.max(0) + 1,
                    _ if error < -limit => self.off.min(0) - 1,
                    _ => 0,
                };
                let believed = self.off.unsigned_abs() >= BELIEVED_AFTER;
                if believed || error.abs() > flicks::ticks(OBVIOUS, self.scale) {
                    return self.correct(placed, error, half);
                }
                self.emit(placed, 0);
                Placing::Done
            }
            State::Missing | State::Cutting => self.correct(placed, error, half),
        }
    }

    /// Fills with silence when frames do not come while pictures go on to `time` flicks (TL-21).
    pub(super) fn keep_up(&mut self, time: i64, received: WallTime) {
        let lag = time - self.end_time();
        if self.silence.is_none() || lag <= 0 {
            return;
        }
        if self.state != State::Missing {
            if lag < MISSING_AFTER + self.usual_lag {
                return;
            }
            self.state = State::Missing;
        }
        let frames = flicks::ticks(lag, self.scale) / i64::from(self.frame);
        self.fill(frames, received);
    }

    /// The first frame after a start: silence before it where it is late, and nothing from before the start.
    fn start(&mut self, placed: &Placed, error: i64, half: i64) {
        if error < -half {
            return;
        }
        let frames = (error + half) / i64::from(self.frame);
        if self.silence.is_some() && frames <= FILL_MAX {
            // The count begins so that the frame lies exactly where its stamp says.
            self.next += (error - frames * i64::from(self.frame)).max(0);
            self.fill(frames, placed.arrival.wall);
        } else {
            self.next += error.max(0);
        }
        self.state = State::Steady;
        self.emit(placed, 0);
    }

    /// Fills or cuts whole frames until count and stamp agree.
    fn correct(&mut self, placed: &Placed, error: i64, half: i64) -> Placing {
        if error < -half {
            self.state = State::Cutting;
            self.counts.add(Anomaly::AudioCut);
            return Placing::Done;
        }
        self.state = State::Steady;
        self.off = 0;
        let frames = (error + half) / i64::from(self.frame);
        if frames <= 0 {
            self.emit(placed, 0);
        } else if self.silence.is_some() && frames <= FILL_MAX {
            self.fill(frames, placed.arrival.wall);
            self.emit(placed, 0);
        } else if error <= flicks::ticks(STRETCH_MAX, self.scale) {
            // Without silence the frame lasts until its successor is due, so that later ones are in step.
            self.counts.add(Anomaly::AudioFill);
            self.emit(placed, error);
        } else {
            return Placing::Break;
        }
        Placing::Done
    }

    fn fill(&mut self, frames: i64, received: WallTime) {
        let Some(silence) = self.silence.clone() else { return };
        for _ in 0..frames.min(FILL_MAX) {
            self.counts.add(Anomaly::AudioFill);
            let sample = self.sample(silence.clone(), self.frame, received);
            self.out.push_back(sample);
        }
    }

    fn emit(&mut self, placed: &Placed, stretch: i64) {
        let samples = u32::try_from(i64::from(placed.frame.samples) + stretch).unwrap_or(u32::MAX).max(1);
        let sample = self.sample(placed.frame.payload.clone(), samples, placed.arrival.wall);
        self.out.push_back(sample);
    }

    fn sample(&mut self, payload: Bytes, duration: u32, received: WallTime) -> Sample {
        let dts = MediaTime::new(self.next, self.scale);
        self.next += i64::from(duration);
        let (sync, disposable) = (true, false);
        Sample { track: self.track, dts, pts: dts, duration, sync, disposable, payload, received }
    }

    fn note_size(&mut self, samples: u32) {
        if samples != self.frame && samples > 0 {
            self.frame = samples;
            self.silence = silence::frame(&self.config, samples);
        }
    }
}
