use super::*;
use crate::stream::clock;
use proptest::prelude::*;

const VIDEO: usize = 0;
const AUDIO: usize = 1;
/// 2024-04-24T17:53:36.25Z, the example of RTSP-31.
const NTP: u64 = 0xE9D3_C5A0_4000_0000;
const UNIX: i64 = 1_713_981_216_250;

fn ntp(millis: i64) -> u64 {
    let nanos = UNIX * MILLI + millis * MILLI;
    let seconds = (nanos / SECOND + NTP_TO_UNIX) as u64;
    (seconds << 32) | (((nanos % SECOND) << 32) as u64 / SECOND as u64)
}

fn clocks() -> Clocks {
    Clocks::new(&[90_000, 48_000], Some(AUDIO))
}

struct World {
    clocks: Clocks,
    start: Instant,
}

impl World {
    fn new() -> Self {
        Self { clocks: clocks(), start: clock() }
    }

    fn at(&self, millis: i64) -> Instant {
        self.start + Duration::from_millis(millis as u64)
    }

    /// A packet whose media time is `media` and that comes at `at`, in milliseconds; where it lies on the axis.
    fn packet(&mut self, track: usize, media: i64, at: i64) -> i64 {
        let now = self.at(at);
        let unrolled = self.clocks.unroll(track, rtp(track, media), now);
        self.clocks.place(track, unrolled, now) / MILLI
    }

    fn report(&mut self, track: usize, media: i64, wall: i64, at: i64) {
        let report = Report { source: 1, ntp: ntp(wall), rtp: rtp(track, media) };
        self.clocks.report(track, report, self.at(at));
    }
}

/// Each track's clock begins somewhere else, just before its wrap.
fn rtp(track: usize, millis: i64) -> u32 {
    let (rate, begin) = if track == VIDEO { (90, u32::MAX - 900) } else { (48, 5) };
    begin.wrapping_add((millis * rate) as u32)
}

#[test]
fn the_wall_clock_of_a_report_is_read() {
    let report = Report { source: 1, ntp: NTP, rtp: 3_000_000_000 };
    assert_eq!(report.unix(), Some(UNIX * MILLI));
    assert_eq!(ntp(0), NTP);
    let mut clocks = clocks();
    let now = clock();
    clocks.unroll(VIDEO, 3_000_000_000, now);
    clocks.report(VIDEO, report, now);
    let later = clocks.unroll(VIDEO, 3_000_045_000, now);
    assert_eq!(clocks.tracks[VIDEO].sent(later), Some((UNIX + 500) * MILLI));
    // 2036-02-07T06:28:16Z begins the next era.
    let half = SECOND / 2;
    let next = Report { ntp: 1 << 32 | 1 << 31, ..report };
    assert_eq!(next.unix(), Some(((1 << 32) + 1 - NTP_TO_UNIX) * SECOND + half));
    assert_eq!(Report { ntp: 0, ..report }.unix(), None);
    assert_eq!(Report { ntp: NTP & !0xffff_ffff, ..report }.unix(), None, "whole seconds say too little");
}

#[test]
fn first_arrivals_hold_until_both_tracks_reported() {
    let mut world = World::new();
    assert_eq!(world.packet(VIDEO, 1_000, 0), 0);
    // Captured 300 ms earlier than the picture, and here 120 ms later.
    assert_eq!(world.packet(AUDIO, 700, 120), 120);
    world.report(VIDEO, 1_000, 1_000, 200);
    assert!(!world.clocks.is_settled());
    assert_eq!(world.packet(AUDIO, 720, 140), 140);
    world.report(AUDIO, 720, 720, 200);
    assert!(world.clocks.is_settled());
    assert_eq!(world.packet(AUDIO, 740, 160), -260);
    assert_eq!(world.packet(VIDEO, 1_040, 160), 40);
}

/// RTSP-39: a first packet that was held up says nothing; the soonest of the first second do.
#[test]
fn without_reports_the_soonest_arrivals_say_how_tracks_lie() {
    let mut world = World::new();
    assert_eq!(world.packet(VIDEO, 1_000, 0), 0);
    // It was captured with the picture and is held up by 120 ms; the next ones by 30.
    assert_eq!(world.packet(AUDIO, 1_000, 120), 120);
    world.packet(AUDIO, 1_021, 120);
    world.packet(AUDIO, 1_100, 130);
    world.packet(VIDEO, 1_200, 200);
    world.clocks.settle_by_arrivals();
    assert_eq!(world.packet(AUDIO, 1_200, 230), 230);
    // Reports know better.
    world.report(VIDEO, 1_200, 1_200, 240);
    world.report(AUDIO, 1_200, 1_200, 240);
    world.clocks.settle_by_arrivals();
    assert_eq!(world.packet(AUDIO, 1_300, 330), 300);
}

/// ffmpeg reports right before the first packet of each track.
#[test]
fn a_report_before_its_track_s_first_packet_counts_from_that_packet_on() {
    let mut world = World::new();
    world.report(VIDEO, 1_000, 1_000, 0);
    assert_eq!(world.packet(VIDEO, 1_000, 0), 0);
    world.report(AUDIO, 960, 960, 43);
    assert!(!world.clocks.is_settled());
    // Its sound was captured 40 ms earlier and came 43 ms later.
    assert_eq!(world.packet(AUDIO, 960, 43), -40);
    assert!(world.clocks.is_settled());
}

