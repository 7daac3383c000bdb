//! Every second frame (AVP-26): pure.
//!
//! IDRs fall on kept frames only: each sync frame is kept, and the count begins with it. A kept frame lasts until the
//! next kept one, so that its duration is known when the next frame is there.

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Halved {
    /// It is kept.
    pub(super) keep: bool,
    /// How long the kept frame before it lasts, where that has become known now.
    pub(super) settled: Option<u32>,
}

/// Its state.
#[derive(Debug)]
pub(super) struct Half {
    /// Frames since the last sync frame; the highest number before the first frame, which is kept whatever it is.
    index: u64,
    /// Duration so far of the kept frame that is not settled.
    open: Option<u32>,
}

impl Default for Half {
    fn default() -> Self {
        Self { index: u64::MAX, open: None }
    }
}

impl Half {
    /// The next frame.
    pub(super) fn push(&mut self, sync: bool, duration: u32) -> Halved {
        self.index = if sync { 0 } else { self.index.wrapping_add(1) };
        if self.index.is_multiple_of(2) {
            let settled = self.open.replace(duration);
            Halved { keep: true, settled }
        } else {
            // A kept frame follows in any case: this one's time is the last that the open one takes.
            let settled = self.open.take().map(|open| open + duration);
            Halved { keep: false, settled }
        }
    }

    /// Nothing follows.
    pub(super) const fn finish(&mut self) -> Option<u32> {
        self.index = u64::MAX;
        self.open.take()
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

    proptest! {
        /// Kept frames lie without a hole, and every sync frame is among them.
        #[test]
        fn kept_frames_are_contiguous(gops in prop::collection::vec(1usize..9, 1..20), durations in prop::collection::vec(1u32..50, 200)) {
            let mut half = Half::default();
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
