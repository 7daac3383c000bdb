//! Further tracks: ready rungs and other languages, beside the first tracks and never in their way (RTMP-62).

use proptest::prelude::*;

use super::*;
use crate::demux::{Notice, Unfit};

const RUNG: TrackId = TrackId(2);
const HALF: TrackId = TrackId(3);
const VOICE: TrackId = TrackId(7);

/// Whether frame `n` of a GOP of 60 is a sync sample.
const fn key(n: i64) -> Option<bool> {
    Some(n % 60 == 0)
}

/// The first tracks, with these beside them.
fn with(further: Vec<Beside>) -> Publisher {
    let mut publisher = Publisher::new();
    publisher.standard();
    for beside in &further {
        let is_sound = beside.id >= VOICE;
        let config = if is_sound { aac_44() } else { avc(320 * u32::from(beside.id.0)) };
        publisher.timeline.config(beside.id, config);
    }
    publisher.further = further;
    publisher
}

fn ids(tracks: &TrackSet) -> Vec<u8> {
    tracks.tracks.iter().map(|track| track.id.0).collect()
}

fn times(samples: &[&Sample]) -> Vec<(i64, i64, u32, bool)> {
    samples.iter().map(|s| (s.dts.ticks, s.pts.ticks, s.duration, s.sync)).collect()
}

/// What the first tracks give without any other.
fn alone(run: impl Fn(&mut Publisher)) -> Vec<Sample> {
    let mut publisher = with(Vec::new());
    run(&mut publisher);
    publisher.feeds.samples
}

fn notices(publisher: &mut Publisher) -> Vec<Notice> {
    std::iter::from_fn(|| publisher.timeline.take_notice()).collect()
}

#[test]
fn a_rung_has_the_first_tracks_times_and_half_a_rate_every_second_one() {
    for behind in [0, 20] {
        let mut rung = Beside::new(2, key);
        rung.behind = behind;
        let mut publisher = with(vec![rung, Beside::new(3, |n| key(n).filter(|_| n % 2 == 0))]);
        publisher.offsets = vec![67, 133, 0, 33];
        publisher.run(10).end();
        let feeds = &publisher.feeds;
        assert_eq!(ids(&feeds.tracks[0]), [0, 1, 2, 3]);
        let first = feeds.video();
        let rung: Vec<&Sample> = feeds.of(RUNG).collect();
        assert_eq!(times(&rung), times(&first[..first.len() - behind]));
        let half: Vec<&Sample> = feeds.of(HALF).collect();
        assert!(half.windows(2).all(|pair| pair[1].dts.ticks - pair[0].dts.ticks == 6_000));
        assert!(half.iter().zip(first.iter().step_by(2)).all(|(half, first)| half.pts == first.pts));
        let track = |id| feeds.tracks[0].by_id(id).unwrap();
        assert_eq!(track(RUNG).reorder_delay, track(TrackId::VIDEO).reorder_delay);
        assert_eq!(track(HALF).grid.spacing().ticks, 6_000);
        assert_eq!((feeds.lost.len(), notices(&mut publisher)), (0, vec![]));
    }
}

#[test]
fn the_first_tracks_do_not_notice() {
    let run = |publisher: &mut Publisher| {
        publisher.keep =
            |kind, time| kind == TrackKind::Audio || !(4 * SECOND..4 * SECOND + 300 * MILLI).contains(&time);
        publisher.run(6);
        publisher.shift = [100_000; 2];
        publisher.run(6).end();
    };
    let before = alone(run);
    let wild = Beside::new(4, |n| Some(n * 7 % 11 == 0));
    let late = Beside::new(5, |n| key(n).filter(|_| n > 200));
    let dead = Beside::new(6, |n| key(n).filter(|_| n < 100));
    let mut publisher = with(vec![Beside::new(2, key), wild, late, dead, Beside::new(7, |_| Some(true))]);
    run(&mut publisher);
    let of_first = publisher.feeds.samples.iter().filter(|sample| sample.track <= TrackId::AUDIO);
    assert_eq!(of_first.cloned().collect::<Vec<_>>(), before);
    assert_eq!(ids(&publisher.feeds.tracks[0]), [0, 1, 2, 6, 7]);
    assert_eq!(publisher.feeds.lost, [(TrackId(6), Absence::Shed)]);
    let told = notices(&mut publisher);
    for (number, why) in [(3, Unfit::Keyframes), (4, Unfit::Late), (5, Unfit::Silent)] {
        assert!(told.contains(&Notice::UnusedTrack(TrackKind::Video, number, why)), "{told:?}");
    }
    // The rung went along through the gap and the jump.
    let rung: Vec<&Sample> = publisher.feeds.of(RUNG).collect();
    assert_eq!(times(&rung), times(&publisher.feeds.video()));
}

