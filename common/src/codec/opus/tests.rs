use super::*;
use crate::codec::tests::hex;

/// `ffmpeg -f lavfi -i sine=r=48000 -ac 2 -c:a libopus` (ffmpeg 5.1, libopus 1.3).
pub(crate) const STEREO: &str = "4f707573486561640102380180bb0000000000";

#[test]
fn an_identification_header_turns_into_dops() {
    let config = OpusConfig::parse_head(&hex(STEREO)).unwrap();
    assert_eq!((config.channels, config.pre_skip), (2, 312));
    assert_eq!(config.record, hex("00 02 0138 0000bb80 0000 00"));
}

#[test]
fn nothing_means_stereo() {
    let config = OpusConfig::parse_head(&Bytes::new()).unwrap();
    assert_eq!(Ok(config), OpusConfig::parse_head(&hex(STEREO)), "RTMP-55");
}

#[test]
fn what_browsers_do_not_play_is_refused() {
    let cases = [
        ("4f707573486561640106380180bb000000000104020104020305", "channel mapping family"),
        ("4f707573486561640103380180bb0000000000", "channel count"),
        ("4f707573486561641102380180bb0000000000", "version"),
    ];
    for (head, field) in cases {
        let error = OpusConfig::parse_head(&hex(head)).unwrap_err();
        assert!(matches!(error, CodecError::Unsupported { field: found, .. } if found == field), "{error}");
    }
    assert!(OpusConfig::parse_head(&hex("4f70757348656165")).is_err(), "another magic");
}

#[test]
fn packets_last_as_their_toc_byte_says() {
    let cases: [(&[u8], Option<u32>); 11] = [
        (&[0xfc], Some(960)),                  // CELT 20 ms
        (&[0xe0], Some(120)),                  // CELT 2.5 ms
        (&[0x18], Some(2_880)),                // SILK 60 ms
        (&[0x60], Some(480)),                  // hybrid 10 ms
        (&[0x68], Some(960)),                  // hybrid 20 ms
        (&[0xfd, 1, 1], Some(1_920)),          // two alike
        (&[0xfd, 1], None),                    // two alike of half a byte
        (&[0xfe, 1, 1, 2], Some(1_920)),       // two unlike
        (&[0xff, 0x03, 1, 2, 3], Some(2_880)), // three
        (&[0xff, 0x07, 1, 2, 3], None),        // 140 ms
        (&[0xff, 0x00], None),                 // none
    ];
    for (packet, samples) in cases {
        assert_eq!(packet_samples(packet), samples, "{packet:x?}");
    }
    assert_eq!(packet_samples(&[]), None);
    assert_eq!(packet_samples(&[0xff]), None);
}
