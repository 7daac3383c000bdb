//! How much there is in the pictures, and how many bits they need (AVP-40 b): pure.
//!
//! Spatial information is the spread of Sobel's gradients, temporal information the spread of the difference between
//! two frames (ITU-T P.910), both of a luma of 320×180.

/// Luma to measure on.
const WIDTH: usize = 320;
const HEIGHT: usize = 180;

/// A small luma.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Luma(Vec<u8>);

impl Luma {
    /// Reduces a luma plane: each pixel is the mean of four samples of its area.
    pub(super) fn reduce(data: &[u8], stride: usize, width: usize, height: usize) -> Option<Self> {
        if width < 2 || height < 2 || stride < width || data.len() < stride * (height - 1) + width {
            return None;
        }
        let mut out = Vec::with_capacity(WIDTH * HEIGHT);
        for row in 0..HEIGHT {
            let (y0, y1) = ((row * 4 + 1) * height / (HEIGHT * 4), (row * 4 + 3) * height / (HEIGHT * 4));
            for column in 0..WIDTH {
                let (x0, x1) =
                    ((column * 4 + 1) * width / (WIDTH * 4), (column * 4 + 3) * width / (WIDTH * 4));
                let sum: u32 = [(y0, x0), (y0, x1), (y1, x0), (y1, x1)]
                    .into_iter()
                    .map(|(y, x)| u32::from(data[y * stride + x]))
                    .sum();
                out.push((sum / 4) as u8);
            }
        }
        Some(Self(out))
    }

    /// Spread of the gradients.
    fn spatial(&self) -> f32 {
        let at = |x: usize, y: usize| i32::from(self.0[y * WIDTH + x]);
        let inner = (1..HEIGHT - 1).flat_map(|y| (1..WIDTH - 1).map(move |x| (x, y)));
        deviation(inner.map(|(x, y)| {
            let across = at(x + 1, y - 1) + 2 * at(x + 1, y) + at(x + 1, y + 1)
                - at(x - 1, y - 1)
                - 2 * at(x - 1, y)
                - at(x - 1, y + 1);
            let down = at(x - 1, y + 1) + 2 * at(x, y + 1) + at(x + 1, y + 1)
                - at(x - 1, y - 1)
                - 2 * at(x, y - 1)
                - at(x + 1, y - 1);
            ((across * across + down * down) as f32).sqrt()
        }))
    }

    /// Spread of the difference.
    fn temporal(&self, before: &Self) -> f32 {
        deviation(self.0.iter().zip(&before.0).map(|(a, b)| f32::from(*a) - f32::from(*b)))
    }
}

fn deviation(values: impl Iterator<Item = f32>) -> f32 {
    let (mut count, mut sum, mut squares) = (0.0f64, 0.0f64, 0.0f64);
    for value in values {
        let value = f64::from(value);
        count += 1.0;
        sum += value;
        squares += value * value;
    }
    let mean = sum / f64::max(count, 1.0);
    f64::max(squares / f64::max(count, 1.0) - mean * mean, 0.0).sqrt() as f32
}

/// The running index, and the share of a rung's bitrate that it asks for.
#[derive(Debug, Default)]
struct Complexity {
    before: Option<Luma>,
    index: Option<f32>,
    factor: Option<f32>,
}

impl Complexity {
    /// Weight of a new second in the running mean, for a time constant of 10 s.
    const WEIGHT: f32 = 0.095;
    /// Gradients and differences of pictures of middling complexity; the index is then 1.
    const USUAL: (f32, f32) = (60.0, 12.0);
    /// The widest change from one GOP to the next.
    const STEP: f32 = 0.1;

    /// The first of two frames that follow each other.
    #[cfg(test)]
    fn first(&mut self, luma: Luma) {
        self.before = Some(luma);
    }

    /// The second one, once a second. Nothing is measured where the first is not there.
    fn second(&mut self, luma: &Luma) {
        let Some(before) = self.before.take() else { return };
        let now = luma.spatial() / Self::USUAL.0 * 0.5 + luma.temporal(&before) / Self::USUAL.1 * 0.5;
        self.index = Some(self.index.map_or(now, |index| index + (now - index) * Self::WEIGHT));
    }

    /// The index; 1 is middling.
    #[cfg(test)]
    const fn index(&self) -> Option<f32> {
        self.index
    }

