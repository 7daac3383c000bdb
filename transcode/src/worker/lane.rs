//! One rung: an encoder, which takes pictures and gives samples, on a thread of its own or with others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use aqueduct_common::{CodecConfig, Track};

use super::coder::{Coder, Made};
use super::output::Output;
use super::slots::Times;
use super::stats::{Encoded, Stats};
use super::timing::Timing;
use crate::hardware::Backend;
use crate::protocol::{Fallback, Frame, FromWorker, Preset, Rung, Stage};
use crate::sys::{AvError, Picture, thread_micros};

/// What a rung is told.
pub(super) enum ToLane {
    /// How its frames lie on the timeline, from the next sync frame on. First of all.
    Timing(Timing),
    /// A picture to open the encoder with: no frame comes of it.
    Warm(Picture),
    /// A picture to encode.
    Frame(Picture, Times),
    /// A picture to encode whose duration is told later.
    Open(Picture, Times),
    /// The duration of the frame with this decode time.
    Settle(i64, u32),
    /// Another effort from the next IDR on.
    Preset(Preset),
    /// Another average bitrate, at once where the encoder can, else from the next IDR on.
    Bitrate(u32),
    /// Most bits a second to spend, up to the peak.
    Cap(u32),
    /// Gives out what is inside and closes the encoder.
    Stop,
    /// Goes on, with an IDR.
    Start,
    /// Lets go of this, once everything told before is done.
    Echo(Arc<Echo>),
    /// The encoder is to fail (a planted fault).
    Fail,
}

/// Says [`FromWorker::Echo`] when the last who holds it lets go.
pub(super) struct Echo(pub(super) Output);

impl Drop for Echo {
    fn drop(&mut self) {
        self.0.send(FromWorker::Echo);
    }
}

/// What a rung is made with.
pub(super) struct LaneSetup {
    /// The rendition.
    pub(super) rung: Rung,
    /// Backends to try, in order.
    pub(super) backends: Vec<Backend>,
    /// Cores of this machine.
    pub(super) cores: usize,
    /// Where its frames go.
    pub(super) out: Output,
    /// Where its costs are told.
    pub(super) stats: Arc<Stats>,
    /// Rungs that have a backend left.
    pub(super) alive: Arc<AtomicUsize>,
}

struct Lane {
    setup: LaneSetup,
    timing: Option<Timing>,
    /// Which backend is in use.
    at: usize,
    coder: Option<Coder>,
    /// The next frame is an IDR, whatever the source's is: the rung begins, or what it would refer to is lost.
    begins: bool,
    /// A new encoder from the next sync frame on.
    reopen: bool,
    /// Most bits a second at present.
    cap: u32,
    /// The planted fault is due.
    fail: bool,
    /// The newest decode time that went out.
    last: Option<i64>,
    announced: Option<Track>,
    /// Frames whose duration is not known yet, and durations whose frame is not out yet.
    unsettled: VecDeque<Frame>,
    settled: VecDeque<(i64, u32)>,
}

/// A thread for these rungs, told which of them a message is for: ends when nobody sends any more, and gives out what
/// is inside before.
pub(super) fn run(setups: Vec<LaneSetup>, messages: &Receiver<(usize, ToLane)>) {
    let mut lanes: Vec<_> = setups.into_iter().map(Lane::new).collect();
    while let Ok((at, message)) = messages.recv() {
        if let Some(lane) = lanes.get_mut(at) {
            lane.handle(message);
        }
    }
    for lane in &mut lanes {
        lane.close();
        lane.release();
    }
}

impl Lane {
    fn new(setup: LaneSetup) -> Self {
        Self {
            cap: u32::MAX,
            setup,
            timing: None,
            at: 0,
            coder: None,
            begins: true,
            reopen: false,
            fail: false,
            last: None,
            announced: None,
            unsettled: VecDeque::new(),
            settled: VecDeque::new(),
        }
    }