#[test]
fn keyframes_that_part_later_end_a_rung() {
    let mut publisher = with(vec![Beside::new(2, |n| Some(n % 60 == 0 || n == 150))]);
    publisher.run(10).end();
    assert_eq!(publisher.feeds.lost, [(RUNG, Absence::Shed)]);
    assert_eq!(publisher.feeds.of(RUNG).count(), 150);
    assert_eq!(notices(&mut publisher), [Notice::UnusedTrack(TrackKind::Video, 1, Unfit::Keyframes)]);
}

#[test]
fn a_rung_that_pauses_is_back_with_a_key_frame() {
    let mut publisher = with(vec![Beside::new(2, |n| key(n).filter(|_| !(100..200).contains(&n)))]);
    publisher.run(10).end();
    assert_eq!(publisher.feeds.lost, [(RUNG, Absence::Shed)]);
    let rung: Vec<&Sample> = publisher.feeds.of(RUNG).collect();
    assert!(rung[100].sync && rung[100].dts.as_flicks() == 10 * SECOND + 240 * SECOND / 30);
    // One frame that is missing is hidden.
    let mut publisher = with(vec![Beside::new(2, |n| key(n).filter(|_| n != 100))]);
    publisher.run(10).end();
    let rung: Vec<&Sample> = publisher.feeds.of(RUNG).collect();
    assert_eq!((publisher.feeds.lost.len(), rung[100].duration), (0, 6_000));
    assert_eq!(rung[100].pts.ticks, 900_000 + 101 * 3_000, "shown when it is due");
}

#[test]
fn another_language_is_counted_for_itself() {
    let mut publisher = with(vec![Beside::new(7, |_| Some(true))]);
    publisher.audio = Some((44_100, 1_024));
    publisher.timeline.config(TrackId::AUDIO, aac_44());
    publisher.timeline.set_language(VOICE, "pt-BR".into());
    publisher.timeline.set_language(TrackId::AUDIO, "en".into());
    publisher.run(10).end();
    let feeds = &publisher.feeds;
    let languages: Vec<&str> = feeds.tracks[0].tracks.iter().map(|track| track.language.as_str()).collect();
    assert_eq!(languages, ["und", "en", "pt-BR"]);
    let voice: Vec<&Sample> = feeds.of(VOICE).collect();
    assert_eq!(times(&voice), times(&feeds.audio()));
}

#[test]
fn a_language_that_stops_is_lost_and_comes_back() {
    let mut publisher = with(vec![Beside::new(7, |n| Some(true).filter(|_| !(200..400).contains(&n)))]);
    publisher.audio = Some((44_100, 1_024));
    publisher.timeline.config(TrackId::AUDIO, aac_44());
    publisher.run(15).end();
    assert_eq!(publisher.feeds.lost, [(VOICE, Absence::Shed)]);
    let of_voice = publisher.feeds.of(VOICE);
    let last = of_voice.last().unwrap();
    let beside = publisher.feeds.audio();
    assert!((last.dts.ticks - beside.last().unwrap().dts.ticks).abs() < 2_048);
    assert_eq!(notices(&mut publisher), [Notice::UnusedTrack(TrackKind::Audio, 1, Unfit::Silent)]);
}

