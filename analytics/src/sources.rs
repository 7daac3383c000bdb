//! What a stream's sources and the servers that it is sent on to are doing, from events alone.

use aqueduct_common::SourceName;
use aqueduct_common::event::{
    Protocol, PublishEnd, PushChange, PushState, PushTick, SourceChange, StandbyTick, SwitchReason,
};
use serde::Serialize;
use utoipa::ToSchema;

/// What a source is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceState {
    /// It has not come, or has left.
    Absent,
    /// It sends, and another one is on air.
    Standby,
    /// Viewers see it.
    OnAir,
}

/// One source of a stream that has several.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct SourceView {
    /// Its name, as in `sources` of the stream's section.
    #[schema(value_type = String)]
    pub name: SourceName,
    /// What it is doing.
    pub state: SourceState,
    /// How it came.
    #[schema(value_type = Option<String>)]
    pub protocol: Option<Protocol>,
    /// What it calls itself.
    pub encoder: String,
    /// Its last second, while it stands by.
    #[schema(value_type = Option<Object>)]
    pub standby: Option<StandbyTick>,
    /// Why it left last.
    #[schema(value_type = Option<String>)]
    pub last_end: Option<PublishEnd>,
    /// Why it cannot be fetched, while it is away.
    pub problem: Option<String>,
}

impl SourceView {
    /// One that has not come yet.
    fn absent(name: SourceName) -> Self {
        let (state, encoder) = (SourceState::Absent, String::new());
        Self { name, state, protocol: None, encoder, standby: None, last_end: None, problem: None }
    }
}

/// A change of who is on air.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct SwitchView {
    /// Who was on air before.
    #[schema(value_type = Option<String>)]
    pub from: Option<SourceName>,
    /// Who is since.
    #[schema(value_type = String)]
    pub to: SourceName,
    /// Why, as a label.
    #[schema(value_type = String)]
    pub reason: SwitchReason,
    /// Why, in plain words.
    pub text: &'static str,
}

/// One server that a stream is sent on to.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct PushView {
    /// Its name, or its URL without keys.
    pub target: String,
    /// What the connection is doing.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub state: PushState,
    /// Bits per second over the last second.
    pub bitrate: u64,
    /// Samples let go since the stream began, because the target was slow or away.
    pub dropped: u64,
    /// Connections that failed since the stream began.
    pub failures: u32,
}

/// A stream's sources and targets.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Ways {
    pub(crate) sources: Vec<SourceView>,
    pub(crate) last_switch: Option<SwitchView>,
    pub(crate) switches: u32,
    pub(crate) push: Vec<PushView>,
}

impl Ways {
    /// One of its sources is there.
    pub(crate) fn has_any(&self) -> bool {
        self.sources.iter().any(|source| source.state != SourceState::Absent)
    }

    /// The one on air.
    pub(crate) fn on_air(&self) -> Option<&SourceView> {
        self.sources.iter().find(|source| source.state == SourceState::OnAir)
    }

    pub(crate) fn record(&mut self, name: &SourceName, what: &SourceChange) {
        // A stream without a list of sources says elsewhere why its only one is away.
        let is_listed = self.sources.iter().any(|source| source.name == *name);
        if !is_listed && matches!(what, SourceChange::Failing { .. }) {
            return;
        }
        if !is_listed {
            self.sources.push(SourceView::absent(name.clone()));
        }
        if let SourceChange::OnAir { before, reason } = what {
            for source in &mut self.sources {
                if source.state == SourceState::OnAir {
                    source.state = SourceState::Standby;
                }
            }
            self.switches += u32::from(*reason != SwitchReason::First);
            let (from, to) = (before.clone(), name.clone());
            self.last_switch = Some(SwitchView { from, to, reason: *reason, text: reason.text() });
        }
        let Some(source) = self.sources.iter_mut().find(|source| source.name == *name) else { return };
        match what {
            SourceChange::Named(_) => {}
            SourceChange::Joined { protocol, encoder } => {
                source.state = SourceState::Standby;
                source.problem = None;
                source.protocol = Some(*protocol);
                source.encoder.clone_from(encoder);
            }
            SourceChange::Left { reason } => {
                source.state = SourceState::Absent;
                source.standby = None;
                source.last_end = Some(*reason);
            }
            SourceChange::OnAir { .. } => {
                source.state = SourceState::OnAir;
                source.standby = None;
            }
            SourceChange::Failing { problem } => source.problem = Some(problem.clone()),
            SourceChange::Standby(tick) => source.standby = Some(tick.clone()),
        }
    }

