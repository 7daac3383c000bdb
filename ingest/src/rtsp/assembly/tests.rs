mod faults;

use super::*;
use crate::rtsp::sdp;
use crate::stream::clock;
use aqueduct_common::codec::{CodecConfig, ForeignCodec, ForeignConfig};
use bytes::Bytes;
use proptest::prelude::*;

/// H.264, 320x240, baseline, as x264 writes it.
const SPS: &str = "6742c00dd90141fb011000000300100000030320f142a480";
const PPS: &str = "68cb83cb20";
const IDR: &[u8] = b"\x65\x88\x84\0\x0d\x0a";
const P: &[u8] = b"\x41\x9a\0\x01";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn describe(media: &str) -> Vec<Option<Medium>> {
    let text = format!("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n{media}");
    sdp::parse(text.as_bytes()).unwrap()
}

const VIDEO: &str = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n";
const PCMU: &str = "m=audio 0 RTP/AVP 0\r\n";
const AAC: &str = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\n\
                   a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190\r\n";

struct Camera {
    assembly: Assembly,
    start: Instant,
    sequence: [u16; 2],
    taken: Vec<Taken>,
}

impl Camera {
    fn new(media: &str, may_overtake: bool) -> Self {
        let assembly = Assembly::new(&describe(media), true, may_overtake).unwrap();
        Self { assembly, start: clock(), sequence: [65_500, 7], taken: Vec::new() }
    }

    fn at(&self, millis: i64) -> (Instant, WallTime) {
        let at = self.start + Duration::from_millis(millis as u64);
        (at, WallTime { micros: 1_700_000_000_000_000 + millis * 1_000 })
    }

    fn packet(&mut self, medium: usize, payload: &[u8], timestamp: u32, marker: bool, millis: i64) -> Packet {
        let (at, wall) = self.at(millis);
        let payload_type = if medium == 0 { 96 } else { 97 };
        let sequence = self.sequence[medium];
        self.sequence[medium] = sequence.wrapping_add(1);
        let (source, payload) = (medium as u32 + 1, Bytes::copy_from_slice(payload));
        Packet { payload_type, sequence, timestamp, source, marker, payload, at, wall }
    }

    fn give(&mut self, medium: usize, packet: Packet) {
        self.assembly.rtp(medium, packet);
        self.taken.extend(std::iter::from_fn(|| self.assembly.poll()));
    }

    fn send(&mut self, medium: usize, payload: &[u8], timestamp: u32, marker: bool, millis: i64) {
        let packet = self.packet(medium, payload, timestamp, marker, millis);
        self.give(medium, packet);
    }

    /// A picture that is shown at `shown` milliseconds of the camera's clock, with its parameter sets where it is a
    /// keyframe.
    fn picture(&mut self, nal: &[u8], shown: i64, millis: i64) {
        let timestamp = (u32::MAX - 9_000).wrapping_add((shown * 90) as u32);
        if nal[0] == IDR[0] {
            self.send(0, &hex(SPS), timestamp, false, millis);
            self.send(0, &hex(PPS), timestamp, false, millis);
        }
        self.send(0, nal, timestamp, true, millis);
    }

    /// An AAC packet of two access units.
    fn sound(&mut self, millis_of_media: i64, millis: i64) {
        let units = [&[0, 32, 0, 2 << 3, 0, 2 << 3][..], b"abcd"].concat();
        self.send(1, &units, (millis_of_media * 48) as u32, true, millis);
    }

    fn report(&mut self, medium: usize, wall: u64, rtp: u32, millis: i64) {
        let mut raw = vec![0x80, 200, 0, 6];
        raw.extend_from_slice(&(medium as u32 + 1).to_be_bytes());
        raw.extend_from_slice(
            &(((3_900_000_000 + wall / 1_000) << 32) | (((wall % 1_000) << 32) / 1_000)).to_be_bytes(),
        );
        raw.extend_from_slice(&rtp.to_be_bytes());
        raw.extend_from_slice(&[0; 8]);
        let at = self.at(millis).0;
        self.assembly.rtcp(medium, &raw, at);
        self.taken.extend(std::iter::from_fn(|| self.assembly.poll()));
    }

