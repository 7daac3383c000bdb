mod colours;

use super::*;

// Records and frames as encoders write them (x264, x265, libaom, libvpx through ffmpeg 5.1), cut to what is read.

/// H.264, 320x240, baseline.
const AVCC: &str = "0142c00dffe100186742c00dd90141fb011000000300100000030320f142a48001000568cb83cb20";
/// Its SPS and PPS as they stand in band.
const AVC_SETS: &str = "00000018 6742c00dd90141fb011000000300100000030320f142a480 00000005 68cb83cb20";
/// H.264, 1280x720, main.
const AVCC_720: &str = "014d4020ffe10019674d4020eca02802dd80880000030008000003032078c18cb001000568ebe3cb20";
const AVC_720_SETS: &str = "00000019 674d4020eca02802dd80880000030008000003032078c18cb0 00000005 68ebe3cb20";
/// A delimiter and an IDR slice.
const IDR: &str = "00000002 0910 00000006 658884000d0a";
/// A slice that later pictures need, and one that none does.
const P: &str = "00000004 419a0001";
const B: &str = "00000004 019e0001";
const HVCC: &str = "0104080000009e08000000003cf000fcfff8f800000f03a00001001740010c01ffff0408000003009e\
                    0800000300003c928090a10001002e4201010408000003009e0800000300003c90014901f39e7cb25492\
                    72bffc00940075a02000000300200000030321a2000100084401c172860c4624";
const HEVC_IDR: &str = "00000006 2801af1d80f7";
const HEVC_P: &str = "00000004 02010001";
const AV1C: &str = "81050c000a0b0000002d4d55bfccaf9004";
const AV1_KEY: &str = "0a0a00000002afff9b5f2008 321010009000082082200000c1b4d0c14df8";
const AV1_INTER: &str = "321230038080fdf806c000596596281042009530";
const VPCC: &str = "010000000028820202020000";
const VP9_KEY: &str = "824983420003f003f60638241c184a00002040006b38f7a69b004e0920";
const VP9_INTER: &str = "8600401c00";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn message(kind: MediaKind, timestamp: u32, parts: &[&str]) -> Message {
    Message { kind, timestamp, body: hex(&parts.concat()).into() }
}

#[derive(Default)]
struct Bench(Demuxer);

impl Bench {
    fn send(&mut self, kind: MediaKind, timestamp: u32, parts: &[&str]) -> Vec<Demuxed> {
        self.0.push(&message(kind, timestamp, parts));
        std::iter::from_fn(|| self.0.poll()).collect()
    }

    fn video(&mut self, parts: &[&str]) -> Vec<Demuxed> {
        self.send(MediaKind::Video, 0, parts)
    }

    fn audio(&mut self, parts: &[&str]) -> Vec<Demuxed> {
        self.send(MediaKind::Audio, 0, parts)
    }

    fn bad_units(&mut self) -> u32 {
        self.0.take_counts().map(|(kind, count)| if kind == Anomaly::BadUnit { count } else { 0 }).sum()
    }
}

fn config(items: &[Demuxed]) -> &CodecConfig {
    match items {
        [Demuxed::Config(_, config), ..] => config,
        other => panic!("no configuration: {other:?}"),
    }
}

fn frame(items: &[Demuxed]) -> &CodedFrame {
    match items {
        [Demuxed::Frame(frame)] => frame,
        other => panic!("no frame: {other:?}"),
    }
}

#[test]
fn a_header_and_frames_become_a_configuration_and_frames() {
    let mut bench = Bench::default();
    assert_eq!(config(&bench.video(&["17 00 000000", AVCC])).rfc6381(), "avc1.42c00d");
    let items = bench.send(MediaKind::Video, 40, &["17 01 000043", IDR]);
    let key = frame(&items);
    assert_eq!((key.timestamp, key.cts, key.sync, key.disposable), (40, 0x43, true, false));
    assert_eq!(key.payload, hex("00000006 658884000d0a"), "without its delimiter");
    let items = bench.video(&["27 01 000000", B]);
    assert_eq!((frame(&items).sync, frame(&items).disposable), (false, true));
}

