//! The picture: pure drawing into one yuv420p frame, of which each call redraws only what changed.
//!
//! Two rows of 32 cells cross the top of the picture. Each cell is 1/32 of the width and 1/24 of the height. The
//! first row holds the unix milliseconds modulo 2^32 of the moment the frame was made, bit 31 first, white for 1.
//! The second row holds the inverted bits, so that a reader knows a torn or blurred frame when it sees one. Below
//! them stand the same time in digits, a sweeping bar whose motion shows every dropped frame, and a square that
//! lights up while the beep sounds.

/// Luma of black in limited range.
const BLACK: u8 = 16;
/// Luma of white in limited range.
const WHITE: u8 = 235;
/// Luma of the background.
const GROUND: u8 = 48;
/// Cells in a row.
const CELLS: usize = 32;
/// Rows of cells that would fill the height.
const ROWS: usize = 24;
/// Characters of the clock in digits: `HH:MM:SS.mmm`.
const DIGITS: usize = 12;

/// A frame that shows the time.
pub struct Picture {
    width: usize,
    height: usize,
    planes: Vec<u8>,
    bits: Option<u32>,
    text: [u8; DIGITS],
    bar: Option<usize>,
    lit: Option<bool>,
}

/// A rectangle of pixels.
#[derive(Clone, Copy)]
struct Area {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl Picture {
    /// A picture of about this size: the width is rounded down to a multiple of 32, the height to one of 24.
    pub fn new(width: u32, height: u32) -> Self {
        let width = (width as usize / CELLS).max(2) * CELLS;
        let height = (height as usize / ROWS).max(2) * ROWS;
        let luma = width * height;
        let mut planes = vec![GROUND; luma];
        // A calm blue: Cb above the middle, Cr a little below.
        planes.resize(luma + luma / 4, 150);
        planes.resize(luma + luma / 2, 120);
        Self { width, height, planes, bits: None, text: [0; DIGITS], bar: None, lit: None }
    }

    /// Width in pixels.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// The frame: Y, then Cb, then Cr.
    pub fn bytes(&self) -> &[u8] {
        &self.planes
    }

    /// Draws the frame of this moment, in milliseconds since 1970 (UTC).
    pub fn draw(&mut self, unix_millis: u64) {
        self.draw_cells(unix_millis as u32);
        self.draw_digits(unix_millis);
        self.draw_bar(unix_millis);
        self.draw_light(unix_millis % 1_000 < 100);
    }

    fn draw_cells(&mut self, bits: u32) {
        let changed = self.bits.map_or(u32::MAX, |before| before ^ bits);
        let (width, height) = (self.width / CELLS, self.height / ROWS);
        for cell in 0..CELLS {
            let mask = 1 << (CELLS - 1 - cell);
            if changed & mask == 0 {
                continue;
            }
            let (upper, lower) = if bits & mask == 0 { (BLACK, WHITE) } else { (WHITE, BLACK) };
            self.fill(Area { x: cell * width, y: 0, width, height }, upper);
            self.fill(Area { x: cell * width, y: height, width, height }, lower);
        }
        self.bits = Some(bits);
    }

    fn draw_digits(&mut self, unix_millis: u64) {
        let text = clock_text(unix_millis);
        let scale = (self.width / (DIGITS * 6 + 4)).max(1);
        let left = (self.width - DIGITS * 6 * scale) / 2;
        let top = (self.height - 7 * scale) / 2;
        for (index, (&new, old)) in text.iter().zip(self.text).enumerate() {
            if new != old {
                self.draw_glyph(new, left + index * 6 * scale, top, scale);
            }
        }
        self.text = text;
    }

    fn draw_glyph(&mut self, character: u8, left: usize, top: usize, scale: usize) {
        for (row, line) in glyph(character).into_iter().enumerate() {
            for column in 0..5 {
                let luma = if line & (0x10 >> column) == 0 { GROUND } else { WHITE };
                let area =
                    Area { x: left + column * scale, y: top + row * scale, width: scale, height: scale };
                self.fill(area, luma);
            }
        }
    }

