use super::*;
use crate::codec::hdr::tests::P3_D65;
use crate::codec::tests::{bits, hex};
use crate::codec::{Colour, ContentLight, Hdr};

// hvcC bodies made by `ffmpeg -f lavfi -i testsrc2=s=SIZE:r=RATE -frames:v 4 -pix_fmt FORMAT -c:v libx265
// -tag:v hvc1 -x265-params info=0:…` (ffmpeg 5.1, x265 3.5), and what ffprobe says of them.

/// 1920x1080, 60, yuv420p.
pub(crate) const MAIN: &str = "0101600000009000000000007bf000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003007b\
                    959809a10001002a42010101600000030090000003000003007ba003c08010e596566924caf016808000000300800000\
                    1e04a2000100074401c172b46240";
/// 1366x768, 30000/1001, yuv420p10le, `hdr10=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc`.
const MAIN_10: &str = "01022000000090000000000078f000fcfdfafa00000f04a00001001840010c01ffff022000000300900000030000030078\
                       959809a10001002d420101022000000300900000030000030078a002ac80301d6d96566924caf016a1220120800001f4\
                       80003a9804a2000100074401c172b46240270001000a4e019004000003000080";
/// 322x242, 25, yuv444p, `-vf setsar=37/29`, `scaling-list=default:bframes=0`.
pub(crate) const REXT_444: &str = "0104080000009e08000000003cf000fcfff8f800000f03a00001001740010c01ffff0408000003009e\
                                   0800000300003c928090a10001002e4201010408000003009e0800000300003c90014901f39e7cb25492\
                                   72bffc00940075a02000000300200000030321a2000100084401c172860c4624";
/// 64x64, 25, yuv420p10le, `hdr10=1` and what MAIN_10 has, `max-cll=1000,400` and
/// `master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)`.
pub(crate) const HDR10: &str = "0102200000009000000000001ef000fcfdfafa00000f04a00001001840010c01ffff0220000003009000\
                                0003000003001e959409a10001002d42010102200000030090000003000003001ea0208104d965654a4c\
                                2f016a12201208000003000800000300c840a2000100064401c073c08927000200094e01900403e80190\
                                80001e4e01891833c286c41d4c0bb884d03e803d13404200989680000003003280";
/// 640x360, 25, yuv420p, `high-tier=1:level-idc=5:hrd=1:vbv-maxrate=8000:vbv-bufsize=8000:aud=1`.
const WITH_HRD: &str = "01016000000090000000000096f000fcfdf8f800000f04a00001001840010c01ffff016000000300900000030000030096\
                        959809a100010035420101016000000300900000030000030096a00502016965959a4932bc05a0200000030020000003\
                        032c3592cbc001e848003d0910a2000100074401c172b4624027000100064e0181010f80";
/// 640x360, 25, yuv420p, `temporal-layers=1:bframes=3`.
pub(crate) const TWO_LAYERS: &str = "0101600000009000000000003ff000fcfdf8f800001303a00001001c40010c02ffff0160000003009\
                                     0000003000003003f00009594aca048a10001002e42010201600000030090000003000003003f0000\
                                     a005020169659594acb24995e02d010000030001000003001908a2000100074401c172b46240";
/// The first sample of 64x64 gray with `aud=1:repeat-headers=1`: delimiter, VPS, SPS, PPS, IDR.
pub(crate) const IDR_WITH_SETS: &str = "000000034601100000001840010c01ffff01600000030090000003000003001e91302400000029\
                                        42010101600000030090000003000003001ea02081059644e4932bc05a0200000300020000030\
                                        03210000000074401c172b422400000000c2801af1d80f701b2f5afb33c";

#[test]
fn records_of_x265_read_as_ffprobe_reads_them() {
    let pq = Some(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false });
    let cases = [
        (MAIN, (1_920, 1_080), (1, 1), (60, 1), None, 2, "hvc1.1.6.L123.90"),
        (MAIN_10, (1_366, 768), (1, 1), (30_000, 1_001), pq, 2, "hvc1.2.4.L120.90"),
        (REXT_444, (322, 242), (37, 29), (25, 1), None, 0, "hvc1.4.10.L60.9E.08"),
        (WITH_HRD, (640, 360), (1, 1), (25, 1), None, 2, "hvc1.1.6.L150.90"),
        (TWO_LAYERS, (640, 360), (1, 1), (25, 1), None, 2, "hvc1.1.6.L63.90"),
    ];
    for (record, (width, height), sar, rate, colour, reorder, codecs) in cases {
        let config = HevcConfig::parse(&hex(record)).expect(codecs);
        let max_reorder = Some(reorder);
        let frame_rate = Some(rate);
        let picture = Picture { width, height, sar, colour, max_reorder, frame_rate, ..Picture::default() };
        assert_eq!(config.picture, picture, "{codecs}");
        assert_eq!(config.rfc6381(), codecs);
        assert_eq!(config.record, hex(record), "ffmpeg's hvc1 record is in normal form already");
        assert_eq!(config.length_size, 4);
    }
}

