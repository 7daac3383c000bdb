use super::*;
use crate::codec::tests::hex;

/// `-filter:a pan=quad|… -c:a aac` of ffmpeg 5.1: four channels by a program config element with a comment.
pub(crate) const QUAD_BY_PROGRAM_CONFIG: &str = "118004c4040021100d4c61766335392e33372e31303056e500";

#[test]
fn records_of_ffmpegs_encoder_read_as_ffprobe_reads_them() {
    // `ffmpeg -f lavfi -i sine=r=RATE -ac CHANNELS -c:a aac` (ffmpeg 5.1), each with an empty sync extension.
    let cases = [
        ("120856e500", 44_100, 1),
        ("121056e500", 44_100, 2),
        ("119056e500", 48_000, 2),
        ("129056e500", 32_000, 2),
        ("11a056e500", 48_000, 4),
        ("11a856e500", 48_000, 5),
        ("11b056e500", 48_000, 6),
        ("103856e500", 96_000, 8),
        ("160856e500", 7_350, 1),
        ("118004c4010020000d4c61766335392e33372e31303056e500", 48_000, 3),
        (QUAD_BY_PROGRAM_CONFIG, 48_000, 4),
    ];
    for (record, output_rate, channels) in cases {
        let record = hex(record);
        let config =
            AacConfig { record: record.clone(), object_type: 2, output_rate, channels, frame_samples: 1_024 };
        assert_eq!(AacConfig::parse(&record), Ok(config.clone()));
        assert_eq!(config.rfc6381(), "mp4a.40.2");
    }
}

#[test]
fn sbr_and_ps_are_found_in_either_signalling() {
    let cases = [
        // LC at 24 kHz, stereo; sync extension: SBR at 48 kHz.
        ("1310 56e598", 5, 48_000, 2, 2_048),
        // The same with an empty PS sync extension, and with PS on a mono core.
        ("1310 56e59d4800", 5, 48_000, 2, 2_048),
        ("1308 56e59d4880", 29, 48_000, 2, 2_048),
        // Hierarchical: object type 5 at 24 kHz, extension 48 kHz, core LC.
        ("2b118800", 5, 48_000, 2, 2_048),
        // Hierarchical with PS: object type 29 at 22.05 kHz mono, extension 44.1 kHz, core LC.
        ("eb8a0800", 29, 44_100, 2, 2_048),
        // Down-sampled SBR: the output rate is the core's.
        ("1190 56e598", 5, 48_000, 2, 1_024),
    ];
    for (record, object_type, output_rate, channels, frame_samples) in cases {
        let config = AacConfig::parse(&hex(record)).expect(record);
        let found = (config.object_type, config.output_rate, config.channels, config.frame_samples);
        assert_eq!(found, (object_type, output_rate, channels, frame_samples), "{record}");
        assert_eq!(config.rfc6381(), format!("mp4a.40.{object_type}"));
        assert_eq!(config.silence(), None);
    }
}

#[test]
fn rates_and_frames_out_of_the_ordinary_are_read() {
    // 37,000 Hz in full: 00010 1111 000000001001000010001000 0010 000.
    let config = AacConfig::parse(&hex("178048441000")).unwrap();
    assert_eq!((config.output_rate, config.channels, config.frame_samples), (37_000, 2, 1_024));
    let config = AacConfig::parse(&hex("1194")).unwrap();
    assert_eq!(config.frame_samples, 960);
    for (configuration, channels) in [(11, 7), (12, 8), (13, 24), (14, 8)] {
        let record = vec![0x11, 0x80 | configuration << 3];
        assert_eq!(AacConfig::parse(&record.into()).unwrap().channels, channels);
    }
}

#[test]
fn what_browsers_do_not_decode_is_refused() {
    let cases = [
        ("0990", "audioObjectType", 1),    // Main
        ("b990", "audioObjectType", 23),   // Low Delay
        ("f94840", "audioObjectType", 42), // USAC, behind the escape
        ("1710", "samplingFrequencyIndex", 14),
        ("11c0", "channelConfiguration", 8),
        ("178000001000", "samplingFrequency", 0),
        ("1310 56e5b8", "extensionSamplingFrequency", 22_050),
    ];
    for (record, field, value) in cases {
        let error = CodecError::Unsupported { record: RECORD, field, value };
        assert_eq!(AacConfig::parse(&hex(record)), Err(error), "{record}");
    }
    assert_eq!(AacConfig::parse(&hex("12")), Err(CodecError::Truncated { record: RECORD, at: 8 }));
}

#[test]
fn bytes_behind_the_record_are_left_out() {
    let config = AacConfig::parse(&hex("1210 0000000000")).unwrap();
    assert_eq!(config.record, hex("1210"));
}

/// Each of these, twenty times over in ADTS, decodes with ffmpeg 5.1 to that many channels of zeros.
#[test]
fn silence_is_the_frame_that_was_seen_to_decode() {
    let cases = [
        (1, "00000007"),
        (2, "21000000001c"),
        (3, "000000010800000000e0"),
        (4, "00000001080000000002000007"),
        (5, "00000001080000000023000000001c"),
        (6, "00000001080000000023000000000c000000e0"),
        (7, "000000010800000000230000000004a0000000018000001c"),
    ];
    for (configuration, frame) in cases {
        let config = AacConfig::parse(&vec![0x11, 0x80 | configuration << 3].into()).unwrap();
        assert_eq!(config.silence(), Some(hex(frame)), "{configuration}");
    }
    let config = AacConfig::parse(&hex(QUAD_BY_PROGRAM_CONFIG)).unwrap();
    assert_eq!(config.silence(), None);
}
