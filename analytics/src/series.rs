//! The last fifteen minutes of a stream, a row a second.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use utoipa::ToSchema;

/// Rows that are kept: 15 min.
const KEPT: usize = 900;

/// The columns, in the order in which seconds are sent.
pub const COLUMNS: [&str; 23] = [
    "bitrate",
    "fps",
    "keyframe_interval",
    "av_skew",
    "rtt",
    "encode_speed",
    "encode_backlog",
    "part_lag",
    "viewers",
    "rebuffer",
    "player_latency",
    "startup",
    "bitrate_played",
    "score",
    "health",
    "latency_uplink",
    "latency_transcode",
    "latency_package",
    "latency_relay",
    "latency_edge",
    "latency_player",
    "arrival_scatter",
    "clock_drift",
];

/// One second; NaN is not known.
pub type Row = [f32; COLUMNS.len()];

/// Rows of a stream.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// The second of the newest row, since 1970.
    newest: i64,
    rows: VecDeque<Row>,
}

/// Rows as columns.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct SeriesView {
    /// The stream.
    pub name: String,
    /// The second of the first value, since 1970.
    pub start: i64,
    /// Seconds between two values.
    pub step: u32,
    /// Values of each column.
    pub count: usize,
    /// Values by column, oldest first; null is not known.
    #[schema(value_type = BTreeMap<String, Vec<Option<f32>>>)]
    pub columns: BTreeMap<&'static str, Vec<Option<f32>>>,
}

impl Series {
    /// Adds the row of a second. Seconds that were left out are not known; one that is there already is replaced.
    pub fn push(&mut self, second: i64, row: Row) {
        if self.rows.is_empty() || second < self.newest - KEPT as i64 || second > self.newest + KEPT as i64 {
            self.rows.clear();
        } else if second <= self.newest {
            // The wall clock was put back: what follows replaces what was told for those seconds.
            let back = (self.newest - second) as usize + 1;
            self.rows.truncate(self.rows.len().saturating_sub(back));
        } else {
            for _ in self.newest + 1..second {
                self.append([f32::NAN; COLUMNS.len()]);
            }
        }
        self.newest = second;
        self.append(row);
    }

    fn append(&mut self, row: Row) {
        if self.rows.len() >= KEPT {
            self.rows.pop_front();
        }
        self.rows.push_back(row);
    }

    /// The newest row.
    pub fn newest(&self) -> Option<(i64, &Row)> {
        self.rows.back().map(|row| (self.newest, row))
    }

    /// The last `count` rows of these columns.
    pub fn view(&self, name: &str, count: usize, columns: &[&'static str]) -> SeriesView {
        let count = count.min(self.rows.len());
        let rows = || self.rows.iter().skip(self.rows.len() - count);
        let column = |name: &&'static str| {
            let index = COLUMNS.iter().position(|column| column == name)?;
            Some((*name, rows().map(|row| known(row[index])).collect()))
        };
        SeriesView {
            name: name.to_owned(),
            start: self.newest + 1 - count as i64,
            step: 1,
            count,
            columns: columns.iter().filter_map(column).collect(),
        }
    }
}

/// A value to be shown: no more digits than it is good for.
pub fn known(value: f32) -> Option<f32> {
    if !value.is_finite() {
        return None;
    }
    let step = if value.abs() >= 100.0 { 1.0 } else { 10_000.0 };
    Some((value * step).round() / step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_minutes_are_kept_with_their_holes() {
        let mut series = Series::default();
        for second in 0..1_000 {
            series.push(second, [second as f32; COLUMNS.len()]);
        }
        series.push(1_002, [5.0; COLUMNS.len()]);
        let view = series.view("live/show", 900, &["bitrate", "fps"]);
        assert_eq!((view.start, view.count, view.columns.len()), (103, 900, 2));
        assert_eq!(view.columns["bitrate"][0], Some(103.0));
        assert_eq!(view.columns["fps"][897..], [None, None, Some(5.0)]);
        // A clock that is put back, and one that leaps.
        series.push(1_001, [6.0; COLUMNS.len()]);
        assert_eq!(series.newest().unwrap().0, 1_001);
        assert_eq!(series.view("", 2, &["fps"]).columns["fps"], [None, Some(6.0)]);
        series.push(9_000_000, [7.0; COLUMNS.len()]);
        assert_eq!(series.view("", 900, &["fps"]).count, 1);
    }
}