#[test]
fn a_repeated_header_changes_nothing_and_another_waits_for_its_key_frame() {
    // RTMP-48.
    let mut bench = Bench::default();
    bench.video(&["17 00 000000", AVCC]);
    bench.video(&["17 01 000000", IDR]);
    assert_eq!(bench.video(&["17 00 000000", AVCC]), []);
    assert_eq!(bench.video(&["27 01 000000", P]).len(), 1);
    assert_eq!(config(&bench.video(&["17 00 000000", AVCC_720])).picture().unwrap().width, 1280);
    assert_eq!(bench.video(&["27 01 000000", P]), []);
    assert!(frame(&bench.video(&["17 01 000000", IDR])).sync);
    assert_eq!(bench.video(&["27 01 000000", P]).len(), 1);
    assert_eq!(bench.bad_units(), 0);
}

#[test]
fn sync_is_what_the_bitstream_says() {
    // RTMP-47: the header's key flag on an inter frame, and an IDR without the flag.
    let mut bench = Bench::default();
    bench.video(&["17 00 000000", AVCC]);
    assert_eq!(bench.video(&["17 01 000000", P]), []);
    assert!(frame(&bench.video(&["27 01 000000", IDR])).sync);
    assert!(!frame(&bench.video(&["17 01 000000", P])).sync);
}

#[test]
fn parameter_sets_in_band_are_taken_out_and_followed() {
    // RTMP-49.
    let mut bench = Bench::default();
    bench.video(&["17 00 000000", AVCC]);
    let items = bench.video(&["17 01 000000", AVC_SETS, IDR]);
    assert_eq!(frame(&items).payload, hex("00000006 658884000d0a"));
    let items = bench.video(&["17 01 000000", AVC_720_SETS, IDR]);
    assert_eq!(config(&items).picture().unwrap().width, 1280);
    assert!(frame(&items[1..]).sync);
    // Sets alone: the next IDR is coded with them.
    assert_eq!(config(&bench.video(&["27 01 000000", AVC_SETS])).picture().unwrap().width, 320);
    assert_eq!(bench.video(&["27 01 000000", P]), []);
    assert!(frame(&bench.video(&["17 01 000000", IDR])).sync);
}

#[test]
fn hevc_comes_by_number_12_and_by_four_cc() {
    let mut legacy = Bench::default();
    let mut enhanced = Bench::default();
    let a = config(&legacy.video(&["1C 00 000000", HVCC])).clone();
    let b = config(&enhanced.video(&["90 68766331", HVCC])).clone();
    assert_eq!((a.rfc6381().as_str(), &a), ("hvc1.4.10.L60.9E.08", &b));
    assert!(frame(&legacy.video(&["1C 01 000000", HEVC_IDR])).sync);
    assert!(frame(&enhanced.video(&["93 68766331", HEVC_IDR])).sync);
    let items = enhanced.video(&["A1 68766331 000021", HEVC_P]);
    assert_eq!((frame(&items).cts, frame(&items).sync), (33, false));
}

#[test]
fn av1_is_read_with_and_without_a_sequence_header_in_its_record() {
    for record in [AV1C, "81050c00"] {
        let mut bench = Bench::default();
        let start = bench.video(&["90 61763031", record]);
        assert_eq!(bench.video(&["A1 61763031", AV1_INTER]), []);
        let items = bench.video(&["91 61763031", AV1_KEY]);
        let last = items.last().unwrap();
        assert!(matches!(last, Demuxed::Frame(frame) if frame.sync), "{items:?}");
        assert_eq!(config(&items).picture().unwrap().width, 64);
        assert_eq!(start.len(), usize::from(record == AV1C));
        assert!(!frame(&bench.video(&["A1 61763031", AV1_INTER])).sync);
    }
}

#[test]
fn vp9_waits_for_the_key_frame_that_says_its_size() {
    let mut bench = Bench::default();
    assert_eq!(bench.video(&["90 76703039", VPCC]), []);
    assert_eq!(bench.video(&["A1 76703039", VP9_INTER]), []);
    let items = bench.video(&["91 76703039", VP9_KEY]);
    assert_eq!(config(&items).picture().unwrap().width, 64);
    assert!(frame(&items[1..]).sync);
    assert_eq!(bench.video(&["91 76703039", VP9_KEY]).len(), 1);
}

