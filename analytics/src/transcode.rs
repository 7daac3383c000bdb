//! What is known of a stream's renditions, and the counters of all of them.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use aqueduct_common::TrackId;
use aqueduct_common::event::{Alignment, Rendition, RungState, Transcode, TranscodeTick};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;
use utoipa::ToSchema;

use crate::metrics::ByStream;
use crate::sound::SoundMetrics;

/// Words on backends and on the governor that are kept of a stream.
const NOTES_MAX: usize = 8;

/// A rendition as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct RenditionView {
    /// Which, with its name, size and bitrate.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub rendition: Rendition,
    /// What it is doing.
    #[schema(value_type = String)]
    pub state: RungState,
    /// Why, in plain words; empty when it needs no reason.
    pub reason: String,
}

/// A stream's renditions as the API shows them.
#[derive(Clone, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct TranscodeView {
    /// How the renditions lie beside the source.
    #[schema(value_type = String)]
    pub alignment: Alignment,
    /// The source itself is among the renditions.
    pub passthrough: bool,
    /// What is encoded, from top to bottom.
    pub renditions: Vec<RenditionView>,
    /// What was left out and why, in plain words.
    pub reasons: Vec<String>,
    /// Workers lost since the stream began, by cause.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub losses: BTreeMap<&'static str, u64>,
    /// How the last worker was lost, in words.
    pub last_loss: Option<String>,
    /// The newest words on backends that gave way and on what the governor did, the newest last.
    pub notes: Vec<String>,
    /// The last second's figures.
    #[schema(value_type = Object)]
    pub tick: TranscodeTick,
}

impl TranscodeView {
    /// Takes in what happened.
    pub(crate) fn record(&mut self, what: &Transcode) {
        match what {
            Transcode::Planned { alignment, passthrough, renditions, reasons } => {
                self.alignment = *alignment;
                self.passthrough = *passthrough;
                self.reasons.clone_from(reasons);
                self.renditions = renditions.iter().map(begin).collect();
            }
            Transcode::WorkerStarted { .. } => {}
            Transcode::WorkerLost { cause, detail, .. } => {
                *self.losses.entry(cause.as_str()).or_default() += 1;
                self.last_loss = Some(detail.clone());
            }
            Transcode::Fallback { stage, from, to, reason } => {
                let to = to.unwrap_or("nothing, none is left");
                self.note(format!("{stage}: {from} gave way to {to}: {reason}"));
            }
            Transcode::Rung { track, state, reason } => {
                let of = |view: &&mut RenditionView| view.rendition.track == *track;
                if let Some(view) = self.renditions.iter_mut().find(of) {
                    view.state = *state;
                    view.reason.clone_from(reason);
                }
            }
            Transcode::Governor { step, reason } => self.note(format!("{}: {reason}", step.as_str())),
            Transcode::Tick(tick) => self.tick = tick.clone(),
            Transcode::Ended => self.renditions.clear(),
        }
    }

    /// The packager could not cut a rendition where the others are.
    pub(crate) fn astray(&mut self, track: TrackId, segment: u64, reason: &str) {
        let of = |view: &&RenditionView| view.rendition.track == track;
        let name = self.renditions.iter().find(of).map(|view| view.rendition.name.clone());
        let name = name.unwrap_or_else(|| format!("track {}", track.0));
        self.note(format!("{name} has a gap in segment {segment}: {reason}"));
    }

    fn note(&mut self, text: String) {
        if self.notes.len() >= NOTES_MAX {
            self.notes.remove(0);
        }
        self.notes.push(text);
    }
}

