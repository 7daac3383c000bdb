//! Faults of a publisher, planted one by one before a whole board: each gives its advice within fifteen seconds of the
//! stream's time, and is gone when it is cured; a healthy stream hears nothing (QOE 4).
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

use std::time::{Duration, Instant};

use aqueduct_analytics::Board;
use aqueduct_analytics::health::HealthState;
use aqueduct_common::event::{Advice, Anomaly, IngestTick, PictureTick, Protocol, TranscodeTick};
use aqueduct_common::track::{TrackId, TrackKind};
use aqueduct_common::{Event, StreamName};

/// Seconds of health before a fault, and for which it lasts.
const BEFORE: u32 = 60;
const LASTS: u32 = 40;

struct World {
    board: Board,
    stream: StreamName,
    now: Instant,
    wall: i64,
}

/// 30 frames a second of 3 Mbit/s, moving and to be heard.
fn healthy(second: u32) -> IngestTick {
    IngestTick {
        bytes: 360_000 + u64::from(second * 7_919 % 30_000),
        video_frames: 30,
        audio_frames: 47,
        keyframes: second % 2,
        keyframe_interval_micros: Some(2_000_000),
        grid_millifps: Some(30_000),
        skew_micros: Some(8_000 + i64::from(second % 9) * 1_000),
        rtt_micros: Some(20_000),
        codecs: vec!["avc1.640028".into(), "mp4a.40.2".into()],
        picture: Some(PictureTick {
            key_millibits: 140_000,
            inter_millibits: Some(25_000 + second % 11 * 1_000),
            reordered: true,
        }),
        ..IngestTick::default()
    }
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
    fn new() -> Self {
        let (board, stream): (_, StreamName) = (Board::default(), "live/show".parse().unwrap());
        let world = Self { board, stream, now: Instant::now(), wall: 1_763_634_000_000 };
        let stream = world.stream.clone();
        let encoder = "obs".into();
        world.hear(&Event::PublishStarted {
            stream: stream.clone(),
            protocol: Protocol::Rtmp,
            encoder,
            resumed: false,
        });
        world.hear(&Event::PackagerLive {
            stream,
            epoch: "e1".into(),
            target_duration: 2,
            part_target_micros: 200_000,
        });
        world
    }

    fn hear(&self, event: &Event) {
        self.board.record(event, self.now);
    }

    /// A second of the stream, with `missing` frames.
    fn second(&mut self, tick: IngestTick, missing: u32) {
        let stream = self.stream.clone();
        for _ in 0..5 {
            let (kind, bytes) = (TrackKind::Video, 75_000);
            let (duration_micros, lag_micros) = (200_000, 3_000);
            self.hear(&Event::Part { stream: stream.clone(), kind, bytes, duration_micros, lag_micros });
        }
        self.hear(&Event::Ingest { stream: stream.clone(), protocol: Protocol::Rtmp, tick });
        if missing > 0 {
            self.hear(&Event::Anomaly { stream, kind: Anomaly::Gap, count: missing });
        }
        self.now += Duration::from_secs(1);
        self.wall += 1_000;
        self.board.turn(self.now, self.wall, (0, 0));
    }

    fn advice(&self) -> Vec<Advice> {
        let view = self.board.stream(&self.stream).unwrap();
        view.advice.into_iter().map(|advised| advised.advice).collect()
    }

    fn state(&self) -> HealthState {
        self.board.stream(&self.stream).unwrap().health.state
    }
}

/// Plants a fault; the advice that it gave, the first within fifteen seconds. It is gone half a minute after the cure.
fn planted(fault: impl Fn(u32, &mut IngestTick) -> u32) -> Advice {
    let mut world = World::new();
    for second in 0..BEFORE {
        world.second(healthy(second), 0);
        assert_eq!(world.advice(), [], "nothing is wrong yet");
    }
    let mut first = None;
    for second in 0..LASTS {
        let mut tick = healthy(second);
        let missing = fault(second, &mut tick);
        world.second(tick, missing);
        first = first.or((!world.advice().is_empty()).then_some(second + 1));
    }
    assert!(first.is_some_and(|first| first <= 15), "told after {first:?} s");
    let told = world.advice();
    assert_eq!(told.len(), 1, "one fault, one piece of advice: {told:?}");
    for second in 0..30 {
        world.second(healthy(second), 0);
    }
    assert_eq!((world.advice(), world.state()), (vec![], HealthState::Live), "cured");
    told.into_iter().next().unwrap()
}

#[test]
fn ten_healthy_minutes_give_no_advice() {
    let mut world = World::new();
    for second in 0..600 {
        world.second(healthy(second), 0);
        assert_eq!(world.advice(), [], "in second {second}");
    }
    assert_eq!(world.state(), HealthState::Live);
}

#[test]
fn a_low_frame_rate() {
    let advice = planted(|_, tick| {
        (tick.video_frames, tick.grid_millifps) = (20, None);
        0
    });
    assert_eq!(advice, Advice::LowFrameRate { is_millifps: 20_000, should_millifps: 30_000 });
}