    /// Track, decode and presentation time in milliseconds since the axis began, and whether it is a sync sample.
    fn frames(&self) -> Vec<(u32, i64, i64, bool)> {
        let frame = |taken: &Taken| match &taken.item {
            Demuxed::Frame(frame) => {
                let decoded = i64::from(frame.timestamp) - BEGIN / MILLI;
                Some((frame.track.0.into(), decoded, decoded + i64::from(frame.cts), frame.sync))
            }
            Demuxed::Config(..) => None,
        };
        self.taken.iter().filter_map(frame).collect()
    }

    fn counted(&mut self, wanted: Anomaly) -> u32 {
        self.assembly.take_counts().filter(|(kind, _)| *kind == wanted).map(|(_, count)| count).sum()
    }
}

#[test]
fn pictures_without_parameters_in_the_description_play_from_their_keyframe() {
    let mut camera = Camera::new(VIDEO, false);
    camera.picture(P, 0, 0);
    camera.picture(IDR, 40, 40);
    camera.picture(P, 80, 80);
    assert_eq!(camera.frames(), [(0, 40, 40, true), (0, 80, 80, false)]);
    let Demuxed::Config(_, CodecConfig::H264(config)) = &camera.taken[0].item else { panic!() };
    assert_eq!((config.picture.width, config.picture.height), (320, 240));
    assert_eq!(camera.taken[1].at, camera.at(40).0);
}

#[test]
fn a_lost_packet_costs_the_pictures_up_to_the_next_keyframe() {
    let mut camera = Camera::new(VIDEO, false);
    camera.picture(IDR, 0, 0);
    let lost = camera.packet(0, P, 0, true, 40);
    drop(lost);
    camera.picture(P, 80, 80);
    camera.picture(P, 120, 120);
    camera.picture(IDR, 160, 160);
    let shown: Vec<_> = camera.frames().iter().map(|frame| frame.2).collect();
    assert_eq!(shown, [0, 160]);
    assert_eq!(camera.counted(Anomaly::PacketLost), 1);
}

/// Issue: 2 % of a camera's packets are lost on UDP.
#[test]
fn with_one_packet_in_fifty_lost_a_stream_goes_on() {
    let mut camera = Camera::new(VIDEO, true);
    let mut random = 7u32;
    for n in 0..1_000 {
        let at = n * 40;
        let nal = if n % 25 == 0 { IDR } else { P };
        // A picture in three packets.
        let pieces: Vec<Vec<u8>> = (0..3)
            .map(|piece| {
                let bits = [0x80, 0, 0x40][piece];
                vec![nal[0] & 0x60 | 28, bits | nal[0] & 0x1f, nal[1], nal[2], 0xd, 0xa]
            })
            .collect();
        let timestamp = (n * 3_600) as u32;
        let mut payloads = if n % 25 == 0 { vec![hex(SPS), hex(PPS)] } else { vec![] };
        payloads.extend(pieces);
        let last = payloads.len() - 1;
        for (index, payload) in payloads.iter().enumerate() {
            let packet = camera.packet(0, payload, timestamp, index == last, at);
            random = random.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            if !(random >> 16).is_multiple_of(50) {
                camera.give(0, packet);
            }
        }
    }
    let frames = camera.frames();
    assert!(frames.len() > 300, "{} of 1000 pictures", frames.len());
    assert!(camera.counted(Anomaly::PacketLost) > 30);
    for pair in frames.windows(2) {
        let step = pair[1].1 - pair[0].1;
        assert!(step > 0 && (step == 40 || pair[1].3), "what follows a loss is a keyframe: {pair:?}");
    }
}

#[test]
fn new_parameter_sets_in_mid_stream_are_a_new_configuration() {
    let mut camera = Camera::new(VIDEO, false);
    camera.picture(IDR, 0, 0);
    camera.picture(P, 40, 40);
    let timestamp = (u32::MAX - 9_000).wrapping_add(80 * 90);
    camera.send(0, &hex("674d4020eca02802dd80880000030008000003032078c18cb0"), timestamp, false, 80);
    camera.send(0, &hex("68ebe3cb20"), timestamp, false, 80);
    camera.send(0, IDR, timestamp, true, 80);
    let width = |taken: &Taken| match &taken.item {
        Demuxed::Config(_, config) => config.picture().map(|picture| picture.width),
        Demuxed::Frame(_) => None,
    };
    assert_eq!(camera.taken.iter().filter_map(width).collect::<Vec<_>>(), [320, 1280]);
    assert_eq!(camera.frames().last().map(|frame| (frame.2, frame.3)), Some((80, true)));
}

