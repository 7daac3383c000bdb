//! The video track's output: contiguous decode times, on the frame grid where there is one (TL-10, TL-11, RTMP-44).

use std::collections::VecDeque;

use aqueduct_common::event::Anomaly;
use aqueduct_common::track::Grid;
use aqueduct_common::{MediaTime, Sample, Timescale, TrackId};

use super::counts::Counts;
use super::flicks::{self, MILLI, SECOND};
use super::grid::{self, ENOUGH_FRAMES, Fit};
use super::residual::{Residual, Verdict};
use super::source::Placed;

/// A gap stretches the sample after it by no more than this where that sample could begin a new discontinuity.
pub(super) const STRETCH_MAX: i64 = 150 * MILLI;
/// Largest composition offset in either direction (RTMP-40).
pub(super) const OFFSET_MAX: i32 = 10_000;
/// Spacing taken for granted before two frames were seen.
const USUAL_SPACING: i64 = 40 * MILLI;

/// Where the next sample goes.
#[derive(Debug)]
enum Spacing {
    /// On the grid: durations are known without the next frame.
    Fixed {
        /// Frame duration in flicks.
        frame: i64,
        /// Decode time of the next sample, exact, in flicks.
        next: i64,
        /// How far frames lie from their places.
        residual: Residual,
    },
    /// As measured: each sample waits for the next one's time.
    Variable {
        /// The sample that waits, its place on the axis, and its source time.
        waiting: Option<(Sample, i64)>,
        /// The usual step, in flicks.
        usual: i64,
    },
}

/// What a frame calls for before it can be placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Placing {
    /// It was placed.
    Done,
    /// Frames are missing before this sync sample or sound, more than a stretch can hide: begin a discontinuity and
    /// place it again (RTMP-44).
    Break,
}

/// The video track of a stream.
#[derive(Debug)]
pub(super) struct Pictures {
    scale: Timescale,
    spacing: Spacing,
    /// End of the last sample, in ticks.
    end: i64,
    widest: i64,
    /// Source times since the grid was lost, to find it again.
    recent: Vec<i64>,
    pub(super) out: VecDeque<Sample>,
    pub(super) counts: Counts,
}

impl Pictures {
    /// A track with the grid that its first frames show. `widest` is the widest spacing among them.
    pub(super) fn new(fit: Option<Fit>, widest: i64) -> Self {
        let scale = fit.map_or(Timescale::VIDEO, |fit| grid::timescale(fit.spacing));
        let mut pictures = Self {
            scale,
            spacing: Spacing::Variable { waiting: None, usual: USUAL_SPACING },
            end: 0,
            widest: widest.max(MILLI),
            recent: Vec::new(),
            out: VecDeque::new(),
            counts: Counts::default(),
        };
        pictures.regrid(fit, widest);
        pictures
    }

    /// Takes over the grid that another publisher's first frames show. The scale stays (TL-3).
    pub(super) fn regrid(&mut self, fit: Option<Fit>, widest: i64) {
        self.flush();
        self.widest = widest.max(MILLI);
        self.recent.clear();
        self.spacing = match fit {
            Some(fit) => {
                Spacing::Fixed { frame: fit.spacing, next: self.end_time(), residual: Residual::default() }
            }
            None => Spacing::Variable { waiting: None, usual: USUAL_SPACING },
        };
    }

    /// The track's scale.
    pub(super) const fn timescale(&self) -> Timescale {
        self.scale
    }

    /// How samples are spaced.
    pub(super) fn grid(&self) -> Grid {
        let of = |span: i64| MediaTime::new(flicks::ticks(span, self.scale).max(1), self.scale);
        match self.spacing {
            Spacing::Fixed { frame, .. } => Grid::Fixed(of(frame)),
            Spacing::Variable { .. } => Grid::Variable { widest: of(self.widest) },
        }
    }

    /// Duration of a frame in flicks, on a grid.
    pub(super) const fn spacing(&self) -> Option<i64> {
        match self.spacing {
            Spacing::Fixed { frame, .. } => Some(frame),
            Spacing::Variable { .. } => None,
        }
    }