    /// The share of the peak to spend from the next IDR on: 0.6 to 1, in steps of at most 10 %. More than the peak,
    /// which the formula of AVP-40 would ask for, would not be what the playlist advertises.
    fn at_idr(&mut self) -> f32 {
        let Some(index) = self.index else { return 1.0 };
        let wanted = (0.6 + 0.4 * index).clamp(0.6, 1.0);
        let last = self.factor.unwrap_or(1.0);
        let next = wanted.clamp(last * (1.0 - Self::STEP), last * (1.0 + Self::STEP)).min(1.0);
        self.factor = Some(next);
        next
    }
}

/// Picks the frames to measure: two in a row, once a second.
#[derive(Debug)]
pub(super) struct Meter {
    complexity: Complexity,
    frames: u64,
    /// Frames a second.
    rate: u64,
}

impl Meter {
    /// For so many frames a second.
    pub(super) fn new(rate: (u32, u32)) -> Self {
        let mut meter = Self { complexity: Complexity::default(), frames: 0, rate: 1 };
        meter.set_rate(rate);
        meter
    }

    /// Another rate from the next frame on.
    pub(super) fn set_rate(&mut self, (num, den): (u32, u32)) {
        self.rate = u64::from(num.div_ceil(den.max(1))).max(2);
    }

    /// The next frame; `luma` is asked for only where it is measured.
    pub(super) fn frame(&mut self, luma: impl FnOnce() -> Option<Luma>) {
        let due = self.frames.is_multiple_of(self.rate);
        self.frames += 1;
        if due {
            self.complexity.before = luma();
        } else if self.complexity.before.is_some()
            && let Some(luma) = luma()
        {
            self.complexity.second(&luma);
        }
    }

    /// The running index.
    pub(super) const fn index(&self) -> Option<f32> {
        self.complexity.index
    }

    /// The share of the peak to spend from this IDR on.
    pub(super) fn at_idr(&mut self) -> f32 {
        self.complexity.at_idr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(f: impl Fn(usize, usize) -> u8) -> Luma {
        let data: Vec<u8> =
            (0..360).flat_map(|y| (0..640).map(move |x| (x, y))).map(|(x, y)| f(x, y)).collect();
        Luma::reduce(&data, 640, 640, 360).unwrap()
    }

    #[test]
    fn a_flat_still_picture_has_no_information_and_takes_the_least() {
        let mut complexity = Complexity::default();
        for second in 0..60 {
            complexity.first(picture(|_, _| 100));
            complexity.second(&picture(|_, _| 100));
            let factor = complexity.at_idr();
            assert!(factor >= 0.6 && (second > 0 || factor >= 0.9), "{second}: {factor}");
        }
        assert_eq!(complexity.index(), Some(0.0));
        assert!((complexity.at_idr() - 0.6).abs() < 0.01);
    }

    #[test]
    fn noise_asks_for_all_and_never_for_more() {
        let noise = |seed: usize| {
            picture(move |x, y| (((x * 7_919 + y * 104_729 + seed * 31) * 2_654_435_761) >> 13) as u8)
        };
        let mut complexity = Complexity::default();
        complexity.first(noise(1));
        complexity.second(&noise(2));
        assert!(complexity.index().unwrap() > 1.5, "{:?}", complexity.index());
        assert!((complexity.at_idr() - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn more_detail_and_more_movement_each_raise_the_index() {
        let measure = |step: usize, shift: usize| {
            let stripes =
                |by: usize| picture(move |x, _| if ((x + by) / step).is_multiple_of(2) { 40 } else { 200 });
            let mut complexity = Complexity::default();
            complexity.first(stripes(0));
            complexity.second(&stripes(shift));
            complexity.index().unwrap()
        };
        assert!(measure(8, 0) > measure(64, 0));
        assert!(measure(64, 8) > measure(64, 0));
    }

    #[test]
    fn two_frames_a_second_are_looked_at() {
        let mut meter = Meter::new((30_000, 1_001));
        let mut asked = Vec::new();
        for frame in 0..90 {
            meter.frame(|| {
                asked.push(frame);
                Some(picture(|x, _| x as u8))
            });
        }
        assert_eq!(asked, [0, 1, 30, 31, 60, 61]);
        assert!(meter.index().is_some());
    }

    #[test]
    fn planes_that_do_not_add_up_are_refused() {
        assert_eq!(Luma::reduce(&[0; 100], 10, 10, 11), None);
        assert_eq!(Luma::reduce(&[0; 100], 9, 10, 10), None);
        assert_eq!(Luma::reduce(&[], 0, 0, 0), None);
    }
}
