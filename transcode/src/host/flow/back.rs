//! Rungs that return: after their worker was lost, from sleep, and when there is room again.
//!
//! Where the source passes through, a rung returns with any of its frames. The host alone knows which one is next for
//! the worker and for the packager both, and tells both of it at the same moment: so neither has to guess, however late
//! what is encoded comes.

use aqueduct_common::{Feed, MediaTime, Sample, TrackId, TrackKind};
use bytes::Bytes;

use super::{Feeding, Flow, Progress};
use crate::host::rendition::Rendition;
use crate::protocol::{Frame, Order, ToWorker};

impl Flow {
    /// Hands a new worker what decoding has to begin with, without wanting anything of it.
    pub(super) fn warm_up(&mut self, group: &[Sample], at: MediaTime) {
        self.decode_only(group);
        self.feeding = Feeding::All;
        self.restart_renditions(at);
        if !self.is_regular() {
            self.warming = true;
            self.tell(ToWorker::Order(Order::Echo));
        }
    }

    /// A new worker has come up: its rungs begin with the next frame of the source.
    pub(super) fn echoed(&mut self) {
        if !std::mem::take(&mut self.warming) {
            return;
        }
        self.supervisor.forget_input();
        self.begin_at(self.end);
        let wanted = |rendition: &&Rendition| rendition.kind == TrackKind::Video && rendition.is_wanted();
        let wanted: Vec<_> = self.renditions.iter().filter(wanted).map(Rendition::id).collect();
        wanted.into_iter().for_each(|track| self.await_return(track, self.end));
    }

    /// A sync sample of the source begins what a worker without anything held can make.
    pub(super) fn begin_with(&mut self, sample: &Sample) {
        if self.feeding != Feeding::FromSync || !self.gate.is_open() || self.is_regular() {
            return;
        }
        let of_it = |rendition: &&Rendition| rendition.source == sample.track && rendition.is_wanted();
        let wanted: Vec<_> = self.renditions.iter().filter(of_it).map(Rendition::id).collect();
        wanted.into_iter().for_each(|track| self.await_return(track, sample.dts));
    }

    /// Makes a rung again that was given up or asleep, from the next frame on.
    pub(super) fn start_again(&mut self, track: TrackId) {
        let Some(rendition) = self.renditions.iter_mut().find(|rendition| rendition.id() == track) else {
            return;
        };
        if !rendition.resume() {
            return;
        }
        self.report_starting(track);
        if !self.has_worker() {
            return;
        }
        self.tell(ToWorker::Order(Order::Start(track, self.end.ticks)));
        // A worker that comes up begins with all that is wanted then.
        if !self.warming && self.feeding != Feeding::FromSync {
            self.await_return(track, self.end);
        }
    }

    /// Makes a rung again that was asleep. Where all of them slept, the worker has to decode what is held first.
    pub(super) fn wake(&mut self, track: TrackId) {
        self.start_again(track);
        if self.feeding != Feeding::Paused {
            return;
        }
        let group = self.replay.samples().to_vec();
        self.feeding = if group.is_empty() { Feeding::FromSync } else { Feeding::All };
        self.begin_at(self.end);
        self.decode_only(&group);
    }

    /// No rung is wanted, and nothing else of the worker.
    pub(super) fn wants_nothing(&self) -> bool {
        !self.expects_output() && self.ladder.audio.is_empty() && self.ladder.video.is_some()
    }

    /// What is made of frames before this decode time is not wanted.
    fn begin_at(&mut self, dts: MediaTime) {
        self.tell(ToWorker::Order(Order::Begin(dts.ticks)));
        let from = self.presented(dts).as_flicks();
        self.progress = Progress { from: Some(from), fed: from };
        self.throttle.restart();
    }

    /// The pictures of a group, to be decoded only: what no other frame needs is left out.
    fn decode_only(&mut self, group: &[Sample]) {
        let (main, regular) = (self.main(), self.is_regular());
        for sample in group.iter().filter(|sample| Some(sample.track) == main) {
            let mut frame = Frame::of(sample);
            if sample.disposable && !regular {
                frame.payload = Bytes::new();
            }
            self.tell(ToWorker::Frame(frame));
        }
    }

    /// A rung goes on with the source's frame of this decode time, or in regular mode with what the worker makes next.
    fn await_return(&mut self, track: TrackId, dts: MediaTime) {
        let regular = self.is_regular();
        if !regular && let Some(rendition) = self.renditions.iter_mut().find(|one| one.id() == track) {
            rendition.begin_at(dts.ticks);
        }
        let at = match regular {
            true => self.reference_reached(),
            false => (dts.ticks > 0).then(|| self.presented(dts)),
        };
        if let Some(at) = at.filter(|_| self.is_follower(track)) {
            self.publish(Feed::Returns(track, at));
        }
    }

    /// The packager cuts it where it cuts the reference.
    pub(super) fn is_follower(&self, track: TrackId) -> bool {
        self.gate.is_open() && self.published.contains(&track) && self.reference != Some(track)
    }

    /// The instant at which a source frame of this decode time would be shown, were it a sync frame.
    fn presented(&self, dts: MediaTime) -> MediaTime {
        let main = self.main().and_then(|main| self.source.by_id(main));
        dts.offset(main.map_or(0, |main| main.reorder_delay))
    }

    /// How far the rung has come that the others are cut by.
    fn reference_reached(&self) -> Option<MediaTime> {
        let reference = self.renditions.iter().find(|rendition| self.reference == Some(rendition.id()))?;
        reference.reached().filter(|_| !self.broken).map(MediaTime::flicks)
    }
}