    fn handle(&mut self, message: ToLane) {
        match message {
            ToLane::Timing(timing) => self.set_timing(timing),
            ToLane::Warm(picture) => self.warm(&picture),
            ToLane::Frame(picture, times) => self.frame(&picture, times, true),
            ToLane::Open(picture, times) => self.frame(&picture, times, false),
            ToLane::Settle(dts, duration) => self.settle(dts, duration),
            ToLane::Preset(preset) => {
                self.reopen |= self.setup.rung.preset != preset;
                self.setup.rung.preset = preset;
            }
            ToLane::Bitrate(bitrate) => {
                self.setup.rung.bitrate = bitrate;
                let (rung, cap) = (&self.setup.rung, self.cap);
                self.reopen |= self.coder.as_mut().is_some_and(|coder| !coder.set_bitrate(rung, cap));
            }
            ToLane::Cap(cap) => {
                self.cap = cap;
                let rung = &self.setup.rung;
                self.reopen |= self.coder.as_mut().is_some_and(|coder| !coder.set_cap(rung, cap));
            }
            ToLane::Stop => {
                self.close();
                self.release();
                self.begins = true;
            }
            ToLane::Start => self.begins = true,
            ToLane::Echo(echo) => drop(echo),
            ToLane::Fail => self.fail = true,
        }
    }

    fn set_timing(&mut self, timing: Timing) {
        let rate = |timing: &Timing| timing.frame_rate;
        self.reopen |= self.timing.as_ref().is_some_and(|old| rate(old) != rate(&timing));
        self.timing = Some(timing);
    }

    fn is_dead(&self) -> bool {
        self.at >= self.setup.backends.len()
    }

    fn backend(&self) -> Backend {
        self.setup.backends.get(self.at).copied().unwrap_or(Backend::Software)
    }

    fn warm(&mut self, picture: &Picture) {
        while self.coder.is_none() && !self.is_dead() {
            match self.open(picture) {
                Ok(()) => self.announce(),
                Err(error) => self.fall_back(&error),
            }
        }
    }

    fn frame(&mut self, picture: &Picture, mut times: Times, settled: bool) {
        if self.is_dead() {
            return;
        }
        // Pictures that lie elsewhere come from another decoder: another encoder takes over with them.
        let fits = self.coder.as_ref().is_none_or(|coder| coder.fits(picture));
        times.sync |= std::mem::take(&mut self.begins) || !fits;
        if times.sync && (std::mem::take(&mut self.reopen) || !fits) {
            self.close();
        }
        if !settled {
            self.unsettled_from(times.dts);
        }
        while !self.is_dead() {
            let Err(error) = self.encode(picture, times) else { return };
            self.fall_back(&error);
            // What follows refers to what is lost: the next encoder begins anew, with this picture if it is not out.
            if self.last >= Some(times.dts) {
                self.begins = true;
                return;
            }
            times.sync = true;
        }
    }

