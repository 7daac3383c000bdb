//! From an encoder's packets to samples, and from its parameter sets to a codec configuration.

use aqueduct_common::CodecConfig;
use aqueduct_common::codec::av1::temporal_unit;
use aqueduct_common::codec::nal::{NalCodec, Nals, access_unit};
use aqueduct_common::codec::{Av1Config, AvcConfig, CodecError, HevcConfig};
use bytes::{Bytes, BytesMut};

use crate::protocol::VideoCodec;

/// A coded frame as samples carry it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Unit {
    /// Length-prefixed NAL units or OBUs, without parameter sets and delimiters.
    pub(super) payload: Bytes,
    /// Decoding can start here, as the bitstream itself says.
    pub(super) sync: bool,
    /// No other frame needs it.
    pub(super) disposable: bool,
    /// Parameter sets that came in band.
    pub(super) sets: Vec<Bytes>,
}

/// How an encoder separates its units. It cannot be told from the bytes: 00 00 01 may begin a length as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    /// Start codes; for AV1, OBUs with sizes.
    Stream,
    /// 4-byte lengths.
    Lengths,
}

/// Sorts a packet. Nothing is copied where it came with 4-byte lengths and begins and ends with what is kept.
pub(super) fn unit(
    codec: VideoCodec,
    framing: Framing,
    packet: Bytes,
    key: bool,
) -> Result<Unit, CodecError> {
    let kind = match codec {
        VideoCodec::H264 => NalCodec::H264,
        VideoCodec::H265 => NalCodec::H265,
        VideoCodec::Av1 => return av1_unit(&packet, key),
    };
    let packet = if framing == Framing::Stream { with_lengths(&packet) } else { packet };
    let unit = access_unit(&packet, 4, kind)?;
    // An IRAP picture may also be a CRA, which leading pictures may follow: no place to switch to (AVP-28).
    let sync = unit.sync
        && (kind == NalCodec::H264 || Nals::new(&unit.payload, 4).flatten().any(|nal| is_h265_idr(&nal)));
    Ok(Unit { payload: unit.payload, sync, disposable: unit.disposable, sets: unit.parameter_sets })
}

fn is_h265_idr(nal: &[u8]) -> bool {
    nal.first().is_some_and(|header| matches!(header >> 1 & 0x3f, 19 | 20))
}

fn av1_unit(packet: &Bytes, key: bool) -> Result<Unit, CodecError> {
    let unit = temporal_unit(packet)?;
    let sets = unit.sequence_header.into_iter().collect();
    Ok(Unit { payload: unit.payload, sync: key && unit.sync, disposable: false, sets })
}

/// The configuration of an encoder's stream, from its global header or the sets of its first frame.
pub(super) fn config(
    codec: VideoCodec,
    framing: Framing,
    header: &[u8],
    in_band: &[Bytes],
) -> Result<CodecConfig, CodecError> {
    let header = Bytes::copy_from_slice(header);
    let sets = match codec {
        _ if header.is_empty() => in_band.to_vec(),
        VideoCodec::Av1 => vec![header],
        VideoCodec::H264 | VideoCodec::H265 => split(framing, &header),
    };
    Ok(match codec {
        VideoCodec::H264 => CodecConfig::H264(AvcConfig::from_parameter_sets(&sets, &sets)?),
        VideoCodec::H265 => CodecConfig::H265(HevcConfig::from_parameter_sets(&sets, &sets, &sets)?),
        VideoCodec::Av1 => {
            let header = sets.first().cloned().unwrap_or_default();
            CodecConfig::Av1(match header.first() {
                // An av1C record begins with its marker and version, an OBU header with a zero bit.
                Some(0x81) => Av1Config::parse(&header)?,
                _ => Av1Config::from_sequence_header(&header)?,
            })
        }
    })
}

pub(crate) fn split(framing: Framing, header: &Bytes) -> Vec<Bytes> {
    let lengths = if framing == Framing::Stream { with_lengths(header) } else { header.clone() };
    Nals::new(&lengths, 4).map_while(Result::ok).collect()
}

