//! Deciding what a stream is made into, and deciding anew when it has changed for good.

use std::time::{Duration, Instant};

use aqueduct_common::event::{Advice, Alignment, GovernorStep, Rendition as Described, RungState, Transcode};
use aqueduct_common::{TrackId, TrackKind};

use super::govern::paced;
use super::{Action, Feeding, Flow, Machine};
use crate::host::gate::Gate;
use crate::host::rendition::Rendition;
use crate::ladder::{self, Fit, Ladder, Measured, Note, ReadyTrack, Video, WhyNot};
use crate::protocol::{Mode, Rung, VideoJob};

/// How long a second keyframe is waited for beyond the longest interval that a source may have as a rendition.
const LOOK_MARGIN: Duration = Duration::from_millis(500);
/// A source that comes slower than it plays is given so many times that.
const LOOK_TIMES: u32 = 3;
/// How long renditions are waited for before the source goes on alone.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same where the source is no rendition, so that there is nothing to go on with but what players may not play.
const PATIENCE_WITHOUT_SOURCE: Duration = Duration::from_secs(10);

/// A ladder of nothing.
pub(super) const fn idle() -> Ladder {
    Ladder { mode: Mode::Aligned, through: Vec::new(), video: None, audio: Vec::new(), notes: Vec::new() }
}

/// The same worker can do both.
pub(super) fn same_work(one: &Ladder, other: &Ladder) -> bool {
    one.mode == other.mode
        && one.through == other.through
        && one.audio == other.audio
        && match (&one.video, &other.video) {
            (Some(one), Some(other)) => {
                one.source == other.source
                    && one.rungs.len() == other.rungs.len()
                    && one.rungs.iter().zip(&other.rungs).all(|(one, other)| same_rung(one, other))
            }
            (None, None) => true,
            _ => false,
        }
}

/// Alike but for the effort, which the governor moves, and for a bitrate that follows what was measured of the source.
fn same_rung(one: &Rung, other: &Rung) -> bool {
    let shape = |rung: &Rung| (rung.track, rung.width, rung.height, rung.half_rate, rung.codec);
    shape(one) == shape(other)
}

/// What was brought down of a ladder before its start.
pub(super) struct Cut {
    /// Why, and to what.
    words: String,
    /// Rungs that are not made for now, from top to bottom.
    rungs: Vec<TrackId>,
}

/// Says what is done about a ladder that would take `cost` thousandths of a CPU where `free` are there.
fn cut_in_words(wanted: &VideoJob, made: &VideoJob, fit: Fit, [cost, free]: [u32; 2]) -> String {
    let preset = |job: &VideoJob| job.rungs.first().map_or("", |rung| rung.preset.as_str());
    let cpus = |thousandths: u32| f64::from(thousandths) / 1e3;
    let (count, cost, free) = (wanted.rungs.len(), cpus(cost), cpus(free));
    let of_all = format!(
        "{count} rungs at preset {} would take about {cost:.1} CPUs, and {free:.1} are free",
        preset(wanted)
    );
    if !fit.fits && !fit.forced {
        return format!("{of_all}: not even the smallest is within that, and none is made");
    }
    if fit.forced {
        return format!(
            "{of_all}: the smallest alone is made all the same, as the source itself does not play"
        );
    }
    let left = count - fit.cut;
    let done = match (preset(made) == preset(wanted), fit.cut) {
        (true, _) => format!("the lower {left} are made"),
        (false, 0) => format!("all are made at preset {}", preset(made)),
        (false, _) => format!("the lower {left} are made, at preset {}", preset(made)),
    };
    let rest = if fit.cut == 0 { "more effort" } else { "the rest" };
    format!("{of_all}: {done}, for about {:.1} CPUs; {rest} follows when there is room", cpus(fit.takes))
}

impl Flow {
    /// Plans with all that is known.
    pub(super) fn decide(&self) -> Ladder {
        self.decide_by(self.look.all(self.end))
    }

    fn decide_by(&self, measured: Measured) -> Ladder {
        let settings = &self.settings;
        let tracks = &self.source.tracks;
        let mut videos = tracks.iter().filter(|track| track.kind() == TrackKind::Video);
        let mut ladder = match videos.next() {
            Some(track) => {
                let ready: Vec<_> =
                    videos.map(|track| ReadyTrack { track, unfit: self.ready.unfit(track.id) }).collect();
                let measured = if self.looked { measured } else { Measured { keyframes: None, ..measured } };
                let video = Video { track, measured };
                ladder::plan(&video, &ready, &settings.plan, settings.segment, self.effort)
            }
            None => idle(),
        };
        let (through, jobs) = ladder::sound(tracks, &settings.plan);
        ladder.through.extend(through);
        ladder.audio = jobs;
        ladder
    }

