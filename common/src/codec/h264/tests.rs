use super::*;
use crate::codec::Colour;
use crate::codec::tests::{bits, hex};

// avcC bodies made by `ffmpeg -f lavfi -i testsrc2=s=SIZE:r=RATE -frames:v 4 -pix_fmt FORMAT -c:v libx264 …`
// (ffmpeg 5.1, x264 164), and what ffprobe says of them.

/// 320x240, 25, yuv420p, `-profile:v baseline`.
const BASELINE: &str = "0142c00dffe100186742c00dd90141fb011000000300100000030320f142a48001000568cb83cb20";
/// 1280x720, 50, yuv420p, `-profile:v main`.
pub(crate) const MAIN: &str =
    "014d4020ffe10019674d4020eca02802dd80880000030008000003032078c18cb001000568ebe3cb20";
/// 1366x768, 30000/1001, yuv420p, `-colorspace bt709 -color_primaries bt709 -color_trc bt709`.
const HIGH_ODD_SIZE: &str = "01640020ffe1001c67640020acd94056061e6f016a020202800001f480007530078c18cb01000668eb\
                             e3cb22c0fdf8f800";
/// 1920x1080, 25, yuv420p, `-x264-params interlaced=1:nal-hrd=cbr:bitrate=6000:vbv-maxrate=6000:vbv-bufsize=6000`.
pub(crate) const HIGH_INTERLACED: &str = "01640028ffe1002567640028acd94078044fde022000000300200000064c4c0005b8d80\
                                          00b71bc98601f162d9601000568fbacb22cfdf8f800";
/// 640x360, 25, yuv420p10le, `-colorspace bt2020nc -color_primaries bt2020 -color_trc smpte2084`.
const HIGH_10: &str = "016e001effe1001d676e001ea6cd940a02ff97016a122012800000030080000019078b16cb01000668ebe3cb22c\
                       0fdfafa00";
/// 640x360, 25, yuv422p10le.
const HIGH_422: &str =
    "017a001effe1001b677a001eb6cd940a02ff89c044000003000400000300c83c58b65801000668ebe3cb22c0fefafa00";
/// 642x362, 25, yuv444p.
const HIGH_444: &str =
    "01f4001effe1001a67f4001e919b281485fc7cf808800000030080000019078b16cb01000668ebe3c44844fff8f800";
/// 720x576, 25, yuv420p, `-vf setsar=16/11`.
const PAL_WIDE: &str =
    "0164001effe100196764001eacd940b4126c1040000003004000000c83c58b658001000668ebe3cb22c0fdf8f800";
/// 352x288, 25, yuvj420p, `-vf setsar=37/29 -x264-params cqm=jvt`.
pub(crate) const FULL_RANGE_MATRICES: &str = "0164000dffe1001d6764000dacd9416096ffc00940075b20000003002000000641e2\
                                              8532c001000768ebe3cb3002c0fdf8f800";
/// 320x242, 25, gray.
const GRAY: &str =
    "0164000dffe1001a6764000df36505021f8fc05b20000003002000000641e28532c001000668ebe3cb22c0fcf8f800";
/// An access unit: delimiter, SPS, PPS, SEI and a cut IDR slice, put together from the above.
pub(crate) const IDR_WITH_SETS: &str = "0000000209100000001867 42c00dd90141fb011000000300100000030320f142a480\
                                        00000005 68cb83cb20 00000003 060500 00000006 658884000d0a";

struct Expected {
    size: (u32, u32),
    sar: (u32, u32),
    rate: (u32, u32),
    colour: Option<Colour>,
    reorder: u32,
    codecs: &'static str,
}

const fn plain(size: (u32, u32), rate: (u32, u32), reorder: u32, codecs: &'static str) -> Expected {
    Expected { size, sar: (1, 1), rate, colour: None, reorder, codecs }
}

const fn colour(primaries: u8, transfer: u8, matrix: u8, full_range: bool) -> Option<Colour> {
    Some(Colour { primaries, transfer, matrix, full_range })
}

#[test]
fn records_of_x264_read_as_ffprobe_reads_them() {
    let ntsc = (30_000, 1_001);
    let cases = [
        (BASELINE, plain((320, 240), (25, 1), 0, "avc1.42c00d")),
        (MAIN, plain((1_280, 720), (50, 1), 2, "avc1.4d4020")),
        (
            HIGH_ODD_SIZE,
            Expected { colour: colour(1, 1, 1, false), ..plain((1_366, 768), ntsc, 2, "avc1.640020") },
        ),
        (HIGH_INTERLACED, plain((1_920, 1_080), (25, 1), 2, "avc1.640028")),
        (
            HIGH_10,
            Expected { colour: colour(9, 16, 9, false), ..plain((640, 360), (25, 1), 2, "avc1.6e001e") },
        ),
        (HIGH_422, plain((640, 360), (25, 1), 2, "avc1.7a001e")),
        (HIGH_444, plain((642, 362), (25, 1), 2, "avc1.f4001e")),
        (PAL_WIDE, Expected { sar: (16, 11), ..plain((720, 576), (25, 1), 2, "avc1.64001e") }),
        (
            FULL_RANGE_MATRICES,
            Expected {
                sar: (37, 29),
                colour: colour(2, 2, 2, true),
                ..plain((352, 288), (25, 1), 2, "avc1.64000d")
            },
        ),
        (GRAY, Expected { colour: colour(2, 2, 2, true), ..plain((320, 242), (25, 1), 2, "avc1.64000d") }),
    ];
    for (record, expected) in cases {
        let config = AvcConfig::parse(&hex(record)).expect(expected.codecs);
        let picture = Picture {
            width: expected.size.0,
            height: expected.size.1,
            sar: expected.sar,
            colour: expected.colour,
            max_reorder: Some(expected.reorder),
            frame_rate: Some(expected.rate),
            ..Picture::default()
        };
        assert_eq!(config.picture, picture, "{}", expected.codecs);
        assert_eq!(config.rfc6381(), expected.codecs);
        assert_eq!(config.record, hex(record), "x264's record is in normal form already");
        assert_eq!((config.length_size, config.sps.len(), config.pps.len()), (4, 1, 1));
    }
}

