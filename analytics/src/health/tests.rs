use super::*;

/// A healthy second of a 30 fps stream of 3 Mbit/s.
fn healthy() -> Second {
    Second {
        ticks: 1,
        bytes: 375_000,
        frames: 30,
        has_video: true,
        grid_millifps: Some(30_000),
        key_interval: Some(2_000_000),
        keyframes: 1,
        skew: Some(12_000),
        rtt: Some(20_000),
        parts: 5,
        part_lag: Some(4_000),
        part_target: Some(200_000),
        speed: Some(3.0),
        backlog: Some(40),
        ..Second::default()
    }
}

/// Runs so many seconds of a kind after a minute of health; gives the health, and the second in which the reason came.
fn after(seconds: u32, reason: &str, mut with: impl FnMut(u32) -> Second) -> (Health, Option<u32>) {
    let mut health = Health::default();
    let mut now = 1_000_000;
    for _ in 0..60 {
        health.turn(&healthy(), State::Live, now);
        now += 1_000;
    }
    assert_eq!(health.state(), HealthState::Live, "{:?}", health.view());
    let mut seen = None;
    for second in 1..=seconds {
        health.turn(&with(second), State::Live, now);
        now += 1_000;
        let found = health.view().reasons.iter().any(|found| found.reason == reason);
        seen = seen.or(found.then_some(second));
    }
    (health, seen)
}

#[test]
fn ten_healthy_minutes_give_no_word_although_nothing_is_exact() {
    let mut noise = 7u64;
    let (health, _) = after(600, "", |second| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let jitter = noise >> 60;
        let mut one = healthy();
        one.bytes = 300_000 + 10_000 * jitter;
        // Two clocks of a second beat: now none, now two ticks in one turn.
        match second % 97 {
            0 => one = Second { parts: 5, part_target: Some(200_000), has_video: true, ..Second::default() },
            1 => (one.ticks, one.bytes, one.frames) = (2, one.bytes * 2, 60),
            _ => one.frames = 29 + (jitter % 3) as u32,
        }
        one.keyframes = second % 2;
        one
    });
    assert_eq!(health.view().reasons, []);
    assert_eq!(health.advice().count(), 0);
    assert_eq!(health.state(), HealthState::Live);
}

#[test]
fn each_fault_is_named_within_fifteen_seconds_and_forgotten_when_cured() {
    type Fault = fn(u32, &mut Second);
    let faults: [(&str, Fault); 12] = [
        ("low-fps", |_, one| (one.frames, one.grid_millifps) = (22, None)),
        ("bitrate", |_, one| one.bytes = 100_000),
        ("keyframes", |n, one| {
            (one.keyframes, one.key_interval) = (u32::from(n % 10 == 0), Some(10_000_000))
        }),
        ("av-skew", |_, one| one.skew = Some(200_000)),
        ("missing-frames", |_, one| one.missing = 2),
        ("round-trip", |_, one| one.rtt = Some(700_000)),
        ("encoder", |_, one| one.speed = Some(0.8)),
        ("packager", |_, one| one.part_lag = Some(150_000)),
        ("silent", |n, one| one.silent = n),
        ("jitter", |_, one| one.scatter = Some(450_000)),
        ("clock-drift", |_, one| one.drift_ppm = Some(-400)),
        ("loss", |_, one| one.packets = (12, 400)),
    ];
    for (reason, fault) in faults {
        let mut second = |n: u32| {
            let mut one = healthy();
            if n <= 20 {
                fault(n, &mut one);
            }
            one
        };
        let (health, seen) = after(20, reason, &mut second);
        assert!(seen.is_some_and(|seen| seen <= 15), "{reason}: {seen:?} {:?}", health.view());
        assert_eq!(health.state(), HealthState::Degraded, "{reason}");
        let (health, _) = after(60, reason, second);
        assert_eq!((health.state(), health.view().reasons), (HealthState::Live, vec![]), "{reason}");
    }
}