    /// Encodes one picture, and gives out all that is ready.
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread's shell measures what a frame takes by the clock"
    )]
    fn encode(&mut self, picture: &Picture, times: Times) -> Result<(), AvError> {
        let (start, cpu) = (Instant::now(), thread_micros());
        if self.coder.is_none() {
            self.open(picture)?;
        }
        if std::mem::take(&mut self.fail) {
            return Err(AvError::new("encoding", "a fault that was planted for a test"));
        }
        let Some(coder) = self.coder.as_mut() else { return Ok(()) };
        let mut made = coder.encode(picture, times)?.into_iter();
        let cost = (thread_micros() - cpu, start.elapsed().as_micros());
        self.give(made.next(), cost);
        made.for_each(|made| self.give(Some(made), (0, 0)));
        Ok(())
    }

    fn give(&mut self, made: Option<Made>, (cpu, wall): (u64, u128)) {
        let wall = u64::try_from(wall).unwrap_or(u64::MAX);
        let bytes = made.as_ref().map_or(0, |made| made.payload.len());
        let quantiser = made.as_ref().and_then(|made| made.quantiser);
        self.setup.stats.encoded(self.setup.rung.track, Encoded { cpu, wall, bytes, quantiser });
        if let Some(made) = made {
            self.announce();
            self.deliver(made);
        }
    }

    fn deliver(&mut self, made: Made) {
        let Made { times, payload, disposable, .. } = made;
        let Times { dts, pts, duration, sync, received } = times;
        self.last = Some(dts);
        let track = self.setup.rung.track;
        let frame = Frame { track, dts, pts, duration, sync, disposable, received, payload };
        let is_open = self.settled.iter().any(|(open, duration)| *open == dts && *duration == 0);
        match self.settled.iter().position(|(open, duration)| *open == dts && *duration > 0) {
            Some(index) => {
                let duration = self.settled.remove(index).map_or(duration, |(_, duration)| duration);
                self.setup.out.send(FromWorker::Frame(Frame { duration, ..frame }));
            }
            None if is_open => self.unsettled.push_back(frame),
            None => self.setup.out.send(FromWorker::Frame(frame)),
        }
    }

    /// A frame's duration is told later: an entry without one holds it back.
    fn unsettled_from(&mut self, dts: i64) {
        self.settled.retain(|(open, _)| *open < dts);
        self.settled.push_back((dts, 0));
        while self.settled.len() > 16 {
            self.settled.pop_front();
        }
    }

    fn settle(&mut self, dts: i64, duration: u32) {
        if let Some(index) = self.unsettled.iter().position(|frame| frame.dts == dts) {
            if let Some(frame) = self.unsettled.remove(index) {
                self.setup.out.send(FromWorker::Frame(Frame { duration, ..frame }));
            }
            self.settled.retain(|(open, _)| *open != dts);
        } else if let Some(entry) = self.settled.iter_mut().find(|(open, _)| *open == dts) {
            entry.1 = duration;
        }
    }

    /// Nothing more will be told about durations: frames go with those they have.
    fn release(&mut self) {
        self.settled.clear();
        for frame in self.unsettled.drain(..) {
            self.setup.out.send(FromWorker::Frame(frame));
        }
    }

    fn open(&mut self, picture: &Picture) -> Result<(), AvError> {
        let Some(timing) = &self.timing else {
            return Err(AvError::new("opening an encoder", "no source is known yet"));
        };
        let coder = Coder::open(
            self.backend(),
            &self.setup.rung,
            self.cap,
            timing.frame_rate,
            self.setup.cores,
            picture,
        )?;
        self.setup.stats.set_encoder(self.setup.rung.track, Some(coder.name()));
        self.coder = Some(coder);
        Ok(())
    }

    /// Gives out what the encoder holds, and closes it.
    fn close(&mut self) {
        let Some(mut coder) = self.coder.take() else { return };
        for made in coder.finish() {
            self.announce_config(made.config.clone());
            self.deliver(made);
        }
        self.setup.stats.set_encoder(self.setup.rung.track, None);
    }

    /// Tells the host what the frames are coded with, where that is new.
    fn announce(&mut self) {
        let config = self.coder.as_ref().and_then(|coder| coder.config().cloned());
        self.announce_config(config);
    }

    fn announce_config(&mut self, config: Option<CodecConfig>) {
        let (Some(codec), Some(timing)) = (config, &self.timing) else { return };
        let rung = &self.setup.rung;
        let track = Track {
            id: rung.track,
            codec,
            timescale: timing.timescale,
            grid: timing.grid,
            reorder_delay: timing.delay,
            language: timing.language.clone(),
            bandwidth: Some(rung.peak.into()),
        };
        if self.announced.as_ref() != Some(&track) {
            self.setup.out.send(FromWorker::Track(track.clone()));
            self.announced = Some(track);
        }
    }

    fn fall_back(&mut self, error: &AvError) {
        let from = self.backend();
        self.at += 1;
        self.coder = None;
        let to = self.setup.backends.get(self.at).copied();
        if to.is_none() {
            self.setup.alive.fetch_sub(1, Ordering::Relaxed);
        }
        let rung = &self.setup.rung;
        let reason = format!("rung {} ({}×{}): {error}", rung.track.0, rung.width, rung.height);
        self.setup.stats.set_encoder(rung.track, None);
        self.setup.out.send(FromWorker::Fallback(Fallback { stage: Stage::Encode, from, to, reason }));
    }
}
