use aqueduct_common::codec::ForeignCodec;
use proptest::prelude::*;

use super::adts::tests::adts;
use super::*;

/// avcC of 1280x720.
const AVCC: [u8; 41] = [
    1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 24, 0x67, 0x64, 0, 0x1f, 0xac, 0xd9, 0x40, 0x50, 5, 0xbb, 1, 0x6a, 2, 2,
    2, 0x80, 0, 0, 3, 0, 0x80, 0, 0, 0x1e, 1, 0, 6, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0,
];
const IDR: [u8; 4] = [0x65, 0x88, 0x84, 0x21];
const OTHER: [u8; 3] = [0x41, 0x9a, 0x01];

fn sets() -> [&'static [u8]; 2] {
    [&AVCC[8..32], &AVCC[35..41]]
}

fn avcc() -> Vec<u8> {
    AVCC.to_vec()
}

fn stream(track: u8, codec: &str, header: Vec<u8>) -> Stream {
    let (rate, channels) = if track == 0 { (0, 0) } else { (48_000, 2) };
    Stream { track, codec: codec.into(), header, rate, channels, profile: -1, language: String::new() }
}

fn packet(track: TrackId, dts: i64, payload: Vec<u8>) -> Packet {
    Packet {
        track,
        key: false,
        damaged: false,
        dts,
        pts: dts.saturating_add(40),
        duration: 40,
        payload: payload.into(),
    }
}

fn annex_b(units: &[&[u8]]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect()
}

fn lengths(units: &[&[u8]]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes()[..], unit].concat()).collect()
}

fn opened(streams: &[Stream], transcodes: bool) -> (Tracks, Vec<Pulled>) {
    let (mut tracks, mut out) = (Tracks::new(transcodes), Vec::new());
    tracks.streams(streams, &mut out);
    (tracks, out)
}

fn all(tracks: &mut Tracks, packets: Vec<Packet>) -> Vec<Pulled> {
    let mut out = Vec::new();
    packets.into_iter().for_each(|packet| tracks.packet(packet, &mut out));
    out
}

fn frames(out: &[Pulled]) -> Vec<(i64, bool, Vec<u8>)> {
    let frame = |item: &Pulled| match item {
        Pulled::Frame(frame) => Some((frame.nanos, frame.sync, frame.payload.to_vec())),
        _ => None,
    };
    out.iter().filter_map(frame).collect()
}

#[test]
fn start_codes_and_parameter_sets_in_band_become_a_record_and_lengths() {
    let (mut tracks, said) = opened(&[stream(0, "h264", Vec::new())], false);
    assert_eq!(said, []);
    let [sps, pps] = sets();
    let out = all(
        &mut tracks,
        vec![
            packet(TrackId::VIDEO, 0, annex_b(&[&[9, 0xf0], &OTHER])),
            packet(TrackId::VIDEO, 40, annex_b(&[&[9, 0xf0], sps, pps, &IDR])),
            packet(TrackId::VIDEO, 80, annex_b(&[&OTHER])),
            packet(TrackId::VIDEO, 120, annex_b(&[sps, pps, &IDR])),
        ],
    );
    let Pulled::Config(TrackId::VIDEO, CodecConfig::H264(config)) = &out[0] else { panic!("{out:?}") };
    assert_eq!((config.picture.width, config.picture.height), (1_280, 720));
    let expected =
        [(40, true, lengths(&[&IDR])), (80, false, lengths(&[&OTHER])), (120, true, lengths(&[&IDR]))];
    assert_eq!(frames(&out), expected, "what comes before a keyframe is dropped");
    assert_eq!(out.len(), 4, "the same sets again say nothing new");
}

#[test]
fn a_container_s_record_is_taken_and_the_next_file_says_it_again_only_where_it_differs() {
    let (mut tracks, _) = opened(&[stream(0, "h264", avcc())], false);
    let file =
        || vec![packet(TrackId::VIDEO, 0, lengths(&[&IDR])), packet(TrackId::VIDEO, 40, lengths(&[&OTHER]))];
    let out = all(&mut tracks, file());
    assert!(matches!(&out[0], Pulled::Config(TrackId::VIDEO, CodecConfig::H264(_))));
    assert_eq!(frames(&out).len(), 2);
    let mut again = Vec::new();
    tracks.streams(&[stream(0, "h264", avcc())], &mut again);
    again.extend(all(&mut tracks, file()));
    assert_eq!((again.len(), frames(&again).len()), (2, 2));
}

#[test]
fn adts_becomes_raw_frames_with_times_of_their_own() {
    let (mut tracks, _) = opened(&[stream(1, "aac", Vec::new())], false);
    let two = [adts(&[0x21, 1]), adts(&[0x21, 2])].concat();
    let out = all(&mut tracks, vec![packet(TrackId::AUDIO, 1_000, two)]);
    let Pulled::Config(TrackId::AUDIO, CodecConfig::Aac(config)) = &out[0] else { panic!("{out:?}") };
    assert_eq!((config.output_rate, config.channels), (48_000, 2));
    assert_eq!(frames(&out), [(1_000, true, vec![0x21, 1]), (21_334_333, true, vec![0x21, 2])]);
    let Pulled::Frame(frame) = &out[1] else { panic!("{out:?}") };
    assert_eq!((frame.samples, frame.rate), (1_024, 48_000));
    // What is no ADTS is left out and counted.
    assert_eq!(all(&mut tracks, vec![packet(TrackId::AUDIO, 2_000, vec![1, 2, 3])]), []);
    let mut said = Vec::new();
    tracks.tell_faults(&mut said);
    tracks.tell_faults(&mut said);
    assert_eq!(said, [Pulled::Faulty { bad: 1, damaged: 0 }]);
}

