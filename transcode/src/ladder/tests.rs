use std::num::NonZeroU32;

use aqueduct_common::codec::{AvcConfig, ForeignVideo, HevcConfig, OpusConfig, Picture};
use aqueduct_common::time::Timescale;
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::config::{Bitrate, RungByHand};
use crate::protocol::{Rung, VideoCodec};

const SECOND: Duration = Duration::from_secs(1);

fn avc(profile: u8, picture: Picture) -> CodecConfig {
    let record = Bytes::copy_from_slice(&[1, profile, 0, 31]);
    CodecConfig::H264(AvcConfig { record, length_size: 4, sps: Vec::new(), pps: Vec::new(), picture })
}

fn picture(width: u32, height: u32, sar: (u32, u32)) -> Picture {
    Picture { width, height, sar, ..Picture::default() }
}

/// A source of H.264 High with square pixels.
fn source(width: u32, height: u32, grid: Grid) -> Track {
    Track {
        id: TrackId::VIDEO,
        codec: avc(100, picture(width, height, (1, 1))),
        timescale: grid.spacing().scale,
        grid,
        reorder_delay: 0,
        language: "und".into(),
        bandwidth: None,
    }
}

fn fixed(frames: u32, seconds: u32) -> Grid {
    Grid::Fixed(MediaTime::new(seconds.into(), Timescale::new(frames).unwrap()))
}

/// The same, a JPEG for each picture.
fn jpegs(width: u32, height: u32, grid: Grid) -> Track {
    let pictures = ForeignVideo::Mjpeg.with(picture(width, height, (1, 1)));
    Track { codec: CodecConfig::ForeignVideo(pictures), ..source(width, height, grid) }
}

#[test]
fn what_no_browser_plays_never_passes_whatever_is_asked_for() {
    let track = jpegs(1_280, 720, fixed(25, 1));
    let by_hand = RungByHand { height: 1_080, bitrate: None, fps: None, codec: None };
    for config in [
        Plan { passthrough: Passthrough::Always, ..Plan::default() },
        Plan { passthrough: Passthrough::Never, ..Plan::default() },
        Plan { ladder: vec![by_hand], ..Plan::default() },
    ] {
        let ladder = planned(&track, Measured::default(), &config);
        assert_eq!(ladder.through, []);
        assert!(matches!(ladder.mode, Mode::Regular { .. }));
        assert_eq!(listed(&ladder).first().map(|rung| rung.starts_with("1280x720")), Some(true));
        let why = Note::SourceLeftOut(WhyNot::Unplayable("MJPEG"));
        assert!(ladder.notes.contains(&why) && why.text().contains("no browser plays MJPEG"));
    }
    let tiny = planned(&jpegs(16, 16, fixed(25, 1)), Measured::default(), &Plan::default());
    assert_eq!((tiny.through, tiny.video), (vec![], None));
}

fn keyframes(seconds: i64, even: bool) -> Option<Keyframes> {
    Some(Keyframes { widest: MediaTime::new(seconds, Timescale::of(1)), even })
}

fn planned(track: &Track, measured: Measured, config: &Plan) -> Ladder {
    plan(&Video { track, measured }, &[], config, SECOND, Preset::Veryfast)
}

fn never() -> Plan {
    Plan { passthrough: Passthrough::Never, ..Plan::default() }
}

/// `WIDTHxHEIGHT KILOBITS`, with `/2` for half the frames.
fn listed(ladder: &Ladder) -> Vec<String> {
    let text = |rung: &Rung| {
        let half = if rung.half_rate { "/2" } else { "" };
        format!("{}x{}{half} {}", rung.width, rung.height, rung.bitrate / 1_000)
    };
    ladder.video.iter().flat_map(|job| &job.rungs).map(text).collect()
}

