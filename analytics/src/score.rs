//! One number for how a stream is to its viewers, with all that went into it (QOE-24). Nothing is decided by it.

use serde::Serialize;
use utoipa::ToSchema;

/// The formula, as people read it.
const FORMULA: &str = "100 − 40·min(1, rebuffering/5 %) − 20·min(1, (start-up − 1 s)/5 s) − 20·min(1, failures/10 %) \
                       − 10·(1 − bitrate/best) − 30·(stalled + degraded/2)";

/// What goes into a score; `None` is not known and costs nothing.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Inputs {
    /// Share of viewing time that went by waiting.
    pub rebuffering: Option<f64>,
    /// 95th percentile of the time to the first picture, in seconds.
    pub startup: Option<f64>,
    /// Share of attempts that failed, and how many of how many.
    pub failures: Option<(f64, u64, u64)>,
    /// Share of the best bitrate that viewers do without.
    pub deficit: Option<f64>,
    /// Shares of the last minute in which the stream was degraded and stalled.
    pub source: Option<(f64, f64)>,
}

/// A score.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct ScoreView {
    /// 0 to 100.
    pub value: u32,
    /// How it is made.
    pub formula: &'static str,
    /// Of what.
    pub parts: Vec<ScorePart>,
}

/// A part of a score.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct ScorePart {
    /// Its name.
    pub part: &'static str,
    /// What it can cost.
    pub most: f64,
    /// What was measured.
    pub input: Option<f64>,
    /// `ratio` or `seconds`.
    pub unit: &'static str,
    /// What it costs.
    pub cost: f64,
    /// In plain words.
    pub text: String,
}

/// The score; `None` where nothing is known.
pub fn score(inputs: &Inputs) -> Option<ScoreView> {
    let known = inputs.source.is_some() || inputs.rebuffering.is_some() || inputs.startup.is_some();
    let part = |part, most: f64, input: Option<f64>, unit, share: f64, text: String| {
        let cost = input.map_or(0.0, |_| (most * share.clamp(0.0, 1.0) * 10.0).round() / 10.0);
        ScorePart { part, most, input, unit, cost, text }
    };
    let unknown = || "nobody has reported yet".to_owned();
    let percent = |value: f64| format!("{:.1} %", value * 100.0);
    let rebuffering = inputs.rebuffering.unwrap_or_default();
    let startup = inputs.startup.unwrap_or_default();
    let (failures, failed, attempts) = inputs.failures.unwrap_or_default();
    let deficit = inputs.deficit.unwrap_or_default();
    let (degraded, stalled) = inputs.source.unwrap_or_default();
    let ill = degraded / 2.0 + stalled;
    let parts = vec![
        part(
            "rebuffering",
            40.0,
            inputs.rebuffering,
            "ratio",
            rebuffering / 0.05,
            match inputs.rebuffering {
                Some(ratio) => format!("{} of viewing time was waiting", percent(ratio)),
                None => unknown(),
            },
        ),
        part(
            "start-up",
            20.0,
            inputs.startup,
            "seconds",
            (startup - 1.0) / 5.0,
            match inputs.startup {
                Some(seconds) => format!("p95 of {seconds:.1} s to the first picture"),
                None => unknown(),
            },
        ),
        part(
            "failures",
            20.0,
            inputs.failures.map(|(ratio, ..)| ratio),
            "ratio",
            failures / 0.1,
            match inputs.failures {
                Some(_) => format!("{failed} of {attempts} attempts failed"),
                None => unknown(),
            },
        ),
        part(
            "bitrate",
            10.0,
            inputs.deficit,
            "ratio",
            deficit,
            match inputs.deficit {
                Some(deficit) => format!("viewers play {:.0} % of the best bitrate", (1.0 - deficit) * 100.0),
                None => unknown(),
            },
        ),
        part(
            "source",
            30.0,
            inputs.source.map(|_| ill),
            "ratio",
            ill,
            match inputs.source {
                Some(_) if ill == 0.0 => "well throughout the last minute".to_owned(),
                Some(_) => format!(
                    "degraded {:.0} s and stalled {:.0} s of the last minute",
                    degraded * 60.0,
                    stalled * 60.0
                ),
                None => "no publisher".to_owned(),
            },
        ),
    ];
    let cost: f64 = parts.iter().map(|part| part.cost).sum();
    known.then(|| ScoreView {
        value: (100.0 - cost).clamp(0.0, 100.0).round() as u32,
        formula: FORMULA,
        parts,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_parts_explain_the_whole() {
        assert_eq!(score(&Inputs::default()), None);
        let well = Inputs { source: Some((0.0, 0.0)), ..Inputs::default() };
        assert_eq!(score(&well).unwrap().value, 100);
        let ill = Inputs {
            rebuffering: Some(0.01),
            startup: Some(2.0),
            failures: Some((0.05, 5, 100)),
            deficit: Some(0.2),
            source: Some((0.5, 0.1)),
        };
        let score = score(&ill).unwrap();
        let costs: Vec<f64> = score.parts.iter().map(|part| part.cost).collect();
        assert_eq!(costs, [8.0, 4.0, 10.0, 2.0, 10.5]);
        assert_eq!(score.value, 66);
    }

    proptest! {
        #[test]
        fn a_score_stays_between_nothing_and_a_hundred(a in 0.0..9.0f64, b in 0.0..99.0f64, c in 0.0..1.0f64, d in 0.0..1.0f64) {
            let inputs = Inputs {
                rebuffering: Some(a), startup: Some(b), failures: Some((c, 1, 2)), deficit: Some(d), source: Some((c, d)),
            };
            prop_assert!(score(&inputs).unwrap().value <= 100);
        }
    }
}