#[test]
fn short_lengths_are_the_sources_and_the_record_says_four() {
    for (minus_one, length_size) in [(0, 1), (1, 2), (3, 4)] {
        let mut record = hex(MAIN).to_vec();
        record[4] = 0xfc | minus_one;
        let config = AvcConfig::parse(&record.into()).unwrap();
        assert_eq!((config.length_size, &config.record), (length_size, &hex(MAIN)));
    }
    let mut record = hex(MAIN).to_vec();
    record[4] = 0xfe;
    let error = CodecError::Unsupported { record: "avcC", field: "lengthSizeMinusOne", value: 2 };
    assert_eq!(AvcConfig::parse(&record.into()), Err(error));
}

#[test]
fn a_record_without_the_high_profile_extension_gets_it() {
    let whole = hex(HIGH_422);
    for cut in 1..=4 {
        let config = AvcConfig::parse(&whole.slice(..whole.len() - cut)).unwrap();
        assert_eq!(config.record, whole, "cut by {cut}");
    }
}

#[test]
fn a_record_without_parameter_sets_says_which_are_missing() {
    let missing = |record: &str| AvcConfig::parse(&hex(record)).unwrap_err();
    let error = |missing| CodecError::Missing { record: "avcC", missing };
    assert_eq!(missing("0142c00dffe000"), error("sequence parameter set"));
    assert_eq!(
        missing("0142c00dffe100186742c00dd90141fb011000000300100000030320f142a48000"),
        error("picture parameter set")
    );
    assert_eq!(
        missing("00"),
        CodecError::Unsupported { record: "avcC", field: "configurationVersion", value: 0 }
    );
    assert_eq!(missing("0142c0"), CodecError::Truncated { record: "avcC", at: 24 });
}

#[test]
fn in_band_sets_make_the_same_record_and_update_it() {
    let main = AvcConfig::parse(&hex(MAIN)).unwrap();
    let mixed: Vec<Bytes> = [main.sps.clone(), main.pps.clone()].concat();
    assert_eq!(AvcConfig::from_parameter_sets(&mixed, &mixed).as_ref(), Ok(&main), "RTMP-49");
    assert_eq!(main.updated(&mixed), Ok(None), "nothing new");
    assert_eq!(main.updated(&[hex("0605ff"), Bytes::new()]), Ok(None), "no parameter sets at all");

    let high = AvcConfig::parse(&hex(HIGH_422)).unwrap();
    let mixed: Vec<Bytes> = [high.sps.clone(), high.pps.clone()].concat();
    assert_eq!(main.updated(&mixed), Ok(Some(high)), "sets with the same ids take the old ones' places");

    // A PPS with id 1 (ue: 010) stands beside the one with id 0.
    let second = hex("685bae2cb2");
    let both = main.updated(std::slice::from_ref(&second)).unwrap().expect("a new id");
    assert_eq!(both.pps, [main.pps[0].clone(), second]);
}

/// An SPS of Baseline, level 1.3, with id 0, 4 bits of frame_num, POC type 2 and one reference frame; `rest` goes
/// on with the width.
fn baseline(rest: &str) -> Bytes {
    bits(&format!("01100111 01000010 00000000 00001101 1 1 011 010 0 {rest} 0 1"))
}

#[test]
fn sizes_are_refused_beyond_the_cap_and_below_one_pixel() {
    let parse = |sps: Bytes| AvcConfig::from_parameter_sets(&[sps], &[hex("68cb83cb20")]);
    let refused = |field, value| Err(CodecError::Unsupported { record: "SPS", field, value });
    // ue(511) = 000000000 1000000000: 512 macroblocks; ue(512) one more.
    let most = "0000000001000000000";
    let more = "0000000001000000001";
    let picture = parse(baseline(&format!("{most} {most} 1 1 0"))).unwrap().picture;
    assert_eq!((picture.width, picture.height, picture.max_reorder), (8_192, 8_192, Some(0)));
    assert_eq!(parse(baseline(&format!("{more} {most} 1 1 0"))), refused("picture width", 8_208), "RTMP-65");
    assert_eq!(parse(baseline(&format!("{most} {most} 0 1 1 0"))), refused("picture height", 16_384));
    // 16x16, cropped by 3 + 5 units of two pixels at left and right.
    assert_eq!(parse(baseline("1 1 1 1 1 00100 00110 1 1")), refused("picture width", 0));
}

#[test]
fn a_damaged_vui_leaves_the_picture_usable() {
    let config = AvcConfig::parse(&hex(MAIN)).unwrap();
    let cut = config.sps[0].slice(..14);
    let cut = AvcConfig::from_parameter_sets(&[cut], &config.pps).unwrap();
    assert_eq!((cut.picture.width, cut.picture.height, cut.picture.frame_rate), (1_280, 720, None));
}
