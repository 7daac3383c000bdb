use super::*;
use crate::codec::tests::hex;

fn h264(payload: &str, length_size: u8) -> AccessUnit {
    access_unit(&hex(payload), length_size, NalCodec::H264).unwrap()
}

fn h265(payload: &str) -> AccessUnit {
    access_unit(&hex(payload), 4, NalCodec::H265).unwrap()
}

#[test]
fn units_are_slices_of_the_sample() {
    for (length_size, payload) in
        [(1, "02 6588 00 01 06"), (2, "0002 6588 0000 0001 06"), (4, "00000002 6588 00000001 06")]
    {
        let payload = hex(payload);
        let units: Result<Vec<Bytes>, _> = Nals::new(&payload, length_size).collect();
        assert_eq!(units, Ok(vec![hex("6588"), hex("06")]), "zero-length units are passed over (RTMP-65)");
    }
}

#[test]
fn a_length_beyond_the_end_is_one_error() {
    for (length_size, payload) in [
        (4, "00000001 41 00000003 4100"),
        (4, "00000001 41 0000"),
        (2, "0001 41 ffff 41"),
        (1, "01 41 02 41"),
    ] {
        let payload = hex(payload);
        let units: Vec<bool> = Nals::new(&payload, length_size).map(|unit| unit.is_ok()).collect();
        assert_eq!(units, [true, false]);
        assert!(
            access_unit(&payload, length_size, NalCodec::H264).is_err(),
            "RTMP-65: the access unit is dropped"
        );
    }
    // A giant length allocates nothing.
    assert!(access_unit(&hex("ffffffff 65"), 4, NalCodec::H264).is_err());
}

#[test]
fn frames_of_x264_sort_by_reference() {
    // `-x264-params aud=1:bframes=1:b-adapt=0` of 64x64 gray: P, B, P behind delimiters.
    let cases = [
        ("0000000209300000000a419a29b10bfffe8cd360", false),
        ("00000002095000000008019e45e42bff0c39", true),
        ("0000000209300000000d419a4cf0864ca610affe388dc0", false),
    ];
    for (payload, disposable) in cases {
        let unit = h264(payload, 4);
        assert_eq!((unit.sync, unit.disposable, unit.has_picture), (false, disposable, true));
        assert_eq!(unit.payload, hex(payload).slice(6..), "without its delimiter (CMAF-5)");
    }
}

#[test]
fn an_idr_gives_up_its_parameter_sets() {
    let unit = h264(crate::codec::h264::tests::IDR_WITH_SETS, 4);
    assert!(unit.sync && unit.has_picture && !unit.disposable);
    assert_eq!(unit.payload, hex("00000003 060500 00000006 658884000d0a"), "SEI stays (LLHLS-37)");
    let kinds: Vec<u8> = unit.parameter_sets.iter().map(|set| set[0] & 0x1f).collect();
    assert_eq!(kinds, [7, 8], "RTMP-49");
}

#[test]
fn frames_of_x265_sort_by_sub_layer_reference() {
    // `-x265-params aud=1:bframes=1:b-adapt=0:repeat-headers=1` of 64x64 gray.
    let unit = h265(crate::codec::h265::tests::IDR_WITH_SETS);
    assert!(unit.sync && unit.has_picture && !unit.disposable);
    assert_eq!(unit.parameter_sets.len(), 3);
    assert_eq!(unit.payload, hex("0000000c2801af1d80f701b2f5afb33c"));
    let cases = [
        ("000000034601300000000b0201d0115784318e40fa84", false),
        ("000000034601500000000a0001e024bf8614c0c820", true),
    ];
    for (payload, disposable) in cases {
        let unit = h265(payload);
        assert_eq!((unit.sync, unit.disposable), (false, disposable), "{payload}");
        assert_eq!(unit.payload, hex(payload).slice(7..));
    }
    assert!(h265("00000003 2a01aa").sync, "CRA (21)");
    assert!(h265("00000003 2001aa").sync, "BLA (16)");
    assert!(!h265("00000003 2c01aa").sync, "22 is reserved");
}

#[test]
fn a_clean_access_unit_is_not_copied() {
    let payload = hex("00000002 0910 00000003 060500 00000002 6588 00000002 6589 00000002 0cff 00000001 0a");
    let unit = access_unit(&payload, 4, NalCodec::H264).unwrap();
    assert_eq!(unit.payload.as_ptr(), payload[6..].as_ptr(), "a slice of the message");
    assert_eq!(unit.payload, hex("00000003 060500 00000002 6588 00000002 6589"));
}

#[test]
fn scattered_units_and_short_lengths_are_copied_once() {
    let whole = hex("00000002 6588 00000002 6589");
    assert_eq!(h264("00000002 6588 00000002 0cff 00000002 6589", 4).payload, whole, "filler in the middle");
    assert_eq!(h264("00000002 6588 00000000 00000002 6589", 4).payload, whole, "an empty unit in the middle");
    assert_eq!(h264("0002 6588 0002 6589", 2).payload, whole);
    assert_eq!(h264("02 6588 02 6589", 1).payload, whole);
}

#[test]
fn an_access_unit_without_a_slice_has_no_picture() {
    for payload in ["", "00000003 060500", "00000004 6742c00d", "00000000"] {
        let unit = h264(payload, 4);
        assert!(!unit.has_picture && !unit.sync && !unit.disposable, "{payload}");
    }
    assert!(!h265("00000001 26").has_picture, "a header cut in half");
}

#[test]
fn thousands_of_parameter_sets_are_refused() {
    let payload = "00000001 67".repeat(65);
    assert!(access_unit(&hex(&payload), 4, NalCodec::H264).is_err());
}