#[test]
fn codec_strings_follow_annex_e() {
    let string = |ptl: &str| {
        let record = [&[1][..], &hex(ptl)].concat().into();
        HevcConfig { record, length_size: 4, picture: Picture::default() }.rfc6381()
    };
    assert_eq!(string("01 60000000 900000000000 5a"), "hvc1.1.6.L90.90");
    assert_eq!(string("02 20000000 b00000000000 78"), "hvc1.2.4.L120.B0");
    assert_eq!(
        string("61 60000000 000000000000 5d"),
        "hvc1.A1.6.H93",
        "no constraint, high tier, profile space"
    );
    assert_eq!(string("01 60000000 b00000230000 5d"), "hvc1.1.6.L93.B0.00.00.23");
}

#[test]
fn arrays_are_put_in_order_and_marked_complete() {
    let normal = HevcConfig::parse(&hex(MAIN)).unwrap();
    let sets = normal.parameter_sets();
    let mut record = hex(MAIN)[..22].to_vec();
    record[21] = 0x0d; // two-byte lengths
    record.push(3);
    for (kind, set) in [(34, &sets[2]), (32, &sets[0]), (33, &sets[1])] {
        record.extend([kind, 0, 1]);
        record.extend((set.len() as u16).to_be_bytes());
        record.extend_from_slice(set);
    }
    let config = HevcConfig::parse(&record.into()).unwrap();
    assert_eq!((config.record, config.length_size), (normal.record, 2));
}

#[test]
fn a_record_without_parameter_sets_says_which_are_missing() {
    let sets = HevcConfig::parse(&hex(MAIN)).unwrap().parameter_sets();
    let build = |sets: &[Bytes]| HevcConfig::from_parameter_sets(sets, sets, sets).unwrap_err();
    let missing = |missing| CodecError::Missing { record: "hvcC", missing };
    assert_eq!(build(&sets[1..]), missing("video parameter set"));
    assert_eq!(build(&sets[..1]), missing("sequence parameter set"));
    assert_eq!(build(&sets[..2]), missing("picture parameter set"));
}

#[test]
fn in_band_sets_make_the_same_record_and_update_it() {
    let main = HevcConfig::parse(&hex(MAIN)).unwrap();
    let sets = main.parameter_sets();
    let built = HevcConfig::from_parameter_sets(&sets, &sets, &sets).unwrap();
    assert_eq!(built, main, "RTMP-49");
    assert_eq!(main.updated(&sets), Ok(None), "nothing new");

    let layered = HevcConfig::parse(&hex(TWO_LAYERS)).unwrap();
    let updated = main.updated(&layered.parameter_sets()).unwrap().expect("other sets");
    assert_eq!(updated, layered, "sets with the same ids take the old ones' places");
}

#[test]
fn records_with_very_many_units_are_refused() {
    let sets = HevcConfig::parse(&hex(MAIN)).unwrap().parameter_sets();
    let refused = |value| CodecError::Unsupported { record: "hvcC", field: "number of NAL units", value };
    let mut many = sets.clone();
    many.extend(std::iter::repeat_n(sets[2].clone(), MAX_UNITS - 3));
    let largest = HevcConfig::from_parameter_sets(&many, &many, &many).unwrap();
    assert_eq!(HevcConfig::parse(&largest.record).unwrap(), largest);
    many.push(sets[2].clone());
    assert_eq!(HevcConfig::from_parameter_sets(&many, &many, &many), Err(refused(129)));
    // An array of 65,535 empty units in a record.
    let mut record = hex(MAIN)[..22].to_vec();
    record.extend([1, 34, 0xff, 0xff]);
    record.extend([0; 60_000]);
    assert_eq!(HevcConfig::parse(&record.into()), Err(refused(129)));
}

#[test]
fn sei_of_a_record_stays_and_its_array_is_not_complete() {
    let config = HevcConfig::parse(&hex(MAIN_10)).unwrap();
    let at = config.record.len() - (5 + 10);
    assert_eq!(config.record[at..at + 3], [39, 0, 1]);
}

#[test]
fn giant_pictures_are_refused() {
    let config = HevcConfig::parse(&hex(MAIN)).unwrap();
    let sets = config.parameter_sets();
    // After profile, tier and level: id 0, 4:2:0 and a width of 8,193: ue(8193) = 13 zeros, then 8194.
    let mut sps = sets[1][..18].to_vec();
    sps.extend(bits("1 010 00000000000001 0000000000010 1 1 0 1 1 1 1"));
    let error = HevcConfig::from_parameter_sets(&sets, &[sps.into()], &sets).unwrap_err();
    assert_eq!(error, CodecError::Unsupported { record: "SPS", field: "picture width", value: 8_193 });
}

#[test]
fn hdr10_metadata_is_read_from_the_record_and_a_keyframe_s_own_wins() {
    let config = HevcConfig::parse(&hex(HDR10)).unwrap();
    let hdr = config.picture.hdr;
    assert_eq!(
        (hdr.mastering, hdr.light.map(|light| light.to_bytes())),
        (Some(P3_D65), Some([3, 232, 1, 144]))
    );
    // MaxCLL 500, MaxFALL 200 before an IDR slice; the display stays the record's.
    let sample = hex("00000009 4e01900401f400c880 00000003 2801af");
    let described = config.described(&sample).expect("something new");
    let light = Some(ContentLight { max_content: 500, max_average: 200 });
    assert_eq!(described.picture.hdr, Hdr { mastering: Some(P3_D65), light });
    assert_eq!((&described.record, described.described(&sample)), (&config.record, None));
    let sets = config.parameter_sets();
    assert_eq!(HevcConfig::from_parameter_sets(&sets, &sets, &sets).unwrap().picture.hdr, Hdr::default());
}
