//! The pictures' thread: decodes, puts pictures on the rungs' timeline, scales them, and hands them to the rungs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use aqueduct_common::{MediaTime, Timescale, Track};

use super::ahead::Ahead;
use super::complexity::{Luma, Meter};
use super::grid::{Filled, Grid, Rhythm, Slot};
use super::output::Output;
use super::recipe::{Fields, Told};
use super::rungs::{Rungs, Setting};
use super::scale::{Scaled, Scaler};
use super::slots::{Shown, Times};
use super::source::Source;
use super::stats::Stats;
use super::timing::{Timing, on_fields};
use crate::hardware::Backend;
use crate::protocol::{Frame, HELD, Job, Mode, Order, PlantedFault, VideoJob};
use crate::sys::{AvError, Picture, thread_micros};

/// What the thread is told.
pub(super) enum ToVideo {
    /// The source's video track from here on.
    Source(Track),
    /// One of its frames.
    Frame(Frame),
    /// The timeline breaks.
    Break,
    /// A change.
    Order(Order),
}

/// What the thread works with.
pub(super) struct Video {
    job: Job,
    cores: usize,
    out: Output,
    stats: Arc<Stats>,
    rungs: Rungs,
    source: Option<Source>,
    scaler: Option<Scaler>,
    half_scaler: Option<Scaler>,
    /// Regular mode's grid.
    grid: Option<Grid>,
    /// Times of frames inside a graph that holds one back.
    inside: VecDeque<Times>,
    /// The newest pictures in all sizes, for repeats.
    last: Option<(Scaled, Option<Scaled>)>,
    /// The newest picture, where it was not worth scaling.
    held: Option<Picture>,
    /// The newest decoded picture, to be repeated through a graph that holds one back.
    newest: Option<Picture>,
    /// Aligned mode: nothing goes out before the first frame from this decode time on.
    resume: Option<i64>,
    warm: bool,
    taken: u64,
    meter: Meter,
    scale_micros: u64,
}

/// The thread: ends when nobody sends any more, or nothing is left that decodes.
pub(super) fn run(video: &mut Video, messages: &Receiver<ToVideo>) -> Result<(), AvError> {
    while let Ok(message) = messages.recv() {
        video.handle(message)?;
    }
    video.flush()
}

impl Video {
    /// Starts the rungs.
    pub(super) fn start(
        job: &Job,
        video: &VideoJob,
        cores: usize,
        ahead: Arc<Ahead>,
        (out, stats): (Output, Arc<Stats>),
    ) -> std::io::Result<Self> {
        let setting = Setting { backends: &job.hardware.encode, cores, out: &out, stats: &stats };
        let rungs = Rungs::start(&video.rungs, &setting, ahead)?;
        Ok(Self {
            resume: job.resume.filter(|_| job.mode == Mode::Aligned),
            job: job.clone(),
            cores,
            out,
            stats,
            rungs,
            source: None,
            scaler: None,
            half_scaler: None,
            grid: None,
            inside: VecDeque::new(),
            last: None,
            held: None,
            newest: None,
            warm: false,
            taken: 0,
            meter: Meter::new((30, 1)),
            scale_micros: 0,
        })
    }

    /// Every rung gives out what it holds, and ends.
    pub(super) fn finish(self) {
        self.rungs.finish();
    }

    fn handle(&mut self, message: ToVideo) -> Result<(), AvError> {
        match message {
            ToVideo::Source(track) => self.set_source(track),
            ToVideo::Frame(frame) => self.frame(&frame),
            ToVideo::Break => {
                self.flush()?;
                self.forget_mark();
                if let Some(grid) = &mut self.grid {
                    grid.restart();
                }
                Ok(())
            }
            ToVideo::Order(order) => self.order(order),
        }
    }

    fn order(&mut self, order: Order) -> Result<(), AvError> {
        let aligned = self.job.mode == Mode::Aligned;
        let order = match order {
            Order::Start(track, _) if !aligned => Order::Start(track, i64::MIN),
            order => order,
        };
        match order {
            Order::Begin(from) if aligned => self.resume = Some(from),
            Order::Echo => self.rungs.echo(&self.out),
            order => {
                if self.rungs.order(order) {
                    self.set_sizes()?;
                }
            }
        }
        Ok(())
    }