#[test]
fn the_ladders_of_the_table_are_made() {
    for (width, height, fps, through, encoded) in [
        (
            1920,
            1080,
            30,
            vec!["1280x720 2500", "960x540 1500", "640x360 700", "416x234 250"],
            vec!["1920x1080 4500", "1280x720 2500", "960x540 1500", "640x360 700", "416x234 250"],
        ),
        (
            1920,
            1080,
            60,
            vec!["1280x720 3500", "960x540/2 1800", "640x360/2 800", "416x234/2 300"],
            vec!["1920x1080 6000", "1280x720 3500", "960x540/2 1800", "640x360/2 800", "416x234/2 300"],
        ),
        (
            1280,
            720,
            25,
            vec!["960x540 1500", "640x360 700", "416x234 250"],
            vec!["1280x720 2800", "960x540 1500", "640x360 700", "416x234 250"],
        ),
        (
            640,
            480,
            30,
            vec!["480x360 700", "312x234 250"],
            vec!["640x480 1400", "480x360 700", "312x234 250"],
        ),
        (480, 270, 30, vec!["480x270 250"], vec!["480x270 500", "480x270 250"]),
        (
            3840,
            2160,
            30,
            vec!["1920x1080 4500", "1280x720 2500", "960x540 1500", "640x360 700", "416x234 250"],
            vec!["1920x1080 4500", "1280x720 2500", "960x540 1500", "640x360 700", "416x234 250"],
        ),
        (
            1080,
            1920,
            30,
            vec!["720x1280 2500", "540x960 1500", "360x640 700", "234x416 250"],
            vec!["1080x1920 4500", "720x1280 2500", "540x960 1500", "360x640 700", "234x416 250"],
        ),
    ] {
        let track = source(width, height, fixed(fps, 1));
        let ladder = planned(&track, Measured::default(), &Plan::default());
        assert_eq!(listed(&ladder), through, "{width}x{height} at {fps}");
        assert_eq!((ladder.mode, ladder.through), (Mode::Aligned, vec![TrackId::VIDEO]));
        let ladder = planned(&track, Measured::default(), &never());
        assert_eq!(listed(&ladder), encoded, "{width}x{height} at {fps}");
        assert!(ladder.through.is_empty());
        assert_eq!(ladder.notes, [Note::SourceLeftOut(WhyNot::Forbidden)]);
    }
}

#[test]
fn pixels_are_made_square() {
    for (width, height, sar, top) in [
        (720, 576, (64, 45), "1024x576 1400"),
        (720, 480, (8, 9), "640x480 1400"),
        (720, 480, (32, 27), "854x480 1400"),
        (1440, 1080, (4, 3), "1920x1080 4500"),
        (1279, 719, (1, 1), "1278x718 2780"),
        (1280, 720, (0, 1), "1280x720 2800"),
        (1280, 720, (5, 1), "1280x720 2800"),
    ] {
        let mut track = source(width, height, fixed(25, 1));
        track.codec = avc(100, picture(width, height, sar));
        assert_eq!(listed(&planned(&track, Measured::default(), &never()))[0], top, "{sar:?}");
    }
}

#[test]
fn a_source_with_few_bits_gets_few_rungs_below_it() {
    let track = source(1920, 1080, fixed(30, 1));
    let with = |bitrate| Measured { bitrate: Some(bitrate), ..Measured::default() };
    let ladder = planned(&track, with(2_000_000), &Plan::default());
    assert_eq!(listed(&ladder), ["960x540 1333", "640x360 700", "416x234 250"]);
    let ladder = planned(&track, with(2_000_000), &never());
    assert_eq!(listed(&ladder)[0], "1920x1080 1900");
    let ladder = planned(&track, with(150_000), &Plan::default());
    assert!(ladder.is_idle());
    assert_eq!(ladder.notes, [Note::NothingEncoded { too_small: false }]);
}