    /// Frames per 1 000 seconds, on a grid.
    pub(super) fn millifps(&self) -> Option<u32> {
        match self.spacing {
            Spacing::Fixed { frame, .. } => Some(grid::millifps(frame)),
            Spacing::Variable { .. } => None,
        }
    }

    /// End of the last sample that is out or waits, in flicks.
    pub(super) fn end_time(&self) -> i64 {
        match &self.spacing {
            Spacing::Variable { waiting: Some((sample, _)), usual } => {
                flicks::of_ticks(sample.dts.ticks, self.scale) + usual
            }
            _ => flicks::of_ticks(self.end, self.scale),
        }
    }

    /// The presentation delay that a frame has, in ticks.
    pub(super) fn reorder_delay(&self, cts_millis: i32) -> i64 {
        self.ticks(self.offset(cts_millis))
    }

    /// Presentation delay of a frame in flicks, snapped to the grid (RTMP-41).
    pub(super) fn offset(&self, cts_millis: i32) -> i64 {
        let offset = i64::from(cts_millis.clamp(-OFFSET_MAX, OFFSET_MAX)) * MILLI;
        match self.spacing {
            Spacing::Fixed { frame, .. } => (offset + frame / 2).div_euclid(frame) * frame,
            Spacing::Variable { .. } => offset,
        }
    }

    /// The composition offset is beyond what is believed (RTMP-40).
    pub(super) const fn clamps(cts_millis: i32) -> bool {
        cts_millis.unsigned_abs() > OFFSET_MAX.unsigned_abs()
    }

    /// Goes on at `time` flicks, which lies at or after [`end_time`](Self::end_time), leaving a hole.
    pub(super) fn restart(&mut self, time: i64) {
        self.flush();
        self.end = self.ticks(time).max(self.end);
        self.recent.clear();
        if let Spacing::Fixed { next, residual, .. } = &mut self.spacing {
            (*next, *residual) = (time, Residual::default());
        }
    }

    /// Sends the sample that waits for a next one, which is known to come at `time`.
    pub(super) fn settle(&mut self, time: i64) {
        let ticks = self.ticks(time);
        if let Spacing::Variable { waiting, .. } = &mut self.spacing
            && let Some((mut sample, _)) = waiting.take()
        {
            sample.duration = u32::try_from((ticks - sample.dts.ticks).max(1)).unwrap_or(u32::MAX);
            self.end = sample.dts.ticks + i64::from(sample.duration);
            self.out.push_back(sample);
        }
    }

    /// Sends the sample that waits for a next one, with the usual duration.
    pub(super) fn flush(&mut self) {
        if let Spacing::Variable { waiting, usual } = &mut self.spacing
            && let Some((mut sample, _)) = waiting.take()
        {
            let duration = flicks::ticks(*usual, self.scale).max(1);
            sample.duration = u32::try_from(duration).unwrap_or(1);
            self.end = sample.dts.ticks + i64::from(sample.duration);
            self.out.push_back(sample);
        }
    }

    /// Places a frame whose source time is `time` flicks on the output's axis.
    pub(super) fn place(&mut self, placed: &Placed, time: i64) -> Placing {
        if Self::clamps(placed.frame.cts) {
            self.counts.add(Anomaly::CompositionOffset);
        }
        match &mut self.spacing {
            Spacing::Fixed { frame, next, residual } => {
                let frame = *frame;
                match residual.judge(time - *next, frame, placed.frame.sync) {
                    Verdict::OnGrid => self.place_on_grid(placed, frame, 0),
                    Verdict::Slip(slip) => self.place_on_grid(placed, frame, slip),
                    Verdict::Missing(missing) => {
                        self.counts.add_many(Anomaly::Gap, u32::try_from(missing).unwrap_or(u32::MAX));
                        // A single frame is never more than can be hidden, however slow the source.
                        if missing * frame > STRETCH_MAX.max(frame) && placed.frame.sync {
                            return Placing::Break;
                        }
                        self.place_on_grid(placed, frame, missing * frame);
                    }
                    Verdict::Lost => {
                        self.lose_grid(frame);
                        self.place_measured(placed, time);
                    }
                }
            }
            Spacing::Variable { .. } => self.place_measured(placed, time),
        }
        Placing::Done
    }

