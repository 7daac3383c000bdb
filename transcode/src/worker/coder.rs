//! An open encoder of one backend: pictures in, coded frames with their times out.

use std::collections::VecDeque;

use aqueduct_common::CodecConfig;
use bytes::Bytes;
use ffmpeg_next::format::Pixel;

use super::bitstream::{self, Framing};
use super::settings::{Memory, Rates, Settings, settings, threads};
use super::slots::Times;
use crate::hardware::Backend;
use crate::protocol::{Rung, VideoCodec};
use crate::sys::{
    AvError, Device, Encoder, EncoderSetup, Graph, GraphInput, Picture, Pool, Shape, encoder_knows,
};

/// A coded frame.
pub(super) struct Made {
    /// Its times; an IDR where they say sync.
    pub(super) times: Times,
    /// As a sample carries it.
    pub(super) payload: Bytes,
    /// No other frame needs it.
    pub(super) disposable: bool,
    /// Its mean quantiser.
    pub(super) quantiser: Option<f32>,
    /// What it is coded with.
    pub(super) config: Option<CodecConfig>,
}

/// An open encoder.
pub(super) struct Coder {
    backend: Backend,
    codec: VideoCodec,
    size: (u32, u32),
    framing: Framing,
    encoder: Encoder,
    input: Input,
    config: Option<CodecConfig>,
    /// Frames that went in and are not out, by number.
    inside: VecDeque<(i64, Times)>,
    next: i64,
}

impl Coder {
    /// Opens the encoder of a backend for pictures like this one.
    pub(super) fn open(
        backend: Backend,
        rung: &Rung,
        cap: u32,
        frame_rate: (u32, u32),
        cores: usize,
        picture: &Picture,
    ) -> Result<Self, AvError> {
        let threads = threads(rung, frame_rate, cores);
        let settings = settings(backend, rung, threads)
            .ok_or_else(|| AvError::new(format!("encoding {:?}", rung.codec), format!("{backend} cannot")))?;
        let mut input = Input::new(backend, rung, &settings, picture)?;
        let like = input.prepare(picture)?;
        let encoder = open(rung, &settings, Rates::of(rung, cap), frame_rate, &input, &like)?;
        input.opened = Some(like.shape().format);
        let framing = settings.framing;
        let config = match encoder.extradata() {
            [] => None,
            header => Some(parse(bitstream::config(rung.codec, framing, header, &[]))?),
        };
        let inside = VecDeque::new();
        let (codec, size) = (rung.codec, (rung.width, rung.height));
        Ok(Self { backend, codec, size, framing, encoder, input, config, inside, next: 0 })
    }

    /// libav's name for it.
    pub(super) fn name(&self) -> &str {
        self.encoder.name()
    }

    /// What its frames are coded with; some encoders say it only with the first one.
    pub(super) const fn config(&self) -> Option<&CodecConfig> {
        self.config.as_ref()
    }

    /// Pictures that lie where this one does can be encoded; else it has to be opened anew.
    pub(super) fn fits(&self, picture: &Picture) -> bool {
        !self.input.own || picture.device() == Some(self.backend)
    }

    /// Another average. False where the encoder has to be opened anew for it: libx264 changes its peak only.
    pub(super) fn set_bitrate(&mut self, rung: &Rung, cap: u32) -> bool {
        self.backend == Backend::Nvidia && self.set_cap(rung, cap)
    }

    /// Another peak. False where the encoder has to be opened anew for it.
    pub(super) fn set_cap(&mut self, rung: &Rung, cap: u32) -> bool {
        let x264 = (self.backend, self.codec) == (Backend::Software, VideoCodec::H264);
        let can = x264 || self.backend == Backend::Nvidia;
        if can {
            let Rates { average, peak, buffer } = Rates::of(rung, cap);
            self.encoder.set_rates(average, peak, buffer);
        }
        can
    }

    /// Encodes a picture; gives what is ready.
    pub(super) fn encode(&mut self, picture: &Picture, times: Times) -> Result<Vec<Made>, AvError> {
        if (picture.width(), picture.height()) != self.size {
            return Err(AvError::new(self.name(), "the picture has another size than the rung"));
        }
        let mut picture = self.input.prepare(picture)?;
        picture.mark(self.next, times.sync);
        self.encoder.send(&picture)?;
        self.inside.push_back((self.next, times));
        self.next += 1;
        self.ready()
    }

    /// Gives out what is inside.
    pub(super) fn finish(&mut self) -> Vec<Made> {
        self.encoder.finish();
        self.ready().unwrap_or_default()
    }