#[test]
fn the_source_is_left_out_for_a_reason_and_the_grid_is_then_regular() {
    let regular = |frame, gop| Mode::Regular { frame, timescale: 90_000, gop };
    let steady = source(1280, 720, fixed(30, 1));
    let far = Measured { keyframes: keyframes(4, true), ..Measured::default() };
    let ladder = planned(&steady, far, &Plan::default());
    assert_eq!(ladder.mode, regular(3_000, 30));
    let said = ladder.notes[0].text();
    assert!(said.contains("keyframes are up to 4.0 s apart, more than the 2.0 s"), "{said}");
    assert_eq!(listed(&ladder)[0], "1280x720 2800");

    let variable = Grid::Variable { widest: MediaTime::new(100, Timescale::MILLIS) };
    let varying = source(1280, 720, variable);
    let spacing = Some(MediaTime::new(34, Timescale::MILLIS));
    let ladder = planned(&varying, Measured { spacing, ..Measured::default() }, &Plan::default());
    assert_eq!(ladder.notes, [Note::SourceLeftOut(WhyNot::VariableRate)]);
    assert!(
        matches!(ladder.mode, Mode::Regular { frame: 3_003, timescale: 90_000, gop: 30 }),
        "{:?}",
        ladder.mode
    );

    let mut ten_bit = steady.clone();
    ten_bit.codec = avc(110, picture(1280, 720, (1, 1)));
    assert_eq!(planned(&ten_bit, Measured::default(), &Plan::default()).notes[0].code(), "source-profile");

    let mut hevc = steady;
    let record = Bytes::from_static(&[1, 2, 3]);
    hevc.codec =
        CodecConfig::H265(HevcConfig { record, length_size: 4, picture: picture(1280, 720, (1, 1)) });
    assert_eq!(planned(&hevc, Measured::default(), &Plan::default()).notes[0].code(), "source-codec");
    let always = Plan { passthrough: Passthrough::Always, ..Plan::default() };
    assert_eq!(planned(&hevc, far, &always).through, [TrackId::VIDEO]);
}

#[test]
fn two_segments_between_keyframes_pass_and_an_odd_number_of_frames_keeps_every_frame() {
    let track = source(1920, 1080, fixed(50, 1));
    let measured = |seconds, even| Measured { keyframes: keyframes(seconds, even), ..Measured::default() };
    let ladder = planned(&track, measured(2, true), &Plan::default());
    assert_eq!(ladder.mode, Mode::Aligned);
    assert!(listed(&ladder).contains(&"640x360/2 800".to_owned()));
    let ladder = planned(&track, measured(2, false), &Plan::default());
    assert!(listed(&ladder).contains(&"640x360 1040".to_owned()), "{:?}", listed(&ladder));
}

#[test]
fn a_regular_grid_has_a_usual_rate_of_at_most_60_and_keyframes_as_far_apart_as_segments() {
    for ((frames, seconds), segment, frame, timescale, gop) in [
        ((30, 1), 1_000, 3_000, 90_000, 30),
        ((30_000, 1_001), 1_000, 3_003, 90_000, 30),
        ((60_000, 1_001), 1_000, 1_001, 60_000, 60),
        ((24_000, 1_001), 2_000, 1_001, 24_000, 48),
        ((240, 1), 1_000, 1_500, 90_000, 60),
        ((120_000, 1_001), 1_000, 1_001, 60_000, 60),
        ((144, 1), 1_000, 1_875, 90_000, 48),
        ((50, 1), 500, 1_800, 90_000, 26),
        ((1, 1), 2_000, 90_000, 90_000, 2),
        ((1, 10), 1_000, 90_000, 90_000, 1),
        ((29_970, 1_001), 1_000, 3_003, 90_000, 30),
    ] {
        let track = source(640, 360, fixed(frames, seconds));
        let video = Video { track: &track, measured: Measured::default() };
        let mode = rate::regular(&video, Duration::from_millis(segment));
        assert_eq!(mode, Mode::Regular { frame, timescale, gop }, "{frames}/{seconds}");
    }
}

fn hand(height: u32, kilobits: Option<u32>, codec: Option<VideoCodec>) -> RungByHand {
    RungByHand { height, bitrate: kilobits.map(|bits| Bitrate(bits * 1_000)), fps: Some(30), codec }
}

#[test]
fn rungs_by_hand_are_kept_but_never_above_the_source() {
    let ladder = vec![
        hand(2160, None, Some(VideoCodec::H265)),
        hand(1440, Some(9_000), None),
        hand(720, Some(9_000), None),
        hand(540, Some(9_000), None),
        hand(480, None, Some(VideoCodec::Av1)),
    ];
    let mut config = Plan { ladder, ..Plan::default() };
    let track = source(2560, 1440, fixed(60, 1));
    let measured = Measured { bitrate: Some(8_000_000), ..Measured::default() };
    let ladder = planned(&track, measured, &config);
    // 540 lines with the bits of 720 would be no rung of its own; AV1 is counted for itself.
    assert_eq!(listed(&ladder), ["2560x1440/2 7600", "854x480/2 990"]);
    let left_out =
        [Note::AboveSource { short: 2160 }, Note::NoGain { short: 720 }, Note::NoGain { short: 540 }];
    assert_eq!(ladder.notes, left_out);
    config.ladder.truncate(1);
    config.passthrough = Passthrough::Never;
    assert_eq!(listed(&planned(&track, measured, &config)), ["1920x1080 6000"]);
}

