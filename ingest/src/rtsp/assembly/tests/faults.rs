//! Cameras with faults, from their packets to what the timeline makes of them.

use aqueduct_common::{ClockMap, Feed, Sample};

use super::*;
use crate::timeline::Timeline;

/// Media of each run, in milliseconds, and when its fault begins.
const LASTS: i64 = 60_000;
const FAULT: i64 = 25_000;
/// UTC at which simulated time begins, in microseconds.
const WALL: i64 = 1_700_000_000_000_000;
/// Pictures and sound are under way for so many milliseconds.
const UNDER_WAY: [i64; 2] = [60, 25];

/// A track's wall clock in a report at a time in milliseconds, as NTP has it; `None` sends none.
type Reports = fn(usize, i64) -> Option<u64>;

/// What is wrong with a camera.
#[derive(Clone, Copy)]
struct Fault {
    /// Added to each track's timestamps from [`FAULT`] on, in milliseconds.
    jump: [i64; 2],
    reports: Reports,
}

/// What became of its media at the end of a run.
#[derive(Debug)]
struct Shown {
    /// How much later sound is than pictures, in microseconds.
    skew: i64,
    /// How far PROGRAM-DATE-TIME is from the capture.
    wall: i64,
    breaks: usize,
    pictures: usize,
}

fn ntp(millis: i64) -> u64 {
    let micros = WALL + millis * 1_000;
    let seconds = (micros.div_euclid(1_000_000) + 2_208_988_800) as u64;
    (seconds << 32) | (((micros.rem_euclid(1_000_000) as u64) << 32) / 1_000_000)
}

/// A number that no start code looks like.
fn digits(number: i64) -> [u8; 3] {
    [number >> 8, number >> 4, number].map(|part| 0x10 | (part & 15) as u8)
}

fn number(digits: &[u8]) -> Option<i64> {
    let [.., a, b, c] = digits else { return None };
    Some([a, b, c].iter().fold(0, |sum, digit| sum << 4 | i64::from(**digit & 15)))
}

/// A camera of 25 pictures a second with a keyframe each second, and AAC.
fn run(fault: Fault) -> Shown {
    let mut camera = Camera::new(&format!("{VIDEO}{AAC}"), true);
    let moved = |track: usize, at: i64| if at >= FAULT { fault.jump[track] } else { 0 };
    let pictures = (0..LASTS / 40).map(|n| (n * 40, 0, n));
    let sounds = (0..LASTS * 3 / 64).map(|n| (n * 64 / 3, 1, n));
    let mut all: Vec<_> = pictures.chain(sounds).collect();
    all.sort_by_key(|(at, track, _)| at + UNDER_WAY[*track]);
    for (at, track, n) in all {
        let (arrives, media) = (at + UNDER_WAY[track], at + moved(track, at));
        if n % 125 == 3
            && let Some(wall) = (fault.reports)(track, at)
        {
            report(&mut camera, track, wall, stamp_of(track, media), arrives);
        }
        match track {
            0 => {
                let head: &[u8] = if n % 25 == 0 { &IDR[..3] } else { &P[..2] };
                let nal = [head, &digits(n)].concat();
                let timestamp = stamp_of(0, media);
                if n % 25 == 0 {
                    camera.send(0, &hex(SPS), timestamp, false, arrives);
                    camera.send(0, &hex(PPS), timestamp, false, arrives);
                }
                camera.send(0, &nal, timestamp, true, arrives);
            }
            _ => {
                let unit = [&[0, 16, 0, 3 << 3][..], &digits(n)].concat();
                // To the sample: a frame has 1,024.
                let timestamp = (n * 1_024 + moved(1, at) * 48) as u32;
                camera.send(1, &unit, timestamp, true, arrives);
            }
        }
    }
    shown(&camera)
}

fn stamp_of(track: usize, millis: i64) -> u32 {
    match track {
        0 => (u32::MAX - 9_000).wrapping_add((millis * 90) as u32),
        _ => (millis * 48) as u32,
    }
}

fn report(camera: &mut Camera, track: usize, wall: u64, rtp: u32, millis: i64) {
    let mut raw = vec![0x80, 200, 0, 6];
    raw.extend_from_slice(&(track as u32 + 1).to_be_bytes());
    raw.extend_from_slice(&wall.to_be_bytes());
    raw.extend_from_slice(&rtp.to_be_bytes());
    raw.extend_from_slice(&[0; 8]);
    let at = camera.at(millis).0;
    camera.assembly.rtcp(track, &raw, at);
    camera.taken.extend(std::iter::from_fn(|| camera.assembly.poll()));
}

