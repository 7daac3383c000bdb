//! Golden replays of sessions (QOE-37).

use aqueduct_common::WallTime;
use proptest::prelude::*;

use super::*;

fn stream() -> StreamName {
    "live/show".parse().unwrap()
}

fn report(at: i64, carrier: Carrier, text: &str) -> Report {
    Report { stream: stream(), at: WallTime { micros: at * 1_000 }, viewer: 1, carrier, text: text.into() }
}

fn hear(viewers: &mut Viewers, at: i64, carrier: Carrier, text: &str) {
    viewers.hear(&report(at, carrier, text), &Arc::from("here"));
}

/// A viewer who waits 412 ms for the first picture, plays 600 s with stalls of 1.2 and 0.8 s after 100 and 300 s, and
/// changes from 5 000 to 2 500 kbit/s and back between them.
fn beacons() -> Vec<(i64, String)> {
    let begin = 1_763_634_000_000i64;
    let mut out = vec![(begin, r#"{"v":1,"sid":"golden-1","seq":1,"state":"starting"}"#.to_owned())];
    for second in 1..=60i64 {
        let t = second * 10_000;
        let stall = if t >= 300_000 {
            2_000
        } else if t >= 100_000 {
            1_200
        } else {
            0
        };
        let (stalls, down) = (i32::from(t >= 100_000) + i32::from(t >= 300_000), i32::from(t >= 100_000));
        let low = (t.min(300_000) - 100_000).max(0);
        let bitrate = low * 2_500 + (t - low) * 5_000;
        let up = i32::from(t >= 300_000);
        out.push((
            begin + 412 + t + stall,
            format!(
                r#"{{"v":1,"sid":"golden-1","seq":{},"state":"playing","startup_ms":412,"cum":{{"play_ms":{t},"stall_ms":{stall},
                "stalls":{stalls},"up":{up},"down":{down},"bitrate_ms":{bitrate},"latency_ms":{},"latency_known_ms":{t}}},
                "now":{{"latency_ms":900,"buffer_ms":600,"kbps":5000,"height":1080}}}}"#,
                second + 1,
                t * 900,
            ),
        ));
    }
    out
}

fn assert_golden(viewers: &Viewers, slack: f64) {
    let sessions: Vec<_> = viewers.of(&stream()).collect();
    assert_eq!(sessions.len(), 1);
    let session = sessions[0];
    let near = |is: f64, should: f64| assert!((is - should).abs() <= should * slack, "{is} is not {should}");
    near(session.startup.unwrap(), 412.0);
    near(session.sums.play, 600_000.0);
    near(session.sums.stall, 2_000.0);
    near(session.sums.rebuffer_ratio().unwrap(), 2.0 / 602.0);
    near(session.sums.bits_per_second().unwrap(), (200.0 * 2.5e6 + 400.0 * 5e6) / 600.0);
    near(session.sums.mean_latency().unwrap(), 900.0);
    assert_eq!((session.sums.stalls, session.sums.up, session.sums.down), (2.0, 1.0, 1.0));
    assert_eq!((session.player, session.outcome), (Player::Aqueduct, Outcome::Playing));
}

