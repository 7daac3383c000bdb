//! Pictures of every kind: interlaced, unsquare, deep, wide in chroma, full range, HDR.

use aqueduct_common::codec::{Colour, ContentLight, Hdr};
use aqueduct_transcode::protocol::{Rung, VideoCodec};

use crate::regular::interlaced;
use crate::support::clip::{self, Clip, Scratch};
use crate::support::job::{aligned, rung};
use crate::support::look;
use crate::support::worker::{Said, transcode};

fn plain(input: &str, args: &[&str]) -> Clip {
    let mut all = vec!["-preset", "veryfast", "-g", "30", "-bf", "0"];
    all.extend(args);
    clip::synthetic(input, 30, 1, &all)
}

fn run(clip: &Clip, rung: Rung) -> Said {
    let said = transcode(&aligned(vec![rung]), &clip.track, &clip.frames);
    let got: Vec<_> = said.of(16).iter().map(|f| (f.dts, f.sync)).collect();
    assert_eq!(got, clip.frames.iter().map(|f| (f.dts, f.sync)).collect::<Vec<_>>());
    assert!(said.troubles.is_empty(), "{:?}", said.troubles);
    said
}

/// The first picture, as it comes out.
fn first(said: &Said, name: &str) -> Vec<u8> {
    let dir = Scratch::new(name);
    look::decode(said.track(16), &said.of(16), &dir.0)
}

/// How unlike neighbouring lines of a picture's luma are.
fn comb(luma: &[u8], width: usize) -> u64 {
    let rows: Vec<&[u8]> = luma.chunks(width).collect();
    let line = |a: &[u8], b: &[u8], c: &[u8]| -> u64 {
        let triples = a.iter().zip(b).zip(c);
        triples.map(|((a, b), c)| (u64::from(*a) + u64::from(*c)).abs_diff(2 * u64::from(*b))).sum()
    };
    rows.windows(3).map(|rows| line(rows[0], rows[1], rows[2])).sum()
}

/// Luma of one picture of a source, or of what became of it, in the same size.
fn luma(raw: &[u8], (width, height): (usize, usize), number: usize) -> &[u8] {
    &raw[number * width * height * 3 / 2..][..width * height]
}

/// The source as a decoder shows it.
fn original(clip: &Clip) -> Vec<u8> {
    let dir = Scratch::new("original");
    look::decode(&clip.track, &clip.frames.iter().collect::<Vec<_>>(), &dir.0)
}

#[test]
fn one_frame_stays_one_frame_when_fields_are_joined() {
    let clip = interlaced();
    let said = run(&clip, rung(16, 320, 192, 2_000_000));
    assert_eq!(said.reports.iter().map(|report| report.repeated).sum::<u64>(), 0);
    // Combing is gone: neighbouring lines are much more alike than in the source.
    let comb = |raw: &[u8]| comb(luma(raw, (320, 192), 10), 320);
    let (before, after) = (comb(&original(&clip)), comb(&first(&said, "joined")));
    assert!(after * 5 < before * 4, "{before} before, {after} after");
}

#[test]
fn fields_that_nobody_flagged_are_seen_and_joined() {
    // AVP-19. Television's lines, coded as if they were of one time.
    let input = "testsrc2=s=320x480:r=50,tinterlace=interleave_top,setfield=prog";
    let args = ["-preset", "veryfast", "-g", "25", "-bf", "0", "-crf", "12", "-pix_fmt", "yuv420p"];
    let clip = clip::synthetic(input, 25, 6, &args);
    let said = transcode(&aligned(vec![rung(16, 320, 480, 4_000_000)]), &clip.track, &clip.frames);
    let times: Vec<_> = said.of(16).iter().map(|frame| (frame.dts, frame.pts)).collect();
    assert_eq!(times, clip.frames.iter().map(|frame| (frame.dts, frame.pts)).collect::<Vec<_>>());
    assert!(
        said.troubles.iter().any(|words| words.contains("is interlaced, although")),
        "{:?}",
        said.troubles
    );
    let (source, out) = (original(&clip), first(&said, "seen"));
    let share = |number| {
        let comb = |raw: &[u8]| comb(luma(raw, (320, 480), number), 320) as f64;
        comb(&out) / comb(&source)
    };
    let (before, after) = (share(5), share(140));
    assert!(before > 0.9 && after < 0.8, "of the combs, {before:.2} are left at first, then {after:.2}");
}

