//! Whether anything is coded in a frame at all (ISO/IEC 14496-3, 4.4.2): read from its side information, without decoding.

use super::super::CodecError;
use super::super::bits::Bits;

const RECORD: &str = "raw_data_block";
/// `window_sequence` of eight short windows.
const EIGHT_SHORT: u32 = 2;

/// Elements of a raw data block, by their `id_syn_ele`.
mod element {
    pub(super) const SINGLE: u32 = 0;
    pub(super) const PAIR: u32 = 1;
    pub(super) const LOW_FREQUENCY: u32 = 3;
    pub(super) const DATA: u32 = 4;
    pub(super) const FILL: u32 = 6;
    pub(super) const END: u32 = 7;
}

/// The part of `ics_info()` that sections depend on.
#[derive(Clone, Copy)]
struct Window {
    short: bool,
    groups: u32,
    bands: u32,
}

/// No band of any channel has a coefficient, a noise level or a direction: the frame decodes to digital silence. What
/// cannot be read is taken for sound.
pub(super) fn is_silent(frame: &[u8]) -> bool {
    read(&mut Bits::new(RECORD, frame)).unwrap_or(false)
}

fn read(bits: &mut Bits<'_>) -> Result<bool, CodecError> {
    let mut channels = false;
    loop {
        let silent = match bits.bits(3)? {
            element::SINGLE | element::LOW_FREQUENCY => {
                bits.skip(4)?;
                channel(bits, None)?
            }
            element::PAIR => {
                bits.skip(4)?;
                pair(bits)?
            }
            element::DATA => {
                data(bits)?;
                continue;
            }
            element::FILL => {
                fill(bits)?;
                continue;
            }
            element::END => return Ok(channels),
            // A coupled channel or a program's layout: no encoder that publishes sends them.
            _ => false,
        };
        if !silent {
            return Ok(false);
        }
        channels = true;
    }
}

fn pair(bits: &mut Bits<'_>) -> Result<bool, CodecError> {
    if !bits.flag()? {
        return Ok(channel(bits, None)? && channel(bits, None)?);
    }
    let window = window(bits)?;
    if bits.bits(2)? == 1 {
        bits.skip((window.groups * window.bands) as usize)?; // ms_used
    }
    Ok(channel(bits, Some(window))? && channel(bits, Some(window))?)
}

/// `individual_channel_stream()`: silent if all sections have the codebook of zeros, which nothing follows.
fn channel(bits: &mut Bits<'_>, shared: Option<Window>) -> Result<bool, CodecError> {
    bits.skip(8)?; // global_gain
    let window = match shared {
        Some(window) => window,
        None => self::window(bits)?,
    };
    let width = if window.short { 3 } else { 5 };
    let escape = (1 << width) - 1;
    for _ in 0..window.groups {
        let mut band = 0;
        while band < window.bands {
            if bits.bits(4)? != 0 {
                return Ok(false);
            }
            loop {
                let more = bits.bits(width)?;
                band += more;
                if more != escape {
                    break;
                }
            }
        }
    }
    // Pulses, noise shaping and gain control change nothing of zeros, and would have to be read.
    Ok(bits.bits(3)? == 0)
}

/// `ics_info()`.
fn window(bits: &mut Bits<'_>) -> Result<Window, CodecError> {
    bits.skip(1)?;
    let short = bits.bits(2)? == EIGHT_SHORT;
    bits.skip(1)?; // window_shape
    if short {
        let bands = bits.bits(4)?;
        let grouping = bits.bits(7)?;
        return Ok(Window { short, groups: 8 - grouping.count_ones(), bands });
    }
    let bands = bits.bits(6)?;
    bits.skip(1)?; // predictor_data_present: never with Low Complexity
    Ok(Window { short, groups: 1, bands })
}

/// `data_stream_element()`.
fn data(bits: &mut Bits<'_>) -> Result<(), CodecError> {
    bits.skip(4)?;
    let aligned = bits.flag()?;
    let mut count = bits.bits(8)?;
    if count == 255 {
        count += bits.bits(8)?;
    }
    if aligned {
        bits.align();
    }
    bits.skip(count as usize * 8)
}

/// `fill_element()`: padding, with which constant bitrate hides silence from who counts bytes, and replicated bands.
fn fill(bits: &mut Bits<'_>) -> Result<(), CodecError> {
    let mut count = bits.bits(4)?;
    if count == 15 {
        count += bits.bits(8)?.saturating_sub(1);
    }
    bits.skip(count as usize * 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::silence::raw_data_block;
    use super::*;

    #[test]
    fn silence_of_every_layout_and_encoder_is_known() {
        for configuration in 1..=7 {
            assert!(is_silent(&raw_data_block(configuration).unwrap()), "{configuration}");
        }
        // ffmpeg's encoder, and one that codes a band of zeros.
        assert!(is_silent(&[0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c]));
        assert!(is_silent(&[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80]));
    }

    #[test]
    fn padding_hides_no_silence() {
        // The pair without its end, then a fill element of 14 bytes, then the end.
        let mut bits: Vec<bool> = Vec::new();
        for byte in [0x21u8, 0x10, 0x04, 0x60, 0x8c] {
            bits.extend((0..8).rev().map(|at| byte >> at & 1 == 1));
        }
        bits.extend([false, false, false]);
        bits.extend([true, true, false, true, true, true, false]);
        bits.extend([true; 14 * 8]);
        bits.extend([true, true, true]);
        let bytes: Vec<u8> = bits
            .chunks(8)
            .map(|chunk| {
                chunk.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at))
            })
            .collect();
        assert!(is_silent(&bytes), "{bytes:x?}");
    }

    #[test]
    fn a_coded_band_is_sound() {
        // As above, with codebook 1 in the first section.
        assert!(!is_silent(&[0x21, 0x00, 0x49, 0x90, 0x42, 0x19, 0x00, 0x23, 0x80]));
        assert!(!is_silent(&[]));
        // A pair that is cut short, and no channel at all.
        assert!(!is_silent(&[0x21, 0x10, 0x04]));
        assert!(!is_silent(&[0xe0]));
    }

    proptest! {
        #[test]
        fn no_bytes_reach_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            is_silent(&bytes);
        }
    }
}