#[test]
fn sound_that_needs_a_transcode_goes_on_only_where_one_follows() {
    let alaw = Stream { rate: 8_000, channels: 1, ..stream(1, "pcm_alaw", Vec::new()) };
    let (mut tracks, said) = opened(std::slice::from_ref(&alaw), true);
    assert_eq!(said, []);
    let out = all(&mut tracks, vec![packet(TrackId::AUDIO, 0, vec![0xd5; 160])]);
    let Pulled::Config(_, CodecConfig::Foreign(config)) = &out[0] else { panic!("{out:?}") };
    assert_eq!((config.codec, config.rate), (ForeignCodec::ALaw, 8_000));
    let Pulled::Frame(frame) = &out[1] else { panic!("{out:?}") };
    assert_eq!((frame.samples, frame.rate), (160, 8_000));
    let (mut tracks, said) = opened(&[alaw], false);
    assert!(matches!(&said[..], [Pulled::Trouble(words)] if words.contains("G.711")), "{said:?}");
    assert_eq!(all(&mut tracks, vec![packet(TrackId::AUDIO, 0, vec![0xd5; 160])]), []);
}

#[test]
fn pictures_that_need_a_transcode_go_on_only_where_one_follows() {
    let (mut tracks, said) = opened(&[stream(0, "mpeg2video", Vec::new())], true);
    assert_eq!(said, []);
    let header = [0, 0, 1, 0xb3, 0x2d, 2, 0x40, 0x33, 0xff, 0xff, 0xe0, 0x18];
    let intra = [&header[..], &[0, 0, 1, 0, 0, 0x0f, 0xff, 0xf8]].concat();
    let (between, other) = (vec![0, 0, 1, 0, 0, 0x97, 0xff, 0xf8], vec![0, 0, 1, 0, 0, 0x9f, 0xff, 0xf8]);
    let packets = [between.clone(), intra.clone(), between, other];
    let packets = packets.into_iter().zip(0..).map(|(data, at)| packet(TrackId::VIDEO, at, data)).collect();
    let out = all(&mut tracks, packets);
    let Pulled::Config(_, CodecConfig::ForeignVideo(pictures)) = &out[0] else { panic!("{out:?}") };
    assert_eq!((pictures.picture.width, pictures.picture.height), (720, 576));
    let sync: Vec<_> = frames(&out).into_iter().map(|(at, sync, _)| (at, sync)).collect();
    assert_eq!(sync, [(1, true), (2, false), (3, false)], "it begins where decoding can");
    for codec in ["mpeg2video", "mjpeg"] {
        let (mut tracks, said) = opened(&[stream(0, codec, Vec::new())], false);
        assert!(
            matches!(&said[..], [Pulled::Trouble(words)] if words.contains("transcode.mode")),
            "{said:?}"
        );
        assert_eq!(all(&mut tracks, vec![packet(TrackId::VIDEO, 0, intra.clone())]), []);
    }
}

#[test]
fn codecs_that_cannot_be_taken_are_named_and_the_rest_plays() {
    let (mut tracks, said) =
        opened(&[stream(0, "theora", Vec::new()), stream(1, "aac", vec![0x11, 0x90])], true);
    assert!(matches!(&said[..], [Pulled::Trouble(words)] if words.contains("theora")), "{said:?}");
    let out = all(
        &mut tracks,
        vec![packet(TrackId::VIDEO, 0, vec![0; 9]), packet(TrackId::AUDIO, 0, vec![0x21, 1])],
    );
    assert_eq!(frames(&out), [(0, true, vec![0x21, 1])]);
}

#[test]
fn an_absurd_presentation_time_is_not_believed() {
    let (mut tracks, _) = opened(&[stream(0, "h264", avcc())], false);
    let mad = Packet { pts: i64::MAX, dts: i64::MIN, ..packet(TrackId::VIDEO, 0, lengths(&[&IDR])) };
    let out = all(&mut tracks, vec![mad]);
    assert!(matches!(&out[1], Pulled::Frame(Frame { offset: 0, .. })), "{out:?}");
}

proptest! {
    #[test]
    fn no_bytes_lead_to_a_panic(
        codec in 0..15_usize,
        header in prop::collection::vec(any::<u8>(), 0..60),
        payloads in prop::collection::vec(prop::collection::vec(0..8_u8, 0..60), 0..6),
        rate in any::<u32>(),
        channels in any::<u16>(),
    ) {
        let names = [
 "h264", "hevc", "av1", "vp9", "mjpeg", "mpeg2video", "aac", "opus", "mp3", "ac3", "eac3", "flac", "vorbis", "pcm_alaw", "x",
        ];
        let track = u8::from(codec > 5);
        let stream = Stream { rate, channels, ..stream(track, names[codec], header) };
        let (mut tracks, _) = opened(&[stream], true);
        let packets = payloads.into_iter().map(|payload| packet(TrackId(track), i64::MAX, payload)).collect();
        for item in all(&mut tracks, packets) {
            if let Pulled::Frame(frame) = item {
                prop_assert!(frame.kind == TrackKind::Video || (frame.samples > 0 && frame.rate > 0));
            }
        }
    }
}
