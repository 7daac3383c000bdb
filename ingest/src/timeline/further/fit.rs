//! Whether a further video track is a ready rung: its frames are those of the first one (RTMP-62). Pure.

use crate::demux::Unfit;

/// Stamps of one instant may differ by this much between encoders, in milliseconds.
pub(super) const STAMP_TOLERANCE: i32 = 3;

/// What matters of a frame here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    /// The stamp on the wire, in milliseconds.
    pub(super) stamp: u32,
    pub(super) sync: bool,
    /// PTS − DTS in milliseconds.
    pub(super) cts: i32,
}

/// How much later `one` is than `other`, over a wrap too.
pub(super) const fn later(one: u32, other: u32) -> i32 {
    one.wrapping_sub(other) as i32
}

/// The first track's frames for each frame of a further one, 1 or 2.
///
/// Both lists are in decode order, and the further one's begins with a sync sample.
///
/// # Errors
/// Why it is no rung.
pub(super) fn every(first: &[Seen], further: &[Seen]) -> Result<u32, Unfit> {
    let mut places = Vec::with_capacity(further.len());
    let mut from = 0;
    for frame in further {
        let at =
            first[from..].iter().position(|seen| later(seen.stamp, frame.stamp).abs() <= STAMP_TOLERANCE);
        // What begins before the first track's first frame, or came after its last one, says nothing.
        let Some(at) = at.map(|at| from + at) else { continue };
        from = at;
        places.push((at, frame));
    }
    let (Some((begin, key)), Some((end, _))) = (places.first(), places.last()) else {
        return Err(Unfit::Frames);
    };
    if places.iter().any(|(at, frame)| first[*at].sync != frame.sync) || !key.sync {
        return Err(Unfit::Keyframes);
    }
    let skipped = |at: &usize| first[*at].sync && !places.iter().any(|(place, _)| place == at);
    if (*begin..*end).any(|at| skipped(&at)) {
        return Err(Unfit::Keyframes);
    }
    if first[*begin].cts.abs_diff(key.cts) > STAMP_TOLERANCE.unsigned_abs() {
        return Err(Unfit::Reorder);
    }
    let steps = || places.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let (ones, twos) = (steps().filter(|step| *step == 1).count(), steps().filter(|step| *step == 2).count());
    // Frames that an encoder dropped are few.
    let regular = ones.max(twos);
    match steps().count() {
        count if regular * 10 < count * 9 => Err(Unfit::Frames),
        _ => Ok(if twos > ones { 2 } else { 1 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of 40 ms, a key frame every `gop`, in steps of `every`.
    fn frames(count: u32, gop: u32, every: u32) -> Vec<Seen> {
        let seen = |n: u32| Seen { stamp: n * 40, sync: n.is_multiple_of(gop), cts: 80 };
        (0..count).step_by(every as usize).map(seen).collect()
    }

    #[test]
    fn the_same_frames_or_every_second_one_fit() {
        let first = frames(75, 25, 1);
        assert_eq!(every(&first, &frames(75, 25, 1)), Ok(1));
        assert_eq!(every(&frames(75, 24, 1), &frames(75, 24, 2)), Ok(2));
        // It lags behind, it begins a GOP later, and its stamps are rounded otherwise.
        assert_eq!(every(&first, &frames(60, 25, 1)), Ok(1));
        assert_eq!(every(&first, &frames(75, 25, 1)[25..]), Ok(1));
        let rounded: Vec<Seen> =
            first.iter().map(|seen| Seen { stamp: seen.stamp.wrapping_sub(2), ..*seen }).collect();
        assert_eq!(every(&first, &rounded), Ok(1));
    }

    #[test]
    fn other_key_frames_frames_or_reordering_do_not() {
        let first = frames(75, 25, 1);
        assert_eq!(every(&first, &frames(75, 30, 1)), Err(Unfit::Keyframes));
        assert_eq!(every(&first, &frames(75, 75, 1)), Err(Unfit::Keyframes));
        assert_eq!(every(&frames(75, 75, 1), &first), Err(Unfit::Keyframes));
        assert_eq!(every(&frames(75, 75, 1), &frames(75, 75, 3)), Err(Unfit::Frames));
        let apart: Vec<Seen> = first.iter().map(|seen| Seen { stamp: seen.stamp + 20, ..*seen }).collect();
        assert_eq!(every(&first, &apart), Err(Unfit::Frames));
        let plain: Vec<Seen> = first.iter().map(|seen| Seen { cts: 0, ..*seen }).collect();
        assert_eq!(every(&first, &plain), Err(Unfit::Reorder));
    }
}