/// Plays what a camera gave, and compares each frame of the last ten seconds with its capture.
fn shown(camera: &Camera) -> Shown {
    let mut timeline = Timeline::new();
    timeline.begin();
    let (mut clock, mut breaks, mut pictures) = (None::<ClockMap>, 0, 0);
    let (mut late, mut walls) = ([Vec::new(), Vec::new()], Vec::new());
    let mut ends = [None::<i64>; 2];
    for taken in &camera.taken {
        match taken.item.clone() {
            Demuxed::Config(track, config) => timeline.config(track, config),
            Demuxed::Frame(frame) => timeline.push(taken.at, taken.wall, frame),
        }
        while let Some(message) = timeline.poll() {
            match message {
                Feed::Clock(map) => clock = Some(map),
                Feed::Discontinuity(_) => {
                    breaks += 1;
                    ends = [None; 2];
                }
                Feed::Tracks(_) => ends = [None; 2],
                Feed::Sample(sample) => {
                    let track = usize::from(sample.track.0);
                    assert!(ends[track].is_none_or(|end| end == sample.dts.ticks), "a hole: {sample:?}");
                    ends[track] = Some(sample.end().ticks);
                    pictures += usize::from(track == 0);
                    let Some(captured) = captured(&sample).filter(|at| *at >= (LASTS - 10_000) * 1_000)
                    else {
                        continue;
                    };
                    late[track].push(sample.pts.micros() - captured);
                    walls.extend(clock.map(|clock| clock.wall_at(sample.pts).micros - WALL - captured));
                }
                _ => {}
            }
        }
    }
    let [seen, heard] = late.map(median);
    Shown { skew: heard - seen, wall: median(walls), breaks, pictures }
}

/// When a sample was captured, in microseconds; `None` for what was made up.
fn captured(sample: &Sample) -> Option<i64> {
    let n = number(&sample.payload)?;
    match (sample.track, sample.payload.len()) {
        (TrackId::VIDEO, _) => Some(n * 40_000),
        (TrackId::AUDIO, 3) => Some(n * 64_000 / 3),
        _ => None,
    }
}

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    *values.get(values.len() / 2).expect("the last seconds play")
}

const HOUR: i64 = 3_600_000;

/// RTSP-32..34, TL-9: whatever a camera's clocks do, sound stays with pictures within what a viewer sees (TL-15), the
/// wall clock is right, and the stream goes on.
#[test]
fn clocks_that_lie_bend_no_timeline() {
    let none: Reports = |_, _| None;
    let right: Reports = |_, at| Some(ntp(at));
    let cases: [(&str, [i64; 2], Reports); 13] = [
        ("nothing is wrong", [0; 2], right),
        ("no reports", [0; 2], none),
        ("reports of zero", [0; 2], |_, _| Some(0)),
        ("reports that count since the start", [0; 2], |_, at| Some(ntp(at) - ntp(-3_000))),
        ("reports of any time", [0; 2], |track, at| Some(ntp(at * 7_919 % 1_000_003 * (track as i64 + 1)))),
        ("reports of whole seconds", [0; 2], |_, at| Some(ntp(at) & !0xffff_ffff)),
        ("reports of whole seconds, rounded", [0; 2], |_, at| Some(ntp(at + 500) & !0xffff_ffff)),
        ("an hour off", [0; 2], |_, at| Some(ntp(at + HOUR))),
        ("sound an hour off", [0; 2], |track, at| Some(ntp(at + track as i64 * HOUR))),
        ("a clock that is set by an hour", [0; 2], |_, at| {
            Some(ntp(if at < FAULT { at } else { at - HOUR }))
        }),
        ("timestamps ten minutes ahead", [600_000; 2], right),
        ("timestamps a minute back", [-60_000; 2], right),
        ("pictures alone jump, without reports", [100_000, 0], none),
    ];
    for (name, jump, reports) in cases {
        let shown = run(Fault { jump, reports });
        println!("{name}: {shown:?}");
        let jumps = usize::from(jump != [0; 2]);
        assert!(shown.skew.abs() < 40_000, "{name}: {shown:?}");
        assert!(shown.wall.abs() < 120_000, "{name}: {shown:?}");
        assert!(shown.breaks <= jumps, "{name}: {shown:?}");
        assert!(shown.pictures >= 1_400, "{name}: {shown:?}");
    }
}