#[test]
fn sound_has_its_samples_counted() {
    let mut bench = Bench::default();
    assert_eq!(config(&bench.audio(&["AF 00 1210"])).rfc6381(), "mp4a.40.2");
    assert_eq!(bench.audio(&["AF 00 1210"]), []);
    let items = bench.audio(&["AF 01 2110"]);
    let aac = frame(&items);
    assert_eq!((aac.samples, aac.nominal, aac.sync), (1_024, 16_384_000, true));
    assert_eq!(config(&bench.audio(&["AF 00 1190"])).sound(), Some((48_000, 2)));

    let mut bench = Bench::default();
    // RTMP-55: an empty OpusHead means stereo; FC is 20 ms.
    assert_eq!(config(&bench.audio(&["90 4F707573"])).sound(), Some((48_000, 2)));
    assert_eq!(frame(&bench.audio(&["91 4F707573 FC FFFE"])).samples, 960);
}

#[test]
fn what_cannot_be_read_is_dropped_and_counted() {
    let mut bench = Bench::default();
    let cases: [(MediaKind, &str); 7] = [
        (MediaKind::Video, "17 01 000000 00000004 419a0001"), // before its header
        (MediaKind::Video, "17 00 000000 0142"),
        (MediaKind::Video, "17 01 00"),
        (MediaKind::Audio, "AF 01 2110"),
        (MediaKind::Audio, "AF 00"),
        (MediaKind::Data, "02 FFFF"),
        (MediaKind::Audio, "91 4F707573 FF"),
    ];
    for (kind, body) in cases {
        let items = bench.send(kind, 0, &[body]);
        assert!(!items.iter().any(|item| matches!(item, Demuxed::Frame(_))), "{body}");
        assert_eq!(bench.bad_units(), 1, "{body}");
    }
    // A NAL length beyond the message (RTMP-65), then a good frame.
    let mut bench = Bench::default();
    bench.video(&["17 00 000000", AVCC]);
    assert_eq!(bench.video(&["17 01 000000", "00FFFFFF 65888400"]), []);
    assert_eq!(bench.bad_units(), 1);
    assert_eq!(bench.video(&["17 01 000000", IDR]).len(), 1);
}

#[test]
fn a_header_that_cannot_be_read_stops_its_track_until_one_can() {
    let mut bench = Bench::default();
    bench.video(&["17 00 000000", AVCC]);
    bench.video(&["17 01 000000", IDR]);
    bench.video(&["17 00 000000 0242"]);
    assert_eq!(bench.video(&["17 01 000000", IDR]), []);
    assert_eq!(bench.video(&["17 00 000000", AVCC]).len(), 1);
    assert_eq!(bench.video(&["17 01 000000", IDR]).len(), 1);
}

#[test]
fn the_streamer_hears_of_what_is_not_used() {
    let mut bench = Bench::default();
    bench.audio(&["2F 01"]);
    assert_eq!(bench.0.take_notice(), Some(Notice::NeedsTranscode("MP3")));
    for _ in 0..3 {
        bench.video(&["A6 01 68766331 06 000021 AA"]);
        bench.video(&["A6 01 68766331 07 000021 AA"]);
    }
    assert_eq!(bench.0.take_notice(), Some(Notice::ExtraTracks(TrackKind::Video, 2)));
    bench.video(&["91 76766331 00"]);
    assert_eq!(
        bench.0.take_notice().map(|n| n.advice()),
        Some(Advice::UnknownCodec { codec: "vvc1".into() })
    );
    bench.video(&["12 00"]);
    assert_eq!(
        bench.0.take_notice().map(|n| n.advice()),
        Some(Advice::UnknownCodec { codec: "FLV video 2".into() })
    );
    assert_eq!(bench.0.take_notice(), None);
}

proptest::proptest! {
    /// Whatever comes after good headers, nothing panics and no frame precedes its track's key frame.
    #[test]
    fn no_message_panics(bodies in proptest::collection::vec(
        (0u8..3, proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)), 0..20)) {
        let mut bench = Bench::default();
        bench.video(&["17 00 000000", AVCC]);
        bench.audio(&["AF 00 1210"]);
        let mut keyed = false;
        for (kind, mut body) in bodies {
            let kind = [MediaKind::Video, MediaKind::Audio, MediaKind::Data][usize::from(kind)];
            if kind == MediaKind::Video && body.len() > 2 {
                body.splice(0..2, [0x27, 1]);
            }
            bench.0.push(&Message { kind, timestamp: 0, body: body.into() });
            while let Some(item) = bench.0.poll() {
                match item {
                    Demuxed::Config(_, config) => keyed &= config.kind() == TrackKind::Audio,
                    Demuxed::Frame(frame) if frame.kind == TrackKind::Video => {
                        keyed |= frame.sync;
                        proptest::prop_assert!(keyed);
                    }
                    Demuxed::Frame(_) => {}
                }
            }
        }
    }
}

