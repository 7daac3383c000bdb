//! A stream's minute, as it is kept.

use crate::series::Row;
use crate::store::Minute;

/// What is known at the end of a minute.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    pub(super) stream: String,
    pub(super) health: &'static str,
    /// Milliseconds played and waited in the last minute.
    pub(super) played: Option<[f64; 2]>,
    pub(super) startup: Option<f64>,
    pub(super) reasons: String,
}

/// Least, sum and most of what was known, and of how many.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    least: f64,
    sum: f64,
    most: f64,
    count: f64,
}

impl Spread {
    fn add(&mut self, value: f32) {
        let value = f64::from(value);
        if value.is_finite() {
            self.least = if self.count == 0.0 { value } else { self.least.min(value) };
            self.most = self.most.max(value);
            self.sum += value;
            self.count += 1.0;
        }
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    fn all(&self) -> [f64; 3] {
        [self.least, self.mean().unwrap_or_default(), self.most]
    }
}

/// The minute that runs.
#[derive(Debug, Default)]
pub(super) struct MinuteSoFar {
    number: i64,
    bitrate: Spread,
    fps: Spread,
    viewers: Spread,
    latency: Spread,
    score: Spread,
    reasons: Vec<String>,
    summary: Summary,
}

impl MinuteSoFar {
    /// Adds a second at `now` (milliseconds since 1970). Gives the minute before when another one begins.
    pub(super) fn turn(&mut self, row: &Row, summary: Summary, now: i64) -> Option<Minute> {
        let number = now.div_euclid(60_000);
        let over = (self.number != 0 && number != self.number).then(|| self.finish());
        if number != self.number {
            *self = Self { number, ..Self::default() };
        }
        self.bitrate.add(row[0]);
        self.fps.add(row[1]);
        self.viewers.add(row[8]);
        self.latency.add(row[10]);
        self.score.add(row[13]);
        for reason in summary.reasons.split(' ').filter(|reason| !reason.is_empty()) {
            if !self.reasons.iter().any(|known| known == reason) {
                self.reasons.push(reason.to_owned());
            }
        }
        self.summary = summary;
        over
    }

    fn finish(&self) -> Minute {
        let [play, stall] = self.summary.played.unwrap_or_default();
        Minute {
            at: self.number * 60_000,
            stream: self.summary.stream.clone(),
            health: self.summary.health.to_owned(),
            bitrate: self.bitrate.all(),
            fps: self.fps.all(),
            viewers: self.viewers.most as u32,
            rebuffer: (play + stall > 0.0).then(|| stall / (play + stall)),
            time: [play, stall],
            startup: self.summary.startup,
            latency: self.latency.mean(),
            score: self.score.mean(),
            reasons: self.reasons.join(" "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::COLUMNS;

    #[test]
    fn a_minute_has_least_mean_and_most() {
        let mut minute = MinuteSoFar::default();
        let summary = |reasons: &str| Summary {
            stream: "live/show".into(),
            reasons: reasons.into(),
            ..Summary::default()
        };
        for second in 0..60i64 {
            let mut row = [f32::NAN; COLUMNS.len()];
            row[0] = second as f32 * 1_000.0;
            row[8] = 7.0;
            assert_eq!(
                minute.turn(
                    &row,
                    summary(if second == 3 { "low-fps" } else { "" }),
                    600_000 + second * 1_000
                ),
                None
            );
        }
        let over = minute.turn(&[f32::NAN; COLUMNS.len()], summary(""), 660_000).unwrap();
        assert_eq!((over.at, over.bitrate, over.viewers), (600_000, [0.0, 29_500.0, 59_000.0], 7));
        assert_eq!((over.reasons.as_str(), over.latency, over.fps), ("low-fps", None, [0.0; 3]));
    }
}