#[test]
fn a_recorded_session_is_worth_what_was_computed_by_hand() {
    let mut viewers = Viewers::default();
    for (at, text) in beacons() {
        hear(&mut viewers, at, Carrier::Beacon, &text);
    }
    assert_golden(&viewers, 1e-9);
    let end = beacons().last().unwrap().0;
    let tally = viewers.audience(&stream()).unwrap().window(end, 300_000);
    assert!((tally.sums.play - 290_000.0).abs() < 20_000.0, "{}", tally.sums.play);
    // It falls silent, and is over once.
    assert_eq!(viewers.sweep(end + 89_000, end).len(), 0);
    let closed = viewers.sweep(end + 91_000, end);
    assert_eq!((closed.len(), closed[0].outcome), (1, Outcome::Ended));
    assert!(viewers.open().next().is_none());
    // A late word amends it, and much later nothing is known any more.
    hear(&mut viewers, end + 100_000, Carrier::Beacon, &beacons()[60].1.replace("\"seq\":61", "\"seq\":62"));
    assert_eq!(viewers.open().count(), 1);
    viewers.sweep(end + 100_000 + AMENDS, i64::MAX);
    assert_eq!(viewers.of(&stream()).count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// QOE-37: copies, a loss of every fifth, another order, and a client's wrong clock change less than 1 %.
    #[test]
    fn a_bad_network_changes_nothing(
        fates in proptest::collection::vec((0..5u8, any::<bool>(), -9_000..9_000i64), 60), skew in -300_000..300_000i64,
    ) {
        let mut sent: Vec<(i64, String)> = Vec::new();
        let all = beacons();
        for ((at, text), (lost, twice, late)) in all.iter().zip(&fates) {
            // The client's clock stands in the text; nobody here reads it.
            let text = text.replacen("{\"v\":1", &format!("{{\"t_client\":{},\"v\":1", at + skew), 1);
            if *lost > 0 {
                sent.push((at + late.max(&0), text.clone()));
            }
            if *twice {
                sent.push((at + late.abs(), text));
            }
        }
        sent.push((all[60].0 + 10_000, all[60].1.clone()));
        sent.sort_by_key(|(at, _)| *at);
        let mut viewers = Viewers::default();
        for (at, text) in sent {
            hear(&mut viewers, at, Carrier::Beacon, &text);
        }
        assert_golden(&viewers, 0.01);
    }

    #[test]
    fn whatever_is_reported_is_taken_or_left(texts in proptest::collection::vec("\\PC{0,60}|[a-z=,0-9\"()]{0,60}", 1..20)) {
        let mut viewers = Viewers::default();
        for (at, text) in texts.iter().enumerate() {
            for carrier in [Carrier::Query, Carrier::Headers, Carrier::Lines, Carrier::Beacon] {
                hear(&mut viewers, at as i64, carrier, text);
            }
        }
        viewers.sweep(1_000_000, 0);
    }
}

#[test]
fn a_liar_does_not_outweigh_an_audience() {
    let mut viewers = Viewers::default();
    let say = |seq: u32, play: f64| {
        format!(
            r#"{{"v":1,"sid":"liar","seq":{seq},"state":"playing","startup_ms":1,"cum":{{"play_ms":1,"stall_ms":{play}}}}}"#
        )
    };
    hear(&mut viewers, 1_000_000, Carrier::Beacon, &say(1, 0.0));
    hear(&mut viewers, 1_010_000, Carrier::Beacon, &say(2, 1e9));
    let session = viewers.of(&stream()).next().unwrap();
    assert!(session.sums.stall <= 17_000.0, "{}", session.sums.stall);
}

#[test]
fn events_of_version_2_give_stalls_by_their_times() {
    let mut viewers = Viewers::default();
    let lines = [
        (0, "e=ps,sid=\"v2\",sn=1,sta=s,ts=1000000,v=2,br=(5000;v)"),
        (800, "e=ps,sid=\"v2\",sn=2,sta=p,ts=1000750,v=2,pb=(5000)"),
        (10_000, "e=ps,sid=\"v2\",sn=3,sta=r,ts=1010750,v=2"),
        (11_000, "e=ps,sid=\"v2\",sn=4,sta=p,ts=1012250,v=2"),
        (11_200, "bl=(900),br=(5000;v),ot=v,sid=\"v2\",sta=p,v=2"),
        // Twice, and one out of order.
        (11_300, "e=ps,sid=\"v2\",sn=4,sta=p,ts=1012250,v=2"),
        (11_400, "e=ps,sid=\"v2\",sn=3,sta=r,ts=1010750,v=2"),
        (21_000, "e=t,sid=\"v2\",sn=5,sta=p,ts=1022250,v=2,ltc=1100"),
    ];
    for (at, line) in lines {
        hear(&mut viewers, 5_000_000 + at, Carrier::Lines, line);
    }
    let session = viewers.of(&stream()).next().unwrap();
    assert_eq!(session.startup, Some(750.0));
    assert_eq!((session.sums.play, session.sums.stall, session.sums.stalls), (20_000.0, 1_500.0, 1.0));
    assert_eq!((session.latency, session.doing), (Some(1_100.0), "playing"));
}

#[test]
fn a_start_is_what_was_told_of_it_in_whatever_order_and_nothing_else() {
    let mut viewers = Viewers::default();
    let mut say = |at: i64, line: &str| hear(&mut viewers, 5_000_000 + at, Carrier::Lines, line);
    // The first word was overtaken on its way.
    say(0, "e=ps,sid=\"swapped\",sn=2,sta=p,ts=1000700,v=2");
    say(5, "e=ps,sid=\"swapped\",sn=1,sta=s,ts=1000000,v=2");
    // It never came.
    say(10, "e=ps,sid=\"lost\",sn=2,sta=p,ts=1000700,v=2");
    say(20, "e=t,sid=\"lost\",sn=3,sta=p,ts=1002700,v=2");
    let starts: Vec<_> = viewers.of(&stream()).map(|one| (&*one.short, one.started, one.startup)).collect();
    assert!(starts.contains(&("swapped", true, Some(700.0))), "{starts:?}");
    assert!(starts.contains(&("lost", true, None)), "{starts:?}");
}

#[test]
fn requests_of_version_1_give_what_can_be_known_of_them() {
    let mut viewers = Viewers::default();
    let mut ask = |at: i64, more: &str| {
        hear(&mut viewers, at, Carrier::Headers, &format!("sid=\"v1\",sf=h,st=ll{more}"));
    };
    ask(0, ",ot=m,su");
    ask(100, ",ot=v,br=5000,bl=0,su");
    ask(600, ",ot=v,br=5000,bl=500");
    for part in 1..=50 {
        ask(600 + part * 200, ",ot=v,br=5000,bl=500");
    }
    // 500 ms after the last request the buffer is empty; a second later it is asked for again.
    ask(12_100, ",ot=v,br=2500,bl=0,bs");
    ask(12_300, ",ot=v,br=2500,bl=300");
    let session = viewers.of(&stream()).next().unwrap();
    assert_eq!(session.startup, Some(600.0));
    assert_eq!((session.sums.stalls, session.sums.stall), (1.0, 1_000.0));
    assert!((session.sums.play - 10_700.0).abs() < 1.0, "{}", session.sums.play);
    assert_eq!((session.sums.down, session.kbps), (1.0, Some(2_500.0)));
}

#[test]
fn who_leaves_before_a_picture_is_no_failure_and_who_is_not_let_in_neither() {
    let mut viewers = Viewers::default();
    for (n, end) in
        [r#""state":"left""#, r#""state":"failed","status":403"#, r#""state":"failed""#].iter().enumerate()
    {
        hear(&mut viewers, 1_000, Carrier::Beacon, &format!(r#"{{"v":1,"sid":"s{n}","seq":1,{end}}}"#));
    }
    let tally = viewers.audience(&stream()).unwrap().window(1_000, 300_000);
    assert_eq!((tally.attempts, tally.left, tally.refused, tally.failed, tally.started), (3, 1, 1, 1, 0));
}

#[test]
fn ten_thousand_sessions_are_remembered_and_no_more_than_there_is_room_for() {
    assert!(size_of::<Session>() <= 512, "{}", size_of::<Session>());
    let mut viewers = Viewers::default();
    for n in 0..MOST + 10 {
        hear(&mut viewers, 1_000, Carrier::Headers, &format!("sid=\"s{n}\",ot=v"));
    }
    assert_eq!((viewers.open().count(), viewers.untaken().room), (MOST, 10));
}

#[test]
fn back_and_forth_is_an_oscillation() {
    let mut viewers = Viewers::default();
    hear(&mut viewers, 1_000, Carrier::Headers, "sid=\"o\",ot=v,br=1000,bl=500");
    for turn in 1..=4i64 {
        let kbps = if turn % 2 == 0 { 1_000 } else { 3_000 };
        hear(
            &mut viewers,
            1_000 + turn * 5_000,
            Carrier::Headers,
            &format!("sid=\"o\",ot=v,br={kbps},bl=500"),
        );
    }
    assert!(viewers.of(&stream()).next().unwrap().oscillating);
}

#[test]
fn a_request_that_overtakes_the_word_that_it_plays_tells_of_no_start() {
    let mut viewers = Viewers::default();
    hear(&mut viewers, 1_000, Carrier::Query, "msd%3D0%2Cot%3Dv%2Csid%3D%22o%22%2Cv%3D2");
    assert_eq!(viewers.of(&stream()).next().unwrap().startup, None);
    hear(&mut viewers, 1_400, Carrier::Lines, "e=ps,sid=\"o\",sn=2,sta=p,ts=77000,v=2");
    assert_eq!(viewers.of(&stream()).next().unwrap().startup, Some(400.0));
}
