//! Puts decoded sound where its stamps say, to the sample where nothing is missing (TL-15).
//!
//! Samples are counted from the first stamp on. Stamps only check the count: past 40 ms the difference is filled with
//! silence or cut. Every seam is softened over 5 ms, so that it does not click.

use super::pcm::Pcm;

/// Stamps may differ from the count by this much, in milliseconds (TL-15).
const TOLERANCE_MS: i64 = 40;
/// A difference beyond this, in milliseconds, is another timeline: nothing is filled.
const FILL_MAX_MS: i64 = 10_000;
/// How long a seam is softened, in milliseconds (AVP-3).
const FADE_MS: i64 = 5;

/// Where a stretch of sound goes.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Place {
    /// Behind what was given before.
    Next(Pcm),
    /// At this position, in samples: nothing was given before, or it lies far away.
    Anew(i64, Pcm),
}

/// Counts samples of one rate.
#[derive(Debug, Default)]
pub(super) struct Aligner {
    rate: i64,
    /// Position of the next sample.
    next: Option<i64>,
    /// The last sample of each channel.
    last: Vec<f32>,
    /// What was given last does not flow into what follows.
    seam: bool,
    /// Too much came: it is cut until the stamps have caught up with the count.
    cutting: bool,
}

impl Aligner {
    /// Forgets the count. What follows fades in.
    pub(super) fn reset(&mut self) {
        self.next = None;
        self.last.fill(0.0);
        self.seam = true;
    }

    /// Takes silence that stands for a frame that was lost.
    pub(super) fn push_silence(&mut self, at: i64, rate: u32, silence: Pcm) -> Place {
        self.seam = true;
        let place = self.push(at, rate, silence);
        self.seam = true;
        place
    }

    /// Takes sound whose first sample lies at `at`, in samples at `rate` Hz.
    pub(super) fn push(&mut self, at: i64, rate: u32, mut pcm: Pcm) -> Place {
        self.change_rate(i64::from(rate));
        let samples = pcm.len() as i64;
        let Some(next) = self.next else { return self.begin(at, pcm) };
        let error = at - next;
        if error.abs() > self.samples_of(FILL_MAX_MS) {
            return self.begin(at, pcm);
        }
        if error > self.samples_of(TOLERANCE_MS) {
            let mut filled = Pcm::silence(pcm.planes.len(), error as usize);
            self.seam = true;
            self.join(&mut filled);
            self.seam = true;
            self.join(&mut pcm);
            filled.append(&pcm);
            self.next = Some(at + samples);
            return Place::Next(filled);
        }
        self.cutting = error < -self.samples_of(TOLERANCE_MS) || (self.cutting && error < 0);
        if self.cutting {
            pcm.take(error.unsigned_abs() as usize);
            self.seam = true;
        }
        self.join(&mut pcm);
        self.next = Some(next + pcm.len() as i64);
        Place::Next(pcm)
    }

    fn begin(&mut self, at: i64, mut pcm: Pcm) -> Place {
        self.next = Some(at + pcm.len() as i64);
        self.cutting = false;
        self.join(&mut pcm);
        Place::Anew(at, pcm)
    }

    /// Softens a seam, and remembers where this ends.
    fn join(&mut self, pcm: &mut Pcm) {
        self.last.resize(pcm.planes.len(), 0.0);
        let fade = self.samples_of(FADE_MS).max(1);
        if pcm.len() == 0 {
            return;
        }
        for (plane, last) in pcm.planes.iter_mut().zip(&mut self.last) {
            if self.seam {
                for (n, sample) in plane.iter_mut().enumerate().take(fade as usize) {
                    let share = (n + 1) as f32 / fade as f32;
                    *sample = *last + (*sample - *last) * share;
                }
            }
            *last = plane.last().copied().unwrap_or_default();
        }
        self.seam = false;
    }

    /// A decoder that goes on at another rate is counted on in that.
    fn change_rate(&mut self, rate: i64) {
        if self.rate != rate && self.rate > 0 {
            self.next = self.next.map(|next| (next * rate + self.rate / 2).div_euclid(self.rate));
        }
        self.rate = rate;
    }

    const fn samples_of(&self, millis: i64) -> i64 {
        self.rate * millis / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 8_000;

    fn ones(samples: usize) -> Pcm {
        Pcm { planes: vec![vec![1.0; samples]] }
    }

    fn begun() -> Aligner {
        let mut aligner = Aligner::default();
        assert_eq!(aligner.push(80_000, RATE, ones(160)), Place::Anew(80_000, ones(160)));
        aligner
    }

    fn next(place: Place) -> Vec<f32> {
        match place {
            Place::Next(mut pcm) => pcm.planes.remove(0),
            Place::Anew(..) => panic!("it began anew"),
        }
    }

    #[test]
    fn jitter_of_stamps_moves_nothing_and_does_not_add_up() {
        let mut aligner = begun();
        for n in 1..1_000i64 {
            let jitter = [0, 300, -300, 319][n as usize % 4];
            assert_eq!(next(aligner.push(80_000 + n * 160 + jitter, RATE, ones(160))), [1.0; 160]);
        }
    }

    #[test]
    fn a_gap_is_filled_exactly_and_its_edges_are_soft() {
        let mut aligner = begun();
        let filled = next(aligner.push(80_160 + 400, RATE, ones(160)));
        assert_eq!(filled.len(), 560);
        assert!(filled[40..400].iter().all(|sample| *sample == 0.0));
        assert!(filled[440..].iter().all(|sample| *sample == 1.0));
        let steps = filled.windows(2).map(|pair| (pair[1] - pair[0]).abs());
        assert!(steps.fold(0.0, f32::max) < 0.03, "no click");
        assert_eq!(next(aligner.push(80_720, RATE, ones(160))).len(), 160);
    }

    #[test]
    fn what_comes_too_early_is_cut() {
        let mut aligner = begun();
        // 60 ms early: three frames go, and it is level.
        for n in 0..3 {
            assert_eq!(next(aligner.push(79_680 + n * 160, RATE, ones(160))).len(), 0);
        }
        assert_eq!(next(aligner.push(80_160, RATE, ones(160))).len(), 160);
    }

    #[test]
    fn a_lost_frame_is_silence_of_its_length() {
        let mut aligner = begun();
        let silence = next(aligner.push_silence(80_160, RATE, Pcm::silence(1, 160)));
        assert_eq!(silence.len(), 160);
        assert!(silence[40..].iter().all(|sample| *sample == 0.0));
        let after = next(aligner.push(80_320, RATE, ones(160)));
        assert!(after[0] < 0.05 && after[40..].iter().all(|sample| *sample == 1.0));
    }

    #[test]
    fn another_timeline_is_not_filled() {
        let mut aligner = begun();
        assert!(matches!(aligner.push(1_000_000, RATE, ones(160)), Place::Anew(1_000_000, _)));
        aligner.reset();
        let Place::Anew(5, pcm) = aligner.push(5, RATE, ones(160)) else { panic!("it went on") };
        assert!(pcm.planes[0][0] < 0.05, "it fades in");
    }
}