    fn ready(&mut self) -> Result<Vec<Made>, AvError> {
        let mut made = Vec::new();
        while let Some(coded) = self.encoder.receive()? {
            let (number, key, quantiser) = (coded.pts(), coded.is_key(), coded.quantiser());
            let Some((expected, times)) = self.inside.pop_front() else {
                return Err(AvError::new(self.name(), "it gave more frames than it was given"));
            };
            if number != Some(expected) {
                return Err(AvError::new(self.name(), "it gave frames in another order"));
            }
            let unit = parse(bitstream::unit(self.codec, self.framing, coded.into_bytes(), key))?;
            if times.sync && !unit.sync {
                return Err(AvError::new(self.name(), "it gave no IDR where one was forced"));
            }
            if self.config.is_none() {
                self.config = Some(parse(bitstream::config(self.codec, self.framing, &[], &unit.sets))?);
            }
            let (payload, disposable) = (unit.payload, unit.disposable);
            made.push(Made { times, payload, disposable, quantiser, config: self.config.clone() });
        }
        Ok(made)
    }
}

/// Brings pictures to where an encoder reads them, in a layout that it takes.
struct Input {
    formats: &'static [Pixel],
    /// The layout that the encoder was opened for.
    opened: Option<Pixel>,
    /// It reads what its own device decoded or scaled.
    own: bool,
    /// The device of an encoder whose pictures come from memory.
    device: Option<Device>,
    /// Where they are put for an encoder that reads surfaces only.
    pool: Option<Pool>,
    /// Converts between layouts, for pictures of this shape.
    convert: Option<(Shape, Graph)>,
}

impl Input {
    fn new(backend: Backend, rung: &Rung, settings: &Settings, picture: &Picture) -> Result<Self, AvError> {
        let own = picture.device() == Some(backend);
        let device = if backend == Backend::Software || own { None } else { Some(Device::open(backend)?) };
        let pool = match (&device, settings.memory) {
            (Some(device), Memory::Surfaces) => Some(device.pool(rung.width, rung.height)?),
            _ => None,
        };
        Ok(Self { formats: settings.formats, opened: None, own, device, pool, convert: None })
    }

    /// A handle on the picture that the encoder can read.
    fn prepare(&mut self, picture: &Picture) -> Result<Picture, AvError> {
        let local = match picture.device() {
            Some(_) if self.own => return picture.share(),
            Some(_) => self.convert(picture.download()?)?,
            None => self.convert(picture.share()?)?,
        };
        match &self.pool {
            Some(pool) => pool.upload(&local),
            None => Ok(local),
        }
    }

    fn convert(&mut self, picture: Picture) -> Result<Picture, AvError> {
        let shape = picture.shape();
        let taken = match (&self.pool, self.opened) {
            // An encoder reads by the layout that it was opened for, whatever it is given.
            (None, Some(opened)) => shape.format == opened,
            _ => self.formats.contains(&shape.format),
        };
        if taken {
            return Ok(picture);
        }
        if self.convert.as_ref().is_none_or(|(built, _)| *built != shape) {
            let wanted = self.opened.filter(|_| self.pool.is_none()).or(self.formats.first().copied());
            let format = if wanted == Some(Pixel::NV12) { "nv12" } else { "yuv420p" };
            let input = GraphInput { like: &picture, timescale: 1 };
            let graph = Graph::build(&input, &format!("[in]scale,format={format}[out0]"), 1)?;
            self.convert = Some((shape, graph));
        }
        let Some((_, graph)) = &mut self.convert else { return Ok(picture) };
        graph.push(&picture)?;
        let converted = graph.pull(0, 1)?;
        converted.ok_or_else(|| AvError::new("converting a picture", "nothing came out"))
    }
}

fn parse<T>(result: Result<T, aqueduct_common::codec::CodecError>) -> Result<T, AvError> {
    result.map_err(|error| AvError::new("reading what an encoder gave", error.to_string()))
}

fn open(
    rung: &Rung,
    settings: &Settings,
    rates: Rates,
    frame_rate: (u32, u32),
    input: &Input,
    like: &Picture,
) -> Result<Encoder, AvError> {
    let knows = |option: &&(&'static str, String)| encoder_knows(settings.name, option.0);
    let mut options = settings.options.clone();
    options.extend(settings.wished.iter().filter(knows).cloned());
    let surfaces = like.device().is_some().then_some(like);
    Encoder::open(&EncoderSetup {
        name: settings.name,
        width: rung.width,
        height: rung.height,
        format: like.shape().format,
        frame_rate,
        bitrate: rates.average,
        peak: rates.peak,
        buffer: rates.buffer,
        threads: settings.threads,
        gop: settings.gop,
        options: &options,
        surfaces,
        device: input.device.as_ref().filter(|_| surfaces.is_none()),
    })
}
