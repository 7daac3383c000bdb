//! Decode times of frames that come in decode order and say only when they are shown (RTSP-24).

/// A frame's duration where nothing says it, in nanoseconds.
const USUAL: i64 = 40_000_000;
/// Frames that a decoder holds back at most, in H.264 and H.265.
const DEPTH_MAX: usize = 16;
/// A step backwards beyond this is no reordering.
const BACK_MAX: i64 = 2_000_000_000;

/// Derives decode times: that of a frame is the smallest of the newest `depth + 1` presentation times.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// Presentation times that are still greater than some decode time to come, ascending.
    window: Vec<i64>,
    depth: usize,
    duration: i64,
    last: Option<i64>,
}

impl Default for Order {
    fn default() -> Self {
        Self { window: Vec::new(), depth: 0, duration: USUAL, last: None }
    }
}

impl Order {
    /// Another bitstream begins. `depth` is how many frames its decoder holds back, where it says so; else it is seen
    /// from the frames. `rate` is its stated frame rate, as a fraction.
    pub(super) fn begin(&mut self, depth: Option<u32>, rate: Option<(u32, u32)>) {
        self.depth = depth.map_or(self.depth, |depth| (depth as usize).min(DEPTH_MAX));
        let stated = rate.and_then(|(frames, seconds)| {
            (i64::from(seconds) * 1_000_000_000).checked_div(i64::from(frames))
        });
        self.duration =
            stated.filter(|duration| (1_000_000..=1_000_000_000).contains(duration)).unwrap_or(USUAL);
    }

    /// The decode time of the next frame in nanoseconds, at or before `shown`, and after the one before where time
    /// does not jump.
    pub(super) fn place(&mut self, shown: i64) -> i64 {
        let jumped = self.window.last().is_some_and(|newest| (shown - newest).abs() > BACK_MAX);
        if jumped {
            self.window.clear();
            self.last = None;
        }
        // A frame that is shown before others that came already shows how deep the reordering is.
        let later = self.window.iter().filter(|time| **time > shown).count();
        self.depth = self.depth.max(later.min(DEPTH_MAX));
        let at = self.window.partition_point(|time| *time <= shown);
        self.window.insert(at, shown);
        let missing = (self.depth + 1).saturating_sub(self.window.len());
        if missing == 0 {
            self.window.drain(..self.window.len() - self.depth - 1);
        }
        let smallest = self.window.first().copied().unwrap_or(shown);
        let time = smallest - self.duration * missing as i64;
        let time = self.last.map_or(time, |last| time.max(last + 1)).min(shown);
        self.last = Some(time);
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLI: i64 = 1_000_000;

    fn decode(order: &mut Order, shown: &[i64]) -> Vec<i64> {
        shown.iter().map(|millis| order.place(millis * MILLI) / MILLI).collect()
    }

    #[test]
    fn without_reordering_a_frame_is_decoded_when_it_is_shown() {
        let mut order = Order::default();
        order.begin(Some(0), Some((25, 1)));
        assert_eq!(decode(&mut order, &[0, 40, 80, 2_000, 2_040]), [0, 40, 80, 2_000, 2_040]);
    }

    #[test]
    fn stated_reordering_gives_even_decode_times() {
        let mut order = Order::default();
        order.begin(Some(2), Some((25, 1)));
        // I P B b b in decode order, a pyramid of two.
        let shown = [0, 160, 80, 40, 120, 320, 240, 200, 280];
        assert_eq!(decode(&mut order, &shown), [-80, -40, 0, 40, 80, 120, 160, 200, 240]);
    }

    #[test]
    fn reordering_that_is_not_stated_is_seen() {
        let mut order = Order::default();
        order.begin(None, None);
        let shown = [0, 120, 40, 80, 240, 160, 200, 360, 280, 320];
        let times = decode(&mut order, &shown);
        assert_eq!(times[5..], [160, 200, 240, 280, 320]);
        for (time, shown) in times.iter().zip(shown) {
            assert!(*time <= shown);
        }
    }

    proptest! {
        #[test]
        fn decode_times_never_exceed_presentation(shown in proptest::collection::vec(any::<i32>(), 1..200)) {
            let mut order = Order::default();
            order.begin(None, Some((30, 1)));
            for time in shown {
                let time = i64::from(time) * 1_000;
                prop_assert!(order.place(time) <= time);
                prop_assert!(order.window.len() <= DEPTH_MAX + 1);
            }
        }
    }
}
