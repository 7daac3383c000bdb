//! ADTS (ISO/IEC 13818-7, 6.2): AAC that describes itself in every frame.

use bytes::Bytes;

/// One frame's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// AudioSpecificConfig of what it says: two bytes.
    pub(super) config: [u8; 2],
    /// Bytes of the header.
    pub(super) length: usize,
    /// Bytes of header and frame.
    pub(super) frame: usize,
}

/// Reads a header at the beginning of `data`; `None` where there is none, or the frame holds several blocks, which no
/// sample may.
pub(super) fn header(data: &[u8]) -> Option<Header> {
    let [a, b, c, d, e, f, g] = *data.first_chunk::<7>()?;
    if a != 0xff || b & 0xf6 != 0xf0 {
        return None;
    }
    let object_type = (c >> 6) + 1;
    let rate = c >> 2 & 0xf;
    let channels = (c & 1) << 2 | d >> 6;
    let frame = usize::from(d & 3) << 11 | usize::from(e) << 3 | usize::from(f >> 5);
    let length = if b & 1 == 1 { 7 } else { 9 };
    if g & 3 != 0 || frame < length {
        return None;
    }
    let config = [object_type << 3 | rate >> 1, (rate & 1) << 7 | channels << 3];
    Some(Header { config, length, frame })
}

/// The frames of a packet, each with its header; what follows the last whole one is left out.
pub(super) fn frames(packet: &Bytes) -> impl Iterator<Item = (Header, Bytes)> {
    let mut rest = packet.clone();
    std::iter::from_fn(move || {
        let header = header(&rest)?;
        if header.frame > rest.len() {
            return None;
        }
        let frame = rest.split_to(header.frame).split_off(header.length);
        Some((header, frame))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use aqueduct_common::codec::AacConfig;
    use proptest::prelude::*;

    use super::*;

    /// LC, 48 kHz, stereo.
    pub(in super::super) fn adts(frame: &[u8]) -> Vec<u8> {
        let length = frame.len() + 7;
        let header = [
            0xff,
            0xf1,
            1 << 6 | 3 << 2,
            2 << 6 | (length >> 11) as u8 & 3,
            (length >> 3) as u8,
            (length as u8) << 5 | 0x1f,
            0xfc,
        ];
        [&header[..], frame].concat()
    }

    #[test]
    fn a_header_says_what_an_audio_specific_config_says() {
        let data = adts(&[0x21, 0x00, 0x49]);
        let read = header(&data).unwrap();
        assert_eq!((read.length, read.frame), (7, 10));
        let config = AacConfig::parse(&Bytes::copy_from_slice(&read.config)).unwrap();
        assert_eq!((config.output_rate, config.channels, config.object_type), (48_000, 2, 2));
        assert_eq!(read.config, [0x11, 0x90]);
    }

    #[test]
    fn every_whole_frame_of_a_packet_is_found() {
        let packet = Bytes::from([adts(&[1, 2]), adts(&[3]), adts(&[4, 5, 6])[..9].to_vec()].concat());
        let found: Vec<_> = frames(&packet).map(|(_, frame)| frame.to_vec()).collect();
        assert_eq!(found, [vec![1, 2], vec![3]]);
    }

    proptest! {
        #[test]
        fn no_bytes_lead_to_a_panic(data in prop::collection::vec(any::<u8>(), 0..64)) {
            let data = Bytes::from([&[0xff, 0xf1][..], &data].concat());
            prop_assert!(frames(&data).map(|(_, frame)| frame.len()).sum::<usize>() <= data.len());
        }
    }
}