#[test]
fn tracks_of_the_publisher_stand_for_rungs_where_their_keyframes_agree() {
    let track = source(1920, 1080, fixed(30, 1));
    let mut lower = source(1280, 720, fixed(30, 1));
    lower.id = TrackId(2);
    let mut other = source(640, 360, fixed(25, 1));
    other.id = TrackId(3);
    let video = Video { track: &track, measured: Measured::default() };
    let ready = |unfit| [ReadyTrack { track: &lower, unfit }, ReadyTrack { track: &other, unfit: None }];
    let ladder = plan(&video, &ready(None), &Plan::default(), SECOND, Preset::Veryfast);
    assert_eq!(ladder.through, [TrackId::VIDEO, TrackId(2)]);
    assert_eq!(listed(&ladder), ["960x540 1500", "640x360 700", "416x234 250"]);
    assert_eq!(ladder.notes, [Note::TrackLeftOut { track: TrackId(3), why: NotReady::Rate }]);
    let ladder = plan(&video, &ready(Some(NotReady::Keyframes)), &Plan::default(), SECOND, Preset::Veryfast);
    assert_eq!(listed(&ladder)[0], "1280x720 2500");
    assert_eq!(ladder.notes.len(), 2);
}

#[test]
fn sound_passes_as_aac_and_is_encoded_otherwise() {
    let aac = aqueduct_common::codec::AacConfig {
        record: Bytes::from_static(&[0x11, 0x90]),
        object_type: 2,
        output_rate: 48_000,
        channels: 2,
        frame_samples: 1_024,
    };
    let mut stereo = source(2, 2, fixed(30, 1));
    stereo.id = TrackId::AUDIO;
    stereo.codec = CodecConfig::Aac(aac);
    let mut mono = stereo.clone();
    mono.id = TrackId(2);
    let opus = OpusConfig::parse_record(&Bytes::from_static(b"\x00\x01\x01\x38\x00\x00\xbb\x80\x00\x00\x00"));
    mono.codec = CodecConfig::Opus(opus.unwrap());
    let tracks = [source(2, 2, fixed(30, 1)), stereo, mono];

    let mut config = Plan::default();
    let (through, jobs) = sound(&tracks, &config);
    assert_eq!(through, [TrackId::AUDIO]);
    let brief = |jobs: &[AudioJob]| {
        jobs.iter().map(|job| (job.source.0, job.track.0, job.bitrate)).collect::<Vec<_>>()
    };
    assert_eq!(brief(&jobs), [(2, 32, 64_000)]);

    config.loudness = Some(crate::protocol::Loudness { target: -16.0, ceiling: -1.0 });
    config.audio_extra = vec![96_000];
    let (through, jobs) = sound(&tracks, &config);
    assert!(through.is_empty());
    assert_eq!(brief(&jobs), [(1, 32, 128_000), (1, 33, 96_000), (2, 34, 64_000), (2, 35, 48_000)]);
    assert!(jobs.iter().all(|job| job.loudness.is_some()));
}

#[test]
fn a_small_machine_gets_less_effort_then_fewer_rungs() {
    let track = source(1920, 1080, fixed(60, 1));
    let video = Video { track: &track, measured: Measured::default() };
    let whole = planned(&track, Measured::default(), &never());
    let costs = cost(&video, whole.mode, whole.video.as_ref().unwrap());
    assert!(costs.total() > 1_700, "{costs:?}");
    let mut fitted = whole.clone();
    let fit = fitted.fit(&video, 1_700);
    assert!(fit.fits && fit.cut == 0 && fit.takes <= 1_700, "{fit:?}");
    assert!(fitted.video.as_ref().unwrap().rungs[0].preset < Preset::Veryfast);
    let mut cut = whole.clone();
    let fit = cut.fit(&video, 800);
    assert!(fit.fits && fit.cut > 0 && fit.takes <= 800, "{fit:?}");
    assert_eq!(cut.video.unwrap().rungs[0].preset, Preset::Ultrafast);
    let mut hopeless = whole.clone();
    let fit = hopeless.fit(&video, 10);
    assert!(!fit.fits && fit.cut + 1 == hopeless.video.unwrap().rungs.len(), "{fit:?}");
    let mut large = whole.clone();
    assert!(large.fit(&video, 64_000).fits && large == whole);
}

