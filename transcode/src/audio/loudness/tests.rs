//! Levels against the numbers of BS.1770, EBU Tech 3341 and AVP-45.

use std::f64::consts::PI;

use aqueduct_common::codec::AacConfig;
use bytes::Bytes;
use ebur128::{EbuR128, Mode};

use super::*;

/// Loudness and true peak of what came out, by a meter of its own.
fn measured(pcm: &Pcm) -> (f64, f64) {
    let mut meter = EbuR128::new(pcm.planes.len() as u32, RATE, Mode::I | Mode::TRUE_PEAK).unwrap();
    meter.add_frames_planar_f32(&pcm.planes.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    let peak = (0..pcm.planes.len() as u32).map(|n| meter.true_peak(n).unwrap()).fold(0.0, f64::max);
    (meter.loudness_global().unwrap(), 20.0 * peak.log10())
}

/// A tone in `channels`, at `level` dBFS for so many seconds.
fn tone(frequency: f64, level: f64, seconds: f64, channels: usize) -> Pcm {
    let amplitude = factor(level);
    let at = |n: usize| (amplitude * (2.0 * PI * frequency * n as f64 / 48_000.0 + PI / 4.0).sin()) as f32;
    Pcm { planes: vec![(0..(seconds * 48_000.0) as usize).map(at).collect(); channels] }
}

/// Parts behind each other.
fn joined(parts: impl IntoIterator<Item = Pcm>) -> Pcm {
    parts
        .into_iter()
        .reduce(|mut all, part| {
            all.append(&part);
            all
        })
        .unwrap()
}

/// What comes out of the levels, in pieces as a decoder gives them.
fn levelled(dynamics: &mut Dynamics, mut pcm: Pcm) -> Pcm {
    let mut out = Pcm::empty(pcm.planes.len());
    while pcm.len() > 0 {
        out.append(&dynamics.push(pcm.take(1_024)).unwrap());
    }
    out
}

/// Peaks limited, loudness left alone.
fn limited() -> Dynamics {
    let config = AacConfig::parse(&Bytes::from_static(&[0x11, 0x90])).unwrap();
    Dynamics::new(None, &CodecConfig::Aac(config), 2, 192_000).unwrap()
}

/// What it makes of sound of one channel, in pieces as a decoder gives them.
fn followed(levels: &mut Levels, mut pcm: Pcm) -> Pcm {
    let mut out = Pcm::empty(1);
    while pcm.len() > 0 {
        let mut piece = pcm.take(1_024);
        levels.apply(&mut piece).unwrap();
        out.append(&piece);
    }
    out
}

/// A tone in one channel that BS.1770 reads as `loudness`.
fn voice(loudness: f64, seconds: f64) -> Pcm {
    tone(1_000.0, loudness + 3.01, seconds, 1)
}

/// Output short-term loudness at the end of each second.
fn short_terms(pcm: &Pcm) -> Vec<f64> {
    let mut meter = EbuR128::new(pcm.planes.len() as u32, RATE, Mode::S).unwrap();
    let mut pcm = pcm.clone();
    let mut levels = Vec::new();
    while pcm.len() >= 48_000 {
        let second = pcm.take(48_000);
        meter.add_frames_planar_f32(&second.planes.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        levels.push(meter.loudness_shortterm().unwrap());
    }
    levels
}

#[test]
fn the_meter_reads_what_the_standards_say() {
    let read = |pcm: &Pcm| {
        let mut meter = Meter::new(pcm.planes.len()).unwrap();
        meter.push(pcm, 0..pcm.len()).unwrap();
        meter.read()
    };
    // BS.1770: full scale at 997 Hz in one channel of two is −3.01.
    let mut one = tone(997.0, 0.0, 20.0, 2);
    one.planes[1].fill(0.0);
    assert!((read(&one).mean.unwrap() + 3.01).abs() < 0.1);
    // Tech 3341, 1 and 2.
    for level in [-23.0, -33.0, -40.0] {
        let reading = read(&tone(1_000.0, level, 20.0, 2));
        for value in [reading.momentary, reading.short_term, reading.mean.unwrap()] {
            assert!((value - level).abs() < 0.1, "{level}: {value}");
        }
    }
    // Tech 3341, 3 and 4: the gates leave out what is quiet.
    let steps = [(-72.0, 10.0), (-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0), (-72.0, 10.0)];
    let gated = joined(steps.map(|(level, seconds)| tone(1_000.0, level, seconds, 2)));
    assert!((read(&gated).mean.unwrap() + 23.0).abs() < 0.2);
    assert_eq!(read(&tone(1_000.0, -23.0, 2.0, 2)).mean, None, "too little to say");
    assert_eq!(read(&Pcm::silence(2, 480_000)).mean, None, "silence has no loudness");
}

#[test]
fn a_quiet_programme_reaches_its_target_in_twenty_seconds_and_does_not_overshoot() {
    // AVP-45. A gain of 12 dB is the most, so that −30 reaches −18 at best.
    for (target, level) in [(-23.0, -30.0), (-16.0, -26.0), (-23.0, -10.0), (-16.0, -8.0)] {
        let terms = short_terms(&followed(&mut Levels::new(target, 1).unwrap(), voice(level, 40.0)));
        // Short-term values of the first seconds, before anything was known, do not count.
        assert!(
            terms[4..].iter().all(|term| (term - target).abs() < (level - target).abs() + 0.2),
            "{terms:?}"
        );
        assert!(terms[12..].iter().all(|term| *term < target + 3.0), "{target}: {terms:?}");
        assert!((terms[20] - target).abs() <= 0.5, "{target}: {terms:?}");
    }
}

#[test]
fn steps_end_within_half_a_unit_of_the_target() {
    let mut levels = Levels::new(-23.0, 1).unwrap();
    for level in [-28.0, -20.0, -31.0, -14.0] {
        let terms = short_terms(&followed(&mut levels, voice(level, 100.0)));
        // A minute until the mean has forgotten what was before, and the gain on its way.
        assert!((terms[97] + 23.0).abs() <= 0.5, "{level}: {terms:?}");
        let risen = terms.windows(2).skip(4).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(risen <= 1.1, "never faster than a decibel a second: {risen}");
    }
}

#[test]
fn silence_raises_no_gain() {
    let mut levels = Levels::new(-23.0, 1).unwrap();
    // What is measured over 400 ms has to see that it is over.
    followed(&mut levels, joined([voice(-26.0, 30.0), Pcm::silence(1, 24_000)]));
    let before = levels.gain;
    followed(&mut levels, joined([voice(-62.0, 30.0), Pcm::silence(1, 30 * 48_000)]));
    assert_eq!(levels.gain, before);
    let after = short_terms(&followed(&mut levels, voice(-26.0, 5.0)));
    assert!((after[4] + 23.0).abs() < 0.5);
}

#[test]
fn no_peak_between_samples_gets_through() {
    // AVP-9: tones whose peaks lie between samples, 6 dB too loud; bursts; single clicks.
    let ceiling = -1.0 - Raise::of(192_000, 2).peaks;
    let mut sources: Vec<Pcm> =
        [12_000.0, 8_000.0, 6_000.0, 997.0, 60.0, 15_000.0].map(|hz| tone(hz, 6.0, 1.0, 2)).into();
    let mut bursts = tone(12_000.0, 4.0, 2.0, 2);
    for (n, sample) in bursts.planes[0].iter_mut().enumerate() {
        *sample *= if n / 900 % 3 == 0 { 1.0 } else { 0.1 };
    }
    sources.push(bursts);
    let mut clicks = Pcm::silence(2, 48_000);
    (0..48_000).step_by(3_001).for_each(|n| clicks.planes[1][n] = 3.0);
    sources.push(clicks);
    for (n, source) in sources.into_iter().enumerate() {
        let mut dynamics = limited();
        let out = levelled(&mut dynamics, source);
        let (_, peak) = measured(&out);
        assert!(peak <= ceiling + 0.2, "source {n}: {peak:.2} dBTP");
        assert!(peak > ceiling - 1.5, "source {n}: no more than is needed, {peak:.2} dBTP");
    }
}

#[test]
fn what_is_quiet_enough_is_not_touched_and_not_moved() {
    let source = tone(997.0, -6.0, 1.0, 2);
    let mut dynamics = limited();
    let mut out = levelled(&mut dynamics, source.clone());
    assert_eq!(out.len(), source.len() - limiter::DELAY);
    out.append(&dynamics.flush());
    assert!(out == source);
    // And again after a restart.
    assert_eq!(levelled(&mut dynamics, source.clone()).planes[0][..100], source.planes[0][..100]);
}

#[test]
fn channels_are_limited_together() {
    let mut source = tone(997.0, -6.0, 1.0, 2);
    source.planes[0].iter_mut().for_each(|sample| *sample *= 4.0);
    let mut dynamics = limited();
    let out = levelled(&mut dynamics, source);
    let ratio = |n: usize| out.planes[0][n] / out.planes[1][n];
    assert!((10_000..10_100).all(|n| (ratio(n) - 4.0).abs() < 0.01), "the image stays");
}
