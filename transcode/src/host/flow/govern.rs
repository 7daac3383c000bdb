//! The governor's steps on a stream's rungs, and what they go by: what each costs on this machine, as it was measured.

use std::time::{Duration, Instant};

use aqueduct_common::event::{GovernorStep, RungState, RungTick, SoundTick, Transcode, TranscodeTick};
use aqueduct_common::{Sample, TrackId, TrackKind};

use super::{Action, Flow};
use crate::host::governor::{Options, Reading};
use crate::host::rendition::Rendition;
use crate::ladder::{self, Video};
use crate::protocol::{Mode, Order, Preset, Report, RungReport, SoundReport, ToWorker, VideoJob};

/// How much of a second's pace goes into a stream's mean.
const PACE_PART: f64 = 0.125;
/// Spacing of frames, in microseconds, up to which every second one may go: what is left is 15 a second or more.
const HALVED_UP_TO: i64 = 33_400;
/// Why a rung does not begin with the others.
const CUT: &str = "this machine cannot encode it beside the others in real time: it begins when there is room; give the \
                   machine more CPUs or hardware, or name fewer rungs in transcode.ladder";

/// So many thousandths of a CPU, where streams take `pace` times what is estimated.
pub(super) fn paced(thousandths: u32, pace: f64) -> u32 {
    (f64::from(thousandths) * pace) as u32
}

impl Flow {
    /// A second's figures of the worker.
    pub(super) fn reported(&mut self, report: Report, now: Instant) {
        let thousandths = thousandths(&report);
        self.out.push_back(Action::Measured(thousandths));
        let behind = self.behind().0.max(Duration::from_millis(report.backlog_ms.into()));
        // What it catches up with at its start says nothing of its speed, unless it takes too long.
        let at_start = !self.throttle.has_caught_up() && self.load.dropped == 0;
        let reading = Reading {
            behind: if at_start { Duration::ZERO } else { behind },
            slowest: report.rungs.iter().filter_map(|rung| self.worst_speed(rung)).reduce(f64::min),
            dropped: std::mem::take(&mut self.load.dropped),
            machine: self.load.machine.load,
            costliest: self.load.machine.costliest,
        };
        self.learn(&report, &reading, thousandths);
        self.report_tick(report, &reading, behind, thousandths);
        self.advise();
        if let Some((step, reason)) = self.governor.report(&reading, self.options(), now) {
            self.govern(step, reason);
        }
    }

    fn report_tick(&mut self, report: Report, reading: &Reading, behind: Duration, thousandths: u32) {
        let cpu_share = f64::from(thousandths) / (1e3 * f64::from(self.load.machine.cpus.max(1)));
        self.report(Transcode::Tick(TranscodeTick {
            frames_in: report.frames_in,
            frames_out: report.frames_out,
            repeated: report.repeated,
            dropped: reading.dropped,
            decode_micros: report.decode_micros,
            scale_micros: report.scale_micros,
            backlog_millis: u32::try_from(behind.as_millis()).unwrap_or(u32::MAX),
            cpu_share,
            preset: self.effort.as_str(),
            rungs: report.rungs.iter().map(|rung| self.rung_tick(rung)).collect(),
            decoder: report.decoder,
            encoders: report.encoders,
            sound: report.sound.iter().map(sound_tick).collect(),
        }));
    }

    /// Holds what a second of steady work took against what was estimated of it.
    fn learn(&mut self, report: &Report, reading: &Reading, thousandths: u32) {
        let wanted = self.renditions.iter().filter(|one| one.kind == TrackKind::Video && one.is_wanted());
        let at_work =
            |one: &Rendition| report.rungs.iter().any(|rung| rung.track == one.id() && rung.frames > 0);
        let steady = reading.dropped == 0 && report.repeated * 10 < report.frames_in;
        if !steady || !self.throttle.has_caught_up() || !wanted.clone().all(at_work) {
            return;
        }
        let Some(estimated) = self.estimated(self.effort).filter(|estimated| *estimated > 0) else { return };
        let pace = f64::from(thousandths) / f64::from(estimated);
        let mean = self.load.pace.get_or_insert(self.load.machine.pace);
        *mean += (pace.clamp(0.05, 4.0) - *mean) * PACE_PART;
        self.out.push_back(Action::Learned(pace));
    }

    /// What the rungs of the ladder would take at this effort, in thousandths of a CPU, each by itself: the estimate.
    fn estimates(&self, effort: Preset) -> Option<(u32, Vec<(TrackId, u32)>)> {
        let job = self.ladder.video.as_ref()?;
        let video = Video { track: self.source.first(TrackKind::Video)?, measured: self.look.all(self.end) };
        let mut rungs = job.rungs.clone();
        for rung in &mut rungs {
            rung.preset = effort;
            rung.half_rate |= self.load.halved.contains(&rung.track);
        }
        let ids: Vec<TrackId> = rungs.iter().map(|rung| rung.track).collect();
        let cost = ladder::cost(&video, self.ladder.mode, &VideoJob { source: job.source, rungs });
        Some((cost.source, ids.into_iter().zip(cost.rungs).collect()))
    }

