//! Tries a backend by sending frames through it, with the settings that streams get.

use std::collections::HashMap;
use std::time::Instant;

use aqueduct_common::{CodecConfig, TrackId, WallTime};
use bytes::Bytes;

use super::coder::Coder;
use super::recipe::{Fields, Means, Place, Told, recipe};
use super::slots::Times;
use super::source::decoder_of;
use crate::hardware::Backend;
use crate::hardware::probe::{Ability, Outcome};
use crate::protocol::{Preset, Rung, VideoCodec};
use crate::sys::{self, AvError, Decoder, DecoderSetup, Device, Graph, GraphInput, Picture};

/// Size of the pictures: above the least of every encoder in hardware.
const SIZE: (u32, u32) = (640, 360);
/// Frames that are encoded.
const FRAMES: u32 = 8;
/// The frame that has to be an IDR beside the first.
const FORCED: u32 = 5;
/// Mean difference of luma up to which a picture counts as the one that went in.
const NEAR: u32 = 8;

/// A backend on trial. What one trial makes, the next ones use.
pub(crate) struct Bench {
    backend: Backend,
    usable: bool,
    coded: HashMap<VideoCodec, Coded>,
    /// A decoded picture where the backend left it.
    decoded: Option<Picture>,
}

/// Coded frames and their configuration.
#[derive(Clone)]
struct Coded {
    config: CodecConfig,
    frames: Vec<Bytes>,
}

impl Bench {
    /// Nothing is opened yet. libav logs its errors from here on.
    pub(crate) fn new(backend: Backend) -> Self {
        sys::init();
        ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Error);
        Self { backend, usable: true, coded: HashMap::new(), decoded: None }
    }

    /// Tries one thing.
    #[expect(clippy::disallowed_methods, reason = "a probe says how long it took")]
    pub(crate) fn outcome(&mut self, ability: Ability) -> Outcome {
        if !self.usable || !self.knows(ability) {
            return Outcome::Skipped;
        }
        let start = Instant::now();
        let tried = match ability {
            Ability::Device => self.device(),
            Ability::Encode(codec) => self.encode(codec),
            Ability::Decode(codec) => self.decode(codec),
            Ability::Scale => self.scale(),
        };
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        match tried {
            Ok(by) => Outcome::Works { by, micros },
            Err(error) => {
                self.usable &= ability != Ability::Device;
                Outcome::Refused { said: error.to_string() }
            }
        }
    }

    /// The worker has a use for it on this backend.
    fn knows(&self, ability: Ability) -> bool {
        match (ability, self.backend) {
            (Ability::Scale, Backend::Qsv | Backend::VideoToolbox) => false,
            (Ability::Scale, Backend::Nvidia | Backend::Vaapi) => self.decoded.is_some(),
            (Ability::Encode(VideoCodec::Av1), Backend::VideoToolbox) => false,
            _ => true,
        }
    }

    fn device(&self) -> Result<String, AvError> {
        match self.backend {
            Backend::Software => Ok("CPU".into()),
            backend => Device::open(backend).map(|_| backend.to_string()),
        }
    }

    fn encode(&mut self, codec: VideoCodec) -> Result<String, AvError> {
        let (by, coded) = encode_with(self.backend, codec)?;
        self.coded.insert(codec, coded);
        Ok(by)
    }

    fn decode(&mut self, codec: VideoCodec) -> Result<String, AvError> {
        let coded = match self.coded.get(&codec) {
            Some(coded) => coded.clone(),
            None => {
                let made = encode_with(Backend::Software, codec);
                made.map_err(|error| AvError::new("making frames to decode", error.to_string()))?.1
            }
        };
        let (by, picture) = decode_with(self.backend, &coded)?;
        if codec == VideoCodec::H264 {
            self.decoded = Some(picture);
        }
        Ok(by)
    }

    fn scale(&mut self) -> Result<String, AvError> {
        let (place, by) = match self.backend {
            Backend::Nvidia => (Place::Cuda { stay: false }, "scale_cuda"),
            Backend::Vaapi => (Place::Vaapi { stay: false }, "scale_vaapi"),
            _ => (Place::Memory, "scale"),
        };
        let picture = match &self.decoded {
            Some(picture) => picture.share()?,
            None => sys::ramp(SIZE.0, SIZE.1, 0),
        };
        let means = Means { tone_map: false, deinterlace: false };
        let size = (SIZE.0 / 2, SIZE.1 / 2);
        let spec = recipe(&picture.shape(), Told::default(), Fields::Progressive, place, &[size], means).spec;
        let input = GraphInput { like: &picture, timescale: 90_000 };
        let mut graph = Graph::build(&input, &spec, 1)?;
        graph.push(&picture)?;
        graph.finish();
        match graph.pull(0, 90_000)? {
            Some(scaled) if (scaled.width(), scaled.height()) == size => Ok(by.into()),
            Some(_) => Err(AvError::new(by, "the picture has another size than was asked for")),
            None => Err(AvError::new(by, "no picture came out")),
        }
    }
}

