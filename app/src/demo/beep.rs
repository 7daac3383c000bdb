//! The sound: a 1 kHz beep through the first tenth of each second of the wall clock, as s16le stereo at 48 kHz.

/// Samples per second.
pub const RATE: u32 = 48_000;
/// How long a beep lasts, in milliseconds.
const BEEP_MILLIS: u64 = 100;
/// One period of a 1 kHz sine at 48 kHz, at a quarter of full scale.
const PERIOD: [i16; 48] = period();

/// The number, since 1970, of the sample that sounds at `unix_millis`.
pub const fn sample_at(unix_millis: u64) -> u64 {
    unix_millis.wrapping_mul(RATE as u64 / 1_000)
}

/// Appends `samples` stereo samples to `out`, from the one with number `first` ([`sample_at`]).
pub fn render(out: &mut Vec<u8>, first: u64, samples: u32) {
    for offset in 0..u64::from(samples) {
        let position = first.wrapping_add(offset) % u64::from(RATE);
        let sounding = position < BEEP_MILLIS * u64::from(RATE) / 1_000;
        let value = if sounding { PERIOD[(position % 48) as usize] } else { 0 };
        out.extend_from_slice(&value.to_le_bytes());
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A sine by Bhaskara's approximation (within 0.2 %), so that the table is made when the program is built.
const fn period() -> [i16; 48] {
    let mut table = [0i16; 48];
    let mut index = 0;
    while index < 48 {
        // Degrees within the half wave, times two to stay whole: 7.5 degrees a step.
        let half = (index % 24) as i64;
        let degrees = half * 15;
        let product = degrees * (360 - degrees);
        let value = 8_192 * 4 * product / (4 * 40_500 - product);
        table[index] = if index < 24 { value as i16 } else { -value as i16 };
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(unix_millis: u64, count: u32) -> Vec<i16> {
        let mut out = Vec::new();
        render(&mut out, sample_at(unix_millis), count);
        out.chunks_exact(4).map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]])).collect()
    }

    #[test]
    fn a_second_holds_one_beep_of_a_tenth() {
        let second = samples(5_000, RATE);
        let last = second.iter().rposition(|value| *value != 0).unwrap();
        assert!((4_790..4_800).contains(&last), "{last}");
        assert!(second.iter().take(4_800).any(|value| *value > 8_000));
    }

    #[test]
    fn the_wave_has_a_kilohertz_and_no_offset() {
        let beep = samples(0, 4_800);
        let rising = beep.windows(2).filter(|pair| pair[0] <= 0 && pair[1] > 0).count();
        assert_eq!(rising, 100);
        assert_eq!(beep.iter().map(|value| i64::from(*value)).sum::<i64>(), 0);
    }
}