    /// What all rungs take together that are made now, at this effort.
    pub(super) fn estimated(&self, effort: Preset) -> Option<u32> {
        let (source, rungs) = self.estimates(effort)?;
        let made = |track: TrackId| {
            let of = |one: &Rendition| one.id() == track && one.is_wanted();
            self.renditions.iter().any(of) && !self.load.cut.contains(&track)
        };
        let rungs = rungs.into_iter().filter(|(track, _)| made(*track));
        Some(rungs.fold(source, |sum, (_, rung)| sum.saturating_add(rung)))
    }

    /// A rung's frame, in microseconds.
    fn frame_micros(&self, track: TrackId) -> Option<i64> {
        let rendition = self.renditions.iter().find(|rendition| rendition.id() == track)?;
        let spacing = rendition.announced.as_ref()?.grid.spacing().micros();
        (spacing > 0).then_some(spacing)
    }

    /// How much faster than real time a rung is, by its slowest frames.
    fn worst_speed(&self, rung: &RungReport) -> Option<f64> {
        let frame = self.frame_micros(rung.track).filter(|_| rung.frames > 0)?;
        Some(frame as f64 / rung.encode_p95_micros.max(1) as f64)
    }

    fn rung_tick(&self, rung: &RungReport) -> RungTick {
        let frame = self.frame_micros(rung.track).filter(|_| rung.frames > 0);
        let speed = frame.map(|frame| (frame as f64 * rung.frames as f64) / rung.encode_micros.max(1) as f64);
        RungTick {
            track: rung.track,
            frames: rung.frames,
            encode_micros: rung.encode_micros,
            encode_p95_micros: rung.encode_p95_micros,
            bits: rung.bits,
            speed,
            mean_qp: rung.mean_qp,
        }
    }

    fn options(&self) -> Options {
        let encodes = self.ladder.video.is_some();
        // Until the reference has been handed on, nothing else is given up.
        let calm = self.load.leaving.is_none();
        Options {
            quicker: encodes && self.effort.quicker().is_some(),
            shed: calm && self.least_watched().is_some(),
            halve: calm && self.to_halve().is_some(),
            whole: self.load.halved.last().and_then(|track| self.added_by(*track)),
            restore: self.load.shed.last().and_then(|track| self.added_by(*track)),
            slower: self.added_by_effort().filter(|_| encodes),
        }
    }

    /// What a rung is expected to add that is made again, or whole again, as a share of what the machine may carry.
    fn added_by(&self, track: TrackId) -> Option<f64> {
        let (_, rungs) = self.estimates(self.effort)?;
        let cost = rungs.into_iter().find_map(|(of, cost)| (of == track).then_some(cost))?;
        Some(self.share(cost))
    }

    /// What the next more effort is expected to add; `None` where it is the usual one already.
    fn added_by_effort(&self) -> Option<f64> {
        let slower = self.effort.slower().filter(|slower| *slower <= self.settings.effort)?;
        let (now, then) = (self.estimated(self.effort)?, self.estimated(slower)?);
        Some(self.share(then.saturating_sub(now)))
    }

    fn share(&self, thousandths: u32) -> f64 {
        let pace = self.load.pace.unwrap_or(self.load.machine.pace);
        f64::from(thousandths) * pace / f64::from(self.load.machine.all.max(1))
    }

    /// Rungs that are made.
    fn made(&self) -> impl Iterator<Item = &Rendition> {
        let made = |one: &&Rendition| {
            one.kind == TrackKind::Video && one.is_wanted() && !self.load.cut.contains(&one.id())
        };
        self.renditions.iter().filter(made)
    }

    /// The rung to give up: the fewest viewers, and of several the topmost. Never the last one.
    fn least_watched(&self) -> Option<TrackId> {
        if self.made().count() < 2 {
            return None;
        }
        self.made().map(Rendition::id).min_by_key(|track| self.load.viewers(*track))
    }

    /// The topmost rung whose every second frame can go: keyframes are an even number of frames apart, and what is left
    /// of a second is enough to look at.
    fn to_halve(&self) -> Option<TrackId> {
        let even = match self.ladder.mode {
            Mode::Aligned => self.look.all(self.end).keyframes.is_some_and(|keyframes| keyframes.even),
            Mode::Regular { gop, .. } => gop.is_multiple_of(2),
        };
        let job = self.ladder.video.as_ref().filter(|_| even)?;
        let halved = |track| {
            let planned = job.rungs.iter().any(|rung| rung.track == track && rung.half_rate);
            planned || self.load.halved.contains(&track)
        };
        let fast = |track| self.frame_micros(track).is_some_and(|micros| micros <= HALVED_UP_TO);
        self.made().map(Rendition::id).find(|track| !halved(*track) && fast(*track))
    }