#[test]
fn sound_that_needs_a_transcode_comes_with_its_samples_where_one_follows() {
    let mut bench = Bench(Demuxer::new(true));
    // MP3, 44.1 kHz stereo, behind the legacy header and behind a FourCC.
    for header in ["2F", "91 2E6D7033"] {
        let mut bench = Bench(Demuxer::new(true));
        let items = bench.audio(&[header, "fffb5000 00000000"]);
        assert_eq!(config(&items).sound(), Some((44_100, 2)));
        assert!(!config(&items).is_playable());
        assert_eq!(frame(&bench.audio(&[header, "fffb5000 00000000"])).samples, 1_152);
        // A mono frame is another configuration.
        assert_eq!(config(&bench.audio(&[header, "fffb50c4"])).sound(), Some((44_100, 1)));
    }
    // G.711 says its channels in the legacy header alone: 20 ms each.
    assert_eq!(config(&bench.audio(&["72", &"d5".repeat(160)])).sound(), Some((8_000, 1)));
    assert_eq!(frame(&bench.audio(&["72", &"d5".repeat(160)])).nominal, 705_600_000 / 50);
    assert_eq!(config(&bench.audio(&["83", &"ff".repeat(320)])).sound(), Some((8_000, 2)));
    // FLAC needs its header, and E-AC-3 none.
    assert_eq!(bench.audio(&["91 664c6143", "fff85a8800374e00"]), []);
    let info = "664c6143 00000022 1200 1200 0000fc 000511 0bb802f0 00003840 e5f051c128e84992c0cba99724092b51";
    assert_eq!(config(&bench.audio(&["90 664c6143", info])).sound(), Some((48_000, 2)));
    assert_eq!(frame(&bench.audio(&["91 664c6143", "fff85a8800374e00"])).samples, 4_608);
    assert_eq!(config(&bench.audio(&["91 65632d33", "0b77037f3f87c00020f8"])).sound(), Some((48_000, 6)));
    assert_eq!(bench.bad_units(), 1);
    assert_eq!(bench.0.take_notice(), None);
    assert_eq!(bench.audio(&["2F", "00"]), [], "no frame's header");
    assert_eq!(bench.bad_units(), 1);
}

#[test]
fn it_is_left_out_with_a_word_where_none_follows() {
    let mut bench = Bench::default();
    for (body, name) in
        [("2F fffb5000", "MP3"), ("72 d5", "G.711"), ("91 61632d33 0b77", "AC-3"), ("B2 00", "Speex")]
    {
        assert_eq!(bench.audio(&[body]), []);
        assert_eq!(bench.0.take_notice(), Some(Notice::NeedsTranscode(name)));
    }
}

#[test]
fn further_tracks_have_configurations_and_frames_of_their_own() {
    let mut bench = Bench::default();
    let track = |items: &[Demuxed]| match items {
        [Demuxed::Config(track, _)] => *track,
        [Demuxed::Frame(frame)] => frame.track,
        other => panic!("{other:?}"),
    };
    assert_eq!(track(&bench.video(&["17 00 000000", AVCC])), TrackId::VIDEO);
    // As OBS sends them: one further track in each message.
    assert_eq!(track(&bench.video(&["96 00 61766331 01", AVCC_720])), TrackId(2));
    assert_eq!(bench.video(&["A6 01 61766331 01 000000", P]), [], "it has to begin with a key frame too");
    assert_eq!(track(&bench.video(&["96 01 61766331 01 000000", IDR])), TrackId(2));
    assert_eq!(track(&bench.video(&["17 01 000000", IDR])), TrackId::VIDEO);
    assert_eq!(track(&bench.video(&["96 00 68766331 05", HVCC])), TrackId(6));
    assert_eq!(track(&bench.audio(&["AF 00 1190"])), TrackId::AUDIO);
    assert_eq!(track(&bench.audio(&["95 00 6d703461 01 1208"])), TrackId(7));
    assert_eq!(track(&bench.audio(&["95 01 6d703461 01 21"])), TrackId(7));
    assert_eq!((bench.bad_units(), bench.0.take_notice()), (0, None));
    for id in 2..=11 {
        let (kind, number) = wire_number(TrackId(id));
        assert_eq!(track_id(kind, number), TrackId(id));
    }
}