    /// The timeline breaks: where frames begin to count on the old one means nothing on the new one.
    fn forget_mark(&mut self) {
        self.resume = self.resume.filter(|mark| *mark == HELD);
    }

    fn set_source(&mut self, track: Track) -> Result<(), AvError> {
        self.flush()?;
        let full = Timing::of(self.job.mode, &track);
        let half = full.halved();
        self.rungs.set_timing(&full, &half);
        self.meter.set_rate(full.frame_rate);
        self.set_grid(&track);
        let (fields, told) = (on_fields(self.job.mode, &track), Told::of(&track));
        match &mut self.source {
            Some(source) => {
                source.replace(track);
                self.resume = self.resume.filter(|mark| *mark == HELD);
            }
            None => {
                let backends = self.job.hardware.decode.clone();
                let (out, stats) = (self.out.clone(), self.stats.clone());
                let hz = track.timescale.hz();
                self.source = Some(Source::new(track, backends, self.cores, out, stats));
                let sizes = self.rungs.sizes();
                self.scaler = Some(Scaler::new(sizes.all, fields, hz, self.out.clone()));
                self.half_scaler = Some(Scaler::new(sizes.half, Fields::Progressive, hz, self.out.clone()));
                self.set_stay();
            }
        }
        if let Some(scaler) = &mut self.scaler {
            scaler.set_told(told);
        }
        Ok(())
    }

    fn set_grid(&mut self, track: &Track) {
        let Mode::Regular { frame, timescale, gop } = self.job.mode else { return };
        let timescale = Timescale::new(timescale).unwrap_or(Timescale::VIDEO);
        let rhythm = Rhythm { frame: frame.max(1), timescale, gop: gop.max(1) };
        match &mut self.grid {
            Some(grid) => grid.replace_source(track.timescale),
            None => self.grid = Some(Grid::new(rhythm, track.timescale, self.job.resume)),
        }
    }

    /// Pictures stay on the device where the same one decodes and encodes.
    fn set_stay(&mut self) {
        let hardware = &self.job.hardware;
        let first = hardware.encode.first().filter(|backend| **backend != Backend::Software).copied();
        let same = first.filter(|backend| hardware.decode.first() == Some(backend));
        for scaler in [&mut self.scaler, &mut self.half_scaler].into_iter().flatten() {
            scaler.set_stay(same);
        }
    }

    fn set_sizes(&mut self) -> Result<(), AvError> {
        self.flush_scaler()?;
        let sizes = self.rungs.sizes();
        if let Some(scaler) = &mut self.scaler {
            scaler.set_sizes(sizes.all);
        }
        if let Some(scaler) = &mut self.half_scaler {
            scaler.set_sizes(sizes.half);
        }
        self.last = None;
        self.held = self.newest.as_ref().map(Picture::share).transpose()?;
        Ok(())
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), AvError> {
        self.plant();
        if self.rungs.are_dead() {
            return Err(AvError::new("encoding", "no backend is left for any rung"));
        }
        let Some(source) = &mut self.source else { return Ok(()) };
        let timescale = source.track().timescale;
        let span = MediaTime::new(frame.duration.into(), timescale).micros();
        let start = thread_micros();
        let outcome = source.push(frame);
        let shown: Vec<_> = std::iter::from_fn(|| source.pop()).collect();
        let decode = thread_micros() - start;
        outcome?;
        for shown in shown {
            self.show(shown)?;
        }
        self.stats.spent(decode, std::mem::take(&mut self.scale_micros));
        self.stats.handled(span);
        Ok(())
    }

    /// Gives out everything that is inside: the next frame is a sync frame.
    fn flush(&mut self) -> Result<(), AvError> {
        let shown = self.source.as_mut().map(Source::flush).unwrap_or_default();
        for shown in shown {
            self.show(shown)?;
        }
        self.flush_scaler()?;
        self.rungs.settle_last();
        Ok(())
    }

