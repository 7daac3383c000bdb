//! What holds whatever a publisher does (TL-37 to TL-40).

use aqueduct_common::event::Anomaly;
use proptest::prelude::*;

use super::super::grid;
use super::super::pictures::{Pictures, Placing};
use super::super::source::{Arrival, Placed};
use super::publisher::skew;
use super::*;

/// Something that befalls a well-meaning publisher.
#[derive(Clone, Debug)]
enum Trouble {
    Quiet(u8),
    /// Both tracks' stamps jump, in milliseconds.
    Jump(i64),
    /// One track's stamps jump.
    Stray(TrackKind, i64),
    /// A track does not come for so many milliseconds.
    Mute(TrackKind, i64),
    /// Nothing comes.
    Outage(i64),
    /// The publisher returns after so many milliseconds, its stamps beginning at the second.
    Return(i64, i64),
}

fn kind() -> impl Strategy<Value = TrackKind> {
    prop_oneof![Just(TrackKind::Video), Just(TrackKind::Audio)]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        (1u8..4).prop_map(Trouble::Quiet),
        prop_oneof![-100_000_000i64..-2_000, 1_100i64..12_000, 12_000i64..100_000_000]
            .prop_map(Trouble::Jump),
        (kind(), prop_oneof![-1_000_000i64..-3_000, 3_000i64..15_000, 15_000i64..1_000_000])
            .prop_map(|(k, ms)| Trouble::Stray(k, ms)),
        (kind(), 30i64..6_000).prop_map(|(kind, ms)| Trouble::Mute(kind, ms)),
        (50i64..9_000).prop_map(Trouble::Outage),
        (0i64..20_000, 0i64..4_000_000_000).prop_map(|(gap, from)| Trouble::Return(gap, from)),
    ]
}