    /// Brings a ladder down to what the machine has left. Returns what that was, where it did.
    fn fit(&mut self, ladder: &mut Ladder) -> Option<Cut> {
        let track = self.source.first(TrackKind::Video)?;
        let video = Video { track, measured: self.look.all(self.end) };
        let Machine { full, free, pace, .. } = self.load.machine;
        let free = if full { 0 } else { free };
        let wanted = ladder.video.clone()?;
        let cost = paced(ladder::cost(&video, ladder.mode, &wanted).total(), pace);
        if cost <= free {
            return None;
        }
        let mut fit = ladder.fit(&video, paced(free, 1.0 / pace));
        fit.takes = paced(fit.takes, pace);
        let playable = self.is_playable();
        // A picture that costs too much is better than none.
        fit.forced = !fit.fits && !playable && !full;
        let made = ladder.video.as_ref()?;
        let words = cut_in_words(&wanted, made, fit, [cost, free]);
        let rungs = made.rungs.iter().take(fit.cut).map(|rung| rung.track).collect();
        self.load.given_up = !fit.fits && !fit.forced;
        if fit.fits || fit.forced {
            return Some(Cut { words, rungs });
        }
        ladder.video = None;
        if playable && !ladder.through.contains(&track.id) {
            ladder.through.insert(0, track.id);
            ladder.mode = Mode::Aligned;
        }
        let most = match playable {
            true => {
                "as many streams are transcoded as may be at once (transcode.max_streams): it plays as it comes"
            }
            false => {
                "as many streams are transcoded as may be at once (transcode.max_streams): its pictures are left out"
            }
        };
        Some(Cut { words: if full { most.into() } else { words }, rungs: Vec::new() })
    }

    /// Takes up a ladder: other renditions, another worker.
    pub(super) fn adopt(&mut self, mut ladder: Ladder, now: Instant) {
        let cut = self.fit(&mut ladder);
        self.dismiss();
        self.ladder = ladder;
        self.renditions = self.describe();
        self.broken = false;
        self.waiting.clear();
        self.announce_plan(cut.as_ref().map(|cut| cut.words.as_str()));
        let rungs = cut.as_ref().map(|cut| cut.rungs.clone()).unwrap_or_default();
        self.load.begin_ladder(rungs);
        if let Some(Cut { words: reason, .. }) = cut {
            self.report(Transcode::Governor { step: GovernorStep::Cut, reason });
        }
        if let Some(rung) = self.ladder.video.as_ref().and_then(|job| job.rungs.first()) {
            self.effort = rung.preset;
        }
        if self.ladder.is_idle() {
            self.looked = true;
            return self.open();
        }
        match self.gate.is_open() {
            true => self.gate = Gate::hold(now),
            false => self.gate.forget_encoded(),
        }
        self.expect_cost();
        self.supervisor.want(now);
        self.supervise(now);
    }

    fn expect_cost(&mut self) {
        if let Some(cost) = self.estimated(self.effort) {
            self.out.push_back(Action::Expect(paced(cost, self.load.machine.pace)));
        }
    }

    pub(super) fn dismiss(&mut self) {
        self.supervisor.release();
        if self.has_worker() {
            self.out.push_back(Action::Dismiss);
        }
        self.feeding = Feeding::Nothing;
        self.progress = super::Progress::default();
        self.throttle.restart();
    }

    /// The renditions of the ladder, before they have begun.
    pub(super) fn describe(&self) -> Vec<Rendition> {
        let video = self.ladder.video.iter().flat_map(|job| {
            job.rungs.iter().map(|rung| {
                let name = format!("{}p", rung.width.min(rung.height));
                let size = Some((rung.width, rung.height));
                let described = Described { track: rung.track, name, size, bitrate: rung.bitrate };
                Rendition::new(described, job.source, TrackKind::Video)
            })
        });
        let audio = self.ladder.audio.iter().map(|job| {
            let name = format!("audio {}k", job.bitrate / 1_000);
            let described = Described { track: job.track, name, size: None, bitrate: job.bitrate };
            Rendition::new(described, job.source, TrackKind::Audio)
        });
        video.chain(audio).collect()
    }

    fn announce_plan(&mut self, cut: Option<&str>) {
        let video = self.main();
        let passthrough = video.is_none_or(|main| self.ladder.through.contains(&main));
        let alignment = match self.ladder.mode {
            _ if self.ladder.is_idle() => Alignment::Untouched,
            Mode::Aligned => Alignment::Aligned,
            Mode::Regular { .. } => Alignment::Regular,
        };
        let renditions = self.renditions.iter().map(|rendition| rendition.described.clone()).collect();
        let mut reasons: Vec<String> = self.ladder.notes.iter().map(Note::text).collect();
        reasons.extend(cut.map(str::to_owned));
        self.report(Transcode::Planned { alignment, passthrough, renditions, reasons });
        self.advise();
    }