fn begin(rendition: &Rendition) -> RenditionView {
    RenditionView { rendition: rendition.clone(), state: RungState::Starting, reason: String::new() }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCause {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStep {
    step: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByWork {
    work: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Change {
    stage: &'static str,
    from: &'static str,
    to: &'static str,
}

type Total = Counter<u64, AtomicU64>;
type Seconds = Counter<f64, AtomicU64>;
type Reading = Gauge<f64, AtomicU64>;

/// The counters of all streams' renditions.
#[derive(Debug, Default)]
pub(crate) struct TranscodeMetrics {
    starts: Total,
    losses: Family<ByCause, Total>,
    fallbacks: Family<Change, Total>,
    steps: Family<ByStep, Total>,
    states: Family<ByState, Total>,
    frames: Family<ByState, Total>,
    work: Family<ByWork, Seconds>,
    speed: Family<ByStream, Reading>,
    cpu: Family<ByStream, Reading>,
    backlog: Family<ByStream, Reading>,
    sound: SoundMetrics,
}

impl TranscodeMetrics {
    pub(crate) fn register(&self, r: &mut Registry) {
        r.register("transcode_worker_starts", "Workers that became ready", self.starts.clone());
        let help = "Workers lost that were not asked to end, by cause";
        r.register("transcode_worker_losses", help, self.losses.clone());
        let help = "Backends that failed in mid-stream, and what took over";
        r.register("transcode_fallbacks", help, self.fallbacks.clone());
        r.register("transcode_governor_steps", "What was done about the load", self.steps.clone());
        r.register("transcode_rung_changes", "Renditions that changed their state", self.states.clone());
        let help = "Frames taken in, given out, repeated, and dropped before a worker that was behind";
        r.register("transcode_frames", help, self.frames.clone());
        let help = "Processor time by kind of work, as the workers measure it";
        r.register_with_unit("transcode_work", help, Unit::Seconds, self.work.clone());
        let help = "How much faster than real time the slowest rung is encoded";
        r.register("transcode_speed", help, self.speed.clone());
        r.register("transcode_cpu_share", "Share of all CPUs that a stream's worker takes", self.cpu.clone());
        let help = "Media that waits on its way through the worker";
        r.register_with_unit("transcode_backlog", help, Unit::Seconds, self.backlog.clone());
        self.sound.register(r);
    }

    /// Moves the counters. `label` is made only where one stream's figures come.
    pub(crate) fn record(&self, what: &Transcode, label: impl FnOnce() -> ByStream) {
        match what {
            Transcode::WorkerStarted { .. } => {
                self.starts.inc();
            }
            Transcode::WorkerLost { cause, .. } => {
                self.losses.get_or_create(&ByCause { cause: cause.as_str() }).inc();
            }
            Transcode::Fallback { stage, from, to, .. } => {
                let change = Change { stage, from, to: to.unwrap_or("none") };
                self.fallbacks.get_or_create(&change).inc();
            }
            Transcode::Rung { state, .. } => {
                self.states.get_or_create(&ByState { state: state.as_str() }).inc();
            }
            Transcode::Governor { step, .. } => {
                self.steps.get_or_create(&ByStep { step: step.as_str() }).inc();
            }
            Transcode::Tick(tick) => self.record_tick(tick, &label()),
            Transcode::Planned { .. } | Transcode::Ended => {}
        }
    }

    fn record_tick(&self, tick: &TranscodeTick, label: &ByStream) {
        let counts = [
            ("in", tick.frames_in),
            ("out", tick.frames_out),
            ("repeated", tick.repeated),
            ("dropped", tick.dropped),
        ];
        for (state, count) in counts {
            self.frames.get_or_create(&ByState { state }).inc_by(count);
        }
        let encode = tick.rungs.iter().map(|rung| rung.encode_micros).sum();
        for (work, micros) in
            [("decode", tick.decode_micros), ("scale", tick.scale_micros), ("encode", encode)]
        {
            self.work.get_or_create(&ByWork { work }).inc_by(micros as f64 / 1e6);
        }
        if let Some(slowest) = tick.rungs.iter().filter_map(|rung| rung.speed).reduce(f64::min) {
            self.speed.get_or_create(label).set(slowest);
        }
        self.cpu.get_or_create(label).set(tick.cpu_share);
        self.backlog.get_or_create(label).set(f64::from(tick.backlog_millis) / 1e3);
        self.sound.record(&tick.sound, label);
    }

    pub(crate) fn forget(&self, label: &ByStream) {
        self.speed.remove(label);
        self.cpu.remove(label);
        self.backlog.remove(label);
        self.sound.forget(label);
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::TrackId;
    use aqueduct_common::event::{Event, GovernorStep, RungTick, SoundTick, WorkerLoss};

    use super::*;
    use crate::Metrics;

    fn event(what: Transcode) -> Event {
        Event::Transcode { stream: "live/show".parse().unwrap(), what }
    }

    fn loss() -> Transcode {
        let detail = "killed by signal 9".to_owned();
        let cause = WorkerLoss::Signal(9);
        Transcode::WorkerLost { cause, detail, last_frame_micros: Some(40_000), retry_micros: 0 }
    }

    #[test]
    fn events_move_the_counters_that_are_named_for_them() {
        let mut metrics = Metrics::default();
        let rung = |speed| RungTick {
            track: TrackId(16),
            frames: 30,
            encode_micros: 250_000,
            encode_p95_micros: 9_000,
            bits: 1,
            speed: Some(speed),
            mean_qp: None,
        };
        let rungs = vec![rung(4.0), rung(1.5)];
        let sound = vec![SoundTick {
            track: TrackId(32),
            integrated: Some(-16.2),
            short_term: None,
            true_peak: Some(-1.5),
            gain: 4.5,
            reduction: 0.0,
        }];
        let tick =
            TranscodeTick { dropped: 7, rungs, backlog_millis: 120, sound, ..TranscodeTick::default() };
        let reason = "speed 0.9 for 3 s".to_owned();
        for what in [
            loss(),
            Transcode::Governor { step: GovernorStep::Quicker, reason },
            Transcode::Tick(tick),
            Transcode::WorkerStarted { lost_before: 1 },
        ] {
            metrics.record(&event(what));
        }
        let text = metrics.render();
        for line in [
            r#"aqueduct_transcode_worker_losses_total{cause="signal"} 1"#,
            r#"aqueduct_transcode_worker_starts_total 1"#,
            r#"aqueduct_transcode_governor_steps_total{step="quicker"} 1"#,
            r#"aqueduct_transcode_frames_total{state="dropped"} 7"#,
            r#"aqueduct_transcode_work_seconds_total{work="encode"} 0.5"#,
            r#"aqueduct_transcode_speed{stream="live/show"} 1.5"#,
            r#"aqueduct_transcode_backlog_seconds{stream="live/show"} 0.12"#,
            r#"aqueduct_transcode_sound_integrated_lufs{stream="live/show"} -16.2"#,
            r#"aqueduct_transcode_sound_true_peak_dbtp{stream="live/show"} -1.5"#,
            r#"aqueduct_transcode_sound_gain_db{stream="live/show"} 4.5"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("short_term_lufs{"), "silence has no level");
        metrics.keep(|_| false);
        assert!(!metrics.render().contains("live/show"));
    }

    #[test]
    fn a_view_shows_each_rendition_with_its_state_and_reason() {
        let mut view = TranscodeView::default();
        let rendition = |track, name: &str| Rendition {
            track: TrackId(track),
            name: name.into(),
            size: None,
            bitrate: 1,
        };
        let renditions = vec![rendition(16, "720p"), rendition(17, "360p")];
        let reasons = vec!["keyframes 8.3 s apart".into()];
        view.record(&Transcode::Planned {
            alignment: Alignment::Regular,
            passthrough: false,
            renditions,
            reasons,
        });
        let (state, reason) = (RungState::Shed, "the machine is full".to_owned());
        view.record(&Transcode::Rung { track: TrackId(17), state, reason });
        view.record(&loss());
        let [top, bottom] = view.renditions.as_slice() else { panic!("two renditions") };
        assert_eq!((bottom.rendition.name.as_str(), bottom.state), ("360p", RungState::Shed));
        assert_eq!(bottom.reason, "the machine is full");
        assert_eq!((top.state, top.reason.as_str()), (RungState::Starting, ""));
        assert_eq!(view.losses, BTreeMap::from([("signal", 1)]));
        assert_eq!(view.reasons, ["keyframes 8.3 s apart"]);
        view.record(&Transcode::Ended);
        assert!(view.renditions.is_empty() && view.losses.len() == 1, "what happened stays readable");
    }
}