#[test]
fn effort_goes_by_the_machine() {
    assert_eq!(begin_with(2), Preset::Superfast);
    assert_eq!(begin_with(8), Preset::Veryfast);
    assert_eq!(begin_with(64), Preset::Faster);
}

prop_compose! {
    fn any_video()(
        width in 1u32..=8_192,
        height in 1u32..=8_192,
        small in proptest::option::of((1u32..64, 1u32..64)),
        sar in prop_oneof![Just((1, 1)), (0u32..=200, 0u32..=200), any::<(u32, u32)>()],
        (frames, seconds) in prop_oneof![
            (1u32..=240, Just(1u32)),
            (1u32..=240).prop_map(|fps| (fps * 1_000, 1_001)),
            any::<(NonZeroU32, NonZeroU32)>().prop_map(|(a, b)| (a.get(), b.get() / 2)),
        ],
        fixed_grid in any::<bool>(),
        profile in prop_oneof![Just(66u8), Just(77), Just(100), any::<u8>()],
        hevc in proptest::bool::weighted(0.2),
        bitrate in proptest::option::of(prop_oneof![0u64..20_000_000, any::<u64>().prop_map(|bits| bits >> 24)]),
        gop in proptest::option::of((1i64..20, any::<bool>())),
    ) -> (Track, Measured) {
        let (width, height) = small.unwrap_or((width, height));
        let spacing = MediaTime::new(i64::from(seconds), Timescale::new(frames).unwrap());
        let grid = if fixed_grid { Grid::Fixed(spacing) } else { Grid::Variable { widest: spacing } };
        let mut track = source(width, height, grid);
        track.codec = match hevc {
            false => avc(profile, picture(width, height, sar)),
            true => CodecConfig::H265(HevcConfig {
                record: Bytes::from_static(&[1]), length_size: 4, picture: picture(width, height, sar),
            }),
        };
        let keyframes = gop.and_then(|(seconds, even)| keyframes(seconds, even));
        (track, Measured { keyframes, bitrate, spacing: Some(spacing), off_grid: false })
    }
}

