//! AAC in LATM, as GStreamer pushes it (RFC 3016; ISO/IEC 14496-3, 1.7.3).

use bytes::{Buf, Bytes, BytesMut};

use super::depacket::BadPayload;

/// Longest element: more than six channels of the highest bitrate take.
const ELEMENT_MAX: usize = 64 << 10;
/// Samples of a frame by the track's clock.
const FRAME: i64 = 1_024;

/// Puts elements together and takes them apart.
#[derive(Debug)]
pub(super) struct Latm {
    /// AudioSpecificConfig.
    record: Bytes,
    /// Frames of an element.
    frames: usize,
    /// Fragments of an element.
    held: BytesMut,
}

impl Latm {
    /// From the parameters of the format. `None` where the configuration comes in band, or is none of one program and
    /// one layer.
    pub(super) fn new(parameters: &str) -> Option<Self> {
        let of = |name: &str| {
            parameters
                .split(';')
                .filter_map(|pair| pair.trim().split_once('='))
                .find_map(|(key, value)| key.trim().eq_ignore_ascii_case(name).then(|| value.trim()))
        };
        if of("cpresent").is_some_and(|value| value != "0") {
            return None;
        }
        let (record, frames) = mux_config(&bytes_of(of("config")?)?)?;
        Some(Self { record, frames, held: BytesMut::new() })
    }

    /// AudioSpecificConfig.
    pub(super) const fn record(&self) -> &Bytes {
        &self.record
    }

    /// Takes a payload; `marker` ends an element. Gives each frame with how much later than the packet it begins, by the
    /// track's clock.
    pub(super) fn push(
        &mut self,
        payload: &[u8],
        marker: bool,
        lost: bool,
        mut give: impl FnMut(i64, Bytes),
    ) -> Result<(), BadPayload> {
        if lost {
            self.held.clear();
        }
        if self.held.len() + payload.len() > ELEMENT_MAX {
            self.held.clear();
            return Err(BadPayload);
        }
        self.held.extend_from_slice(payload);
        if !marker {
            return Ok(());
        }
        let mut element = self.held.split().freeze();
        let mut index = 0;
        while !element.is_empty() {
            for _ in 0..self.frames {
                let length = payload_length(&mut element).ok_or(BadPayload)?;
                if length > element.len() {
                    return Err(BadPayload);
                }
                let frame = element.split_to(length);
                if !frame.is_empty() {
                    give(index * FRAME, frame);
                }
                index += 1;
            }
        }
        Ok(())
    }
}

/// PayloadLengthInfo: bytes of 255 and one that is less.
fn payload_length(element: &mut Bytes) -> Option<usize> {
    let mut length = 0;
    loop {
        let byte = element.first().copied()?;
        element.advance(1);
        length += usize::from(byte);
        if byte != 255 {
            return Some(length);
        }
    }
}

/// StreamMuxConfig: AudioSpecificConfig and frames of an element.
fn mux_config(bytes: &[u8]) -> Option<(Bytes, usize)> {
    let mut bits = Bits { bytes, at: 0 };
    // audioMuxVersion 0, allStreamsSameTimeFraming.
    if (bits.take(1)?, bits.take(1)?) != (0, 1) {
        return None;
    }
    let frames = bits.take(6)? as usize + 1;
    // One program, one layer.
    if (bits.take(4)?, bits.take(3)?) != (0, 0) {
        return None;
    }
    // The length of what follows is not told: it is found by reading it.
    let begin = bits.at;
    let mut kind = bits.take(5)?;
    bits.skip_rate()?;
    bits.take(4)?;
    if matches!(kind, 5 | 29) {
        bits.skip_rate()?;
        kind = bits.take(5)?;
    }
    if kind != 2 {
        return None;
    }
    bits.take(3)?;
    let mut out = vec![0u8; (bits.at - begin).div_ceil(8)];
    let mut copied = Bits { bytes, at: begin };
    for at in 0..bits.at - begin {
        out[at / 8] |= (copied.take(1)? as u8) << (7 - at % 8);
    }
    Some((out.into(), frames))
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// A sampling rate by its index, or as a number.
    fn skip_rate(&mut self) -> Option<()> {
        if self.take(4)? == 15 {
            self.take(24)?;
        }
        Some(())
    }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    if !hex.is_ascii() || hex.len() > 512 {
        return None;
    }
    let pair = |at: usize| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok();
    (0..hex.len() / 2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 48 kHz, two channels, one frame an element, as GStreamer writes it.
    const CONFIG: &str = "cpresent=0;config=40002320adca00";

    fn frames(latm: &mut Latm, payload: &[u8], marker: bool) -> Vec<(i64, Bytes)> {
        let mut out = Vec::new();
        latm.push(payload, marker, false, |later, frame| out.push((later, frame))).unwrap();
        out
    }

    #[test]
    fn the_configuration_is_found_in_the_multiplexer_s() {
        assert_eq!(Latm::new(CONFIG).unwrap().record()[..], [0x11, 0x90]);
        assert_eq!(Latm::new("config=400023203fc0; cpresent=0").unwrap().record()[..], [0x11, 0x90]);
        for none in
            ["", "config=4000", "config=zz", "cpresent=1;config=40002320adca00", "config=80002320adca00"]
        {
            assert!(Latm::new(none).is_none(), "{none}");
        }
    }

    #[test]
    fn elements_are_put_together_and_taken_apart() {
        let mut latm = Latm::new(CONFIG).unwrap();
        assert_eq!(frames(&mut latm, b"\x02ab", true), [(0, Bytes::from_static(b"ab"))]);
        assert_eq!(frames(&mut latm, b"\x03a", false), []);
        assert_eq!(frames(&mut latm, b"bc", true), [(0, Bytes::from_static(b"abc"))]);
        let two = frames(&mut latm, b"\x01a\x01b", true);
        assert_eq!(two, [(0, Bytes::from_static(b"a")), (1_024, Bytes::from_static(b"b"))]);
        let long = [&[255, 45][..], &[7; 300]].concat();
        assert_eq!(frames(&mut latm, &long, true)[0].1.len(), 300);
        assert_eq!(latm.push(b"\x09a", true, false, |_, _| ()), Err(BadPayload));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(config in "[0-9a-f]{0,24}", payload in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some(mut latm) = Latm::new(&format!("config={config}")) {
                let _ = latm.push(&payload, true, false, |_, _| ());
            }
        }
    }
}
