//! What holds for every parser: no input makes it panic, and a normalised record parses to itself.

use bytes::Bytes;
use proptest::prelude::*;

use super::nal::{NalCodec, Nals, access_unit};
use super::*;

/// Bytes written in hexadecimal.
pub(super) fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Bytes written as bits, the last one filled with zeros. All but `0` and `1` is for the reader's eye.
pub(super) fn bits(text: &str) -> Bytes {
    let bits: Vec<u8> =
        text.bytes().filter(|byte| matches!(byte, b'0' | b'1')).map(|byte| byte - b'0').collect();
    let byte = |eight: &[u8]| eight.iter().enumerate().fold(0, |sum, (at, bit)| sum | bit << (7 - at));
    bits.chunks(8).map(byte).collect()
}

/// Calls everything that reads bytes from the network. What parses must normalise to a fixed point.
fn feed_all(data: &Bytes) {
    type Parser = fn(&Bytes) -> Result<CodecConfig, CodecError>;
    let parsers: [Parser; 5] = [
        |data| AvcConfig::parse(data).map(CodecConfig::H264),
        |data| HevcConfig::parse(data).map(CodecConfig::H265),
        |data| Av1Config::parse(data).map(CodecConfig::Av1),
        |data| Vp9Config::parse(data, (64, 64)).map(CodecConfig::Vp9),
        |data| AacConfig::parse(data).map(CodecConfig::Aac),
    ];
    for parse in parsers {
        let Ok(config) = parse(data) else { continue };
        let again = parse(config.record()).expect("a normalised record parses");
        assert_eq!(again.record(), config.record());
        assert_eq!(again.picture(), config.picture());
        assert_eq!(again.sound(), config.sound());
        assert_eq!(again.rfc6381(), config.rfc6381());
        if let CodecConfig::Aac(config) = config {
            config.silence();
        }
    }
    let _ = Av1Config::from_sequence_header(data);
    let _ = av1::temporal_unit(data);
    let _ = vp9::frame_header(data);
    let _ = OpusConfig::parse_head(data);
    if let Ok(config) = CodecConfig::from_bytes(data) {
        assert_eq!(CodecConfig::from_bytes(&config.to_bytes()), Ok(config.clone()));
    }
    let _ = opus::packet_samples(data);
    for length_size in [1, 2, 4] {
        Nals::new(data, length_size).for_each(drop);
        for codec in [NalCodec::H264, NalCodec::H265] {
            let Ok(unit) = access_unit(data, length_size, codec) else { continue };
            let again = access_unit(&unit.payload, 4, codec).expect("a sorted access unit parses");
            assert_eq!(again.payload, unit.payload);
            let flags = |unit: &super::nal::AccessUnit| (unit.sync, unit.disposable, unit.has_picture);
            assert_eq!(flags(&again), flags(&unit));
            let sets = &unit.parameter_sets;
            let _ = AvcConfig::from_parameter_sets(sets, sets);
            let hevc = HevcConfig::from_parameter_sets(sets, sets, sets);
            let _ = hevc.map(|config| config.described(&unit.payload));
        }
    }
}

/// One real record, header or sample of each kind.
const REAL: [&str; 13] = [
    super::h264::tests::HIGH_INTERLACED,
    super::h264::tests::FULL_RANGE_MATRICES,
    super::h264::tests::IDR_WITH_SETS,
    super::h265::tests::REXT_444,
    super::h265::tests::HDR10,
    super::h265::tests::TWO_LAYERS,
    super::h265::tests::IDR_WITH_SETS,
    super::av1::tests::TEN_BIT_PQ,
    super::av1::tests::KEY_UNIT,
    super::vp9::tests::TEN_BIT_PQ,
    super::vp9::tests::KEY_FRAME,
    super::aac::tests::QUAD_BY_PROGRAM_CONFIG,
    super::opus::tests::STEREO,
];

#[test]
fn a_record_cut_anywhere_is_an_answer_not_a_panic() {
    for real in REAL {
        let real = hex(real);
        for length in 0..=real.len() {
            feed_all(&real.slice(..length));
        }
    }
}

