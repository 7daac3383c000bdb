use aqueduct_common::codec::{Colour, ContentLight, Hdr, MasteringDisplay};

use super::*;
use crate::demux::colour::ToldColour;
use crate::flv::video::ColourInfo;
use crate::rtmp::amf0::{self, Value};

/// A metadata packet of H.264 whose `colorInfo` says this of primaries, transfer and matrix.
fn colour_info(codes: Option<[f64; 3]>) -> Message {
    let names = ["colorPrimaries", "transferCharacteristics", "matrixCoefficients"];
    let config = |codes: [f64; 3]| {
        let codes = names.into_iter().zip(codes).map(|(name, code)| (name.to_owned(), Value::Number(code)));
        Value::Object(vec![("colorConfig".into(), Value::Object(codes.collect()))])
    };
    let info = codes.map_or(Value::Undefined, config);
    let body = [&hex("94 61766331")[..], &amf0::write_all(&["colorInfo".into(), info])].concat();
    Message { kind: MediaKind::Video, timestamp: 0, body: body.into() }
}

impl Bench {
    fn tell(&mut self, codes: Option<[f64; 3]>) -> Vec<Demuxed> {
        self.0.push(&colour_info(codes));
        std::iter::from_fn(|| self.0.poll()).collect()
    }
}

fn colours(items: &[Demuxed]) -> Vec<Option<Colour>> {
    let colour = |item: &Demuxed| match item {
        Demuxed::Config(_, config) => Some(config.picture().unwrap().colour),
        Demuxed::Frame(_) => None,
    };
    items.iter().filter_map(colour).collect()
}

#[test]
fn colours_that_are_told_fill_in_what_the_bitstream_leaves_open() {
    // RTMP-58. Before the first frame they hold at once, later from the next key frame on.
    let pq = Some(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false });
    let mut bench = Bench::default();
    assert_eq!(colours(&bench.video(&["17 00 000000", AVCC])), [None]);
    assert_eq!(colours(&bench.tell(Some([9.0, 16.0, 9.0]))), [pq]);
    assert_eq!(colours(&bench.video(&["17 01 000000", IDR])), []);
    assert_eq!(colours(&bench.tell(None)), []);
    assert_eq!(colours(&bench.video(&["27 01 000000", P])), []);
    let items = bench.video(&["17 01 000000", IDR]);
    assert!(matches!(items[..], [Demuxed::Config(..), Demuxed::Frame(_)]));
    assert_eq!(colours(&items), [None], "taken back");
    bench.tell(Some([9.0, 16.0, 9.0]));
    assert_eq!(
        colours(&bench.video(&["17 00 000000", AVCC_720])),
        [pq],
        "they hold for the next header, too"
    );
}

#[test]
fn the_bitstream_s_own_colours_win_and_a_contradiction_is_counted() {
    let mut track = ToldColour::default();
    let mut bench = Bench::default();
    let mut own = config(&bench.video(&["17 00 000000", AVCC])).clone();
    let bt709 = Colour { primaries: 1, transfer: 2, matrix: 1, full_range: true };
    own.set_colour(Some(bt709));
    let told = Colour { primaries: 9, transfer: 16, matrix: 1, full_range: false };
    let info = |colour| ColourInfo { colour: Some(colour), hdr: Hdr::default() };
    assert!(track.tell(info(told)) && !track.tell(info(told)));
    let both = track.complete(own.clone()).picture().unwrap().colour;
    assert_eq!(both, Some(Colour { transfer: 16, ..bt709 }));
    assert_eq!((track.take_conflicts(), track.take_conflicts()), (1, 0));
    track.tell(info(Colour { primaries: 2, ..told }));
    track.complete(own);
    assert_eq!(track.take_conflicts(), 0);
}

/// 64x64 in PQ, by x265; its SEI is left out.
const HVCC_PQ: &str = "0102200000009000000000001ef000fcfdfafa00000f03a00001001840010c01ffff02200000030090000003000003001e959409\
                       a10001002d42010102200000030090000003000003001ea0208104d965654a4c2f016a12201208000003000800000300c840\
                       a2000100064401c073c089";
/// MaxCLL 1,000 and MaxFALL 400, and an IDR slice.
const HEVC_BRIGHT: &str = "00000009 4e01900403e8019080 00000003 2801af";
/// The same with 500 and 200.
const HEVC_DIMMER: &str = "00000009 4e01900401f400c880 00000003 2801af";

fn hdrs(items: &[Demuxed]) -> Vec<Hdr> {
    let hdr = |item: &Demuxed| match item {
        Demuxed::Config(_, config) => Some(config.picture().unwrap().hdr),
        Demuxed::Frame(_) => None,
    };
    items.iter().filter_map(hdr).collect()
}

#[test]
fn hdr10_metadata_is_taken_from_the_first_keyframe_of_a_header() {
    let light = |max_content, max_average| Some(ContentLight { max_content, max_average });
    let mut bench = Bench::default();
    assert_eq!(hdrs(&bench.video(&["90 68766331", HVCC_PQ])), [Hdr::default()]);
    let items = bench.video(&["93 68766331", HEVC_BRIGHT]);
    assert!(matches!(items[..], [Demuxed::Config(..), Demuxed::Frame(_)]));
    assert_eq!(hdrs(&items), [Hdr { mastering: None, light: light(1_000, 400) }]);
    for later in [HEVC_BRIGHT, HEVC_DIMMER] {
        assert_eq!(hdrs(&bench.video(&["93 68766331", later])), [], "a later keyframe cuts nothing");
    }
    // Another header, and its own first keyframe.
    assert_eq!(hdrs(&bench.video(&["90 68766331", HVCC])).len(), 1);
    assert_eq!(
        hdrs(&bench.video(&["93 68766331", HEVC_DIMMER])),
        [Hdr { mastering: None, light: light(500, 200) }]
    );
}

#[test]
fn hdr10_metadata_of_the_bitstream_wins_over_what_is_told() {
    let hdr = |max_content, mastering| Hdr {
        mastering,
        light: Some(ContentLight { max_content, max_average: 400 }),
    };
    let bare = MasteringDisplay { max_luminance: 10_000_000, ..MasteringDisplay::default() };
    let display = MasteringDisplay { primaries: [(13_250, 34_500); 3], white: (15_635, 16_450), ..bare };
    let mut own = config(&Bench::default().video(&["90 68766331", HVCC_PQ])).clone();
    let mut track = ToldColour::default();
    let info = |hdr| ColourInfo { colour: None, hdr };
    assert!(track.tell(info(hdr(900, Some(bare)))));
    let told = track.complete(own.clone());
    assert_eq!((told.picture().unwrap().hdr, track.take_conflicts()), (hdr(900, Some(bare)), 0));
    own.set_hdr(hdr(1_000, None));
    let both = track.complete(own.clone());
    assert_eq!((both.picture().unwrap().hdr, track.take_conflicts()), (hdr(1_000, Some(bare)), 1));
    // The luminance alone, and the same, is no contradiction to a whole display.
    own.set_hdr(hdr(900, Some(display)));
    let whole = track.complete(own.clone());
    assert_eq!((whole.picture().unwrap().hdr, track.take_conflicts()), (hdr(900, Some(display)), 0));
    track.tell(info(hdr(900, Some(MasteringDisplay { white: (15_000, 16_000), ..display }))));
    track.complete(own);
    assert_eq!(track.take_conflicts(), 1);
}