#[test]
fn later_differences_are_taken_up_slowly_and_great_ones_once_they_are_certain() {
    let mut world = World::new();
    world.packet(VIDEO, 0, 0);
    world.packet(AUDIO, 0, 0);
    world.report(VIDEO, 0, 0, 10);
    world.report(AUDIO, 0, 0, 10);
    world.packet(AUDIO, 1_000, 1_000);
    // The sound's clock was set right by 100 ms: 20 s at 5 ms a second.
    for second in 10..40 {
        world.report(AUDIO, second * 1_000, second * 1_000 + 12, second * 1_000);
        let off = world.packet(AUDIO, second * 1_000, second * 1_000) - second * 1_000;
        assert!((0..=12).contains(&off) && (second < 14 || off >= 11), "{off} ms in second {second}");
    }
    let mut far = World::new();
    far.packet(VIDEO, 0, 0);
    far.packet(AUDIO, 0, 0);
    far.report(VIDEO, 0, 0, 10);
    far.report(AUDIO, 0, 0, 10);
    for second in 10..20 {
        // Two that contradict the one before are left out, three more must agree.
        far.report(AUDIO, second * 1_000, second * 1_000 + 700, second * 1_000);
        far.packet(AUDIO, second * 1_000, second * 1_000);
    }
    assert!((20_699..=20_701).contains(&far.packet(AUDIO, 20_000, 20_000)));
    assert_eq!(far.clocks.take_reports().steps, 1);
}

#[test]
fn clocks_that_have_nothing_to_do_with_each_other_change_nothing() {
    let mut world = World::new();
    world.packet(VIDEO, 0, 0);
    world.packet(AUDIO, 0, 40);
    world.report(VIDEO, 0, 3_600_000, 100);
    world.report(AUDIO, 60, 0, 100);
    assert_eq!(world.packet(AUDIO, 100, 140), 140);
    assert!(world.clocks.is_settled());
}

#[test]
fn reports_that_are_absurd_are_left_out() {
    let mut world = World::new();
    world.packet(VIDEO, 0, 0);
    world.packet(AUDIO, 0, 0);
    let report = Report { source: 1, ntp: 0, rtp: 0 };
    world.clocks.report(VIDEO, report, world.at(10));
    assert_eq!(world.clocks.take_reports(), Reports { taken: 0, refused: 1, steps: 0 });
    world.report(VIDEO, 0, 0, 10);
    world.report(AUDIO, 0, 0, 10);
    // Backwards, and then an hour ahead for once.
    world.report(AUDIO, 5_000, -1_000, 5_000);
    world.report(AUDIO, 6_000, 3_600_000, 6_000);
    assert_eq!(world.clocks.take_reports(), Reports { taken: 2, refused: 2, steps: 0 });
    assert_eq!(world.packet(AUDIO, 7_000, 7_000), 7_000);
}

#[test]
fn a_sender_s_wall_clock_is_believed_after_half_a_minute_near_ours() {
    for (off, believed) in [(0, Some(80)), (400, Some(480)), (3_600_000, None), (-500, None)] {
        let mut world = World::new();
        for n in 0..1_000i64 {
            let (media, jitter) = (n * 40, n * 7 % 5 * 10);
            let now = world.at(media + 80 + jitter);
            let unrolled = world.clocks.unroll(VIDEO, rtp(VIDEO, media), now);
            if n % 100 == 0 {
                world.report(VIDEO, media, media - off, media + 80);
            }
            let wall = WallTime { micros: (UNIX + media + 80 + jitter) * 1_000 };
            world.clocks.note_arrival(VIDEO, unrolled, now, wall);
            assert!(n > 740 || world.clocks.delay(now).is_none());
        }
        let delay = world.clocks.delay(world.at(40_100)).map(|delay| delay.as_millis() as i64);
        assert_eq!(delay, believed, "{off}");
    }
}

#[test]
fn a_jump_makes_what_reports_said_void() {
    let mut world = World::new();
    world.packet(VIDEO, 0, 0);
    world.report(VIDEO, 0, 0, 0);
    assert_eq!(world.packet(VIDEO, 100_000, 40), 100_000);
    assert_eq!(world.clocks.tracks[VIDEO].report, None);
    world.clocks.restart(VIDEO);
    assert_eq!(world.packet(VIDEO, 7, 80), 80);
}

#[test]
fn a_day_and_more_is_one_clock() {
    let mut world = World::new();
    for minute in 0..25 * 60 {
        let media = minute * 60_000;
        assert_eq!(world.packet(VIDEO, media, media), media);
        assert_eq!(world.packet(AUDIO, media, media), media);
    }
}

proptest! {
    #[test]
    fn nothing_overflows(steps in proptest::collection::vec((0..3usize, any::<u32>(), any::<u64>(), any::<bool>()), 0..200)) {
        let (mut clocks, now) = (clocks(), clock());
        for (track, rtp, ntp, is_report) in steps {
            if is_report {
                clocks.report(track, Report { source: 1, ntp, rtp }, now);
            } else {
                let unrolled = clocks.unroll(track, rtp, now);
                clocks.place(track, unrolled, now);
                clocks.note_arrival(track, unrolled, now, WallTime { micros: ntp as i64 / 2 });
            }
        }
    }
}
