use super::*;
use crate::codec::tests::hex;

/// First bytes of ffmpeg 5.1's encoders: `libmp3lame -ar 44100`, `ac3 -ac 6`, `ac3 -ar 44100`, `eac3 -ac 6`.
const MP3: &str = "fffb5000 00000000";
const AC3: &str = "0b77b50b1e40ebf8403e";
const AC3_44: &str = "0b77c2ea544043e106f5";
const EAC3: &str = "0b77037f3f87c00020f8";
/// `flac` at 48 kHz: the whole header, then the beginnings of a full frame and of the last one.
const FLAC: &str =
    "664c6143 00000022 1200 1200 0000fc 000511 0bb802f000003840e5f051c128e84992c0cba99724092b51";
const FLAC_FRAME: &str = "fff85a8800374e00";

fn of(codec: ForeignCodec, packet: &str) -> (u32, u16, Option<u32>) {
    let packet = hex(packet);
    let config = ForeignConfig::of_packet(codec, &packet).unwrap();
    (config.rate, config.channels, config.samples(&packet))
}

#[test]
fn packets_say_what_they_are() {
    assert_eq!(of(ForeignCodec::Mp3, MP3), (44_100, 2, Some(1_152)));
    // MPEG-2 at 24 kHz, mono: version 2, 64 kbit/s.
    assert_eq!(of(ForeignCodec::Mp3, "fff384c4"), (24_000, 1, Some(576)));
    // Layer II at 48 kHz and 384 kbit/s, and of MPEG-2 at 24 kHz: as many samples in both.
    assert_eq!(of(ForeignCodec::Mp2, "fffde400"), (48_000, 2, Some(1_152)));
    assert_eq!(of(ForeignCodec::Mp2, "fff584c0"), (24_000, 1, Some(1_152)));
    assert!(ForeignConfig::of_packet(ForeignCodec::Mp3, &hex("fffde400")).is_err());
    assert_eq!(of(ForeignCodec::Ac3, AC3), (48_000, 6, Some(1_536)));
    assert_eq!(of(ForeignCodec::Ac3, AC3_44), (44_100, 2, Some(1_536)));
    assert_eq!(of(ForeignCodec::Eac3, EAC3), (48_000, 6, Some(1_536)));
}

#[test]
fn a_packet_may_hold_several_frames() {
    // 64 kbit/s at 44.1 kHz without padding: 208 bytes (2.4.3.1).
    let frame = [&hex(MP3)[..], &[0; 200]].concat();
    let config = ForeignConfig::of_packet(ForeignCodec::Mp3, &frame).unwrap();
    assert_eq!(config.samples(&[&frame[..], &frame].concat()), Some(2_304));
    assert_eq!(config.samples(&[&frame[..], &frame[..2]].concat()), Some(1_152), "a torn one does not count");
    for (text, bytes) in [(AC3, 1_792), (AC3_44, 834), (EAC3, 1_792)] {
        let mut frame = hex(text).to_vec();
        frame.resize(bytes, 0);
        let config = ForeignConfig::of_packet(ForeignCodec::Ac3, &frame).unwrap();
        assert_eq!(config.samples(&[&frame[..], &frame].concat()), Some(3_072), "{text}");
    }
}

#[test]
fn flac_says_it_once() {
    for header in [&hex(FLAC), &hex(FLAC).slice(4..), &hex(FLAC).slice(8..)] {
        let config = ForeignConfig::flac(header).unwrap();
        assert_eq!((config.rate, config.channels, config.record.len()), (48_000, 2, 34));
        assert_eq!(config.samples(&hex(FLAC_FRAME)), Some(4_608));
        // Sizes behind the number, which is coded in three bytes here: 8 and 16 bits.
        assert_eq!(config.samples(&hex("fff86a88 e08080 ff")), Some(256));
        assert_eq!(config.samples(&hex("fff87a88 e08080 0fff")), Some(4_096));
        assert_eq!(config.samples(&hex("fff87a88 e08080 0f")), None);
    }
    assert!(ForeignConfig::flac(&hex("664c6143")).is_err());
}

#[test]
fn vorbis_is_read_by_its_first_header() {
    // `libvorbis`, 48 kHz stereo: the lacing says 30 bytes, then 93.
    let record = hex("021e5d 01766f72626973 00000000 02 80bb0000");
    let config = ForeignConfig::vorbis(&record).unwrap();
    assert_eq!((config.rate, config.channels), (48_000, 2));
    assert!(ForeignConfig::vorbis(&record.slice(1..)).is_err());
}

#[test]
fn g711_is_a_byte_a_sample() {
    let config = ForeignConfig::g711(ForeignCodec::ALaw, 2).unwrap();
    assert_eq!((config.rate, config.samples(&[0xd5; 320])), (8_000, Some(160)));
    assert_eq!(config.samples(&[]), None);
    assert!(ForeignConfig::g711(ForeignCodec::MuLaw, 0).is_err());
}

#[test]
fn what_is_none_is_refused() {
    for (codec, packet) in [
        (ForeignCodec::Mp3, "fffd5000"),       // layer II
        (ForeignCodec::Mp3, "fffbf000"),       // bitrate 15
        (ForeignCodec::Mp3, "fffb5c00"),       // rate 3
        (ForeignCodec::Ac3, "0b770000c04000"), // rate 3
        (ForeignCodec::Ac3, "0b78b50b1e40eb"),
        (ForeignCodec::Flac, FLAC_FRAME),
    ] {
        assert!(ForeignConfig::of_packet(codec, &hex(packet)).is_err(), "{codec:?} {packet}");
    }
}

proptest::proptest! {
    #[test]
    fn no_packet_panics(data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
        let bytes = Bytes::from(data);
        let _ = ForeignConfig::flac(&bytes);
        let _ = ForeignConfig::vorbis(&bytes);
        for codec in ForeignCodec::ALL {
            let _ = ForeignConfig::of_packet(codec, &bytes);
            let config = ForeignConfig::new(codec, 48_000, 2, Bytes::new()).unwrap();
            let _ = config.samples(&bytes);
        }
    }
}