    /// A bar that crosses the picture once a second.
    fn draw_bar(&mut self, unix_millis: u64) {
        let (width, height) = (self.width / CELLS, self.height / ROWS);
        let (y, span) = (self.height - 2 * height, self.width - width);
        let x = (unix_millis % 1_000) as usize * span / 1_000;
        if let Some(before) = self.bar.replace(x) {
            self.fill(Area { x: before, y, width, height }, GROUND);
        }
        self.fill(Area { x, y, width, height }, WHITE);
    }

    fn draw_light(&mut self, lit: bool) {
        if self.lit.replace(lit) == Some(lit) {
            return;
        }
        let side = self.height / ROWS * 3;
        let area = Area { x: (self.width - side) / 2, y: self.height / ROWS * 4, width: side, height: side };
        self.fill(area, if lit { WHITE } else { BLACK });
    }

    fn fill(&mut self, area: Area, luma: u8) {
        let rows = self.planes.chunks_exact_mut(self.width).take(self.height).skip(area.y).take(area.height);
        for row in rows {
            row[area.x..area.x + area.width].fill(luma);
        }
    }
}

/// `HH:MM:SS.mmm` in UTC.
fn clock_text(unix_millis: u64) -> [u8; DIGITS] {
    let of_day = unix_millis % 86_400_000;
    let (hours, minutes) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (seconds, millis) = (of_day / 1_000 % 60, of_day % 1_000);
    let digit = |value: u64| b'0' + (value % 10) as u8;
    [
        digit(hours / 10),
        digit(hours),
        b':',
        digit(minutes / 10),
        digit(minutes),
        b':',
        digit(seconds / 10),
        digit(seconds),
        b'.',
        digit(millis / 100),
        digit(millis / 10),
        digit(millis),
    ]
}

/// Seven lines of five dots, the leftmost in bit 4.
const fn glyph(character: u8) -> [u8; 7] {
    match character {
        b'0' => [0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e],
        b'1' => [0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e],
        b'2' => [0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f],
        b'3' => [0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e],
        b'4' => [0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02],
        b'5' => [0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e],
        b'6' => [0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e],
        b'7' => [0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08],
        b'8' => [0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e],
        b'9' => [0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c],
        b':' => [0x00, 0x04, 0x04, 0x00, 0x04, 0x04, 0x00],
        b'.' => [0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c],
        _ => [0; 7],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader does: the luma in the middle of each cell of a row.
    fn read_row(picture: &Picture, row: usize) -> u32 {
        let (width, height) = (picture.width() / CELLS, picture.height() / ROWS);
        (0..CELLS).fold(0, |bits, cell| {
            let x = cell * width + width / 2;
            let y = row * height + height / 2;
            bits << 1 | u32::from(picture.bytes()[y * picture.width() + x] > 128)
        })
    }

    #[test]
    fn the_cells_read_back_as_the_milliseconds_and_their_inverse() {
        let mut picture = Picture::new(640, 360);
        for millis in [0, 1_763_634_000_250, 1_763_634_000_283, u64::from(u32::MAX), 1 << 32] {
            picture.draw(millis);
            assert_eq!(read_row(&picture, 0), millis as u32);
            assert_eq!(read_row(&picture, 1), !(millis as u32));
        }
    }

    #[test]
    fn redrawing_only_what_changed_gives_the_same_frame_as_drawing_anew() {
        let mut kept = Picture::new(320, 180);
        for step in 0..40 {
            let millis = 1_763_634_000_000 + step * 33;
            kept.draw(millis);
            let mut fresh = Picture::new(320, 180);
            fresh.draw(millis);
            assert_eq!(kept.bytes(), fresh.bytes(), "{step}");
        }
    }

    #[test]
    fn odd_sizes_are_rounded_so_that_cells_are_whole() {
        let picture = Picture::new(645, 367);
        assert_eq!((picture.width(), picture.height()), (640, 360));
        assert_eq!(picture.bytes().len(), 640 * 360 * 3 / 2);
        assert_eq!(Picture::new(0, 0).bytes().len(), 64 * 48 * 3 / 2);
    }

    #[test]
    fn the_clock_reads_as_text() {
        assert_eq!(&clock_text(1_763_634_000_250), b"10:20:00.250");
    }
}
