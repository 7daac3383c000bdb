use super::*;
use crate::codec::tests::{bits, hex};

// vpcC bodies made by `ffmpeg -f lavfi -i testsrc2=s=SIZE:r=25 -frames:v 4 -pix_fmt FORMAT -c:v libvpx-vp9
// -deadline realtime -cpu-used 8 …` (ffmpeg 5.1, libvpx 1.12).

/// 1366x768, yuv420p.
const PROFILE_0: &str = "010000000028820202020000";
/// 640x360, yuv420p10le, `-colorspace bt2020nc -color_primaries bt2020 -color_trc smpte2084`.
pub(crate) const TEN_BIT_PQ: &str = "010000000215a20910090000";
/// 322x182, yuv444p.
const PROFILE_1: &str = "01000000010b860202020000";
/// The first frame of 64x64 gray.
pub(crate) const KEY_FRAME: &str = "824983420003f003f60638241c184a00002040006b38f7a69b004e0920";

#[test]
fn records_of_libvpx_read_with_and_without_version_and_flags() {
    let pq = Some(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false });
    let cases = [
        (PROFILE_0, None, "vp09.00.40.08"),
        (TEN_BIT_PQ, pq, "vp09.02.21.10.01.09.16.09.00"),
        (PROFILE_1, None, "vp09.01.11.08.03.02.02.02.00"),
    ];
    for (record, colour, codecs) in cases {
        let record = hex(record);
        let config = Vp9Config::parse(&record, (640, 360)).expect(codecs);
        assert_eq!((config.picture.width, config.picture.height, config.picture.colour), (640, 360, colour));
        assert_eq!((config.rfc6381().as_str(), &config.record), (codecs, &record));
        assert_eq!(Vp9Config::parse(&record.slice(4..), (640, 360)), Ok(config), "without version and flags");
    }
}

#[test]
fn a_level_left_at_zero_is_taken_from_the_size() {
    let record = hex("0000820202020000");
    assert_eq!(Vp9Config::parse(&record, (1_920, 1_080)).unwrap().rfc6381(), "vp09.00.41.08");
    assert_eq!(Vp9Config::parse(&record, (8_192, 8_192)).unwrap().rfc6381(), "vp09.00.61.08");
}

#[test]
fn what_no_decoder_takes_is_refused() {
    for (record, field) in [("0428820202020000", "profile"), ("0028720202020000", "bitDepth")] {
        let error = Vp9Config::parse(&hex(record), (64, 64)).unwrap_err();
        assert!(matches!(error, CodecError::Unsupported { field: found, .. } if found == field), "{error}");
    }
    assert!(Vp9Config::parse(&hex(PROFILE_0), (0, 64)).is_err(), "no size yet");
}

#[test]
fn key_frames_state_their_size() {
    let key = frame_header(&hex(KEY_FRAME));
    assert_eq!(key, Ok(FrameHeader { sync: true, size: Some((64, 64)) }));
    let inter = Ok(FrameHeader { sync: false, size: None });
    assert_eq!(frame_header(&hex("860040929c48500000037000005470")), inter);
    assert_eq!(frame_header(&hex("88")), inter, "show_existing_frame");
    for bad in ["", "42", "82498343", "8249834200"] {
        assert!(frame_header(&hex(bad)).is_err(), "{bad}");
    }
}

#[test]
fn sizes_are_read_behind_the_colour_of_every_profile() {
    // Profile 1 (4:4:4, range and subsampling), profile 2 (10 bit), profile 1 in RGB.
    let frames = [
        "10 10 0 0 1 0 010010011000001101000010 010 0 00 0",
        "10 01 0 0 1 0 010010011000001101000010 0 010 0",
        "10 10 0 0 1 0 010010011000001101000010 111 0",
    ];
    for begin in frames {
        let frame = bits(&format!("{begin} 0000010100000001 0000001011010000 0"));
        assert_eq!(frame_header(&frame).unwrap().size, Some((1_282, 721)), "{begin}");
    }
}
