use aqueduct_common::codec::{AacConfig, AvcConfig, OpusConfig};
use aqueduct_common::track::Grid;
use aqueduct_common::{CodecConfig, MediaTime, Timescale, Track, TrackId, WallTime};
use bytes::{Buf as _, Bytes};
use proptest::prelude::*;

use super::*;
use crate::hardware::{Backend, Chosen};

/// What x264 says of 1280×720 at 30 frames a second.
const AVCC: &[u8] = &[
    1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 24, 0x67, 0x64, 0, 0x1f, 0xac, 0xd9, 0x40, 0x50, 5, 0xbb, 1, 0x6a, 2, 2,
    2, 0x80, 0, 0, 3, 0, 0x80, 0, 0, 0x1e, 1, 0, 6, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0,
];

fn track(id: u8) -> Track {
    let codec = CodecConfig::H264(AvcConfig::parse(&Bytes::from_static(AVCC)).unwrap());
    Track {
        id: TrackId(id),
        codec,
        timescale: Timescale::VIDEO,
        grid: Grid::Fixed(MediaTime::new(3_000, Timescale::VIDEO)),
        reorder_delay: 6_000,
        language: "und".into(),
        bandwidth: Some(3_000_000),
    }
}

fn sound(id: u8, opus: bool, rate: u32) -> Track {
    let codec = if opus {
        let head = [b"OpusHead".as_slice(), &[1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0x10, 0x01, 0]].concat();
        CodecConfig::Opus(OpusConfig::parse_head(&head.into()).unwrap())
    } else {
        CodecConfig::Aac(AacConfig::parse(&Bytes::from_static(&[0x11, 0x90])).unwrap())
    };
    let grid = Grid::Variable { widest: MediaTime::new(1_024, Timescale::of(48_000)) };
    let timescale = Timescale::new(rate).unwrap();
    Track {
        id: TrackId(id),
        codec,
        timescale,
        grid,
        reorder_delay: 0,
        language: "de".into(),
        bandwidth: None,
    }
}

prop_compose! {
    fn frame()(
        track in any::<u8>(), dts in -(1i64 << 53)..=1 << 53, pts in -(1i64 << 53)..=1 << 53,
        duration in 1u32.., sync: bool, disposable: bool, micros: i64,
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) -> Frame {
        let (track, received, payload) = (TrackId(track), WallTime { micros }, payload.into());
        Frame { track, dts, pts, duration, sync, disposable, received, payload }
    }
}

prop_compose! {
    fn rung()(
        track in 16u8..32, width in 2u32..4_096, height in 2u32..4_096, bitrate: u32, peak: u32,
        half_rate: bool, crf: Option<u8>, preset in 0usize..6,
    ) -> Rung {
        let presets = [
            Preset::Ultrafast, Preset::Superfast, Preset::Veryfast, Preset::Faster, Preset::Fast, Preset::Medium,
        ];
        let (track, codec, preset) = (TrackId(track), VideoCodec::H264, presets[preset]);
        Rung { track, width, height, bitrate, peak, buffer_ms: 500, half_rate, codec, preset, crf }
    }
}

prop_compose! {
    fn job()(
        rungs in proptest::option::of(proptest::collection::vec(rung(), 0..6)),
        regular: Option<(u32, u32, u32)>, tenths in -300i32..0, resume: Option<i64>, plant: Option<u64>,
    ) -> Job {
        let mode = regular.map_or(Mode::Aligned, |(frame, timescale, gop)| Mode::Regular { frame, timescale, gop });
        let loudness = Some(Loudness { target: f64::from(tenths) / 10.0, ceiling: -1.0 });
        let sound = AudioJob { source: TrackId(1), track: TrackId(32), bitrate: 128_000, loudness };
        let backends = vec![Backend::Nvidia, Backend::Software];
        Job {
            version: VERSION,
            mode,
            video: rungs.map(|rungs| VideoJob { source: TrackId::VIDEO, rungs }),
            audio: vec![sound],
            hardware: Chosen { decode: backends.clone(), encode: backends, device: String::new() },
            resume,
            plant: plant.map(|after_frames| Plant { after_frames, fault: PlantedFault::Hang }),
        }
    }
}

fn report() -> Report {
    let rung = RungReport {
        track: TrackId(17),
        frames: 30,
        encode_micros: 150_000,
        encode_p95_micros: 7_000,
        bits: 2_400_000,
        mean_qp: Some(26.5),
    };
    Report {
        frames_in: 30,
        rungs: vec![rung],
        decoder: "h264".into(),
        complexity: Some(0.75),
        sound: vec![SoundReport {
            track: TrackId(32),
            integrated: Some(-16.2),
            short_term: None,
            true_peak: Some(-1.1),
            gain: 3.5,
            reduction: 0.0,
        }],
        ..Report::default()
    }
}

fn to_worker() -> impl Strategy<Value = ToWorker> {
    prop_oneof![
        frame().prop_map(ToWorker::Frame),
        job().prop_map(ToWorker::Job),
        (any::<u8>(), any::<bool>(), 1u32..)
            .prop_map(|(id, opus, rate)| { ToWorker::Source(vec![track(id), sound(1, opus, rate)]) }),
        Just(ToWorker::Break),
        Just(ToWorker::End),
        any::<(u8, u32)>().prop_map(|(id, rate)| ToWorker::Order(Order::Bitrate(TrackId(id), rate))),
        any::<u8>().prop_map(|id| ToWorker::Order(Order::Stop(TrackId(id)))),
        any::<(u8, i64)>().prop_map(|(id, from)| ToWorker::Order(Order::Start(TrackId(id), from))),
        any::<i64>().prop_map(|from| ToWorker::Order(Order::Begin(from))),
        Just(ToWorker::Order(Order::Echo)),
        Just(ToWorker::Order(Order::Preset(Preset::Superfast))),
    ]
}