#[test]
fn film_that_is_flagged_as_fields_keeps_its_detail() {
    let film = clip::footage();
    let input = format!("movie={},fps=25,scale=320:192,setsar=1", film.display());
    let flags = ["-flags", "+ilme+ildct", "-pix_fmt", "yuv420p"];
    let clip = clip::synthetic(
        &input,
        25,
        4,
        &[&["-preset", "veryfast", "-g", "25", "-bf", "0", "-crf", "12"][..], &flags].concat(),
    );
    let said = transcode(&aligned(vec![rung(16, 320, 192, 4_000_000)]), &clip.track, &clip.frames);
    assert_eq!(said.of(16).len(), clip.frames.len());
    assert!(said.troubles.iter().any(|words| words.contains("flagged as interlaced and is not")));
    let (source, out) = (original(&clip), first(&said, "film"));
    let lost = |number| -> u64 {
        let [source, out] = [&source, &out].map(|raw| luma(raw, (320, 192), number));
        source.iter().zip(out).map(|(a, b)| u64::from(a.abs_diff(*b).saturating_sub(4))).sum()
    };
    let (before, after) = (lost(10), lost(80));
    assert!(after * 2 < before, "{before} lost at first, then {after}");
}

#[test]
fn deep_and_wide_chroma_become_eight_bits_in_four_two_zero() {
    for format in ["yuv420p10le", "yuv422p", "yuv444p", "yuv422p10le", "yuvj420p"] {
        let clip = plain("color=0x808080:s=320x180:r=30", &["-pix_fmt", format]);
        let said = run(&clip, rung(16, 320, 180, 400_000));
        let raw = first(&said, format);
        assert_eq!(raw.len(), 30 * 320 * 180 * 3 / 2, "{format}");
        // Grey stays grey: 128 of full range is 126 of limited range.
        let (luma, chroma) = (raw[320 * 90 + 160], raw[320 * 180 + 100]);
        assert!(luma.abs_diff(126) <= 2 && chroma.abs_diff(128) <= 1, "{format}: {luma} {chroma}");
    }
}

#[test]
fn colours_of_small_sources_without_words_are_converted() {
    // Pure green: in BT.601 its luma is 145, in BT.709 it is 173.
    let args = ["-preset", "veryfast", "-g", "30", "-bf", "0", "-pix_fmt", "yuv420p"];
    let scratch = Scratch::new("untagged");
    let file = scratch.file("clip.flv").to_str().unwrap().to_owned();
    let mut all = vec![
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "color=0x00ff00:s=320x180:r=30",
        "-t",
        "1",
        "-c:v",
        "libx264",
    ];
    all.extend(args);
    all.extend(["-f", "flv", &file]);
    clip::ffmpeg(&all);
    let clip = clip::read_flv(&std::fs::read(&file).unwrap(), 30);
    assert!(clip.track.codec.picture().unwrap().colour.is_none());
    let raw = first(&run(&clip, rung(16, 320, 180, 400_000)), "green");
    assert!(raw[320 * 90 + 160].abs_diff(173) <= 3, "luma {}", raw[320 * 90 + 160]);
}

#[test]
fn unsquare_pixels_become_square() {
    let clip = plain("testsrc2=s=720x576:r=30,setsar=64/45", &["-pix_fmt", "yuv420p"]);
    let said = run(&clip, rung(16, 512, 288, 400_000));
    let picture = *said.track(16).codec.picture().unwrap();
    assert_eq!((picture.width, picture.height, picture.sar), (512, 288, (1, 1)));
    let raw = first(&said, "square");
    // No bars: the left edge of the test picture is not black.
    let column: Vec<u8> = raw[..512 * 288].chunks(512).map(|row| row[2]).collect();
    assert!(column.iter().filter(|luma| **luma > 24).count() > 100);
}