    fn flush_scaler(&mut self) -> Result<(), AvError> {
        let rest = self.scaler.as_mut().map(Scaler::flush).transpose()?.unwrap_or_default();
        self.out_of_graph(rest)
    }

    /// Puts a frame on the rungs' timeline.
    fn show(&mut self, shown: Shown<Picture>) -> Result<(), AvError> {
        let Shown { times, picture } = shown;
        if picture.is_none() {
            self.stats.repeat();
        }
        if let Some(picture) = &picture {
            self.newest = Some(picture.share()?);
        }
        if !self.warm
            && let Some(picture) = &picture
        {
            self.warm_up(picture.share()?, times)?;
        }
        if let Some(resume) = self.resume {
            if times.dts < resume {
                self.held = picture.or(self.held.take());
                return Ok(());
            }
            self.resume = None;
        }
        let delayed = self.scaler.as_ref().is_some_and(Scaler::is_delayed);
        match self.grid {
            None if delayed || picture.as_ref().is_some_and(Picture::is_interlaced) => {
                self.through(picture, times)
            }
            None => self.show_now(picture, times),
            Some(_) if delayed || picture.as_ref().is_some_and(Picture::is_interlaced) => {
                self.through(picture, times)
            }
            Some(_) => self.show_regular(picture, times),
        }
    }

    /// Scales the first picture, so that encoders are open when the first frame that counts is there.
    fn warm_up(&mut self, picture: Picture, times: Times) -> Result<(), AvError> {
        self.warm = true;
        if picture.is_interlaced() {
            return Ok(());
        }
        if let Some(scaled) = self.scale(picture, times.pts)? {
            let half = self.scale_half(&scaled)?;
            self.rungs.warm(&scaled, half.as_ref())?;
            self.last = Some((scaled, half));
        }
        Ok(())
    }

    /// Aligned: one frame out for each one in.
    fn show_now(&mut self, picture: Option<Picture>, times: Times) -> Result<(), AvError> {
        if let Some(picture) = picture.or_else(|| self.held.take()) {
            self.held = None;
            let scaled = self.scale(picture, times.pts)?;
            self.last = scaled.map(|scaled| (scaled, None));
        }
        self.emit(times)
    }

    /// Regular: the slots that this picture fills.
    fn show_regular(&mut self, picture: Option<Picture>, times: Times) -> Result<(), AvError> {
        let Some(grid) = &mut self.grid else { return Ok(()) };
        let filled = grid.fill(times.pts);
        self.say_skipped(&filled);
        if !filled.before.is_empty()
            && let Some(held) = self.held.take()
        {
            self.last = self.scale(held, times.pts)?.map(|scaled| (scaled, None));
        }
        self.emit_slots(&filled.before, times)?;
        if filled.with.is_empty() {
            self.held = picture.or_else(|| self.held.take());
        } else {
            if let Some(picture) = picture.or_else(|| self.held.take()) {
                self.held = None;
                self.last = self.scale(picture, times.pts)?.map(|scaled| (scaled, None));
            }
            self.emit_slots(&filled.with, times)?;
        }
        Ok(())
    }

    /// Through a graph that holds a picture back: repeats go through it as well, so that the count stays.
    fn through(&mut self, picture: Option<Picture>, times: Times) -> Result<(), AvError> {
        let picture = match picture {
            Some(picture) => Some(picture),
            None => self.newest.as_ref().map(Picture::share).transpose()?,
        };
        let (Some(picture), Some(scaler)) = (picture, &mut self.scaler) else { return self.emit(times) };
        self.inside.push_back(times);
        let start = thread_micros();
        let out = scaler.push(picture, times.pts)?;
        self.scale_micros += thread_micros() - start;
        self.out_of_graph(out)
    }

