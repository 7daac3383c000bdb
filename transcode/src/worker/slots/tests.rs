use proptest::prelude::*;

use super::*;

const NOW: WallTime = WallTime { micros: 0 };

/// Decode order of GOPs of `length` frames with `depth` B-frames between two others, and the delay D in frames.
fn source(gops: usize, length: usize, depth: usize) -> Vec<Times> {
    let delay = usize::from(depth > 0) as i64;
    let mut all = Vec::new();
    for gop in 0..gops {
        let base = (gop * length) as i64;
        let mut shown = vec![0];
        while shown.len() < length {
            let anchor = (shown.len() + depth).min(length - 1);
            let first = shown.len();
            shown.push(anchor);
            shown.extend(first..anchor);
        }
        for (index, place) in shown.into_iter().enumerate() {
            all.push(Times {
                dts: (base + index as i64) * 10,
                pts: (base + place as i64 + delay) * 10,
                duration: 10,
                sync: index == 0,
                received: NOW,
            });
        }
    }
    all
}

fn patience(depth: usize, slack: u32) -> Patience {
    Patience { reorder: u32::from(depth > 0), slack }
}

/// What a decoder does with a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Comes,
    Damaged,
    Swallowed,
    /// The host says that it is lost.
    Missing,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Comes),
        1 => Just(Fate::Damaged),
        1 => Just(Fate::Swallowed),
        1 => Just(Fate::Missing)
    ]
}

/// Runs frames through, with a decoder that holds pictures back as one must for their order and `lag` more.
fn run(frames: &[Times], fates: &[Fate], depth: usize, lag: usize) -> (Vec<Shown<i64>>, usize) {
    let mut slots = Slots::new(patience(depth, lag as u32));
    let mut held: BTreeMap<i64, (u64, bool)> = BTreeMap::new();
    let (mut shown, mut most) = (Vec::new(), 0);
    for (frame, fate) in frames.iter().zip(fates) {
        let number = slots.feed(*frame);
        match fate {
            Fate::Comes | Fate::Damaged => {
                held.insert(frame.pts, (number, *fate == Fate::Comes));
            }
            Fate::Missing => slots.lost(number),
            Fate::Swallowed => {}
        }
        while held.len() > usize::from(depth > 0) + lag
            && let Some((pts, (number, whole))) = held.pop_first()
        {
            if whole {
                assert!(slots.picture(number, pts).is_none_or(|late| late == pts));
            } else {
                slots.lost(number);
            }
        }
        shown.extend(std::iter::from_fn(|| slots.pop()));
        most = most.max(slots.len());
    }
    for (pts, (number, _)) in held.into_iter().filter(|(_, (_, whole))| *whole) {
        slots.picture(number, pts);
    }
    shown.extend(slots.drain());
    (shown, most)
}

#[test]
fn without_reordering_each_frame_is_shown_at_once() {
    let frames = source(2, 5, 0);
    let mut slots = Slots::new(patience(0, 0));
    for frame in frames {
        let number = slots.feed(frame);
        slots.picture(number, frame.pts);
        let shown = slots.pop().unwrap();
        assert_eq!((shown.times, shown.picture), (frame, Some(frame.pts)));
        assert_eq!(slots.len(), 0);
    }
}

#[test]
fn a_frame_without_a_picture_is_repeated_at_once() {
    let mut slots: Slots<i64> = Slots::new(patience(0, 0));
    for frame in source(1, 5, 0) {
        slots.feed(frame);
        let shown = slots.pop().unwrap();
        assert_eq!((shown.times, shown.picture), (frame, None));
    }
}

#[test]
fn b_frames_take_slots_in_the_order_they_are_shown_in() {
    let frames = source(1, 7, 2);
    assert_eq!(frames.iter().map(|f| f.pts).collect::<Vec<_>>(), [10, 40, 20, 30, 70, 50, 60]);
    let (shown, _) = run(&frames, &[Fate::Comes; 7], 2, 0);
    let got: Vec<_> = shown.iter().map(|s| (s.times.dts, s.times.pts, s.picture)).collect();
    let want: Vec<_> = (0..7).map(|i| (i * 10, i * 10 + 10, Some(i * 10 + 10))).collect();
    assert_eq!(got, want);
}

#[test]
fn a_lost_p_frame_does_not_overtake_the_b_frames_before_it() {
    let frames = source(1, 7, 2);
    let mut fates = [Fate::Comes; 7];
    fates[1] = Fate::Missing;
    let (shown, _) = run(&frames, &fates, 2, 0);
    let pictures: Vec<_> = shown.iter().map(|s| s.picture).collect();
    assert_eq!(pictures, [Some(10), Some(20), Some(30), None, Some(50), Some(60), Some(70)]);
}

#[test]
fn a_picture_that_comes_after_its_repeat_is_given_back() {
    let mut slots = Slots::new(patience(0, 0));
    let frames = source(1, 3, 0);
    let first = slots.feed(frames[0]);
    assert!(slots.pop().unwrap().picture.is_none());
    slots.feed(frames[1]);
    assert_eq!(slots.picture(first, 0), Some(0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the decoder loses: as many frames out as in, decode times, durations and sync exactly as in the
    /// source, presentation times sorted, D constant, no picture out of order, and a bounded wait.
    #[test]
    fn slots_are_the_sources_whatever_is_lost(
        gops in 1usize..6,
        length in 1usize..12,
        depth in 0usize..4,
        lag in 0usize..3,
        fates in prop::collection::vec(fate(), 72),
    ) {
        let depth = depth.min(length.saturating_sub(2));
        let frames = source(gops, length, depth);
        let (shown, most) = run(&frames, &fates, depth, lag);
        prop_assert_eq!(shown.len(), frames.len());
        let delay = frames[0].pts - frames[0].dts;
        let mut last = i64::MIN;
        for (shown, frame) in shown.iter().zip(&frames) {
            let slot = (shown.times.dts, shown.times.duration, shown.times.sync);
            prop_assert_eq!(slot, (frame.dts, frame.duration, frame.sync));
            prop_assert_eq!(shown.times.pts, frame.dts + delay);
            if let Some(picture) = shown.picture {
                prop_assert_eq!(picture, shown.times.pts);
                prop_assert!(picture > last);
                last = picture;
            }
        }
        prop_assert!(most <= usize::from(depth > 0) * 2 + lag + 1, "{} frames wait", most);
        let comes = fates[..frames.len()].iter().filter(|fate| **fate == Fate::Comes).count();
        let fresh = shown.iter().filter(|shown| shown.picture.is_some()).count();
        // Where every frame reaches the decoder and none is swallowed, every picture that came is shown. Lost frames
        // push nothing out of a decoder that holds pictures back: those may come too late.
        let fates = &fates[..frames.len()];
        if !fates.contains(&Fate::Swallowed) && !fates.contains(&Fate::Missing) {
            prop_assert_eq!(fresh, comes);
        }
    }
}
