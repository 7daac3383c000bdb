//! Pictures for probes: known ones, so that what comes back can be compared.

use std::ptr;

use super::Picture;

/// A ramp of grey that moves sixteen pixels to the left with each `step`.
pub(crate) fn ramp(width: u32, height: u32, step: u32) -> Picture {
    let mut picture = Picture::black(width, height);
    // SAFETY: the picture is new and ours alone, with `height` rows of luma, each at least `width` bytes long and
    // `linesize` bytes from the one before.
    unsafe {
        let frame = picture.as_mut_ptr();
        for y in 0..height as usize {
            let row = (*frame).data[0].offset((*frame).linesize[0] as isize * y as isize);
            let row = &mut *ptr::slice_from_raw_parts_mut(row, width as usize);
            for (x, luma) in row.iter_mut().enumerate() {
                *luma = shade(x as u32, step);
            }
        }
    }
    picture
}

/// How far a picture is from that ramp: the mean difference of its luma; `None` where it cannot be read.
pub(crate) fn distance_from_ramp(picture: &Picture, step: u32) -> Option<u32> {
    let (luma, stride) = picture.luma()?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let rows = luma.chunks(stride).take(height);
    let difference = |(x, luma): (usize, &u8)| u64::from(luma.abs_diff(shade(x as u32, step)));
    let sum: u64 = rows.map(|row| row.iter().take(width).enumerate().map(difference).sum::<u64>()).sum();
    u32::try_from(sum / (width * height).max(1) as u64).ok()
}

/// Up and down again, so that there is no hard edge for an encoder to blur.
const fn shade(x: u32, step: u32) -> u8 {
    let at = (x + 16 * step) % 400;
    16 + (if at < 200 { at } else { 399 - at }) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_is_near_itself_and_far_from_others() {
        assert_eq!(distance_from_ramp(&ramp(640, 360, 3), 3), Some(0));
        assert!(distance_from_ramp(&ramp(640, 360, 3), 7) > Some(20));
        assert!(distance_from_ramp(&Picture::black(640, 360), 0) > Some(50));
    }
}
