//! Levels through the whole chain, AAC included.

use ebur128::{EbuR128, Mode};

use super::source::{Source, bursts, code, hear, job, lag, run, speech};
use crate::audio::pcm::Pcm;
use crate::audio::resample::Resampler;
use crate::audio::{Chain, RATE};
use crate::protocol::{AudioJob, Loudness};

/// Integrated loudness and true peak of what is heard from a second on.
fn measured(heard: &Pcm, from: usize) -> (f64, f64) {
    let mut meter = EbuR128::new(heard.planes.len() as u32, RATE, Mode::I | Mode::TRUE_PEAK).unwrap();
    let planes: Vec<&[f32]> = heard.planes.iter().map(|plane| &plane[from * RATE as usize..]).collect();
    meter.add_frames_planar_f32(&planes).unwrap();
    let peak = (0..heard.planes.len() as u32).map(|n| meter.true_peak(n).unwrap()).fold(0.0, f64::max);
    (meter.loudness_global().unwrap(), 20.0 * peak.log10())
}

fn levelled(target: f64, bitrate: u32) -> AudioJob {
    AudioJob { bitrate, ..job(Some(Loudness { target, ceiling: -1.0 })) }
}

#[test]
fn speech_comes_out_at_the_target() {
    let (source, _) = speech(4);
    for (target, bitrate) in [(-16.0, 128_000), (-23.0, 64_000)] {
        let (_, heard) = hear(&run(&levelled(target, bitrate), &source.track, source.frames.clone()));
        let (loudness, peak) = measured(&heard, 40);
        println!("speech at {target}: {loudness:.2} LUFS, {peak:.2} dBTP");
        assert!((loudness - target).abs() <= 0.5, "{loudness:.2} LUFS instead of {target}");
        assert!(peak <= -1.0 + 0.2, "{peak:.2} dBTP");
    }
}

#[test]
fn what_is_heard_and_done_is_reported_each_second() {
    // AVP-11.
    let (source, said) = speech(2);
    let mut chain = Chain::new(&levelled(-16.0, 128_000), &source.track).unwrap();
    let mut reports = Vec::new();
    for frame in source.frames {
        chain.push(frame).unwrap();
        reports.extend(chain.report());
    }
    let seconds = said.len() / 16_000;
    assert!(reports.len().abs_diff(seconds) <= 1, "{} reports of {seconds} s", reports.len());
    let last = reports.last().unwrap();
    println!("{last:?}");
    assert!((last.integrated.unwrap() + 16.0).abs() < 3.0 && last.short_term.is_some());
    assert!(reports.iter().all(|report| report.true_peak.is_none_or(|peak| peak <= -0.8)));
    assert!(reports.iter().all(|report| (-15.0..=12.0).contains(&report.gain) && report.reduction >= 0.0));
    assert!(reports.iter().any(|report| report.gain.abs() > 1.0 && report.reduction > 0.0));
    let mut untouched = Chain::new(&job(None), &source.track).unwrap();
    assert_eq!(untouched.report(), None);
}

#[test]
fn peaks_stay_below_the_ceiling_behind_the_encoder_too() {
    // AVP-10. Much too loud, and asked to stay so: the limiter works all the time, which is when the encoder raises
    // peaks most.
    let louder = |mut pcm: Pcm, by: f32| {
        pcm.planes.iter_mut().flatten().for_each(|sample| *sample *= by);
        pcm
    };
    let voice = louder(Resampler::new(16_000, 1).unwrap().push(speech(1).1).unwrap(), 8.0);
    let source = code("flac", RATE, &voice);
    for bitrate in [128_000, 64_000] {
        let (_, heard) = hear(&run(&levelled(-3.0, bitrate), &source.track, source.frames.clone()));
        let (_, first) = measured(&heard, 0);
        let (_, then) = measured(&heard, 10);
        println!("{bitrate}: {first:.2} dBTP at first, then {then:.2} dBTP");
        // What the encoder does is not known before it has done it once.
        assert!(first <= 0.0, "{bitrate} bit/s: {first:.2} dBTP");
        assert!(then <= -1.0 + 0.2, "{bitrate} bit/s: {then:.2} dBTP");
    }
}

#[test]
fn lips_and_voice_stay_together_to_the_sample() {
    // AVP-45: the delays of resampler, limiter and encoder are off the stamps.
    let (source, said) = speech(1);
    same_time("speech", &source, &said);
    for (encoder, rate, channels) in [("aac", 44_100, 2), ("libopus", 48_000, 2), ("ac3", 48_000, 6)] {
        let said = bursts(rate, channels, 3.0);
        let source = code(encoder, rate, &said);
        same_time(encoder, &source, &said);
    }
}

fn same_time(name: &str, source: &Source, said: &Pcm) {
    let (rate, channels) = source.track.codec.sound().unwrap();
    let (at, heard) = hear(&run(&levelled(-16.0, 128_000), &source.track, source.frames.clone()));
    let scaled = Resampler::new(rate, usize::from(channels)).unwrap().push(said.clone()).unwrap();
    let began = (source.frames[0].pts + source.priming) * i64::from(RATE) / i64::from(rate) - at;
    let found = lag(&scaled.planes[0], &heard.planes[0], 4_000) - began as f64;
    println!("{name}: {found:.2} samples");
    assert!(found.abs() <= 1.5, "{name}: heard {found:.2} samples late");
}

#[test]
fn what_the_track_promises_holds() {
    let source = code("flac", RATE, &bursts(RATE, 2, 6.0));
    for bitrate in [64_000, 128_000, 256_000] {
        let result = run(&AudioJob { bitrate, ..job(None) }, &source.track, source.frames.clone());
        let bits =
            |frames: &[crate::protocol::Frame]| frames.iter().map(|f| f.payload.len() as u64 * 8).sum();
        // Over any second: 47 units.
        let most: u64 = result.frames.windows(47).map(bits).max().unwrap();
        println!("{bitrate}: at most {most} bits in a second");
        assert!(Some(most) <= result.track.bandwidth, "{bitrate}: {most} bits in a second");
    }
}