    /// The sample lasts `moved` longer than a frame, and is shown that much later: at the time it was due.
    fn place_on_grid(&mut self, placed: &Placed, frame: i64, moved: i64) {
        let Spacing::Fixed { next, .. } = &mut self.spacing else { return };
        let dts = *next;
        *next += frame + moved;
        let end = flicks::ticks(dts + frame + moved, self.scale).max(self.end + 1);
        let pts = self.ticks(dts + moved.max(0) + self.offset(placed.frame.cts));
        let sample = self.sample(placed, self.end, pts, end - self.end);
        self.end = end;
        self.out.push_back(sample);
    }

    /// From now on by measured times. What was ahead of or behind the grid is worked off from frame to frame.
    fn lose_grid(&mut self, frame: i64) {
        self.counts.add(Anomaly::GridLost);
        self.recent.clear();
        self.spacing = Spacing::Variable { waiting: None, usual: frame };
    }

    fn place_measured(&mut self, placed: &Placed, time: i64) {
        let ticks = self.ticks(time);
        let Spacing::Variable { waiting, usual } = &mut self.spacing else { return };
        let mut late = (ticks - self.end).max(0);
        if let Some((mut before, source)) = waiting.take() {
            let step = time - source;
            *usual += (step.clamp(MILLI, SECOND) - *usual) / 8;
            self.widest = self.widest.max(step.clamp(0, SECOND));
            // Output that runs ahead of its source lets half of each step go until it is level again.
            let least = (flicks::ticks(step, self.scale) / 2).max(1);
            let duration = (ticks - before.dts.ticks).max(least);
            before.duration = u32::try_from(duration).unwrap_or(u32::MAX);
            self.end = before.dts.ticks + i64::from(before.duration);
            self.out.push_back(before);
            late = 0;
        }
        let pts = self.end + late + self.ticks(self.offset(placed.frame.cts));
        let sample = self.sample(placed, self.end, pts, 1);
        self.seek_grid(sample, time);
    }

    /// Looks for the grid again every [`ENOUGH_FRAMES`], and puts the sample on it or keeps it waiting.
    fn seek_grid(&mut self, sample: Sample, time: i64) {
        self.recent.push(time);
        let level = (flicks::of_ticks(sample.dts.ticks, self.scale) - time).abs() < 4 * MILLI;
        let found = if self.recent.len() >= ENOUGH_FRAMES {
            let found = if level { grid::fit(&self.recent) } else { None };
            self.recent.clear();
            found
        } else {
            None
        };
        match found {
            Some(fit) => {
                let dts = flicks::of_ticks(sample.dts.ticks, self.scale);
                let (frame, residual) = (fit.spacing, Residual::at(time - dts));
                let end = self.ticks(dts + frame);
                let duration = u32::try_from(end - sample.dts.ticks).unwrap_or(1).max(1);
                self.end = sample.dts.ticks + i64::from(duration);
                self.spacing = Spacing::Fixed { frame, next: dts + frame, residual };
                self.out.push_back(Sample { duration, ..sample });
            }
            None => {
                if let Spacing::Variable { waiting, .. } = &mut self.spacing {
                    *waiting = Some((sample, time));
                }
            }
        }
    }

    fn ticks(&self, time: i64) -> i64 {
        flicks::ticks(time, self.scale)
    }

    fn sample(&self, placed: &Placed, dts: i64, pts: i64, duration: i64) -> Sample {
        Sample {
            track: TrackId::VIDEO,
            dts: MediaTime::new(dts, self.scale),
            pts: MediaTime::new(pts, self.scale),
            duration: u32::try_from(duration).unwrap_or(u32::MAX).max(1),
            sync: placed.frame.sync,
            disposable: placed.frame.disposable,
            payload: placed.frame.payload.clone(),
            received: placed.arrival.wall,
        }
    }
}