    /// Tells the streamer what he can change about a source that is no rendition.
    pub(super) fn advise(&mut self) {
        let segment_millis = u32::try_from(self.settings.segment.as_millis()).unwrap_or(u32::MAX);
        let advice = self.ladder.notes.iter().find_map(|note| match note {
            Note::SourceLeftOut(WhyNot::KeyframesFarApart { widest, .. }) => {
                Some(Advice::PassthroughKeyframes {
                    is_millis: u32::try_from(widest.micros() / 1_000).unwrap_or(u32::MAX),
                    segment_millis,
                })
            }
            Note::SourceLeftOut(WhyNot::VariableRate) => Some(Advice::VariableFrameRate),
            _ => None,
        });
        self.out.extend(advice.map(Action::Advise));
    }

    /// Decides with the first keyframe interval, once it is known or known to be long; opens when all is there, or when
    /// it took too long.
    pub(super) fn settle(&mut self, now: Instant) {
        let Some(held) = self.gate.held_for(now) else { return };
        if self.source.tracks.is_empty() {
            return;
        }
        // By the source's clock: on a busy machine less of it may have come than time has passed.
        let is_long = self.look.open(self.end) >= self.look_for();
        let known = self.look.has_seen_interval() || is_long || self.main().is_none();
        let late = held >= self.look_for() * LOOK_TIMES || self.gate.is_full();
        if !self.looked && (known || late) {
            self.looked = true;
            let ladder = self.decide();
            if !same_work(&ladder, &self.ladder) {
                return self.adopt(ladder, now);
            }
        }
        let complete = self.looked && !self.lacks_announcements();
        if complete || (self.looked && held >= self.patience()) || self.gate.is_full() {
            self.open_with_what_is_there(now);
        }
    }

    /// When the gate has to be looked at again.
    pub(super) fn gate_deadline(&self) -> Option<Instant> {
        let since = self.gate.since().filter(|_| !self.source.tracks.is_empty())?;
        let after = if self.looked { self.patience() } else { self.look_for() * LOOK_TIMES };
        Some(since + after)
    }

    fn look_for(&self) -> Duration {
        self.settings.segment * 2 + LOOK_MARGIN
    }

    fn patience(&self) -> Duration {
        let main = self.main();
        let something = main.is_none_or(|main| self.ladder.through.contains(&main)) || self.has_picture();
        let patience = if something { PATIENCE } else { PATIENCE_WITHOUT_SOURCE };
        patience.max(self.look_for() + LOOK_MARGIN)
    }

    /// A rung is known.
    fn has_picture(&self) -> bool {
        let video = |rendition: &Rendition| rendition.kind == TrackKind::Video;
        self.renditions.iter().any(|rendition| video(rendition) && rendition.announced.is_some())
    }

    fn open_with_what_is_there(&mut self, now: Instant) {
        let main = self.main();
        let without = main.filter(|main| !self.ladder.through.contains(main) && !self.has_picture());
        if let Some(main) = without {
            return self.fall_back(
                main,
                "no worker could be brought to encode it; the source plays as it is",
                now,
            );
        }
        self.open();
    }

    /// Nothing is encoded of the pictures any more: the source plays as it is.
    ///
    /// What no browser plays cannot: whatever else there is goes out, and the worker is waited for.
    pub(super) fn fall_back(&mut self, main: TrackId, reason: &str, now: Instant) {
        if !self.is_playable() {
            if !self.gate.is_open() {
                self.open();
            }
            return;
        }
        let mut ladder = self.ladder.clone();
        ladder.video = None;
        ladder.mode = Mode::Aligned;
        if !ladder.through.contains(&main) {
            ladder.through.insert(0, main);
        }
        // What has begun of their segments is no whole: it goes as gaps.
        let ended = self.renditions.iter().filter(|rendition| rendition.kind == TrackKind::Video);
        let ended: Vec<_> = ended.map(Rendition::id).collect();
        ended.into_iter().for_each(|track| self.lose(track, RungState::Lost, reason));
        self.dismiss();
        self.ladder = ladder;
        self.renditions = self.describe();
        self.announce_plan(Some(reason));
        self.load.given_up = true;
        if !self.ladder.audio.is_empty() {
            self.supervisor.want(now);
        }
        match self.gate.is_open() {
            true => self.publish_tracks(),
            false => self.open(),
        }
    }

    /// At a sync sample of the source: takes up another ladder where the source has changed for good. Whether it did.
    pub(super) fn replan(&mut self, now: Instant) -> bool {
        if !self.gate.is_open() || !self.looked || self.main().is_none() || self.load.given_up {
            return false;
        }
        let main_passes = self.main().is_some_and(|main| self.ladder.through.contains(&main));
        let measured = match main_passes {
            true => self.look.lasting(),
            false => self.look.is_settled().then(|| self.look.all(self.end)),
        };
        let Some(measured) = measured else { return false };
        let ladder = self.decide_by(measured);
        // The source passes or does so no more, or one of its further tracks serves as a rung no more.
        let other = ladder.mode != self.ladder.mode || ladder.through != self.ladder.through;
        if other && (ladder.video.is_some() || self.ladder.video.is_some()) {
            self.forget_era();
            self.replay.clear();
            self.adopt(ladder, now);
        }
        other
    }
}