#[test]
fn sound_lies_where_the_reports_of_both_tracks_say() {
    let mut camera = Camera::new(&format!("{VIDEO}{AAC}"), false);
    camera.picture(IDR, 0, 0);
    camera.sound(0, 100);
    assert!(camera.frames().is_empty(), "frames wait for reports");
    // The sound of the first packet was captured with the first picture, and came 100 ms later.
    camera.report(0, 5_250, u32::MAX - 9_000, 120);
    camera.report(1, 5_250, 0, 130);
    assert_eq!(camera.frames(), [(0, 0, 0, true), (1, 0, 0, true), (1, 21, 21, true)]);
}

#[test]
fn without_reports_frames_wait_a_second_and_lie_as_they_came() {
    let mut camera = Camera::new(&format!("{VIDEO}{AAC}"), false);
    camera.picture(IDR, 0, 0);
    camera.sound(0, 100);
    let due = camera.assembly.poll_timeout().unwrap();
    assert_eq!(due, camera.start + SETTLE);
    camera.assembly.handle_timeout(due);
    camera.taken.extend(std::iter::from_fn(|| camera.assembly.poll()));
    assert_eq!(camera.frames()[..2], [(0, 0, 0, true), (1, 100, 100, true)]);
    assert_eq!(camera.assembly.poll_timeout(), None);
}

#[test]
fn over_udp_packets_that_were_overtaken_are_put_back() {
    let mut camera = Camera::new(VIDEO, true);
    camera.picture(IDR, 0, 0);
    let late = camera.packet(0, P, (u32::MAX - 9_000).wrapping_add(3_600), true, 41);
    camera.picture(P, 80, 40);
    camera.give(0, late);
    assert_eq!(camera.frames().iter().map(|frame| frame.2).collect::<Vec<_>>(), [0, 40, 80]);
    assert_eq!(camera.counted(Anomaly::PacketReordered), 1);
}

#[test]
fn packets_of_others_are_left_out_and_a_new_sender_is_taken_after_a_silence() {
    let mut camera = Camera::new(VIDEO, false);
    camera.picture(IDR, 0, 0);
    for (millis, change) in [(10, 0u8), (20, 1)] {
        let mut packet = camera.packet(0, P, 0, true, millis);
        if change == 0 {
            packet.source = 99
        } else {
            packet.payload_type = 50
        }
        camera.give(0, packet);
    }
    assert_eq!((camera.frames().len(), camera.counted(Anomaly::StrayPacket)), (1, 2));
    // Three seconds later another sender, whose clock and numbers begin elsewhere.
    camera.sequence[0] = 1;
    for nal in [&hex(SPS)[..], &hex(PPS), IDR] {
        let mut packet = camera.packet(0, nal, 77, nal == IDR, 3_000);
        packet.source = 99;
        camera.give(0, packet);
    }
    assert_eq!(camera.frames().last(), Some(&(0, 3_000, 3_000, true)));
}

#[test]
fn what_cannot_be_taken_is_named() {
    let jpeg = describe("m=video 0 RTP/AVP 26\r\n");
    assert_eq!(Assembly::new(&jpeg, false, false).unwrap_err(), NothingUsable(vec!["MJPEG"]));
    assert_eq!(Assembly::new(&jpeg, true, false).unwrap().notices(), []);
    let error = Assembly::new(&describe("m=audio 0 RTP/AVP 4\r\na=rtpmap:4 G723/8000\r\n"), true, false);
    assert_eq!(error.unwrap_err(), NothingUsable(vec!["G.723"]));
    let media = describe(&format!("{VIDEO}{PCMU}"));
    let without = Assembly::new(&media, false, false).unwrap();
    assert_eq!(without.notices(), [Notice::NeedsTranscode("G.711")]);
    assert_eq!(without.media().collect::<Vec<_>>(), [0]);
    assert_eq!(Assembly::new(&media, true, false).unwrap().media().collect::<Vec<_>>(), [0, 1]);
}

