//! Every second frame (AVP-26): pure.
//!
//! IDRs fall on kept frames only: each sync frame is kept, and the count begins with it. It counts the places of the
//! source's grid, so that frames that were lost change nothing for those behind them. A kept frame lasts until the
//! next kept one, so that its duration is known when the next frame is there. Behind a loss a few more are kept: the
//! packager moves what follows into the parts that the loss left empty, and each of them needs a frame (LLHLS-2).

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Halved {
    /// It is kept.
    pub(super) keep: bool,
    /// How long the kept frame before it lasts, where that has become known now.
    pub(super) settled: Option<u32>,
}

/// Places of the grid that are lost for each further frame that is kept: fewer than the shortest part has.
const LOST_FOR_ONE: u64 = 4;

/// Its state.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// Ticks between two frames of the source; 0 where that is not known.
    spacing: u32,
    /// Places since the last sync frame; `None` before the first frame, which is kept whatever it is.
    place: Option<u64>,
    /// Frames that are kept wherever they are.
    more: u64,
    /// Places that the newest frame takes.
    lasted: u64,
    /// Duration so far of the kept frame that is not settled.
    open: Option<u32>,
}

impl Half {
    /// How far frames are apart from now on, in ticks.
    pub(super) const fn set_spacing(&mut self, spacing: u32) {
        self.spacing = spacing;
    }

    /// The next frame.
    pub(super) fn push(&mut self, sync: bool, duration: u32) -> Halved {
        let mut early = 0;
        if sync {
            // What a loss right before it leaves empty, the parts of its segment begin with.
            early = u64::from(self.lasted > 1);
            (self.place, self.more) = (None, 0);
        }
        let place = self.place.unwrap_or_default();
        let keep = place.is_multiple_of(2) || self.more > 0;
        let lasts = self.places(duration);
        self.place = Some(place + early + lasts);
        self.lasted = lasts;
        self.more = self.more.saturating_sub(1);
        if lasts > 1 {
            self.more = self.more.max(1 + lasts / LOST_FOR_ONE);
        }
        let settled = if keep {
            self.open.replace(duration)
        } else {
            // A kept frame follows in any case: this one's time is the last that the open one takes.
            self.open.take().map(|open| open.saturating_add(duration))
        };
        Halved { keep, settled }
    }

    /// Nothing follows.
    pub(super) const fn finish(&mut self) -> Option<u32> {
        (self.place, self.more, self.lasted) = (None, 0, 0);
        self.open.take()
    }

    /// How many places of the grid a frame takes.
    fn places(&self, duration: u32) -> u64 {
        let rounded = duration.saturating_add(self.spacing / 2).checked_div(self.spacing).unwrap_or(1);
        u64::from(rounded.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_even_gop_halves_evenly() {
        let mut half = Half::default();
        let got: Vec<_> = (0..8).map(|i| half.push(i % 4 == 0, 10)).map(|h| (h.keep, h.settled)).collect();
        assert_eq!(got[..4], [(true, None), (false, Some(20)), (true, None), (false, Some(20))]);
        assert_eq!(got[4..], got[..4]);
    }

    #[test]
    fn what_begins_within_a_gop_begins_with_a_kept_frame() {
        let mut half = Half::default();
        assert!(half.push(false, 10).keep && !half.push(false, 10).keep);
        half.finish();
        assert!(half.push(false, 10).keep);
    }

    /// Numbers of the frames that are kept, of frames that last so many places.
    fn kept(places: &[u32]) -> Vec<usize> {
        let mut half = Half::default();
        half.set_spacing(10);
        let pushed =
            places.iter().enumerate().map(|(index, places)| (index, half.push(index % 6 == 0, places * 10)));
        pushed.filter(|(_, halved)| halved.keep).map(|(index, _)| index).collect()
    }

    #[test]
    fn a_loss_leaves_the_places_of_what_follows_as_they_are_and_keeps_a_few_more_frames() {
        assert_eq!(kept(&[1, 1, 1, 1, 1, 1]), [0, 2, 4]);
        assert_eq!(kept(&[1, 2, 1, 1, 1, 1]), [0, 2, 3, 5], "frame 2 is at place 3, behind the loss");
        assert_eq!(kept(&[1, 1, 8, 1, 1, 1]), [0, 2, 3, 4, 5]);
        assert_eq!(
            kept(&[1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1]),
            [0, 2, 4, 6, 7, 9, 11, 12],
            "up to the last one"
        );
    }

    proptest! {
        /// Kept frames lie without a hole, and every sync frame is among them.
        #[test]
        fn kept_frames_are_contiguous(
            gops in prop::collection::vec(1usize..9, 1..20),
            durations in prop::collection::vec(1u32..50, 200),
            spacing in 0u32..60,
        ) {
            let mut half = Half::default();
            half.set_spacing(spacing);
            let syncs = gops.iter().flat_map(|gop| (0..*gop).map(|i| i == 0));
            let (mut dts, mut next, mut open) = (0i64, 0i64, None);
            for (sync, duration) in syncs.zip(durations) {
                let halved = half.push(sync, duration);
                if let Some(settled) = halved.settled {
                    let start: i64 = open.take().unwrap();
                    prop_assert_eq!(start, next);
                    next = start + i64::from(settled);
                }
                prop_assert!(!sync || halved.keep);
                if halved.keep {
                    open = Some(dts);
                    prop_assert_eq!(dts, next);
                }
                dts += i64::from(duration);
            }
            if let (Some(last), Some(start)) = (half.finish(), open) {
                prop_assert_eq!(start + i64::from(last), dts);
            }
        }
    }
}
