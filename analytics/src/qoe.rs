//! Metrics of what viewers live through and of alerts (QOE-30 to QOE-33).

use std::sync::atomic::{AtomicI64, AtomicU64};

use aqueduct_common::StreamName;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::alert::Alerts;
use crate::metrics::ByStream;
use crate::score::ScoreView;
use crate::viewers::{Player, Tally, Viewers};

type Total = Counter<u64, AtomicU64>;
type Seconds = Counter<f64, AtomicU64>;
type Level = Gauge<i64, AtomicI64>;
type Reading = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPlayer {
    player: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRule {
    rule: String,
    severity: String,
}

/// What viewers live through.
#[derive(Debug, Default)]
pub(crate) struct QoeMetrics {
    play: Family<ByPlayer, Seconds>,
    rebuffer: Family<ByPlayer, Seconds>,
    stalls: Family<ByPlayer, Total>,
    attempts: Family<ByPlayer, Total>,
    started: Family<ByPlayer, Total>,
    failed: Family<ByPlayer, Total>,
    sessions: Level,
    invalid: Family<ByReason, Total>,
    untaken: Family<ByReason, Total>,
    alerts: Family<ByRule, Level>,
    reports_dropped: Level,
    records_dropped: Level,
    pub(crate) score: Family<ByStream, Reading>,
}

impl QoeMetrics {
    pub(crate) fn register(&self, r: &mut Registry) {
        let help = "Time that viewers watched, as their players report it";
        r.register_with_unit("qoe_play", help, Unit::Seconds, self.play.clone());
        let help = "Time that viewers waited while they meant to watch";
        r.register_with_unit("qoe_rebuffer", help, Unit::Seconds, self.rebuffer.clone());
        r.register("qoe_stalls", "Stalls that players report", self.stalls.clone());
        r.register("qoe_attempts", "Sessions that began", self.attempts.clone());
        r.register("qoe_started", "Sessions that showed a picture", self.started.clone());
        r.register("qoe_failed", "Sessions that failed before their first picture", self.failed.clone());
        r.register("qoe_sessions", "Sessions that are open", self.sessions.clone());
        let help = "Keys of CMCD that could not be taken, by reason";
        r.register("cmcd_invalid_keys", help, self.invalid.clone());
        r.register("qoe_reports_untaken", "Reports that could not be taken, by reason", self.untaken.clone());
        r.register("stream_alert_active", "1 while an alert is active, by rule", self.alerts.clone());
        r.register("stream_score", "How a stream is to its viewers, 0 to 100", self.score.clone());
        let help = "Reports of viewers lost since the start because nobody kept up";
        r.register("reports_dropped", help, self.reports_dropped.clone());
        let help = "Records lost since the start because the history could not be written";
        r.register("records_dropped", help, self.records_dropped.clone());
    }

    /// Brings everything to what it is now.
    pub(crate) fn watch(&self, viewers: &Viewers, alerts: &Alerts, reports: u64, records: u64) {
        for (player, tally) in viewers.total() {
            self.total(player, tally);
        }
        self.sessions.set(viewers.open().count() as i64);
        let untaken = viewers.untaken();
        for (reason, count) in
            [("syntax", untaken.keys.syntax), ("value", untaken.keys.value), ("excess", untaken.keys.excess)]
        {
            raise(&self.invalid.get_or_create(&ByReason { reason }), u64::from(count));
        }
        for (reason, count) in
            [("no_session", untaken.nameless), ("bad_beacon", untaken.beacons), ("no_room", untaken.room)]
        {
            raise(&self.untaken.get_or_create(&ByReason { reason }), count);
        }
        self.alerts.clear();
        for alert in alerts.active() {
            self.alerts.get_or_create(&ByRule { rule: alert.rule, severity: alert.severity }).inc();
        }
        self.reports_dropped.set(i64::try_from(reports).unwrap_or(i64::MAX));
        self.records_dropped.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    fn total(&self, player: Player, tally: &Tally) {
        let label = ByPlayer {
            player: match player {
                Player::Aqueduct => "aqueduct",
                Player::Cmcd => "cmcd",
            },
        };
        let seconds = |counter: &Seconds, millis: f64| {
            counter.inc_by((millis / 1e3 - counter.get()).max(0.0));
        };
        seconds(&self.play.get_or_create(&label), tally.sums.play);
        seconds(&self.rebuffer.get_or_create(&label), tally.sums.stall);
        raise(&self.stalls.get_or_create(&label), tally.sums.stalls as u64);
        raise(&self.attempts.get_or_create(&label), tally.attempts);
        raise(&self.started.get_or_create(&label), tally.started);
        raise(&self.failed.get_or_create(&label), tally.failed);
    }

    /// Brings a stream's score to what it is.
    pub(crate) fn scored(&self, label: &ByStream, score: Option<&ScoreView>) {
        match score {
            Some(score) => {
                self.score.get_or_create(label).set(f64::from(score.value));
            }
            None => {
                self.score.remove(label);
            }
        }
    }
}

/// Brings a counter to a total.
fn raise(counter: &Total, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// A stream with its score.
pub(crate) type Scored<'a> = (&'a StreamName, Option<&'a ScoreView>);
