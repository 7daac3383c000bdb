//! How many different viewers a stream has, without remembering any of them (QOE-23).

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// Registers of a stream's sketch, as a power of two: 1.6 % standard error, 12 KiB.
const FINE: u32 = 12;
/// Of a playlist's: 3.3 % standard error, 3 KiB.
const COARSE: u32 = 10;
/// Spans that are counted together: the running one and the two before it.
const SPANS: usize = 3;
/// Seconds of a span.
const SPAN: u64 = 10;

/// Counts distinct viewers of the last 20 to 30 s with HyperLogLog, in bounded memory and without a lock.
///
/// A viewer is a 64-bit hash with a key of this process; nothing can be read back from the registers.
#[derive(Debug)]
pub struct Viewers {
    spans: [Box<[AtomicU8]>; SPANS],
    /// Bits of a hash that choose its register.
    bits: u32,
    running: AtomicUsize,
    /// Number of the running span since the start.
    number: AtomicU32,
}

impl Default for Viewers {
    fn default() -> Self {
        Self::of(FINE)
    }
}

impl Viewers {
    /// Counts in a quarter of the memory, half as exactly: for what there are many of.
    pub fn coarse() -> Self {
        Self::of(COARSE)
    }

    fn of(bits: u32) -> Self {
        let span = || (0..1 << bits).map(|_| AtomicU8::new(0)).collect();
        let spans = [span(), span(), span()];
        Self { spans, bits, running: AtomicUsize::new(0), number: AtomicU32::new(0) }
    }

    /// A viewer asked for media.
    pub fn saw(&self, viewer: u64) {
        let register = (viewer >> (64 - self.bits)) as usize;
        // Rank of the first 1 in the remaining bits; the lowest bit is set so that there is one.
        let rank = ((viewer << self.bits) | 1 << (self.bits - 1)).leading_zeros() as u8 + 1;
        let Some(slot) = self.spans[self.running.load(Ordering::Relaxed) % SPANS].get(register) else {
            return;
        };
        if slot.load(Ordering::Relaxed) < rank {
            slot.fetch_max(rank, Ordering::Relaxed);
        }
    }

    /// Moves on to the span of `seconds` (since any fixed moment), forgetting what is older. Called by one sweep.
    pub fn turn(&self, seconds: u64) {
        let number = (seconds / SPAN) as u32;
        let behind = number.wrapping_sub(self.number.swap(number, Ordering::Relaxed));
        for _ in 0..behind.min(SPANS as u32) {
            let next = (self.running.load(Ordering::Relaxed) + 1) % SPANS;
            self.spans[next].iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
            self.running.store(next, Ordering::Relaxed);
        }
    }

    /// The estimate.
    pub fn count(&self) -> u32 {
        let mut empty = 0u32;
        let mut sum = 0.0;
        let registers = 1 << self.bits;
        for register in 0..registers {
            let rank =
                self.spans.iter().map(|span| span[register].load(Ordering::Relaxed)).max().unwrap_or(0);
            empty += u32::from(rank == 0);
            sum += (-f64::from(rank)).exp2();
        }
        let m = registers as f64;
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let estimate = if raw <= 2.5 * m && empty > 0 { m * (m / f64::from(empty)).ln() } else { raw };
        estimate.round() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for the keyed hash: SplitMix64.
    fn hash(n: u64) -> u64 {
        let n = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        n ^ (n >> 31)
    }

    #[test]
    fn few_are_exact_and_many_are_near() {
        let fine = [(0, 0), (1, 0), (2, 0), (10, 0), (1_000, 20), (20_000, 1_000), (300_000, 15_000)];
        let coarse = [(0, 0), (1, 0), (2, 0), (10, 1), (1_000, 60), (20_000, 2_000)];
        let fine = fine.map(|case| (Viewers::default(), case));
        for (sketch, (viewers, slack)) in fine.into_iter().chain(coarse.map(|case| (Viewers::coarse(), case)))
        {
            for _ in 0..2 {
                (0..viewers).for_each(|n| sketch.saw(hash(n)));
            }
            let count = u64::from(sketch.count());
            assert!(count.abs_diff(viewers) <= slack, "{viewers} counted as {count}");
        }
    }

    #[test]
    fn who_left_is_forgotten_within_thirty_seconds() {
        let sketch = Viewers::default();
        sketch.turn(1_003);
        sketch.saw(hash(1));
        sketch.turn(1_012);
        sketch.saw(hash(2));
        assert_eq!(sketch.count(), 2);
        sketch.turn(1_029);
        assert_eq!(sketch.count(), 2);
        sketch.turn(1_030);
        assert_eq!(sketch.count(), 1);
        sketch.turn(9_999);
        assert_eq!(sketch.count(), 0);
    }
}