#[test]
fn a_record_with_any_one_bit_flipped_is_an_answer_not_a_panic() {
    for real in REAL {
        let real = hex(real);
        for bit in 0..real.len() * 8 {
            let mut flipped = real.to_vec();
            flipped[bit / 8] ^= 0x80 >> (bit % 8);
            feed_all(&flipped.into());
        }
    }
}

#[test]
fn an_endless_record_is_refused() {
    let endless = |start: &[u8]| Bytes::from([start, &vec![0; RECORD_MAX]].concat());
    let refused = |result: Result<CodecConfig, CodecError>| {
        assert!(matches!(result, Err(CodecError::Unsupported { field: "length", .. })), "{result:?}");
    };
    refused(AvcConfig::parse(&endless(&[1])).map(CodecConfig::H264));
    refused(HevcConfig::parse(&endless(&[1])).map(CodecConfig::H265));
    refused(Av1Config::parse(&endless(&[0x81])).map(CodecConfig::Av1));
    refused(AacConfig::parse(&endless(&[0x12, 0x10])).map(CodecConfig::Aac));
}

#[test]
fn display_size_follows_the_sample_aspect_ratio() {
    let pal = Picture { width: 720, height: 576, sar: (16, 11), ..Picture::default() };
    assert_eq!(pal.display(), (1_047, 576));
}

#[test]
fn pictures_up_to_the_cap_are_accepted() {
    assert_eq!(picture_size("SPS", 8_192, 8_192), Ok((8_192, 8_192)));
    for (width, height, field) in [(8_193, 8, "picture width"), (8, 0, "picture height")] {
        let value = if field == "picture width" { width } else { height };
        let error = CodecError::Unsupported { record: "SPS", field, value };
        assert_eq!(picture_size("SPS", width, height), Err(error));
    }
}

proptest! {
    #[test]
    fn random_bytes_are_an_answer_not_a_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        feed_all(&data.into());
    }

    /// Random bytes rarely get past a record's head, so this one starts as a real record and goes on at random.
    #[test]
    fn random_ends_of_real_records_are_an_answer_not_a_panic(
        which in 0..REAL.len(),
        keep in 0usize..200,
        tail in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let real = hex(REAL[which]);
        feed_all(&[&real[..keep.min(real.len())], &tail].concat().into());
    }
}

/// One configuration of each codec.
fn one_of_each() -> Vec<CodecConfig> {
    let told = Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false };
    let mut avc = CodecConfig::H264(AvcConfig::parse(&hex(super::h264::tests::MAIN)).unwrap());
    avc.set_colour(Some(told));
    avc.set_hdr(Hdr { light: Some(ContentLight { max_content: 1_000, max_average: 400 }), mastering: None });
    let foreign = |codec| ForeignConfig::new(codec, 44_100, 2, hex("0102")).map(CodecConfig::Foreign);
    let mut all = vec![
        avc,
        CodecConfig::H265(HevcConfig::parse(&hex(super::h265::tests::MAIN)).unwrap()),
        CodecConfig::H265(HevcConfig::parse(&hex(super::h265::tests::HDR10)).unwrap()),
        CodecConfig::Vp9(Vp9Config::parse(&hex(super::vp9::tests::TEN_BIT_PQ), (1_280, 720)).unwrap()),
        CodecConfig::Aac(AacConfig::parse(&hex("1190")).unwrap()),
        CodecConfig::Opus(OpusConfig::parse_head(&hex(super::opus::tests::STEREO)).unwrap()),
    ];
    all.extend(ForeignCodec::ALL.into_iter().map(|codec| foreign(codec).unwrap()));
    all
}

#[test]
fn a_configuration_survives_as_bytes() {
    for config in one_of_each() {
        assert_eq!(CodecConfig::from_bytes(&config.to_bytes()), Ok(config));
    }
    assert!(CodecConfig::from_bytes(&Bytes::from_static(&[7, 0])).is_err());
    assert!(CodecConfig::from_bytes(&Bytes::new()).is_err());
}
