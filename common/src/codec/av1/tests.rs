use super::*;
use crate::codec::tests::{bits, hex};

// av1C bodies made by `ffmpeg -f lavfi -i testsrc2=s=SIZE:r=RATE -frames:v 4 -pix_fmt FORMAT -c:v libaom-av1
// -cpu-used 8 -lag-in-frames 0 …` (ffmpeg 5.1, libaom 3.6), and what ffprobe says of them.

/// 1366x768, yuv420p.
const MAIN: &str = "81050c000a0b0000002d4d55bfccaf9004";
/// 320x180, yuv420p10le, `-colorspace bt2020nc -color_primaries bt2020 -color_trc smpte2084`.
pub(crate) const TEN_BIT_PQ: &str = "81004c000a0e000000043cfeccdaf95091009040";
/// 322x182, yuv444p.
const HIGH_444: &str = "812000000a0a200000043d06d4daf902";
/// 322x182, gray.
const GRAY: &str = "81001c000a0a000000043d06d4daf92a";
/// 1920x1080, 60, yuv420p, `-c:v libsvtav1 -preset 12` (SVT-AV1 1.4).
const SVT: &str = "81090c000a0b0000004aabbfc3700be001";

// Temporal units of 64x64 gray by libaom with `-usage realtime`.

/// Sequence header and key frame.
pub(crate) const KEY_UNIT: &str = "0a0a00000002afff9b5f2008 321010009000082082200000c1b4d0c14df8";
/// Inter frame.
const INTER_UNIT: &str = "321230038080fdf806c000596596281042009530";

#[test]
fn records_of_libaom_and_svt_read_as_ffprobe_reads_them() {
    let pq = Some(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false });
    let full = Some(Colour { primaries: 2, transfer: 2, matrix: 2, full_range: true });
    let cases = [
        (MAIN, (1_366, 768), None, "av01.0.05M.08"),
        (TEN_BIT_PQ, (320, 180), pq, "av01.0.00M.10.0.110.09.16.09.0"),
        (HIGH_444, (322, 182), None, "av01.1.00M.08.0.000.02.02.02.0"),
        (GRAY, (322, 182), full, "av01.0.00M.08.1.110.02.02.02.1"),
        (SVT, (1_920, 1_080), None, "av01.0.09M.08"),
    ];
    for (record, (width, height), colour, codecs) in cases {
        let config = Av1Config::parse(&hex(record)).expect(codecs);
        let max_reorder = Some(0);
        let picture = Picture { width, height, sar: (1, 1), colour, max_reorder, ..Picture::default() };
        assert_eq!(config.picture, picture, "{codecs}");
        assert_eq!(config.rfc6381(), codecs);
        assert_eq!(config.record, hex(record), "ffmpeg's record is in normal form already");
    }
}

#[test]
fn colour_fields_are_left_out_where_they_are_the_defaults() {
    let mut config = Av1Config::parse(&hex(MAIN)).unwrap();
    config.picture.colour = Some(Colour { primaries: 1, transfer: 1, matrix: 1, full_range: false });
    assert_eq!(config.rfc6381(), "av01.0.05M.08");
}

#[test]
fn timing_and_operating_points_are_read() {
    // Profile 0, timing 1/60 with equal intervals of 2 ticks, decoder model with 10-bit delays, display delays,
    // two operating points (level 13 high tier with both models, level 8 without), 1920x1080.
    let header = bits(
        "000 0 0  1 00000000000000000000000000000001 00000000000000000000000000111100 1 010
         1 01001 00000000000000000000000000000001 01001 01001  1 00001
         000000000000 01101 1 1 0000000001 0000000010 0 1 0111
         000000000001 01000 0 0 0
         1010 1010 11101111111 10000110111
         0  000 0000 1 11 1 1 010 000  0 0 0 0 00 0 0 1",
    );
    let sequence = Sequence::parse(&header).unwrap();
    assert_eq!((sequence.level, sequence.format_byte()), (13, 0x8c));
    assert_eq!((sequence.picture.width, sequence.picture.height), (1_920, 1_080));
    assert_eq!(sequence.picture.frame_rate, Some((30, 1)));
}

#[test]
fn a_record_without_obus_is_completed_by_the_first_unit() {
    let missing = CodecError::Missing { record: "av1C", missing: "sequence header" };
    assert_eq!(Av1Config::parse(&hex("81050c00")), Err(missing));
    let unit = temporal_unit(&hex(KEY_UNIT)).unwrap();
    let config = Av1Config::from_sequence_header(&unit.sequence_header.unwrap()).unwrap();
    assert_eq!(config.record, hex("81000c00 0a0a00000002afff9b5f2008"));
    assert_eq!((config.picture.width, config.picture.height), (64, 64));
}

#[test]
fn the_record_keeps_only_the_sequence_header() {
    // With an extension byte, behind a metadata OBU.
    let record = hex("81000c00 2a0204ff 0e000a 00000002afff9b5f2008");
    assert_eq!(Av1Config::parse(&record).unwrap().record, hex("81000c00 0a0a00000002afff9b5f2008"));
}

#[test]
fn key_frames_are_told_from_inter_frames() {
    let key = temporal_unit(&hex(KEY_UNIT)).unwrap();
    assert!(key.sync && key.has_picture);
    let inter = temporal_unit(&hex(INTER_UNIT)).unwrap();
    assert!(!inter.sync && inter.has_picture && inter.sequence_header.is_none());
    // Frame headers: a key frame that is not shown, and a frame that is shown again.
    for (begin, sync) in [("10", true), ("00", false), ("80", false), ("30", false)] {
        assert_eq!(temporal_unit(&hex(&format!("1a01{begin}"))).unwrap().sync, sync, "{begin}");
    }
}

#[test]
fn delimiters_and_padding_go_without_a_copy_where_they_stand_at_the_ends() {
    let data = hex(&format!("1200 {KEY_UNIT} 7a03000080"));
    let unit = temporal_unit(&data).unwrap();
    assert_eq!(unit.payload, hex(KEY_UNIT), "RTMP-54");
    assert_eq!(unit.payload.as_ptr(), data[2..].as_ptr(), "a slice of the message");

    let data = hex("0a0a00000002afff9b5f2008 7a0180 321010009000082082200000c1b4d0c14df8");
    assert_eq!(temporal_unit(&data).unwrap().payload, hex(KEY_UNIT));
}

#[test]
fn a_unit_of_delimiters_alone_has_no_picture() {
    let unit = temporal_unit(&hex("1200")).unwrap();
    assert!(unit.payload.is_empty() && !unit.has_picture && !unit.sync);
}

#[test]
fn an_obu_beyond_the_end_is_an_error() {
    for bad in ["3213 30", "36", "3280", "32ffffffffffffffffff", "b200"] {
        assert!(temporal_unit(&hex(bad)).is_err(), "{bad}");
    }
    // The last one may leave its size out.
    assert!(temporal_unit(&hex("30 30038080")).unwrap().has_picture);
}