/// Annex B to 4-byte lengths: one copy.
pub(crate) fn with_lengths(data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 16);
    let mut start = start_code(data, 0).map(|(_, end)| end);
    while let Some(begin) = start {
        let next = start_code(data, begin);
        let mut end = next.map_or(data.len(), |(at, _)| at);
        // trailing_zero_8bits, and the zero that makes a start code four bytes long, belong to no unit.
        while end > begin && data[end - 1] == 0 {
            end -= 1;
        }
        if let Ok(length @ 1..) = u32::try_from(end - begin) {
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&data[begin..end]);
        }
        start = next.map(|(_, end)| end);
    }
    out.freeze()
}

/// Where the next 00 00 01 begins and ends.
fn start_code(data: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    while let Some(third) = data.get(at + 2) {
        match third {
            // No start code ends here or in the next two bytes.
            2.. => at += 3,
            1 if data[at] == 0 && data[at + 1] == 0 => return Some((at, at + 3)),
            1 => at += 3,
            0 => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn annex_b(units: &[Vec<u8>], long: bool) -> Vec<u8> {
        let code: &[u8] = if long { &[0, 0, 0, 1] } else { &[0, 0, 1] };
        units.iter().flat_map(|unit| [code, unit].concat()).collect()
    }

    #[test]
    fn delimiters_and_parameter_sets_are_left_out_of_samples() {
        let idr = vec![0x65, 0x88, 0x84, 0x00, 0x21];
        let stream = annex_b(&[vec![9, 0xf0], vec![0x67, 1, 2, 3], vec![0x68, 4, 5], idr.clone()], true);
        let unit = unit(VideoCodec::H264, Framing::Stream, stream.into(), true).unwrap();
        assert_eq!(unit.payload, [&[0, 0, 0, 5][..], &idr].concat());
        assert!(unit.sync && !unit.disposable);
        assert_eq!(unit.sets.len(), 2);
    }

    #[test]
    fn a_length_that_looks_like_a_start_code_is_a_length() {
        let packet = [&[0, 0, 1, 0x20, 0x41][..], &[0xaa; 287]].concat();
        let unit = unit(VideoCodec::H264, Framing::Lengths, packet.clone().into(), false).unwrap();
        assert_eq!(unit.payload, packet);
    }

    #[test]
    fn a_cra_picture_is_no_sync_sample() {
        let nal = |kind: u8| Bytes::copy_from_slice(&[0, 0, 0, 4, kind << 1, 1, 0xaf, 0x80]);
        assert!(!unit(VideoCodec::H265, Framing::Lengths, nal(21), true).unwrap().sync);
        assert!(unit(VideoCodec::H265, Framing::Lengths, nal(19), true).unwrap().sync);
    }

    #[test]
    fn units_with_lengths_are_not_copied() {
        let packet = Bytes::from_static(&[0, 0, 0, 3, 0x41, 0x9a, 0x01]);
        let unit = unit(VideoCodec::H264, Framing::Lengths, packet.clone(), false).unwrap();
        assert_eq!(unit.payload.as_ptr(), packet.as_ptr());
        assert!(!unit.sync);
    }

    #[test]
    fn an_i_frame_that_is_no_idr_is_no_sync_sample() {
        let packet = Bytes::from_static(&[0, 0, 0, 3, 0x41, 0x88, 0x80]);
        assert!(!unit(VideoCodec::H264, Framing::Lengths, packet, true).unwrap().sync);
    }

    proptest! {
        /// Units survive the way through Annex B, whatever they hold that emulation prevention allows.
        #[test]
        fn lengths_say_what_start_codes_said(
            units in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            long in any::<bool>(),
        ) {
            let legal = |unit: Vec<u8>| {
                let mut out = vec![0x41];
                for byte in unit {
                    if byte <= 3 && out.ends_with(&[0, 0]) {
                        out.push(3);
                    }
                    out.push(byte);
                }
                out.push(0x80);
                out
            };
            let units: Vec<_> = units.into_iter().map(legal).collect();
            let want: Vec<u8> =
                units.iter().flat_map(|u| [&(u.len() as u32).to_be_bytes()[..], u].concat()).collect();
            prop_assert_eq!(with_lengths(&annex_b(&units, long)), want);
        }

        #[test]
        fn no_bytes_lead_to_a_panic(data in prop::collection::vec(0u8..4, 0..200)) {
            for codec in [VideoCodec::H264, VideoCodec::H265, VideoCodec::Av1] {
                for framing in [Framing::Stream, Framing::Lengths] {
                    let _ = unit(codec, framing, Bytes::from(data.clone()), true);
                    let _ = config(codec, framing, &data, &[]);
                }
            }
        }
    }
}
