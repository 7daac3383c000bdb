//! All rungs of a job: their threads, their sizes, and who gets which picture.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SendError, SyncSender, sync_channel};
use std::thread::JoinHandle;

use aqueduct_common::TrackId;

use super::ahead::Ahead;
use super::half::Half;
use super::lane::{self, Echo, LaneSetup, ToLane};
use super::output::Output;
use super::scale::Scaled;
use super::slots::Times;
use super::stats::Stats;
use super::timing::Timing;
use crate::hardware::Backend;
use crate::ladder::{encode_picos, harder};
use crate::protocol::{Order, Rung};
use crate::sys::{AvError, Picture};

/// Pictures that wait for one encoder. A slow one holds the others: they share the decoder, and the host drops.
const QUEUE: usize = 3;

/// What rungs take for a picture, by the estimate, up to which one thread encodes them all: half a frame at 30 frames a
/// second.
const LIGHT_PICOS: u64 = 16_000_000_000;

struct Lane {
    rung: Rung,
    sender: Sender,
    running: bool,
    /// It takes every second frame only: by its job, or because the host asked for it.
    halved: bool,
    /// The same from the next sync frame on.
    to_halve: bool,
    /// Its frames are those from this decode time on.
    from: i64,
}

/// The way to one rung on its thread.
struct Sender {
    thread: SyncSender<(usize, ToLane)>,
    /// Which of the thread's rungs.
    at: usize,
}

impl Sender {
    /// Waits for room. A thread that is gone takes nothing.
    fn send(&self, message: ToLane) -> Result<(), SendError<(usize, ToLane)>> {
        self.thread.send((self.at, message))
    }
}

impl Lane {
    fn takes(&self, times: &Times, ahead: &Ahead) -> bool {
        self.running && times.dts >= self.from && !ahead.is_stopping(self.rung.track)
    }
}

/// What all rungs work with.
pub(super) struct Setting<'a> {
    /// Backends to try, in order.
    pub(super) backends: &'a [Backend],
    /// Cores of this machine.
    pub(super) cores: usize,
    /// Where frames go.
    pub(super) out: &'a Output,
    /// Where costs are told.
    pub(super) stats: &'a Arc<Stats>,
}

/// The rungs.
pub(super) struct Rungs {
    lanes: Vec<Lane>,
    ahead: Arc<Ahead>,
    threads: Vec<JoinHandle<()>>,
    half: Half,
    /// Rungs that have a backend left.
    alive: Arc<AtomicUsize>,
    /// Decode time of the half-rate frame whose duration is not told yet.
    open: Option<i64>,
    /// The timing of rungs with every frame, and with every second one.
    timings: Option<(Timing, Timing)>,
}

/// Sizes to scale to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Sizes {
    /// For every frame, from large to small.
    pub(super) all: Vec<(u32, u32)>,
    /// For every second frame, scaled from the smallest of the others; from large to small.
    pub(super) half: Vec<(u32, u32)>,
}

impl Rungs {
    /// Starts the rungs: a thread for each, or one for all where they are light.
    pub(super) fn start(rungs: &[Rung], setting: &Setting<'_>, ahead: Arc<Ahead>) -> std::io::Result<Self> {
        let Setting { backends, cores, out, stats } = *setting;
        let alive = Arc::new(AtomicUsize::new(rungs.len()));
        let (mut lanes, mut threads) = (Vec::new(), Vec::new());
        let together = if are_light(rungs, backends) { rungs.len() } else { 1 };
        for crew in rungs.chunks(together.max(1)) {
            let setup = |rung: &Rung| LaneSetup {
                rung: rung.clone(),
                backends: backends.to_vec(),
                cores,
                out: out.clone(),
                stats: stats.clone(),
                alive: alive.clone(),
            };
            let setups = crew.iter().map(setup).collect();
            let (sender, receiver) = sync_channel(QUEUE * crew.len());
            let name = crew.first().map_or(0, |rung| rung.track.0);
            let thread = std::thread::Builder::new().name(format!("rung-{name}"));
            threads.push(thread.spawn(move || lane::run(setups, &receiver))?);
            lanes.extend(crew.iter().enumerate().map(|(at, rung)| Lane {
                rung: rung.clone(),
                sender: Sender { thread: sender.clone(), at },
                running: true,
                halved: rung.half_rate,
                to_halve: rung.half_rate,
                from: i64::MIN,
            }));
        }
        Ok(Self { lanes, ahead, threads, half: Half::default(), alive, open: None, timings: None })
    }

    /// No rung has a backend left.
    pub(super) fn are_dead(&self) -> bool {
        !self.lanes.is_empty() && self.alive.load(Ordering::Relaxed) == 0
    }

