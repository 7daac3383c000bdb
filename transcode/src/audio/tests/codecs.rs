//! Every source codec, to the sample.

use super::source::{START, bursts, code, hear, job, lag, run};
use crate::audio::RATE;
use crate::audio::decode::Decoder;
use crate::audio::pcm::Pcm;
use crate::audio::resample::Resampler;

/// What the source's own decoder hears, brought to 48 kHz: the chain adds nothing to that but AAC.
fn reference(source: &super::source::Source) -> Pcm {
    let mut decoder = Decoder::open(&source.track.codec).unwrap();
    let (rate, channels) = source.track.codec.sound().unwrap();
    let channels = usize::from(channels.min(2));
    let mut resampler = Resampler::new(rate, channels).unwrap();
    let mut heard = Pcm::empty(channels);
    for frame in &source.frames {
        if let Some(decoded) = decoder.push(&frame.payload).unwrap() {
            heard.append(&resampler.push(decoded.pcm).unwrap());
        }
    }
    heard
}

#[test]
fn any_codec_comes_out_as_aac_at_its_own_time() {
    for (encoder, rate, channels) in [
        ("aac", 48_000, 2),
        ("aac", 44_100, 2),
        ("aac", 32_000, 1),
        ("libopus", 48_000, 2),
        ("libmp3lame", 44_100, 2),
        ("libmp3lame", 22_050, 1),
        ("pcm_alaw", 8_000, 1),
        ("pcm_mulaw", 8_000, 1),
        ("g726", 8_000, 1),
        ("g726le", 8_000, 1),
        ("mp2", 48_000, 2),
        ("libvorbis", 48_000, 2),
        ("ac3", 48_000, 6),
        ("eac3", 48_000, 6),
        ("flac", 48_000, 2),
    ] {
        let said = bursts(rate, channels, 3.0);
        let source = code(encoder, rate, &said);
        let result = run(&job(None), &source.track, source.frames.clone());
        let (at, heard) = hear(&result);
        // TL-17: the first unit lies its priming before the source's first sample. Vorbis decodes nothing of the first.
        let first = &source.frames[usize::from(encoder == "libvorbis")];
        let first = (first.pts * i64::from(RATE) + i64::from(rate) / 2) / i64::from(rate);
        assert_eq!(at, first - 1_024, "{encoder} {rate}");
        // 1: to the sample against the source's own decoder (AVP-45).
        let found = lag(&reference(&source).planes[0], &heard.planes[0], 1_500) - (first - at) as f64;
        assert!(found.abs() <= 1.0, "{encoder} {rate}: moved by {found} samples");
        // 2: against what was said, the source's own priming aside (5 ms covers what its decoder cannot know).
        let scaled = Resampler::new(rate, channels).unwrap().push(said).unwrap();
        let priming = source.priming * i64::from(RATE) / i64::from(rate);
        let began = START * i64::from(RATE) + priming - at;
        let found = lag(&scaled.planes[0], &heard.planes[0], 4_000) - began as f64;
        println!("{encoder} {rate}: {found:.2} samples from what was said");
        assert!(found.abs() <= 0.01 * f64::from(RATE), "{encoder} {rate}: heard {found} samples late");
    }
}
