//! Load and demand: what the governor and the viewers ask of a stream's rungs.

use std::collections::HashMap;
use std::time::Instant;

use aqueduct_common::event::{RungState, Transcode};
use aqueduct_common::{TrackId, TrackKind};

use super::{Feeding, Flow};
use crate::config::Demand;
use crate::host::rendition::Rendition;
use crate::protocol::{Order, ToWorker};

/// What the machine has left, as the shell reads it from the budget that all streams share.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Machine {
    /// Thousandths of a CPU that other streams leave.
    pub free: u32,
    /// What all streams take of what they may, 1 being all of it.
    pub load: f64,
    /// No other stream takes more than this one.
    pub costliest: bool,
    /// CPUs of the machine.
    pub cpus: u32,
    /// As many other streams are transcoded as may be at once.
    pub full: bool,
    /// Thousandths of a CPU that all streams may take.
    pub all: u32,
    /// What streams take here over what is estimated, as it was measured so far.
    pub pace: f64,
}

impl Default for Machine {
    fn default() -> Self {
        let (free, all) = (u32::MAX, u32::MAX);
        Self { free, load: 0.0, costliest: true, cpus: 1, full: false, all, pace: 1.0 }
    }
}

/// What is remembered of load and demand.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) machine: Machine,
    /// Frames that lost their payload since the last report.
    pub(super) dropped: u64,
    /// Encoding of these tracks was given up: no other ladder is tried.
    pub(super) given_up: bool,
    /// From the next sync sample of the source on nothing is encoded, for this reason.
    pub(super) untouched: Option<String>,
    /// Rungs that the governor gave up, in order.
    pub(super) shed: Vec<TrackId>,
    /// Rungs that the ladder began without: they stop once their parameters are known.
    pub(super) cut: Vec<TrackId>,
    /// The reference, which is to be given up once another rung can take its place, and why.
    pub(super) leaving: Option<(TrackId, String)>,
    /// Rungs that the governor left every second frame of, in order.
    pub(super) halved: Vec<TrackId>,
    /// What this stream takes over what is estimated; `None` before it was measured.
    pub(super) pace: Option<f64>,
    watched: HashMap<TrackId, Watched>,
    /// When rungs that nobody has asked for yet began to count.
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    viewers: u32,
    at: Instant,
}

impl Load {
    /// Another ladder begins, without these rungs (from top to bottom).
    pub(super) fn begin_ladder(&mut self, cut: Vec<TrackId>) {
        self.shed.clone_from(&cut);
        self.cut = cut;
        self.leaving = None;
        self.halved.clear();
    }

    pub(super) fn viewers(&self, track: TrackId) -> u32 {
        self.watched.get(&track).map_or(0, |watched| watched.viewers)
    }
}

impl Flow {
    /// What the machine has left. Told before the first message and with each second's report.
    pub const fn machine(&mut self, machine: Machine) {
        self.load.machine = machine;
    }

    /// So many viewers watch a rendition. Wakes it when it sleeps and there are any.
    pub fn watched(&mut self, track: TrackId, viewers: u32, now: Instant) {
        let since = self.load.since.unwrap_or(now);
        let watched = self.load.watched.entry(track).or_insert(Watched { viewers, at: since });
        watched.viewers = viewers;
        if viewers > 0 {
            watched.at = now;
            let asleep =
                |rendition: &Rendition| rendition.id() == track && rendition.state() == RungState::Asleep;
            if self.renditions.iter().any(asleep) {
                self.wake(track);
            }
        }
        self.tick(now);
    }

    /// The worker owes frames for what it is fed.
    pub(super) fn expects_output(&self) -> bool {
        let leads = |rendition: &Rendition| self.ladder.video.is_none() || rendition.kind == TrackKind::Video;
        self.renditions.iter().any(|rendition| leads(rendition) && rendition.is_wanted())
    }

    /// Gives up the upper half of the rungs: what software takes over for hardware costs more.
    pub(super) fn halve(&mut self, reason: &str) {
        let wanted = |rendition: &&Rendition| rendition.kind == TrackKind::Video && rendition.is_wanted();
        let rungs: Vec<_> = self.renditions.iter().filter(wanted).map(Rendition::id).collect();
        let (upper, reference) = (rungs.len() / 2, self.reference);
        for track in rungs.into_iter().take(upper).filter(|track| reference != Some(*track)) {
            self.stop(track, true, reason);
        }
    }

    pub(super) fn stop(&mut self, track: TrackId, shed: bool, reason: &str) {
        let Some(rendition) = self.renditions.iter_mut().find(|rendition| rendition.id() == track) else {
            return;
        };
        if !rendition.stop(shed) {
            return;
        }
        let state = rendition.state();
        self.lose(track, state, reason);
        self.tell_stop(track);
    }

    pub(super) fn tell_stop(&mut self, track: TrackId) {
        if !self.has_worker() {
            return;
        }
        self.tell(ToWorker::Order(Order::Stop(track)));
        if self.wants_nothing() {
            self.tell(ToWorker::Break);
            self.feeding = Feeding::Paused;
            self.supervisor.forget_input();
        }
    }

    pub(super) fn report_starting(&mut self, track: TrackId) {
        self.report(Transcode::Rung { track, state: RungState::Starting, reason: String::new() });
    }

    /// Puts rungs to sleep that nobody has asked for in a while.
    pub(super) fn sleep_unwatched(&mut self, now: Instant) {
        if self.settings.plan.demand != Demand::OnWatch || !self.gate.is_open() {
            return;
        }
        let since = *self.load.since.get_or_insert(now);
        let after = self.settings.plan.sleep_after;
        let idle = |track: TrackId| {
            let last = self.load.watched.get(&track).map_or(since, |watched| watched.at);
            now.duration_since(last) >= after
        };
        let tired: Vec<_> = self.sleepers().filter(|track| idle(*track)).collect();
        for track in tired {
            self.stop(track, false, "nobody watches it");
        }
    }

    /// Rungs that may be put to sleep: those that run, but for the reference.
    fn sleepers(&self) -> impl Iterator<Item = TrackId> + '_ {
        let running = |rendition: &&Rendition| rendition.kind == TrackKind::Video && rendition.is_running();
        let ids = self.renditions.iter().filter(running).map(Rendition::id);
        ids.filter(|track| self.reference != Some(*track))
    }

    pub(super) fn sleep_deadline(&self) -> Option<Instant> {
        if self.settings.plan.demand != Demand::OnWatch {
            return None;
        }
        let since = self.load.since?;
        let last = |track| self.load.watched.get(&track).map_or(since, |watched| watched.at);
        self.sleepers().map(|track| last(track) + self.settings.plan.sleep_after).min()
    }
}