    pub(crate) fn record_push(&mut self, target: &str, what: &PushChange) {
        let found = self.push.iter().position(|push| push.target == target);
        let at = found.unwrap_or_else(|| {
            let (target, state) = (target.to_owned(), PushState::Connecting);
            self.push.push(PushView { target, state, bitrate: 0, dropped: 0, failures: 0 });
            self.push.len() - 1
        });
        let push = &mut self.push[at];
        match what {
            PushChange::State(state) => {
                push.failures += u32::from(matches!(state, PushState::Failed { .. }));
                push.state = state.clone();
                push.bitrate = 0;
            }
            PushChange::Tick(PushTick { bytes, dropped, .. }) => {
                push.bitrate = bytes * 8;
                push.dropped += dropped;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_is_on_air_and_the_others_stand_by() {
        let mut ways = Ways::default();
        let [main, backup]: [SourceName; 2] = ["push:main", "push:backup"].map(|name| name.parse().unwrap());
        let joined = || SourceChange::Joined { protocol: Protocol::Rtmp, encoder: "obs".into() };
        ways.record(&main, &SourceChange::Named(0));
        ways.record(&backup, &SourceChange::Named(1));
        assert!(ways.sources.len() == 2 && !ways.has_any());
        let failing = SourceChange::Failing { problem: "its cable is loose".into() };
        ways.record(&main, &failing);
        assert_eq!(ways.sources[0].problem.as_deref(), Some("its cable is loose"));
        ways.record(&"rtsp:other".parse().unwrap(), &failing);
        assert_eq!(ways.sources.len(), 2, "who is in no list is not shown in it");
        ways.record(&main, &joined());
        assert_eq!(ways.sources[0].problem, None);
        ways.record(&main, &SourceChange::OnAir { before: None, reason: SwitchReason::First });
        ways.record(&backup, &joined());
        let states = |ways: &Ways| ways.sources.iter().map(|source| source.state).collect::<Vec<_>>();
        assert_eq!(states(&ways), [SourceState::OnAir, SourceState::Standby]);
        let left = SwitchReason::Left;
        ways.record(&main, &SourceChange::Left { reason: PublishEnd::Lost });
        ways.record(&backup, &SourceChange::OnAir { before: Some(main.clone()), reason: left });
        assert_eq!(states(&ways), [SourceState::Absent, SourceState::OnAir]);
        assert_eq!(ways.on_air().unwrap().name, backup);
        assert_eq!((ways.switches, ways.last_switch.unwrap().from), (1, Some(main)));
    }

    #[test]
    fn a_target_counts_its_failures_and_drops() {
        let mut ways = Ways::default();
        let failed = PushState::Failed { reason: "refused".into(), again_millis: 1_000 };
        ways.record_push("a", &PushChange::State(failed));
        ways.record_push("a", &PushChange::Tick(PushTick { bytes: 100, samples: 1, dropped: 7 }));
        ways.record_push("a", &PushChange::State(PushState::Live));
        ways.record_push("a", &PushChange::Tick(PushTick { bytes: 100, samples: 1, dropped: 0 }));
        let push = &ways.push[0];
        assert_eq!((push.bitrate, push.dropped, push.failures, &push.state), (800, 7, 1, &PushState::Live));
    }
}
