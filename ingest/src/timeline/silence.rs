//! Frames of digital silence, to stand in for sound that does not come (TL-21).

use aqueduct_common::codec::CodecConfig;
use bytes::Bytes;

/// A frame of silence that lasts `samples`; `None` where none can be made for this configuration.
pub(super) fn frame(config: &CodecConfig, samples: u32) -> Option<Bytes> {
    match config {
        CodecConfig::Aac(aac) if aac.frame_samples == samples => aac.silence(),
        CodecConfig::Opus(opus) if opus.channels <= 2 => opus_frame(samples, opus.channels == 2),
        // The transcode makes silence of a frame without payload.
        CodecConfig::Foreign(_) => Some(Bytes::new()),
        _ => None,
    }
}

/// An Opus packet of CELT frames, full band, that decode to silence: the range coder's first symbol says so
/// (RFC 6716, 4.3).
fn opus_frame(samples: u32, stereo: bool) -> Option<Bytes> {
    const SILENT: [u8; 2] = [0xFF, 0xFE];
    let (config, frames): (u8, u8) = match samples {
        120 => (28, 1),
        240 => (29, 1),
        480 => (30, 1),
        960 => (31, 1),
        1_920 => (31, 2),
        2_880 => (31, 3),
        _ => return None,
    };
    let toc = config << 3 | u8::from(stereo) << 2;
    let mut packet = match frames {
        1 => vec![toc],
        2 => vec![toc | 1],
        // Code 3: a count byte, frames of equal size.
        more => vec![toc | 3, more],
    };
    for _ in 0..frames {
        packet.extend(SILENT);
    }
    Some(packet.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aqueduct_common::codec::opus::packet_samples;

    #[test]
    fn silent_opus_packets_last_as_long_as_asked() {
        for samples in [120, 240, 480, 960, 1_920, 2_880] {
            for stereo in [false, true] {
                let packet = opus_frame(samples, stereo).unwrap();
                assert_eq!(packet_samples(&packet), Some(samples));
                assert_eq!(packet[0] & 4 != 0, stereo);
            }
        }
        assert_eq!(opus_frame(1_000, true), None);
    }
}