fn encode_with(backend: Backend, codec: VideoCodec) -> Result<(String, Coded), AvError> {
    let rung = Rung {
        track: TrackId::FIRST_ENCODED,
        width: SIZE.0,
        height: SIZE.1,
        bitrate: 1_500_000,
        peak: 1_800_000,
        buffer_ms: 750,
        half_rate: false,
        codec,
        preset: Preset::Veryfast,
        crf: None,
    };
    let mut coder = Coder::open(backend, &rung, u32::MAX, (30, 1), 1, &sys::ramp(SIZE.0, SIZE.1, 0))?;
    let mut frames = Vec::new();
    for at in 0..FRAMES {
        let pts = i64::from(at);
        let sync = at == 0 || at == FORCED;
        let times = Times { dts: pts, pts, duration: 1, sync, received: WallTime::default() };
        frames.extend(coder.encode(&sys::ramp(SIZE.0, SIZE.1, at), times)?);
    }
    frames.extend(coder.finish());
    if frames.len() != FRAMES as usize {
        return Err(AvError::new(coder.name(), format!("{} frames came out of {FRAMES}", frames.len())));
    }
    let by = coder.name().to_owned();
    let config = coder.config().cloned();
    let config =
        config.ok_or_else(|| AvError::new(&by, "it does not say how its frames are to be decoded"))?;
    Ok((by, Coded { config, frames: frames.into_iter().map(|made| made.payload).collect() }))
}

/// Decodes, and gives the last picture where the backend left it.
fn decode_with(backend: Backend, coded: &Coded) -> Result<(String, Picture), AvError> {
    let device = match backend {
        Backend::Software => None,
        backend => Some(Device::open(backend)?),
    };
    let (codec, name) = decoder_of(&coded.config, backend)?;
    let record = coded.config.record();
    let mut decoder = Decoder::open(&DecoderSetup {
        codec,
        name,
        record,
        low_delay: true,
        reorder: 0,
        threads: 1,
        device: device.as_ref(),
    })?;
    let mut pictures = Vec::new();
    for (at, frame) in coded.frames.iter().enumerate() {
        decoder.send(frame, at as i64, at == 0)?;
        pictures.extend(decoder.receive()?);
    }
    decoder.finish();
    while let Some(picture) = decoder.receive()? {
        pictures.push(picture);
    }
    let by = decoder.name().to_owned();
    let (count, last) = (pictures.len(), pictures.pop());
    let Some(last) = last.filter(|_| count == FRAMES as usize) else {
        return Err(AvError::new(by, format!("{count} pictures came out of {FRAMES}")));
    };
    let local = if device.is_some() { last.download()? } else { last.share()? };
    match sys::distance_from_ramp(&local, FRAMES - 1) {
        Some(distance) if distance <= NEAR => Ok((by, last)),
        Some(_) => Err(AvError::new(by, "the picture that came out is another one than went in")),
        None => Err(AvError::new(by, "the picture that came out has an unknown layout")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_does_all_that_this_libav_was_built_with() {
        let mut bench = Bench::new(Backend::Software);
        for ability in [
            Ability::Device,
            Ability::Encode(VideoCodec::H264),
            Ability::Decode(VideoCodec::H264),
            Ability::Scale,
        ] {
            let outcome = bench.outcome(ability);
            assert!(matches!(outcome, Outcome::Works { .. }), "{ability:?}: {outcome:?}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_refused_and_the_rest_is_left() {
        sys::choose_device("/dev/dri/no-such-node");
        let mut bench = Bench::new(Backend::Vaapi);
        assert!(matches!(bench.outcome(Ability::Device), Outcome::Refused { .. }));
        assert_eq!(bench.outcome(Ability::Decode(VideoCodec::H264)), Outcome::Skipped);
    }
}
