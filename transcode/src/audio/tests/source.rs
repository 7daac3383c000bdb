//! Sources: sound coded by libav's encoders, and what becomes of it.

use aqueduct_common::codec::{AacConfig, ForeignCodec, ForeignConfig, OpusConfig};
use aqueduct_common::track::Grid;
use aqueduct_common::{CodecConfig, MediaTime, Timescale, Track, TrackId, WallTime};
use bytes::Bytes;
use ffmpeg_next as av;

use crate::audio::Chain;
use crate::audio::decode::Decoder;
use crate::audio::pcm::{Pcm, layout};
use crate::protocol::{AudioJob, Frame, Loudness};
use crate::sys;

/// A coded source track.
pub(super) struct Source {
    pub(super) track: Track,
    /// Contiguous from ten seconds on, as ingest stamps them.
    pub(super) frames: Vec<Frame>,
    /// Source samples that the encoder put before the first one it was given.
    pub(super) priming: i64,
}

/// Where sources begin, in seconds (TL-5).
pub(super) const START: i64 = 10;

/// Codes sound with the libav encoder of this name.
pub(super) fn code(encoder: &str, rate: u32, pcm: &Pcm) -> Source {
    sys::init();
    let codec = av::encoder::find_by_name(encoder).expect("libav has the encoder");
    let format = codec.audio().unwrap().formats().unwrap().next().unwrap();
    let mut context = av::codec::Context::new_with_codec(codec).encoder().audio().unwrap();
    let channels = pcm.planes.len();
    context.set_rate(rate as i32);
    context.set_format(format);
    context.set_channel_layout(layout(channels));
    context.set_bit_rate(match encoder {
        // Four bits a code.
        "g726" | "g726le" => 32_000,
        _ if channels > 2 => 448_000,
        _ => 192_000,
    });
    context.set_time_base((1, rate as i32));
    context.set_flags(av::codec::Flags::GLOBAL_HEADER);
    let mut options = av::Dictionary::new();
    options.set("strict", "experimental");
    let mut encoder = context.open_as_with(codec, options).expect("it opens");
    let (record, priming) = sys::sound_stream(&encoder);
    let size = match encoder.frame_size() {
        0 => rate as usize / 50,
        size => size as usize,
    };
    let mut convert = av::software::resampling::Context::get(
        crate::audio::pcm::FORMAT,
        layout(channels),
        rate,
        format,
        layout(channels),
        rate,
    )
    .unwrap();
    let (mut packets, mut rest) = (Vec::new(), pcm.clone());
    let mut packet = av::Packet::empty();
    let mut at = 0;
    while rest.len() >= size {
        let mut frame = av::frame::Audio::empty();
        convert.run(&rest.take(size).frame(rate), &mut frame).unwrap();
        frame.set_pts(Some(at));
        at += size as i64;
        encoder.send_frame(&frame).unwrap();
        while encoder.receive_packet(&mut packet).is_ok() {
            packets.push(Bytes::copy_from_slice(packet.data().unwrap()));
        }
    }
    source(codec.id(), rate, channels as u16, &record, priming.into(), &packets)
}

fn source(
    id: av::codec::Id,
    rate: u32,
    channels: u16,
    record: &Bytes,
    priming: i64,
    packets: &[Bytes],
) -> Source {
    use av::codec::Id;
    let foreign = |codec| ForeignConfig::of_packet(codec, &packets[0]).unwrap();
    let codec = match id {
        Id::AAC => CodecConfig::Aac(AacConfig::parse(record).unwrap()),
        Id::OPUS => CodecConfig::Opus(OpusConfig::parse_head(record).unwrap()),
        Id::MP2 => CodecConfig::Foreign(foreign(ForeignCodec::Mp2)),
        Id::ADPCM_G726 => CodecConfig::Foreign(ForeignConfig::g726(ForeignCodec::G726High, 4).unwrap()),
        Id::ADPCM_G726LE => CodecConfig::Foreign(ForeignConfig::g726(ForeignCodec::G726, 4).unwrap()),
        Id::MP3 => CodecConfig::Foreign(foreign(ForeignCodec::Mp3)),
        Id::AC3 => CodecConfig::Foreign(foreign(ForeignCodec::Ac3)),
        Id::EAC3 => CodecConfig::Foreign(foreign(ForeignCodec::Eac3)),
        Id::FLAC => CodecConfig::Foreign(ForeignConfig::flac(record).unwrap()),
        Id::VORBIS => CodecConfig::Foreign(ForeignConfig::vorbis(record).unwrap()),
        Id::PCM_ALAW => CodecConfig::Foreign(ForeignConfig::g711(ForeignCodec::ALaw, channels).unwrap()),
        Id::PCM_MULAW => CodecConfig::Foreign(ForeignConfig::g711(ForeignCodec::MuLaw, channels).unwrap()),
        other => panic!("{other:?}"),
    };
    assert_eq!(codec.sound(), Some((rate, channels)));
    let scale = Timescale::of(rate);
    // Vorbis does not say how long packets last: the decoder does.
    let mut listener = Decoder::open(&codec).unwrap();
    let mut decoded = |packet: &Bytes| listener.push(packet).unwrap().map_or(0, |out| out.pcm.len() as u32);
    let lasts = |packet: &Bytes| match &codec {
        CodecConfig::Aac(aac) => aac.frame_samples,
        CodecConfig::Opus(_) => aqueduct_common::codec::opus::packet_samples(packet).unwrap(),
        CodecConfig::Foreign(foreign) => foreign.samples(packet).unwrap_or_else(|| decoded(packet)),
        _ => unreachable!(),
    };
    let durations: Vec<u32> = packets.iter().map(lasts).collect();
    let mut at = START * i64::from(rate);
    let mut frames = Vec::new();
    for (payload, duration) in packets.iter().cloned().zip(durations) {
        let received = WallTime { micros: at * 1_000_000 / i64::from(rate) };
        let (track, sync, disposable) = (TrackId::AUDIO, true, false);
        frames.push(Frame { track, dts: at, pts: at, duration, sync, disposable, received, payload });
        at += i64::from(duration);
    }
    let track = Track {
        id: TrackId::AUDIO,
        codec,
        timescale: scale,
        grid: Grid::Fixed(MediaTime::new(frames[0].duration.into(), scale)),
        reorder_delay: 0,
        language: "en".into(),
        bandwidth: None,
    };
    Source { track, frames, priming }
}