#[test]
fn a_returning_publisher_goes_on_with_all_its_tracks() {
    let mut publisher = with(vec![Beside::new(2, key), Beside::new(7, |_| Some(true))]);
    publisher.timeline.config(TrackId::AUDIO, aac_44());
    publisher.audio = Some((44_100, 1_024));
    publisher.run(5).end().pass_millis(2_000);
    publisher.begin(&[avc(1280), aac_44()]);
    publisher.timeline.config(RUNG, avc(640));
    publisher.timeline.config(VOICE, aac_44());
    publisher.run(5).end();
    let feeds = &publisher.feeds;
    assert_eq!((feeds.tracks.len(), feeds.breaks.len(), feeds.lost.len()), (1, 1, 0));
    let rung: Vec<&Sample> = feeds.of(RUNG).collect();
    assert_eq!(times(&rung), times(&feeds.video()));
    assert_eq!(feeds.of(VOICE).count(), feeds.audio().len());
    // And with another picture size in the rung.
    publisher.pass_millis(2_000).begin(&[avc(1280), aac_44()]);
    publisher.timeline.config(RUNG, avc(480));
    publisher.timeline.config(VOICE, aac_44());
    publisher.run(5).end();
    assert_eq!(publisher.feeds.changed.len(), 1);
    assert_eq!(publisher.feeds.changed[0].codec, avc(480));
}

/// A frame of any track: which, milliseconds since the last one, stamp off the time, sync.
type Event = (u8, u16, i32, bool);

/// Sends them, further tracks' frames or not, and gives what came of the first ones.
fn play(events: &[Event], further: bool) -> Vec<Sample> {
    let mut publisher = Publisher::new();
    publisher.standard();
    for id in [2, 3] {
        publisher.timeline.config(TrackId(id), avc(u32::from(id)));
    }
    publisher.timeline.config(VOICE, aac());
    let (mut millis, mut fresh) = (0, [true; TRACKS]);
    for (which, step, off, sync) in events {
        millis += i64::from(*step);
        let track = [0, 0, 0, 1, 1, 2, 2, 3, 7][usize::from(*which % 9)];
        let kind = if matches!(track, 1 | 7) { TrackKind::Audio } else { TrackKind::Video };
        let sync = *sync || kind == TrackKind::Audio || std::mem::take(&mut fresh[track]);
        if track > 1 && !further {
            continue;
        }
        let (samples, nominal) =
            if kind == TrackKind::Audio { (1_024, SECOND * 1_024 / 48_000) } else { (0, 0) };
        let frame = CodedFrame {
            track: TrackId(track as u8),
            kind,
            timestamp: (millis as u32).wrapping_add_signed(*off),
            nanos: 0,
            cts: 0,
            sync,
            disposable: false,
            samples,
            nominal,
            payload: Bytes::from_static(b"frame"),
        };
        let (now, wall) = publisher.at(millis * MILLI);
        publisher.timeline.push(now, wall, frame);
        publisher.feeds.take(&mut publisher.timeline);
    }
    publisher.end();
    publisher.feeds.samples.retain(|sample| sample.track <= TrackId::AUDIO);
    publisher.feeds.samples
}

fn of(samples: &[Sample], track: TrackId) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(move |sample| sample.track == track)
}

fn offsets() -> impl Strategy<Value = i32> {
    prop_oneof![8 => Just(0), 2 => -50i32..50, 1 => any::<i32>()]
}

proptest! {
    /// Whatever further tracks send, the first ones come out as without them, and each track keeps its contract.
    #[test]
    fn further_tracks_never_touch_the_first_ones(
        events in proptest::collection::vec((any::<u8>(), 0u16..60, offsets(), any::<bool>()), 1..400)
    ) {
        let (beside, alone) = (play(&events, true), play(&events, false));
        // How samples of two tracks interleave may differ.
        for track in [TrackId::VIDEO, TrackId::AUDIO] {
            prop_assert!(of(&beside, track).eq(of(&alone, track)), "{track:?}");
        }
    }
}
