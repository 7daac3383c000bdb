//! The engine (QOE-39).

use proptest::prelude::*;

use super::*;

fn engine() -> Alerts {
    Alerts::new(rules(&Thresholds::default()), Saved::default(), 0)
}

fn reading(signal: Signal, value: f64, count: u64) -> Reading {
    let scope = Scope { kind: Kind::Stream, name: "live/show".into() };
    Reading { signal, scope, value, count, minutes: 0.0, text: format!("{value}") }
}

/// Feeds a value a second; what was told, with its second.
fn run(alerts: &mut Alerts, from: i64, seconds: i64, value: impl Fn(i64) -> f64) -> Vec<(i64, &'static str)> {
    let mut told = Vec::new();
    for second in from..from + seconds {
        for notice in alerts.turn(&[reading(Signal::Rebuffering, value(second), 100)], second * 1_000) {
            told.push((second, word(&notice)));
        }
    }
    told
}

fn word(notice: &Notice) -> &'static str {
    match notice {
        Notice::Raised(_) => "raised",
        Notice::Resolved(_) => "resolved",
        Notice::Stays(_) => "stays",
    }
}

#[test]
fn a_square_wave_quicker_than_the_rule_raises_nothing() {
    let wave = |second: i64| if second % 100 < 55 { 0.04 } else { 0.01 };
    assert_eq!(run(&mut engine(), 1, 3_600, wave), []);
}

#[test]
fn a_ramp_raises_once_and_ends_once() {
    let ramp = |second: i64| if second < 1_000 { second as f64 * 0.00004 } else { 0.001 };
    assert_eq!(run(&mut engine(), 1, 3_000, ramp), [(561, "raised"), (1_120, "resolved")]);
}

#[test]
fn between_the_thresholds_nothing_changes() {
    let mut alerts = engine();
    assert_eq!(run(&mut alerts, 1, 100, |_| 0.03), [(61, "raised")]);
    // Below the upper and above the lower one, with dips that do not last.
    let dips = |second: i64| if second % 130 < 100 { 0.001 } else { 0.016 };
    assert_eq!(run(&mut alerts, 101, 1_000, dips), []);
    assert_eq!(run(&mut alerts, 1_101, 400, |_| 0.001), [(1_160, "resolved")]);
}

#[test]
fn one_that_ended_does_not_begin_again_at_once() {
    let mut alerts = engine();
    run(&mut alerts, 1, 100, |_| 0.03);
    let resolved = run(&mut alerts, 101, 200, |_| 0.0);
    assert_eq!(resolved, [(221, "resolved")]);
    assert_eq!(run(&mut alerts, 301, 600, |_| 0.03), [(581, "raised")]);
}

#[test]
fn a_restart_tells_nobody_twice() {
    let mut alerts = engine();
    run(&mut alerts, 1, 100, |_| 0.03);
    let saved = serde_json::to_string(&alerts.save()).unwrap();
    let saved = serde_json::from_str(&saved).unwrap();
    let mut again = Alerts::new(rules(&Thresholds::default()), saved, 105_000);
    assert_eq!(run(&mut again, 105, 1_000, |_| 0.03), []);
    assert_eq!(again.active().len(), 1);
    assert_eq!(run(&mut again, 1_105, 900, |_| 0.03), [(1_861, "stays")]);
    assert_eq!(run(&mut again, 2_005, 200, |_| 0.0), [(2_125, "resolved")]);
}

#[test]
fn few_sessions_say_nothing_unless_much_was_played() {
    let mut alerts = engine();
    let tell = |alerts: &mut Alerts, minutes: f64| {
        let few = Reading { minutes, ..reading(Signal::Rebuffering, 0.5, 3) };
        (1..200).flat_map(|second| alerts.turn(std::slice::from_ref(&few), second * 1_000)).count()
    };
    assert_eq!(tell(&mut alerts, 10.0), 0);
    assert!(tell(&mut alerts, 600.0) > 0);
}

#[test]
fn what_the_source_explains_is_not_told_until_the_source_is_back() {
    let mut alerts = engine();
    let both = [reading(Signal::SourceLost, 1.0, 1), reading(Signal::Rebuffering, 0.03, 100)];
    let mut told = Vec::new();
    for second in 1..100 {
        told.extend(alerts.turn(&both, second * 1_000));
    }
    let Notice::Raised(first) = &told[0] else { panic!("{told:?}") };
    assert_eq!((told.len(), first.rule.as_str()), (1, "source-lost"));
    let explained = alerts.active().into_iter().find(|alert| alert.rule == "rebuffering").unwrap();
    assert_eq!(explained.suppressed_by.as_deref(), Some("source-lost:stream:live/show"));
    let back = [reading(Signal::SourceLost, 0.0, 1), reading(Signal::Rebuffering, 0.03, 100)];
    let told: Vec<_> = (100..200).flat_map(|second| alerts.turn(&back, second * 1_000)).collect();
    assert_eq!(told.iter().map(word).collect::<Vec<_>>(), ["resolved", "raised"]);
}

#[test]
fn what_is_not_measured_any_more_is_over() {
    let mut alerts = engine();
    run(&mut alerts, 1, 100, |_| 0.03);
    let told: Vec<_> = (100..400).flat_map(|second| alerts.turn(&[], second * 1_000)).collect();
    assert_eq!(told.iter().map(word).collect::<Vec<_>>(), ["resolved"]);
    assert!(alerts.active().is_empty() && alerts.recent().len() == 1);
}

proptest! {
    /// Whatever values do: raised and resolved take turns, and each lasts as long as its rule says.
    #[test]
    fn notices_take_turns(values in proptest::collection::vec((0.0..0.05f64, 1..200i64), 1..40)) {
        let (mut alerts, mut second, mut told) = (engine(), 1, Vec::new());
        for (value, seconds) in values {
            told.extend(run(&mut alerts, second, seconds, |_| value));
            second += seconds;
        }
        let warnings: Vec<_> = told.iter().filter(|(_, word)| *word != "stays").collect();
        for pair in warnings.windows(2).filter(|pair| pair[0].1 == "raised" && pair[1].1 == "resolved") {
            prop_assert!(pair[1].0 - pair[0].0 >= 120);
        }
        let raised = warnings.iter().filter(|(_, word)| *word == "raised").count();
        let resolved = warnings.len() - raised;
        // Two rules watch one signal: at most two are open at the end.
        prop_assert!(raised >= resolved && raised - resolved <= 2);
    }
}