/// A rendition of 128 kbit/s.
pub(super) fn job(loudness: Option<Loudness>) -> AudioJob {
    AudioJob { source: TrackId::AUDIO, track: TrackId(32), bitrate: 128_000, loudness }
}

/// What came out of a chain.
pub(super) struct Result {
    pub(super) track: Track,
    pub(super) frames: Vec<Frame>,
}

/// Sends frames through a chain and flushes it. Holds that what comes out is contiguous.
pub(super) fn run(job: &AudioJob, track: &Track, frames: Vec<Frame>) -> Result {
    let mut chain = Chain::new(job, track).unwrap();
    let mut out: Vec<Frame> = frames.into_iter().flat_map(|frame| chain.push(frame).unwrap()).collect();
    out.extend(chain.flush().unwrap());
    for pair in out.windows(2) {
        assert_eq!(pair[1].dts, pair[0].dts + 1_024);
    }
    assert!(out.iter().all(|frame| frame.pts == frame.dts && frame.duration == 1_024 && frame.sync));
    Result { track: chain.track().unwrap(), frames: out }
}

/// What a listener hears, and the position of its first sample at 48 kHz.
pub(super) fn hear(result: &Result) -> (i64, Pcm) {
    let mut decoder = Decoder::open(&result.track.codec).unwrap();
    let channels = usize::from(result.track.codec.sound().unwrap().1);
    let mut heard = Pcm::empty(channels);
    for frame in &result.frames {
        heard.append(&decoder.push(&frame.payload).unwrap().unwrap().pcm);
    }
    (result.frames[0].pts, heard)
}

/// Noise in bursts and pauses: it matches itself at one lag only, through any codec. Limited to what 8 kHz carries.
pub(super) fn bursts(rate: u32, channels: usize, seconds: f32) -> Pcm {
    let mut random = 1u32;
    let mut low = [0.0f32; 2];
    let samples = (rate as f32 * seconds) as usize;
    let plane: Vec<f32> = (0..samples)
        .map(|n| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = random as f32 / u32::MAX as f32 - 0.5;
            // Two poles at about 1 kHz.
            let share = (6_283.0 / rate as f32).min(1.0);
            low[0] += (noise - low[0]) * share;
            low[1] += (low[0] - low[1]) * share;
            let second = n as f32 / rate as f32;
            let loud = (second * 7.3).sin() > 0.0 || (second * 2.9).sin() > 0.5;
            if loud { low[1] * 2.0 } else { 0.0 }
        })
        .collect();
    Pcm { planes: vec![plane; channels] }
}

/// The lag in samples, with fractions, at which `heard` matches `said` best; within ±`reach`. Both at one rate.
pub(super) fn lag(said: &[f32], heard: &[f32], reach: i64) -> f64 {
    let (from, to) = (said.len() / 3, said.len() * 2 / 3);
    let score = |lag: i64, every: usize| -> f64 {
        let pairs = (from..to).step_by(every).filter_map(|n| {
            let other = heard.get(usize::try_from(n as i64 + lag).ok()?)?;
            Some(f64::from(said[n]) * f64::from(*other))
        });
        pairs.sum()
    };
    let near = (-reach..=reach).step_by(8).max_by(|a, b| score(*a, 16).total_cmp(&score(*b, 16))).unwrap();
    let best = (near - 8..=near + 8).max_by(|a, b| score(*a, 2).total_cmp(&score(*b, 2))).unwrap();
    let (before, at, after) = (score(best - 1, 1), score(best, 1), score(best + 1, 1));
    best as f64 + 0.5 * (before - after) / (before - 2.0 * at + after)
}

/// The bundled recording of speech, so many times over: as coded, and as decoded.
pub(super) fn speech(rounds: usize) -> (Source, Pcm) {
    const FILE: &[u8] = include_bytes!("media/speech.aac");
    // ADTS: seven bytes before each frame, its length in 13 bits from bit 30 on (ISO/IEC 14496-3, 1.A.2).
    let mut packets = Vec::new();
    let mut rest = FILE;
    while let [0xff, _, _, a, b, c, ..] = *rest {
        let length = (usize::from(a & 3) << 11) | (usize::from(b) << 3) | usize::from(c >> 5);
        packets.push(Bytes::from_static(&rest[7..length]));
        rest = &rest[length..];
    }
    let packets: Vec<Bytes> = (0..rounds).flat_map(|_| packets.iter().cloned()).collect();
    // AAC-LC, 16 kHz, one channel.
    let record = Bytes::from_static(&[0x14, 0x08]);
    let source = source(av::codec::Id::AAC, 16_000, 1, &record, 0, &packets);
    let mut decoder = Decoder::open(&source.track.codec).unwrap();
    let mut said = Pcm::empty(1);
    packets.iter().for_each(|packet| said.append(&decoder.push(packet).unwrap().unwrap().pcm));
    (source, said)
}