#[test]
fn advice_has_the_figures_that_the_streamer_needs() {
    let (health, _) = after(20, "", |_| Second { skew: Some(180_000), ..healthy() });
    let advice: Vec<_> = health.advice().map(|(advice, _)| advice.text()).collect();
    assert!(advice[0].contains("leads by 180 ms") && advice[0].contains("-180 ms"), "{advice:?}");
    let (health, _) =
        after(150, "", |n| Second { bytes: if n % 40 == 0 { 0 } else { 375_000 }, ..healthy() });
    let advice: Vec<_> = health.advice().map(|(advice, _)| advice.clone()).collect();
    assert_eq!(advice, [Advice::UplinkStalls { every_seconds: 40 }]);
    // A publisher that never sent more than eight frames a second.
    let mut health = Health::default();
    for n in 0..20 {
        let second = Second { frames: 8, grid_millifps: Some(8_000), ..healthy() };
        health.turn(&second, State::Live, n * 1_000);
    }
    let advice: Vec<_> = health.advice().map(|(advice, _)| advice.clone()).collect();
    assert_eq!(advice, [Advice::LowFrameRate { is_millifps: 8_000, should_millifps: 30_000 }]);
}

#[test]
fn a_source_that_falls_silent_stalls_and_comes_back() {
    let (health, seen) = after(4, "no-data", |_| Second { ticks: 1, has_video: true, ..Second::default() });
    assert_eq!((seen, health.state()), (Some(3), HealthState::Stalled));
    let (health, _) =
        after(8, "no-data", |n| if n <= 4 { Second { ticks: 1, ..Second::default() } } else { healthy() });
    assert_eq!(health.state(), HealthState::Live, "{:?}", health.view());
    let (health, seen) = after(5, "no-parts", |_| Second { parts: 0, part_lag: None, ..healthy() });
    assert_eq!((seen, health.state()), (Some(4), HealthState::Stalled));
}

#[test]
fn a_lower_rate_that_stays_is_believed_after_five_minutes() {
    let slower = |_| Second { frames: 25, grid_millifps: Some(25_000), ..healthy() };
    assert_eq!(after(200, "low-fps", slower).0.state(), HealthState::Degraded);
    assert_eq!(after(330, "low-fps", slower).0.state(), HealthState::Live);
}

#[test]
fn few_viewers_give_a_note_and_no_alarm() {
    let waiting = |sessions| move |_| Second { rebuffer: Some((0.04, sessions)), ..healthy() };
    assert_eq!(after(20, "rebuffering", waiting(3)).0.state(), HealthState::Live);
    assert_eq!(after(20, "rebuffering", waiting(3)).1, Some(10));
    assert_eq!(after(20, "rebuffering", waiting(80)).0.state(), HealthState::Degraded);
}

#[test]
fn stamps_that_step_back_are_told_of_for_a_minute() {
    let (health, seen) = after(20, "backward", |n| Second { backward: n % 3 / 2, ..healthy() });
    assert!(seen.is_some_and(|seen| seen <= 15), "{seen:?}");
    assert_eq!(health.state(), HealthState::Degraded);
    let advice: Vec<_> = health.advice().map(|(advice, _)| advice.clone()).collect();
    assert!(matches!(advice[..], [Advice::TimestampsBack { times: 6..=7 }]), "{advice:?}");
    let (health, _) = after(90, "", |n| Second { backward: u32::from(n < 10) * (n % 3 / 2), ..healthy() });
    assert_eq!((health.state(), health.view().reasons), (HealthState::Live, vec![]));
    let (_, seen) = after(60, "backward", |n| Second { backward: u32::from(n == 7), ..healthy() });
    assert_eq!(seen, None, "one in a minute is nothing");
}

#[test]
fn what_harms_little_is_said_and_changes_no_state() {
    let odd = |n: u32| Second {
        key_interval: Some(if n.is_multiple_of(2) { 600_000 } else { 3_400_000 }),
        ..healthy()
    };
    let (health, seen) = after(20, "uneven-keyframes", odd);
    assert!(seen.is_some_and(|seen| seen <= 15), "{seen:?}");
    assert_eq!((health.state(), health.advice().count()), (HealthState::Live, 0));
    let (health, seen) = after(20, "peaks", |_| Second { true_peak: Some(0.4), ..healthy() });
    assert!(seen.is_some_and(|seen| seen <= 15), "{seen:?}");
    assert_eq!(health.state(), HealthState::Live);
    assert_eq!(health.advice().count(), 0);
    let limited = |_| Second { true_peak: Some(-0.8), ..healthy() };
    assert_eq!(after(20, "peaks", limited).1, None, "as our own limiter leaves it");
}

#[test]
fn few_packets_tell_nothing_of_loss() {
    assert_eq!(after(20, "loss", |_| Second { packets: (1, 9), ..healthy() }).1, None);
}