prop_compose! {
    fn any_plan()(
        passthrough in prop_oneof![Just(Passthrough::Auto), Just(Passthrough::Always), Just(Passthrough::Never)],
        ladder in proptest::collection::vec((32u32..4_320, proptest::option::of(50u32..100_000)), 0..6),
    ) -> Plan {
        let mut plan = Plan { passthrough, ..Plan::default() };
        plan.ladder = ladder.into_iter().map(|(height, bits)| hand(height, bits, None)).collect();
        plan.ladder.sort_by_key(|rung| std::cmp::Reverse((rung.height, rung.bitrate)));
        plan
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whatever comes: there is a picture, all sizes are even and within the source, shapes agree, bits fall from rung to
    /// rung and stay below the source's.
    #[test]
    fn every_source_gets_a_ladder_within_its_bounds((track, measured) in any_video(), config in any_plan()) {
        let video = Video { track: &track, measured };
        let ladder = plan(&video, &[], &config, SECOND, Preset::Veryfast);
        let rungs: &[Rung] = ladder.video.as_ref().map_or(&[], |job| &job.rungs);
        prop_assert!(!ladder.through.is_empty() || !rungs.is_empty());
        prop_assert_eq!(ladder.mode == Mode::Aligned, !ladder.through.is_empty());
        let shown = shape::shown(&video);
        for (at, rung) in rungs.iter().enumerate() {
            prop_assert_eq!(rung.track.0, 16 + at as u8);
            prop_assert!(rung.width % 2 == 0 && rung.height % 2 == 0, "{rung:?}");
            prop_assert!(rung.width <= shown.width && rung.height <= shown.height, "{rung:?} of {shown:?}");
            prop_assert!(rung.width.min(rung.height) >= 32 && rung.width.max(rung.height) <= 4_096, "{rung:?}");
            prop_assert!(rung.bitrate >= 20_000);
            prop_assert!((110..=125).contains(&(u64::from(rung.peak) * 100 / u64::from(rung.bitrate))));
            // One step of two pixels is all that a shape may be off.
            let long = |rung: &Rung| f64::from(rung.width.max(rung.height));
            let exact = f64::from(rung.width.min(rung.height)) * f64::from(shown.long()) / f64::from(shown.short());
            let slack = 1.0 + 2.0 * f64::from(shown.long()) / f64::from(shown.short());
            prop_assert!((long(rung) - exact).abs() <= slack, "{rung:?} of {shown:?}");
            if let (Some(bits), CodecConfig::H264(_)) = (measured.bitrate.filter(|bits| *bits > 22_000), &track.codec) {
                prop_assert!(u64::from(rung.bitrate) <= bits * 95 / 100, "{rung:?} of {bits}");
            }
        }
        for pair in rungs.windows(2) {
            prop_assert!(pair[1].bitrate < pair[0].bitrate, "{pair:?}");
            // Sides are rounded to even ones, each for itself.
            prop_assert!(pair[1].height <= pair[0].height + 2 && pair[1].width <= pair[0].width + 2, "{pair:?}");
        }
    }

    /// Without rungs by hand: steps of 1.5 to 2.2 but for the last one, which is the table's; no rung that repeats the
    /// source; nothing above 1080 lines.
    #[test]
    fn steps_of_a_made_ladder_are_even((track, measured) in any_video(), never in any::<bool>()) {
        let passthrough = if never { Passthrough::Never } else { Passthrough::Auto };
        let config = Plan { passthrough, ..Plan::default() };
        let video = Video { track: &track, measured };
        let ladder = plan(&video, &[], &config, SECOND, Preset::Veryfast);
        let rungs: &[Rung] = ladder.video.as_ref().map_or(&[], |job| &job.rungs);
        // A panorama is cut down by its long side, so that sizes say little of it.
        let panorama = shape::shown(&video).long() > shape::LONG_MAX;
        for pair in rungs.windows(2).filter(|_| !panorama) {
            let ratio = f64::from(pair[0].bitrate) / f64::from(pair[1].bitrate);
            let last = pair[1].width.min(pair[1].height) <= 234;
            prop_assert!((1.49..=if last { 3.0 } else { 2.3 }).contains(&ratio), "{ratio}: {pair:?}");
        }
        for rung in rungs {
            prop_assert!(rung.width.min(rung.height) <= 1_080);
            let shown = shape::shown(&video);
            let own = shown.short() >= 360 && rung.width.min(rung.height) >= shown.short() - 1;
            prop_assert!(ladder.through.is_empty() || !own, "{rung:?} of {shown:?}");
        }
    }

    /// The grid of a regular ladder is one of TL-3, at most 60 frames a second, with a keyframe about every segment.
    #[test]
    fn a_regular_grid_is_sound((track, measured) in any_video(), millis in 500u64..10_000) {
        let video = Video { track: &track, measured };
        let Mode::Regular { frame, timescale, gop } = rate::regular(&video, Duration::from_millis(millis)) else {
            return Err(TestCaseError::fail("aligned"));
        };
        prop_assert!(frame > 0 && gop > 0);
        prop_assert!(matches!(timescale, 90_000 | 60_000 | 24_000));
        prop_assert!(u64::from(timescale) <= 60 * u64::from(frame));
        let off = (u64::from(gop) * u64::from(frame) * 1_000 / u64::from(timescale)).abs_diff(millis);
        let step = 2_000 * u64::from(frame) / u64::from(timescale);
        prop_assert!(off <= step.max(1), "{off} ms off");
    }

    /// Making do never leaves a picture without a rung and never costs more than before.
    #[test]
    fn making_do_only_takes_away((track, measured) in any_video(), budget in 0u32..8_000) {
        let video = Video { track: &track, measured };
        let whole = plan(&video, &[], &never(), SECOND, Preset::Medium);
        let mut less = whole.clone();
        let fit = less.fit(&video, budget);
        let total = |ladder: &Ladder| ladder.video.as_ref().map_or(0, |job| cost(&video, ladder.mode, job).total());
        prop_assert_eq!(fit.fits, fit.takes <= budget);
        prop_assert!(fit.takes <= total(&less) && total(&less) <= total(&whole));
        prop_assert!(less.video.as_ref().is_none_or(|job| fit.cut < job.rungs.len()));
        prop_assert_eq!(whole.video.is_some(), less.video.is_some());
    }
}
