//! A frame of digital silence: every channel with no scale factor band in use (ISO/IEC 14496-3, 4.4.2).

use bytes::Bytes;

/// Elements of a raw data block, by their `id_syn_ele`.
#[derive(Clone, Copy)]
enum Element {
    Single = 0,
    Pair = 1,
    LowFrequency = 3,
    End = 7,
}

/// A `raw_data_block()` for `channelConfiguration` 1 to 7 (table 1.19), or `None` for others.
pub(super) fn raw_data_block(configuration: u8) -> Option<Bytes> {
    use Element::{LowFrequency, Pair, Single};
    let elements: &[Element] = match configuration {
        1 => &[Single],
        2 => &[Pair],
        3 => &[Single, Pair],
        4 => &[Single, Pair, Single],
        5 => &[Single, Pair, Pair],
        6 => &[Single, Pair, Pair, LowFrequency],
        7 => &[Single, Pair, Pair, Pair, LowFrequency],
        _ => return None,
    };
    let mut out = Writer::default();
    let mut seen = [0; 4];
    for &element in elements {
        let tag = &mut seen[element as usize];
        out.element(element, *tag);
        *tag += 1;
    }
    out.bits(Element::End as u32, 3);
    Some(out.bytes.into())
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    used: usize,
}

impl Writer {
    /// Appends the low `count` bits of `value`; the last byte stays filled with zeros.
    fn bits(&mut self, value: u32, count: usize) {
        for bit in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (7 - self.used % 8);
            }
            self.used += 1;
        }
    }

    fn element(&mut self, element: Element, tag: u32) {
        self.bits(element as u32, 3);
        self.bits(tag, 4);
        if let Element::Pair = element {
            self.bits(1, 1); // common_window
            self.window();
            self.bits(0, 2); // ms_mask_present
            self.gain();
            self.tools();
            self.gain();
            self.tools();
        } else {
            self.gain();
            self.window();
            self.tools();
        }
    }

    /// `global_gain`: scales nothing, for no band is in use.
    fn gain(&mut self) {
        self.bits(0, 8);
    }

    /// `ics_info()`: reserved bit, one long window of sine shape, `max_sfb` 0, no prediction.
    fn window(&mut self) {
        self.bits(0, 1 + 2 + 1 + 6 + 1);
    }

    /// No pulses, no temporal noise shaping, no gain control.
    fn tools(&mut self) {
        self.bits(0, 3);
    }
}