impl Publisher {
    fn befall(&mut self, trouble: &Trouble) {
        match *trouble {
            Trouble::Quiet(seconds) => {
                self.run(seconds.into());
            }
            Trouble::Jump(millis) => {
                // A track whose first stamp is beyond the jump shows none.
                self.run_millis(500);
                self.shift = self.shift.map(|shift| shift + millis);
                self.run_millis(600);
            }
            Trouble::Stray(kind, millis) => {
                // A jump that falls into a pause of its track may look like none.
                self.run_millis(500);
                self.shift[kind as usize] += millis;
                self.run_millis(1_500);
            }
            Trouble::Mute(kind, millis) => {
                self.mute[kind as usize] = true;
                self.run_millis(millis);
                self.mute[kind as usize] = false;
            }
            Trouble::Outage(millis) => {
                self.mute = [true, true];
                self.run_millis(millis);
                self.mute = [false, false];
            }
            Trouble::Return(gap, from) => {
                self.end().pass_millis(gap);
                self.shift = [from, from];
                self.standard();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// TL-37, TL-40: through any troubles the feed keeps its contract, output time goes with the wall clock, and
    /// afterwards sound and pictures are in step.
    #[test]
    fn troubles_pass(rate in prop_oneof![Just(Rate(25, 1)), Just(Rate(30_000, 1_001)), Just(Rate(60, 1))],
                     ahead in prop_oneof![Just(vec![0]), Just(vec![2, 4, 1, 0])],
                     start in 0i64..6_000_000_000,
                     troubles in proptest::collection::vec(trouble(), 0..6)) {
        let mut publisher = Publisher::new();
        publisher.video = Some(rate);
        // Pictures are whole frames ahead of their order in time.
        publisher.offsets = ahead.iter().map(|frames| (frames * 1_000 * rate.1 / rate.0) as i32).collect();
        publisher.shift = [start, start];
        publisher.standard().run(4);
        for trouble in &troubles {
            publisher.befall(trouble);
        }
        let calm = publisher.clock;
        publisher.run(12);
        let off = skew(&publisher.feeds, calm + 6 * SECOND);
        // The count may differ from the stamps by 40 ms (TL-15), and stamps from the truth by their rounding.
        prop_assert!(off < if publisher.timeline.is_arrival_clocked() { 60 } else { 45 } * MILLI, "{} ms", off / MILLI);
        let late = publisher.feeds.end(TrackId::VIDEO) - 10.0 - MediaTime::flicks(publisher.clock).seconds();
        prop_assert!(late.abs() < 1.2, "output is {late} s off the wall clock");
    }

    /// Arbitrary frames never panic, and what comes out keeps the contract.
    #[test]
    fn nonsense_keeps_the_contract(frames in proptest::collection::vec(
        (any::<bool>(), prop_oneof![any::<u32>(), 0u32..5_000], any::<bool>(), -20_000i32..20_000, 0u64..3_000, 0u8..40),
        0..400)) {
        let mut timeline = Timeline::new();
        let mut feeds = Feeds { negative_offsets: true, ..Feeds::default() };
        let mut now = crate::stream::clock();
        timeline.begin();
        let (mut video, mut audio, mut keyed) = (false, false, false);
        for (n, (is_video, timestamp, sync, cts, after, event)) in frames.into_iter().enumerate() {
            now += Duration::from_millis(after);
            match event {
                0 => {
                    timeline.begin();
                    (video, audio) = (false, false);
                }
                1 => {
                    timeline.config(TrackId::VIDEO, avc(n as u32));
                    (video, keyed) = (true, false);
                }
                2 => {
                    timeline.config(TrackId::AUDIO, [aac(), aac_44(), he_aac()][n % 3].clone());
                    audio = true;
                }
                _ => {}
            }
            let kind = if is_video { TrackKind::Video } else { TrackKind::Audio };
            // The demuxer's promises: a configuration first, and a key frame after it.
            if is_video && !std::mem::replace(&mut video, true) {
                timeline.config(TrackId::VIDEO, avc(n as u32));
                keyed = false;
            }
            if !is_video && !std::mem::replace(&mut audio, true) {
                timeline.config(TrackId::AUDIO, aac());
            }
            let sync = sync || !is_video || !keyed;
            keyed |= is_video;
            let (samples, nominal) = if is_video { (0, 0) } else { (1_024, SECOND * 1_024 / 48_000) };
            let payload = Bytes::from_static(b"frame");
            let frame =
                CodedFrame { track: first_of(kind), kind, timestamp, nanos: 999_999, cts, sync, disposable: false, samples, nominal, payload };
            timeline.push(now, WallTime { micros: WALL }, frame);
            feeds.take(&mut timeline);
        }
        timeline.end();
        feeds.take(&mut timeline);
    }
}

/// TL-39: 72 hours at 30000/1001 in rounded-down milliseconds, every frame of them, through the video track: output
/// never leaves the grid, and never differs from the truth by a frame.
#[test]
fn seventy_two_hours_stay_on_the_grid() {
    const FRAMES: i64 = 72 * 3_600 * 30_000 / 1_001;
    let millis = |n: i64| n * 1_001 / 30;
    let times: Vec<i64> = (0..48).map(|n| millis(n) * MILLI).collect();
    let fit = grid::fit(&times).unwrap();
    let mut pictures = Pictures::new(Some(fit), 0);
    let shift = 10 * SECOND - fit.origin;
    pictures.restart(10 * SECOND);
    let arrival = Arrival { at: 0, wall: WallTime { micros: WALL }, delay: 0 };
    let frame = CodedFrame {
        track: TrackId::VIDEO,
        kind: TrackKind::Video,
        timestamp: 0,
        nanos: 0,
        cts: 0,
        sync: true,
        disposable: false,
        samples: 0,
        nominal: 0,
        payload: Bytes::new(),
    };
    let mut placed = Placed { frame, time: 0, arrival, breaks: false };
    let mut end = 900_000;
    for n in 0..FRAMES {
        let time = millis(n) * MILLI;
        placed.time = time;
        assert_eq!(pictures.place(&placed, time + shift), Placing::Done);
        let sample = pictures.out.pop_front().unwrap();
        assert_eq!((sample.dts.ticks, sample.duration), (end, 3_003));
        end += 3_003;
    }
    assert_eq!(end, 900_000 + FRAMES * 3_003);
    let truth = 10.0 + FRAMES as f64 * 1_001.0 / 30_000.0;
    assert!((end as f64 / 90_000.0 - truth).abs() < 1.0 / 30.0);
    assert_eq!(pictures.counts, super::super::Counts::default());
}

/// TL-39 for the whole timeline: ten minutes with sound over each wrap, 2^31 and 2^32, both as the encoder's own ring
/// and as the full one.
#[test]
fn wraps_are_unnoticed_in_the_output() {
    let stamps: [Stamp; 4] = [
        |_, time| (time / MILLI + (1 << 31) - 300_000) % (1 << 31),
        |_, time| (time / MILLI + (1 << 31) - 300_000) % (1 << 32),
        |_, time| (time / MILLI + (1 << 32) - 300_000) % (1 << 31),
        |_, time| (time / MILLI + (1 << 32) - 300_000) % (1 << 32),
    ];
    for (n, stamp) in stamps.into_iter().enumerate() {
        let mut publisher = Publisher::new();
        publisher.video = Some(Rate(30_000, 1_001));
        publisher.stamp = stamp;
        publisher.standard().run(600);
        let feeds = &publisher.feeds;
        assert!(feeds.video().iter().all(|sample| sample.duration == 3_003));
        assert!(feeds.audio().iter().all(|sample| sample.duration == 1_024));
        assert_eq!((feeds.breaks.len(), feeds.tracks.len()), (0, 1));
        assert!(skew(feeds, 0) < 3 * MILLI);
        let counts = publisher.counts();
        assert_eq!(counts.of(Anomaly::Wrap) > 0, n != 1);
        assert_eq!([Anomaly::Jump, Anomaly::Gap, Anomaly::AudioFill].map(|kind| counts.of(kind)), [0, 0, 0]);
    }
}
