//! A stream as the API and the dashboard show it.

use std::collections::BTreeMap;

use aqueduct_common::StreamName;
use aqueduct_common::event::{Advice, IngestTick, Protocol, PublishEnd};
use serde::Serialize;
use utoipa::ToSchema;

use crate::health::HealthView;
use crate::latency::LatencyView;
use crate::score::ScoreView;
use crate::sources::{PushView, SourceView, SwitchView};
use crate::transcode::TranscodeView;
use crate::viewers::QoeView;
use crate::watch::ViewersBy;

/// Where a stream is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A publisher is there; no playlist is out yet.
    Starting,
    /// It plays.
    Live,
    /// Its publisher is gone and may come back within the grace time.
    Reconnecting,
    /// It ended.
    Ended,
}

/// One piece of advice for the streamer.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Advised {
    /// What, with its figures.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub advice: Advice,
    /// What to do, in plain words.
    pub text: String,
    /// Since when it holds, in milliseconds since 1970.
    pub since: i64,
}

/// A stream as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct StreamView {
    /// Its name, `app/name`.
    #[schema(value_type = String)]
    pub name: StreamName,
    /// Where it is in its life.
    pub state: State,
    /// How its publisher came.
    #[schema(value_type = Option<String>)]
    pub protocol: Option<Protocol>,
    /// What its encoder calls itself.
    pub encoder: String,
    /// Its epoch, as in its paths.
    pub epoch: Option<String>,
    /// EXT-X-TARGETDURATION in seconds.
    pub target_duration: Option<u32>,
    /// PART-TARGET in seconds.
    pub part_target: Option<f64>,
    /// Viewers in the last 30 s.
    pub viewers: u32,
    /// Bits per second over the last second.
    pub bitrate: u64,
    /// Returns and takeovers since it began.
    pub reconnects: u32,
    /// Discontinuities since it began.
    pub discontinuities: u32,
    /// Repaired timestamps since it began, by type.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub anomalies: BTreeMap<&'static str, u64>,
    /// The publisher's last second.
    #[schema(value_type = Object)]
    pub ingest: IngestTick,
    /// Its renditions; `None` before anything was decided about them.
    pub transcode: Option<TranscodeView>,
    /// What the streamer should change.
    pub advice: Vec<Advised>,
    /// Why the last publisher left.
    #[schema(value_type = Option<String>)]
    pub last_end: Option<PublishEnd>,
    /// Its sources, where it has a list of them, the preferred one first.
    pub sources: Vec<SourceView>,
    /// The newest change of who is on air.
    pub last_switch: Option<SwitchView>,
    /// Changes of who is on air since it began.
    pub switches: u32,
    /// Servers that it is sent on to.
    pub push: Vec<PushView>,
    /// Since when it plays, in milliseconds since 1970.
    pub live_since: Option<i64>,
    /// How it is, and why.
    pub health: HealthView,
    /// One number for how it is to its viewers; `None` before anything was measured for it.
    pub score: Option<ScoreView>,
    /// What viewers live through; `None` where none reports.
    pub qoe: Option<QoeView>,
    /// Where the time goes between capture and screen.
    pub latency: LatencyView,
    /// Viewers by what they have.
    pub viewers_by: ViewersBy,
}

/// A stream as a list shows it, in the order of [`ROW`].
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StreamRow(
    pub StreamName,
    pub &'static str,
    pub Option<u32>,
    pub u32,
    pub u64,
    pub Option<f32>,
    pub Option<f32>,
    pub Option<f32>,
    pub usize,
    pub usize,
    pub Option<i64>,
);

/// What the values of a [`StreamRow`] are.
pub const ROW: [&str; 11] = [
    "name", "health", "score", "viewers", "bitrate", "fps", "latency", "rebuffer", "advice", "alerts",
    "since",
];