/// A picture of RFC 2435 in two packets, 320x240, with the tables of its quality.
fn jpeg(offset: u8) -> Vec<u8> {
    [&[0, 0, 0, offset, 1, 60, 40, 30][..], &[0xaa; 100]].concat()
}

#[test]
fn jpegs_are_put_together_and_one_with_a_hole_is_left_out() {
    let mut camera = Camera::new("m=video 0 RTP/AVP 96\r\na=rtpmap:96 JPEG/90000\r\n", false);
    for n in 0..4_u32 {
        camera.send(0, &jpeg(0), n * 3_600, false, i64::from(n) * 40);
        if n == 1 {
            camera.sequence[0] = camera.sequence[0].wrapping_add(1);
        }
        camera.send(0, &jpeg(100), n * 3_600, true, i64::from(n) * 40);
    }
    let Demuxed::Config(_, CodecConfig::ForeignVideo(pictures)) = &camera.taken[0].item else {
        panic!("{:?}", camera.taken);
    };
    assert_eq!((pictures.picture.width, pictures.picture.height), (320, 240));
    let shown: Vec<_> =
        camera.frames().into_iter().map(|(_, decoded, shown, sync)| (decoded, shown, sync)).collect();
    assert_eq!(shown, [(0, 0, true), (80, 80, true), (120, 120, true)]);
    assert_eq!(camera.counted(Anomaly::PacketLost), 1);
}

#[test]
fn g726_comes_in_both_orders_and_four_sizes() {
    for (name, codec, bits, samples) in [
        ("G726-16", ForeignCodec::G726, 2, 320),
        ("G726-32", ForeignCodec::G726, 4, 160),
        ("AAL2-G726-40", ForeignCodec::G726High, 5, 128),
    ] {
        let text = format!("m=audio 0 RTP/AVP 96\r\na=rtpmap:96 {name}/8000\r\n");
        let mut camera = Camera::new(&text, false);
        camera.send(0, &[0x5a; 80], 0, true, 0);
        let [config, frame] = &camera.taken[..] else { panic!("{:?}", camera.taken) };
        let expected = ForeignConfig::g726(codec, bits).unwrap();
        assert_eq!(config.item, Demuxed::Config(TrackId::AUDIO, CodecConfig::Foreign(expected)));
        assert!(matches!(&frame.item, Demuxed::Frame(frame) if frame.samples == samples), "{frame:?}");
    }
}

#[test]
fn a_frame_without_end_is_let_go() {
    let mut camera = Camera::new(VIDEO, false);
    camera.picture(IDR, 0, 0);
    let piece = [&[0x7c, 0x05][..], &[0xaa; 60_000]].concat();
    camera.send(0, &[&[0x7c, 0x85][..], &[0xaa; 60_000]].concat(), 0, false, 40);
    for _ in 0..600 {
        camera.send(0, &piece, 0, false, 40);
    }
    assert!(camera.counted(Anomaly::BadUnit) >= 2);
    camera.picture(IDR, 80, 80);
    assert_eq!(camera.frames().len(), 2);
}

#[test]
fn a_description_with_nonsense_for_parameters_plays_all_the_same() {
    let nonsense =
        "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 sprop-parameter-sets=!!,,;x\r\n";
    let mut camera = Camera::new(nonsense, false);
    camera.picture(IDR, 0, 0);
    assert_eq!(camera.frames().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes as payloads, nothing panics and little is held.
    #[test]
    fn no_payload_panics(
        media in prop_oneof![
            Just(VIDEO),
            Just("m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\n"),
            Just("m=video 0 RTP/AVP 96\r\na=rtpmap:96 JPEG/90000\r\n"),
        ],
        packets in proptest::collection::vec(
            (0usize..2, proptest::collection::vec(any::<u8>(), 0..40), any::<bool>(), 0u32..3, 1u16..4), 0..80),
    ) {
        let mut camera = Camera::new(&format!("{media}{AAC}"), true);
        for (n, (medium, payload, marker, step, skip)) in packets.into_iter().enumerate() {
            camera.sequence[medium] = camera.sequence[medium].wrapping_add(skip - 1);
            camera.send(medium, &payload, n as u32 / 3 * 3_600 + step, marker, n as i64 * 10);
            camera.assembly.rtcp(medium, &payload, camera.start);
        }
    }
}