    /// What running rungs need.
    pub(super) fn sizes(&self) -> Sizes {
        sizes(self.lanes.iter().filter(|lane| lane.running).map(|lane| &lane.rung))
    }

    /// Some running rung stops at a quality, so that complexity matters.
    pub(super) fn want_complexity(&self) -> bool {
        self.lanes.iter().any(|lane| lane.running && lane.rung.crf.is_some())
    }

    /// How frames lie on the timeline from now on; half-rate rungs have half of the rate.
    pub(super) fn set_timing(&mut self, full: &Timing, half: &Timing) {
        for lane in &self.lanes {
            let timing = if lane.halved { half } else { full };
            let _ = lane.sender.send(ToLane::Timing(timing.clone()));
        }
        let spacing = full.grid.spacing().rescale(full.timescale).ticks;
        self.half.set_spacing(u32::try_from(spacing).unwrap_or_default());
        self.timings = Some((full.clone(), half.clone()));
    }

    /// Rungs that were asked to have another rate have it from this sync frame on.
    fn set_rates(&mut self) {
        let Some((full, half)) = &self.timings else { return };
        for lane in self.lanes.iter_mut().filter(|lane| lane.halved != lane.to_halve) {
            lane.halved = lane.to_halve;
            let timing = if lane.halved { half } else { full };
            let _ = lane.sender.send(ToLane::Timing(timing.clone()));
        }
    }

    /// Lets every rung open its encoder with a picture.
    pub(super) fn warm(&self, all: &Scaled, half: Option<&Scaled>) -> Result<(), AvError> {
        self.each(all, half, |lane, picture| {
            let _ = lane.sender.send(ToLane::Warm(picture));
        })
    }

    /// The next frame of the timeline. Says whether half-rate rungs take it too: then [`Rungs::give_half`] follows.
    pub(super) fn give(&mut self, times: Times, all: &Scaled) -> Result<bool, AvError> {
        let halved = self.half.push(times.sync, times.duration);
        self.settle(halved.settled);
        if times.sync {
            self.set_rates();
        }
        if halved.keep {
            self.open = Some(times.dts);
        }
        for lane in self.lanes.iter().filter(|lane| lane.takes(&times, &self.ahead) && !lane.halved) {
            if let Some(picture) = all.of_size((lane.rung.width, lane.rung.height)) {
                let _ = lane.sender.send(ToLane::Frame(picture.share()?, times));
            }
        }
        Ok(halved.keep && self.lanes.iter().any(|lane| lane.running && lane.halved))
    }

    /// The same frame for the half-rate rungs.
    pub(super) fn give_half(&self, times: Times, all: &Scaled, half: Option<&Scaled>) -> Result<(), AvError> {
        self.each(all, half, |lane, picture| {
            if lane.halved && lane.takes(&times, &self.ahead) {
                let _ = lane.sender.send(ToLane::Open(picture, times));
            }
        })
    }

    /// The timeline ends or breaks: the newest half-rate frame lasts as long as is known.
    pub(super) fn settle_last(&mut self) {
        let settled = self.half.finish();
        self.settle(settled);
    }

    /// The share of the peak to spend, from 0.6 to 1, for rungs that stop at a quality.
    pub(super) fn cap(&self, factor: f32) {
        for lane in self.lanes.iter().filter(|lane| lane.running && lane.rung.crf.is_some()) {
            let cap = f64::from(lane.rung.peak) * f64::from(factor);
            let _ = lane.sender.send(ToLane::Cap(cap as u32));
        }
    }

    /// Carries out an order. True where sizes may have changed.
    pub(super) fn order(&mut self, order: Order) -> bool {
        self.ahead.done(order);
        match order {
            Order::Stop(track) => self.switch(track, None),
            Order::Start(track, from) => self.switch(track, Some(from)),
            Order::Preset(preset) => {
                self.tell(None, || ToLane::Preset(preset));
                false
            }
            Order::HalfRate(track, half) => {
                let lanes = self.lanes.iter_mut();
                // Pictures of the others are scaled for every second frame only.
                lanes
                    .filter(|lane| lane.rung.track == track && !lane.rung.half_rate)
                    .for_each(|lane| lane.to_halve = half);
                false
            }
            Order::Bitrate(track, bitrate) => {
                self.tell(Some(track), || ToLane::Bitrate(bitrate));
                false
            }
            Order::Begin(_) | Order::Echo => false,
        }
    }

    /// Says when every rung has done what it was told.
    pub(super) fn echo(&self, out: &Output) {
        let echo = Arc::new(Echo(out.clone()));
        self.tell(None, || ToLane::Echo(echo.clone()));
    }

    /// Acts out a planted fault.
    pub(super) fn fail(&self) {
        self.tell(None, || ToLane::Fail);
    }

    /// Every rung gives out what it holds, and ends.
    pub(super) fn finish(mut self) {
        self.settle_last();
        self.lanes.clear();
        for thread in self.threads {
            let _ = thread.join();
        }
    }