    fn govern(&mut self, step: GovernorStep, reason: String) {
        let done = match step {
            GovernorStep::Quicker => self.effort.quicker().map(|preset| self.set_effort(preset)),
            GovernorStep::Slower => self.effort.slower().map(|preset| self.set_effort(preset)),
            GovernorStep::Shed => self.least_watched().map(|track| self.shed(track, &reason)),
            GovernorStep::Restore => self.load.shed.pop().map(|track| self.restore(track)),
            GovernorStep::Halve => self.to_halve().map(|track| self.set_rate(track, true)),
            GovernorStep::Whole => self.load.halved.last().copied().map(|track| self.set_rate(track, false)),
            GovernorStep::Cut | GovernorStep::Spent => Some(String::new()),
        };
        let Some(done) = done else { return };
        let reason = if done.is_empty() { reason } else { format!("{done}: {reason}") };
        self.report(Transcode::Governor { step, reason });
    }

    fn name(&self, track: TrackId) -> &str {
        let rendition = self.renditions.iter().find(|rendition| rendition.id() == track);
        rendition.map_or("a rung", |rendition| rendition.described.name.as_str())
    }

    fn set_effort(&mut self, preset: Preset) -> String {
        self.effort = preset;
        self.tell(ToWorker::Order(Order::Preset(preset)));
        format!("preset {} from the next keyframe on", preset.as_str())
    }

    /// Gives a rung up: at once, or as soon as another one can be the reference.
    fn shed(&mut self, track: TrackId, reason: &str) -> String {
        self.load.shed.push(track);
        match self.reference == Some(track) {
            true => self.load.leaving = Some((track, reason.to_owned())),
            false => self.stop(track, true, reason),
        }
        format!("{} is given up", self.name(track))
    }

    fn restore(&mut self, track: TrackId) -> String {
        self.load.cut.retain(|cut| *cut != track);
        if self.load.leaving.take_if(|(leaving, _)| *leaving == track).is_none() {
            self.start_again(track);
        }
        format!("{} is made again", self.name(track))
    }

    /// Every second frame of a rung only, or all of them again, from the next keyframe on.
    fn set_rate(&mut self, track: TrackId, half: bool) -> String {
        self.load.halved.retain(|halved| *halved != track);
        if half {
            self.load.halved.push(track);
        }
        self.tell(ToWorker::Order(Order::HalfRate(track, half)));
        let rate = if half { "every second frame" } else { "all frames" };
        format!("{} has {rate} from the next keyframe on", self.name(track))
    }

    /// Another worker has begun: it does not know yet which rungs have every second frame.
    pub(super) fn tell_rates(&mut self) {
        for track in self.load.halved.clone() {
            self.tell(ToWorker::Order(Order::HalfRate(track, true)));
        }
    }

    /// A rung that the ladder begins without has said its parameters: players may know it, and nothing more is made.
    pub(super) fn stop_cut(&mut self, track: TrackId) {
        let wanted = |one: &Rendition| one.id() == track && one.is_wanted();
        if self.load.cut.contains(&track) && self.renditions.iter().any(wanted) {
            self.stop(track, true, CUT);
        }
    }

    /// A rung's sync sample with which the reference's place is taken, where the reference is to be given up. Whether it
    /// was.
    pub(super) fn succeed_reference(&mut self, sample: &Sample) -> bool {
        let Some((leaving, _)) = &self.load.leaving else { return false };
        let next = self.made().find(|one| one.id() != *leaving && one.is_running());
        if !sample.sync || next.is_none_or(|next| next.id() != sample.track) {
            return false;
        }
        let Some((leaving, reason)) = self.load.leaving.take() else { return false };
        if let Some(rendition) = self.renditions.iter_mut().find(|rendition| rendition.id() == leaving) {
            rendition.stop(true);
        }
        self.report(Transcode::Rung { track: leaving, state: RungState::Shed, reason });
        self.tell_stop(leaving);
        self.publish_tracks();
        let others = |other: &&mut Rendition| other.kind == TrackKind::Video && other.id() != sample.track;
        self.renditions.iter_mut().filter(others).for_each(|other| other.restart_at(sample.pts));
        true
    }
}

/// What a second took, in thousandths of a CPU.
fn thousandths(report: &Report) -> u32 {
    let spent = report.decode_micros + report.scale_micros;
    let spent = report.rungs.iter().fold(spent, |sum, rung| sum.saturating_add(rung.encode_micros));
    u32::try_from(spent.max(report.cpu_micros) / 1_000).unwrap_or(u32::MAX)
}

fn sound_tick(report: &SoundReport) -> SoundTick {
    let SoundReport { track, integrated, short_term, true_peak, gain, reduction } = *report;
    SoundTick { track, integrated, short_term, true_peak, gain, reduction }
}