#[test]
fn pq_is_mapped_to_a_picture_that_is_neither_grey_nor_burnt() {
    let args = [
        "-pix_fmt",
        "yuv420p10le",
        "-x264-params",
        "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc",
    ];
    // Half of PQ's range is about 92 nits: below SDR's white of 203.
    let clip = plain("color=0x808080:s=320x180:r=30", &args);
    let said = run(&clip, rung(16, 320, 180, 400_000));
    let raw = first(&said, "pq");
    let (luma, chroma) = (raw[320 * 90 + 160], raw[320 * 180 + 100]);
    assert!((120..=200).contains(&luma) && chroma.abs_diff(128) <= 4, "{luma} {chroma}");
    let colour = said.track(16).codec.picture().unwrap().colour.unwrap();
    assert_eq!((colour.primaries, colour.transfer, colour.matrix), (1, 1, 1));
}

#[test]
fn the_peak_that_is_told_decides_how_bright_pq_comes_out() {
    // AVP-25. Nothing about colours is in the bitstream: the publisher told it, with the peak. 0x90 of 255 is about 150
    // nits on PQ's scale.
    let args = ["-pix_fmt", "yuv420p10le", "-colorspace", "unknown", "-color_primaries", "unknown"];
    let mut clip = plain("color=0x909090:s=320x180:r=30", &[&args[..], &["-color_trc", "unknown"]].concat());
    assert_eq!(clip.track.codec.picture().unwrap().colour, None);
    let colour = Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false };
    let mut brightness = |max_content| {
        let light = ContentLight { max_content, max_average: 0 }.stated();
        clip.track.codec.set_colour(Some(colour));
        clip.track.codec.set_hdr(Hdr { light, mastering: None });
        first(&run(&clip, rung(16, 320, 180, 400_000)), "peak")[320 * 90 + 160]
    };
    let (unsaid, dark, usual, bright) =
        (brightness(0), brightness(250), brightness(1_000), brightness(4_000));
    println!("luma {unsaid} without a peak, {dark} of 250 nits, {usual} of 1000, {bright} of 4000");
    assert_eq!(unsaid, usual);
    assert!(dark > usual + 10 && usual > bright, "{dark}, {usual}, {bright}");
}

#[test]
fn a_capped_quality_spends_less_on_an_easy_picture() {
    let still = plain("color=0x405060:s=320x180:r=30", &["-pix_fmt", "yuv420p"]);
    let bytes = |crf| -> usize {
        let said = run(&still, Rung { crf, ..rung(16, 320, 180, 1_000_000) });
        said.of(16).iter().map(|frame| frame.payload.len()).sum()
    };
    assert!(bytes(Some(23)) < 20_000);
    let noise = plain("testsrc2=s=320x180:r=30,noise=alls=60:allf=t", &["-pix_fmt", "yuv420p", "-b:v", "8M"]);
    let capped = Rung { crf: Some(18), ..rung(16, 320, 180, 500_000) };
    let said = run(&noise, capped.clone());
    let sum: usize = said.of(16).iter().map(|frame| frame.payload.len()).sum();
    // One second, and the buffer of one more.
    assert!(sum * 8 < 2 * capped.peak as usize, "{} bits within a peak of {}", sum * 8, capped.peak);
    assert!(said.reports.iter().any(|report| report.complexity.is_some()));
}

#[test]
fn other_codecs_come_out_where_they_are_asked_for() {
    let clip = plain("testsrc2=s=320x180:r=30", &["-pix_fmt", "yuv420p", "-g", "10"]);
    let codecs = [(VideoCodec::H265, "hvc1"), (VideoCodec::Av1, "av01")];
    for ((codec, start), crf) in codecs.into_iter().flat_map(|codec| [(codec, None), (codec, Some(26))]) {
        let said = run(&clip, Rung { codec, crf, ..rung(16, 320, 180, 400_000) });
        assert!(said.track(16).codec.rfc6381().starts_with(start), "{}", said.track(16).codec.rfc6381());
        assert!(said.fallbacks.is_empty(), "{:?}", said.fallbacks);
    }
}