fn from_worker() -> impl Strategy<Value = FromWorker> {
    let fallback = |reason| {
        let (from, to) = (Backend::Nvidia, Some(Backend::Software));
        FromWorker::Fallback(Fallback { stage: Stage::Encode, from, to, reason })
    };
    prop_oneof![
        frame().prop_map(FromWorker::Frame),
        any::<u16>().prop_map(|version| FromWorker::Ready { version }),
        any::<u8>().prop_map(|id| FromWorker::Track(track(id))),
        ".{0,80}".prop_map(fallback),
        Just(FromWorker::Echo),
        Just(FromWorker::Report(report())),
        ".{0,80}".prop_map(FromWorker::Trouble),
    ]
}

fn bytes<M: Message>(messages: &[M]) -> Vec<u8> {
    messages
        .iter()
        .flat_map(|message| {
            let mut all = encode(message).unwrap().into_buf();
            all.copy_to_bytes(all.remaining())
        })
        .collect()
}

/// Feeds `wire` in pieces of the given lengths, over and over, and collects what comes out.
fn read<M: Message>(wire: &[u8], pieces: &[usize]) -> Vec<M> {
    let (mut reader, mut messages, mut rest) = (Reader::default(), Vec::new(), wire);
    for piece in pieces.iter().cycle() {
        let (now, later) = rest.split_at((*piece).clamp(1, rest.len().max(1)).min(rest.len()));
        reader.push(now);
        while let Some(message) = reader.poll() {
            messages.push(message.unwrap());
        }
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(reader.pending(), 0, "nothing is left over");
    messages
}

proptest! {
    #[test]
    fn what_is_written_to_a_worker_is_read_however_it_is_cut(
        messages in proptest::collection::vec(to_worker(), 1..8),
        pieces in proptest::collection::vec(1usize..700, 1..6),
    ) {
        prop_assert_eq!(read::<ToWorker>(&bytes(&messages), &pieces), messages);
    }

    #[test]
    fn what_a_worker_writes_is_read_however_it_is_cut(
        messages in proptest::collection::vec(from_worker(), 1..8),
        pieces in proptest::collection::vec(1usize..700, 1..6),
    ) {
        prop_assert_eq!(read::<FromWorker>(&bytes(&messages), &pieces), messages);
    }

    #[test]
    fn a_spoiled_byte_costs_an_error_at_most_and_then_silence(
        messages in proptest::collection::vec(from_worker(), 1..6), at: prop::sample::Index, flip in 1u8..,
    ) {
        let mut wire = bytes(&messages);
        let at = at.index(wire.len());
        wire[at] ^= flip;
        let mut reader = Reader::<FromWorker>::default();
        reader.push(&wire);
        let mut failed = false;
        while let Some(message) = reader.poll() {
            prop_assert!(!failed, "nothing comes after an error");
            failed = message.is_err();
        }
    }

    #[test]
    fn anything_at_all_is_survived(wire in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (mut to, mut from) = (Reader::<ToWorker>::default(), Reader::<FromWorker>::default());
        to.push(&wire);
        from.push(&wire);
        while to.poll().is_some() {}
        while from.poll().is_some() {}
    }
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_its_bytes_come() {
    let mut reader = Reader::<FromWorker>::default();
    reader.push(&(BODY_MAX as u32 + 1).to_be_bytes());
    assert!(matches!(reader.poll(), Some(Err(ProtocolError::TooLong(_)))));
    reader.push(&[0; 64]);
    assert!(reader.poll().is_none() && reader.pending() == 0, "a reader that failed keeps nothing");
}

#[test]
fn a_control_message_may_not_be_as_long_as_a_frame() {
    let mut reader = Reader::<FromWorker>::default();
    reader.push(&(CONTROL_MAX as u32 + 1).to_be_bytes());
    reader.push(&[70]);
    assert!(matches!(reader.poll(), Some(Err(ProtocolError::TooLong(_)))));
    let text = FromWorker::Trouble("x".repeat(CONTROL_MAX));
    assert!(matches!(encode(&text), Err(ProtocolError::TooLong(_))));
}

#[test]
fn a_message_of_the_other_direction_is_refused() {
    let mut reader = Reader::<FromWorker>::default();
    reader.push(&bytes(&[ToWorker::Break]));
    assert!(matches!(reader.poll(), Some(Err(ProtocolError::Kind(4)))));
}

#[test]
fn a_payload_is_a_slice_of_what_was_read() {
    let payload = Bytes::from(vec![7; 1_000]);
    let received = WallTime::default();
    let frame = Frame {
        track: TrackId(16),
        dts: 0,
        pts: 0,
        duration: 1,
        sync: true,
        disposable: false,
        received,
        payload,
    };
    let mut reader = Reader::<FromWorker>::default();
    reader.push(&bytes(&[FromWorker::Frame(frame)]));
    let held = reader.buffer().as_ptr_range();
    let Some(Ok(FromWorker::Frame(read))) = reader.poll() else { panic!("a frame") };
    assert!(held.contains(&read.payload.as_ptr()));
}

#[test]
fn presets_step_both_ways_and_end() {
    assert_eq!(Preset::Veryfast.quicker(), Some(Preset::Superfast));
    assert_eq!(Preset::Ultrafast.quicker(), None);
    assert_eq!(Preset::Superfast.slower(), Some(Preset::Veryfast));
    assert_eq!(Preset::Medium.slower(), None);
}
