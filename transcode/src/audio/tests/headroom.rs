//! Peaks behind the encoder (AVP-10): what it makes of them, and that none passes the ceiling.

use std::f32::consts::TAU;

use ebur128::{EbuR128, Mode};

use super::source::{code, hear, job, run, speech};
use crate::audio::RATE;
use crate::audio::pcm::Pcm;
use crate::audio::resample::Resampler;
use crate::protocol::{AudioJob, Loudness};

/// What a listener may hear at most, in dBTP: the ceiling, and what a meter may differ by.
const MOST: f64 = -1.0 + 0.2;

/// Loudness of the last half of what is heard, and the true peak of all of it.
fn measured(heard: &Pcm) -> (f64, f64) {
    let count = heard.planes.len() as u32;
    let planes: Vec<&[f32]> = heard.planes.iter().map(Vec::as_slice).collect();
    let halves: Vec<&[f32]> = planes.iter().map(|plane| &plane[plane.len() / 2..]).collect();
    let mut loudness = EbuR128::new(count, RATE, Mode::I).unwrap();
    loudness.add_frames_planar_f32(&halves).unwrap();
    let mut peaks = EbuR128::new(count, RATE, Mode::TRUE_PEAK).unwrap();
    peaks.add_frames_planar_f32(&planes).unwrap();
    let peak = (0..count).map(|n| peaks.true_peak(n).unwrap()).fold(0.0, f64::max);
    (loudness.loudness_global().unwrap(), 20.0 * peak.log10())
}

/// Each channel a little later than the one before it.
fn pcm(seconds: usize, channels: usize, sample: impl FnMut(usize) -> f32) -> Pcm {
    let all: Vec<f32> = (0..seconds * RATE as usize + LATER).map(sample).collect();
    let from = |channel: usize| LATER - channel * LATER;
    Pcm { planes: (0..channels).map(|n| all[from(n)..all.len() - n * LATER].to_vec()).collect() }
}

/// By so many samples.
const LATER: usize = 37;

fn random(state: &mut u32) -> f32 {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    *state as f32 / u32::MAX as f32 * 2.0 - 1.0
}

/// White noise, ten times too loud for full scale and clipped there.
fn flattened(seconds: usize, channels: usize) -> Pcm {
    let mut state = 7;
    pcm(seconds, channels, |_| (random(&mut state) * 10.0).clamp(-1.0, 1.0))
}

fn quieter(mut pcm: Pcm) -> Pcm {
    pcm.planes.iter_mut().flatten().for_each(|sample| *sample *= 0.1);
    pcm
}

/// Chords that decay, a bass, and a drum of noise, mastered as loudly as records are.
fn music(drive: f32, seconds: usize, channels: usize) -> Pcm {
    let mut state = 11;
    let chords = [[220.0, 277.2, 329.6], [196.0, 246.9, 293.7], [174.6, 220.0, 261.6f32]];
    pcm(seconds, channels, |n| {
        let time = n as f32 / RATE as f32;
        let (beat, bar) = (time % 0.5, time % 2.0);
        let chord = chords[(time / 2.0) as usize % 3];
        let strings: f32 =
            chord.iter().map(|hz| (TAU * hz * time).sin() + (TAU * hz * 2.0 * time).sin() / 3.0).sum();
        let bass = (TAU * chord[0] / 4.0 * time).sin();
        let drum = random(&mut state) * (-beat * 30.0).exp();
        ((strings * 0.3 * (-bar).exp() + bass * 0.5 + drum * 0.8) * drive).tanh() * 0.97
    })
}

/// A voice, so many times louder.
fn voice(rounds: usize, louder: f32, channels: usize) -> Pcm {
    let plane = Resampler::new(16_000, 1).unwrap().push(speech(rounds).1).unwrap().planes.swap_remove(0);
    let plane: Vec<f32> = plane.into_iter().map(|sample| (sample * louder).clamp(-1.0, 1.0)).collect();
    Pcm { planes: vec![plane; channels] }
}

/// Quiet and loud stretches of a tone and of noise, without any warning.
fn steps(channels: usize) -> Pcm {
    let mut state = 5;
    let levels = [0.05, 1.0, 0.1, 0.9, 0.02, 1.0];
    pcm(9, channels, |n| {
        let step = n * 2 / (3 * RATE as usize);
        let sound = if step.is_multiple_of(2) {
            random(&mut state)
        } else {
            (TAU * 997.0 * n as f32 / RATE as f32).sin()
        };
        let loud = levels[step % 6];
        (sound * loud * 4.0).clamp(-loud, loud)
    })
}

fn heard(source: &Pcm, bitrate: u32, target: f64) -> (f64, f64) {
    let source = code("flac", RATE, source);
    let job = AudioJob { bitrate, ..job(Some(Loudness { target, ceiling: -1.0 })) };
    measured(&hear(&run(&job, &source.track, source.frames)).1)
}

#[test]
fn no_peak_passes_the_ceiling_behind_the_encoder() {
    for (channels, bitrate) in [(1, 64_000), (1, 128_000), (2, 128_000), (2, 192_000)] {
        // Targets that nothing reaches: the limiter works all the time.
        let sources = [
            ("noise", flattened(3, channels), -1.0),
            ("steps", steps(channels), -1.0),
            ("steps, levelled", steps(channels), -16.0),
            ("music", music(1.6, 6, channels), -6.0),
            ("speech", voice(1, 4.0, channels), -9.0),
        ];
        for (name, source, target) in sources {
            let (loudness, peak) = heard(&source, bitrate, target);
            println!(
                "{name}, {channels} x {}: {peak:.2} dBTP, {loudness:.2} LUFS",
                bitrate / channels as u32
            );
            assert!(peak <= MOST, "{name} at {bitrate} bit/s in {channels} channels: {peak:.2} dBTP");
        }
    }
}

#[test]
fn what_peaks_are_lowered_by_does_not_cost_the_target() {
    for (name, source) in
        [("speech", voice(4, 1.0, 2)), ("music", music(0.4, 80, 2)), ("noise", quieter(flattened(40, 2)))]
    {
        for target in [-16.0, -23.0] {
            let (loudness, peak) = heard(&source, 128_000, target);
            println!("{name} at {target}: {loudness:.2} LUFS, {peak:.2} dBTP");
            assert!((loudness - target).abs() <= 0.5, "{name}: {loudness:.2} LUFS instead of {target}");
            assert!(peak <= MOST, "{name}: {peak:.2} dBTP");
        }
    }
}