#[test]
fn a_keyframe_in_ten_seconds() {
    // What the ingest says of it is advice of its own; the board's part is the reason.
    let mut world = World::new();
    for second in 0..BEFORE {
        world.second(healthy(second), 0);
    }
    let mut seen = None;
    for second in 0..15 {
        let keyframes = u32::from(second % 10 == 9);
        world.second(
            IngestTick { keyframes, keyframe_interval_micros: Some(10_000_000), ..healthy(second) },
            0,
        );
        let reasons = world.board.stream(&world.stream).unwrap().health.reasons;
        seen = seen.or(reasons.iter().any(|reason| reason.reason == "keyframes").then_some(second + 1));
    }
    assert!(seen.is_some_and(|seen| seen <= 15), "{seen:?}");
}

#[test]
fn a_bitrate_that_collapses() {
    let advice = planted(|_, tick| {
        tick.bytes = 60_000;
        0
    });
    assert!(matches!(advice, Advice::BitrateCollapse { is_kbps: 480, was_kbps: 2_900..3_200 }), "{advice:?}");
}

#[test]
fn sound_that_leads_by_200_ms() {
    let advice = planted(|_, tick| {
        tick.skew_micros = Some(200_000);
        0
    });
    assert_eq!(advice, Advice::AudioOffset { millis: 200 });
}

#[test]
fn frames_that_are_missing() {
    let advice = planted(|_, _| 2);
    assert!(matches!(advice, Advice::MissingFrames { millis: 600..700 }), "{advice:?}");
}

#[test]
fn silence() {
    let advice = planted(|_, tick| {
        tick.silent_frames = tick.audio_frames;
        0
    });
    assert!(matches!(advice, Advice::Silence { .. }), "{advice:?}");
}

/// Measured: 720p of black, by x264 as OBS sets it, and by its Baseline profile.
#[test]
fn black() {
    for (codec, key_millibits, inter) in [("avc1.640028", 1_900, 20), ("avc1.42c01f", 6_000, 0)] {
        let advice = planted(|_, tick| {
            tick.codecs[0] = codec.into();
            tick.picture =
                Some(PictureTick { key_millibits, inter_millibits: Some(inter), reordered: false });
            0
        });
        assert!(matches!(advice, Advice::BlackPicture { .. }), "{advice:?}");
        assert!(advice.text().contains("black or empty"), "{}", advice.text());
    }
}

/// Measured: a drawn picture that stands still, with B-frames and without.
#[test]
fn a_picture_that_stands_still_is_mentioned_and_nothing_is_called_wrong() {
    for (key_millibits, inter, reordered) in [(156_000, 130, true), (145_000, 890, false)] {
        let advice = planted(|_, tick| {
            tick.picture = Some(PictureTick { key_millibits, inter_millibits: Some(inter), reordered });
            0
        });
        assert!(advice.is_hint() && advice.text().contains("If it is a slide"), "{advice:?}");
    }
    let mut world = World::new();
    for second in 0..120 {
        let picture = PictureTick { key_millibits: 156_000, inter_millibits: Some(130), reordered: true };
        world.second(IngestTick { picture: Some(picture), ..healthy(second) }, 0);
        assert_eq!(world.state(), HealthState::Live, "a slide is as it should be");
    }
}

/// Measured: footage with a title, at 2.5 Mbit/s and at 300 kbit/s; a clock in a corner of black.
#[test]
fn little_movement_is_no_standstill() {
    for (key_millibits, inter, reordered) in
        [(230_000, 3_400, false), (22_000, 2_000, true), (9_000, 5_400, true)]
    {
        let mut world = World::new();
        for second in 0..60 {
            let picture = PictureTick { key_millibits, inter_millibits: Some(inter), reordered };
            world.second(IngestTick { picture: Some(picture), ..healthy(second) }, 0);
            assert_eq!(world.advice(), [], "{key_millibits} {inter}");
        }
    }
}

/// Where loudness is looked after, noise below what can be heard is silence as well.
#[test]
fn sound_that_is_too_quiet_to_be_heard() {
    use aqueduct_common::event::{SoundTick, Transcode};
    let mut world = World::new();
    let mut first = None;
    for second in 0..20 {
        let quiet = SoundTick {
            track: TrackId(17),
            integrated: None,
            short_term: Some(-72.0),
            true_peak: Some(-70.0),
            gain: 0.0,
            reduction: 0.0,
        };
        let sound = vec![quiet];
        let what = Transcode::Tick(TranscodeTick { sound, ..TranscodeTick::default() });
        world.hear(&Event::Transcode { stream: world.stream.clone(), what });
        world.second(healthy(second), 0);
        first = first.or((!world.advice().is_empty()).then_some(second + 1));
    }
    assert!(first.is_some_and(|first| first <= 15), "{first:?}");
    assert!(matches!(world.advice()[..], [Advice::Silence { .. }]));
}