    /// Runs a rung from this decode time on, or stops it.
    fn switch(&mut self, track: TrackId, run: Option<i64>) -> bool {
        let is_other = |lane: &&mut Lane| lane.rung.track == track && lane.running != run.is_some();
        let Some(lane) = self.lanes.iter_mut().find(is_other) else { return false };
        (lane.running, lane.from) = (run.is_some(), run.unwrap_or(i64::MIN));
        let _ = lane.sender.send(if lane.running { ToLane::Start } else { ToLane::Stop });
        true
    }

    fn tell(&self, track: Option<TrackId>, message: impl Fn() -> ToLane) {
        for lane in self.lanes.iter().filter(|lane| track.is_none_or(|track| track == lane.rung.track)) {
            let _ = lane.sender.send(message());
        }
    }

    fn settle(&mut self, duration: Option<u32>) {
        let (Some(duration), Some(dts)) = (duration, self.open.take()) else { return };
        for lane in self.lanes.iter().filter(|lane| lane.running && lane.halved) {
            let _ = lane.sender.send(ToLane::Settle(dts, duration));
        }
    }

    fn each(&self, all: &Scaled, half: Option<&Scaled>, act: impl Fn(&Lane, Picture)) -> Result<(), AvError> {
        for lane in self.lanes.iter().filter(|lane| lane.running) {
            let size = (lane.rung.width, lane.rung.height);
            let picture = all.of_size(size).or_else(|| half.and_then(|half| half.of_size(size)));
            if let Some(picture) = picture {
                act(lane, picture.share()?);
            }
        }
        Ok(())
    }
}

/// All of them together are encoded in software within half a frame's time, so that one thread is enough. It wakes once
/// for a picture and finds it in its caches: about a twentieth less CPU than a thread for each.
fn are_light(rungs: &[Rung], backends: &[Backend]) -> bool {
    let cost = |rung: &Rung| {
        u64::from(rung.width) * u64::from(rung.height) * encode_picos(rung.preset) * harder(rung.codec)
    };
    backends.first() == Some(&Backend::Software) && rungs.iter().map(cost).sum::<u64>() <= LIGHT_PICOS
}

/// Half-rate rungs that fit below a full-rate one are scaled only on the frames they take.
fn sizes<'a>(rungs: impl Iterator<Item = &'a Rung>) -> Sizes {
    let (halves, fulls): (Vec<_>, Vec<_>) = rungs.partition(|rung| rung.half_rate);
    let size = |rung: &&Rung| (rung.width, rung.height);
    let mut all: Vec<_> = fulls.iter().map(size).collect();
    let mut half: Vec<(u32, u32)> = halves.iter().map(size).collect();
    sort(&mut all);
    sort(&mut half);
    match all.last() {
        Some(least) => {
            let fits = |size: &(u32, u32)| size.0 <= least.0 && size.1 <= least.1 && size != least;
            let (below, above): (Vec<_>, Vec<_>) = half.into_iter().partition(fits);
            half = below;
            all.extend(above);
            sort(&mut all);
        }
        None => all = std::mem::take(&mut half),
    }
    Sizes { all, half }
}

/// From large to small, each once.
fn sort(sizes: &mut Vec<(u32, u32)>) {
    sizes.sort_by_key(|(width, height)| std::cmp::Reverse((u64::from(*width) * u64::from(*height), *width)));
    sizes.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Preset, VideoCodec};

    fn rung(width: u32, height: u32, half_rate: bool) -> Rung {
        Rung {
            track: TrackId(16),
            width,
            height,
            bitrate: 1,
            peak: 1,
            buffer_ms: 1,
            half_rate,
            codec: VideoCodec::H264,
            preset: Preset::Veryfast,
            crf: None,
        }
    }

    #[test]
    fn half_rate_rungs_below_the_others_are_scaled_apart() {
        let rungs =
            [rung(1_920, 1_080, false), rung(640, 360, true), rung(1_280, 720, false), rung(960, 540, true)];
        let want = Sizes { all: vec![(1_920, 1_080), (1_280, 720)], half: vec![(960, 540), (640, 360)] };
        assert_eq!(sizes(rungs.iter()), want);
    }

    #[test]
    fn half_rate_rungs_alone_or_above_are_scaled_with_all() {
        let rungs = [rung(1_920, 1_080, true), rung(640, 360, false), rung(640, 360, true)];
        let want = Sizes { all: vec![(1_920, 1_080), (640, 360)], half: vec![] };
        assert_eq!(sizes(rungs.iter()), want);
        let want = Sizes { all: vec![(640, 360)], half: vec![] };
        assert_eq!(sizes([rung(640, 360, true)].iter()), want);
    }
}