    fn out_of_graph(&mut self, out: Vec<Scaled>) -> Result<(), AvError> {
        for scaled in out {
            let pts = scaled.pts;
            if let Some(grid) = &mut self.grid {
                let times = self.inside.front().copied();
                self.inside.retain(|times| times.pts > pts);
                let filled = grid.fill(pts);
                self.say_skipped(&filled);
                let Some(times) = times.or_else(|| self.inside.front().copied()) else { continue };
                self.emit_slots(&filled.before, times)?;
                self.last = Some((scaled, None));
                self.emit_slots(&filled.with, times)?;
            } else if let Some(times) = self.inside.pop_front() {
                self.last = Some((scaled, None));
                self.emit(times)?;
            }
        }
        Ok(())
    }

    fn emit_slots(&mut self, slots: &[Slot], times: Times) -> Result<(), AvError> {
        let Mode::Regular { frame, .. } = self.job.mode else { return Ok(()) };
        for slot in slots {
            let Slot { dts, sync } = *slot;
            let times = Times { dts, pts: dts, duration: frame.max(1), sync, received: times.received };
            self.emit(times)?;
        }
        Ok(())
    }

    /// One frame of the rungs' timeline, with the newest pictures.
    fn emit(&mut self, times: Times) -> Result<(), AvError> {
        if self.last.is_none() {
            let sizes =
                |scaler: &Option<Scaler>| scaler.as_ref().map(|s| s.sizes().to_vec()).unwrap_or_default();
            let half = Scaled::black(&sizes(&self.half_scaler), times.pts);
            self.last = Some((Scaled::black(&sizes(&self.scaler), times.pts), Some(half)));
        }
        let Some((all, half)) = self.last.take() else { return Ok(()) };
        self.measure(&all, times.sync);
        let mut half = half;
        if self.rungs.give(times, &all)? {
            if half.is_none() {
                half = self.scale_half(&all)?;
            }
            self.rungs.give_half(times, &all, half.as_ref())?;
        }
        self.last = Some((all, half));
        Ok(())
    }

    fn scale(&mut self, picture: Picture, pts: i64) -> Result<Option<Scaled>, AvError> {
        let Some(scaler) = &mut self.scaler else { return Ok(None) };
        let start = thread_micros();
        let scaled = scaler.push(picture, pts)?.pop();
        self.scale_micros += thread_micros() - start;
        Ok(scaled)
    }

    /// The half-rate sizes, from the smallest of the others.
    fn scale_half(&mut self, all: &Scaled) -> Result<Option<Scaled>, AvError> {
        let Some(scaler) = self.half_scaler.as_mut().filter(|scaler| !scaler.sizes().is_empty()) else {
            return Ok(None);
        };
        let Some(least) = all.pictures.last() else { return Ok(None) };
        let start = thread_micros();
        let scaled = scaler.push(least.share()?, all.pts)?.pop();
        self.scale_micros += thread_micros() - start;
        Ok(scaled)
    }

    /// Measures complexity, and applies it at IDRs.
    fn measure(&mut self, all: &Scaled, sync: bool) {
        if !self.rungs.want_complexity() {
            return;
        }
        if sync {
            self.rungs.cap(self.meter.at_idr());
        }
        let picture =
            all.pictures.iter().rev().find(|picture| picture.width() >= 320).or(all.pictures.first());
        self.meter.frame(|| {
            let picture = picture?;
            let (data, stride) = picture.luma()?;
            Luma::reduce(data, stride, picture.width() as usize, picture.height() as usize)
        });
        self.stats.set_complexity(self.meter.index());
    }

    fn say_skipped(&self, filled: &Filled) {
        if filled.skipped {
            self.out.trouble(
                "no picture came for more than a second: frames are left out up to the next segment",
            );
        }
    }

    /// Acts out a planted fault once its frame has come.
    fn plant(&mut self) {
        let due = self.job.plant.filter(|plant| plant.after_frames == self.taken);
        self.taken += 1;
        match due.map(|plant| plant.fault) {
            Some(PlantedFault::Abort) => std::process::abort(),
            Some(PlantedFault::Hang) => {
                self.stats.stop();
                loop {
                    std::thread::park();
                }
            }
            Some(PlantedFault::Fail) => self.rungs.fail(),
            Some(PlantedFault::Escape) => self.out.trouble(super::cage::attempts()),
            None => {}
        }
    }
}
