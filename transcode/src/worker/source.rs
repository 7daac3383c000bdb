//! From coded frames to pictures in the order they are shown in, by whichever backend decodes.

use std::sync::Arc;

use aqueduct_common::codec::ForeignVideo;
use aqueduct_common::{CodecConfig, Track};
use ffmpeg_next::codec::Id;

use super::fields::Watch;
use super::output::Output;
use super::slots::{Patience, Shown, Slots, Times};
use super::stats::Stats;
use crate::hardware::Backend;
use crate::protocol::{Fallback, Frame, FromWorker, Stage};
use crate::sys::{AvError, Decoder, DecoderSetup, Device, Picture};

/// Errors of a device in a row, after which it is given up for the session (AVP-18). One alone is more likely the
/// bitstream's.
const ERRORS_MAX: u32 = 3;
/// Late pictures in a row, after which one more frame is waited for.
const LATE_MAX: u32 = 2;
/// Frames that are waited for at most.
const SLACK_MAX: u32 = 16;
/// Threads for the slices of a picture, where one is too slow for it.
const THREADS_MAX: usize = 4;
/// Largest picture for one thread, in pixels. More threads put deblocking off to a pass of its own, which costs CPU.
const ONE_THREAD: u32 = 1_920 * 1_088;

/// The video source and its decoder.
pub(super) struct Source {
    track: Track,
    backends: Vec<Backend>,
    /// Which of them is in use.
    at: usize,
    device: Option<Device>,
    decoder: Option<Decoder>,
    slots: Slots<Picture>,
    fields: Watch,
    errors: u32,
    /// Pictures in a row that came after their repeat, and the patience that was learnt from such.
    late: u32,
    slack: u32,
    threads: u32,
    out: Output,
    stats: Arc<Stats>,
}

impl Source {
    /// A source; its decoder opens with the first sync frame.
    pub(super) fn new(
        track: Track,
        backends: Vec<Backend>,
        cores: usize,
        out: Output,
        stats: Arc<Stats>,
    ) -> Self {
        let slots = Slots::new(patience(&track, 0));
        let threads = u32::try_from(cores.clamp(1, THREADS_MAX)).unwrap_or(1);
        let (device, decoder) = (None, None);
        let fields = Watch::new(&track);
        let backends = able(&track, backends);
        Self {
            track,
            backends,
            at: 0,
            device,
            decoder,
            slots,
            fields,
            errors: 0,
            late: 0,
            slack: 0,
            threads,
            out,
            stats,
        }
    }

    /// The track that comes in.
    pub(super) const fn track(&self) -> &Track {
        &self.track
    }

    /// Other parameters, from the next frame on. What is inside has to be flushed before.
    pub(super) fn replace(&mut self, track: Track) {
        self.track = track;
        self.slots = Slots::new(patience(&self.track, self.slack));
        self.fields = Watch::new(&self.track);
        self.decoder = None;
    }

    /// Takes a frame. An error means that nothing is left that decodes.
    pub(super) fn push(&mut self, frame: &Frame) -> Result<(), AvError> {
        let Frame { dts, pts, duration, sync, received, .. } = *frame;
        let number = self.slots.feed(Times { dts, pts, duration, sync, received });
        if frame.payload.is_empty() {
            self.slots.lost(number);
            return Ok(());
        }
        loop {
            if self.decoder.is_none() && !(sync && self.open()?) {
                self.slots.lost(number);
                return Ok(());
            }
            match self.decode(frame, number) {
                Ok(()) => return Ok(()),
                Err(error) if self.is_failed(sync) => {
                    self.fall_back(&error)?;
                    self.slots.lose_all();
                    if !sync {
                        return Ok(());
                    }
                }
                Err(_) => {
                    self.slots.lost(number);
                    return Ok(());
                }
            }
        }
    }

    /// The next frame to show, as soon as that is known.
    pub(super) fn pop(&mut self) -> Option<Shown<Picture>> {
        self.slots.pop()
    }

    /// Everything that is inside; the next frame is a sync frame for a new decoder.
    pub(super) fn flush(&mut self) -> Vec<Shown<Picture>> {
        if let Some(mut decoder) = self.decoder.take() {
            decoder.finish();
            while let Ok(Some(picture)) = decoder.receive() {
                self.take(picture);
            }
        }
        self.slots.drain()
    }

    fn backend(&self) -> Backend {
        self.backends.get(self.at).copied().unwrap_or(Backend::Software)
    }

    /// Opens a decoder, the next one where one does not open.
    fn open(&mut self) -> Result<bool, AvError> {
        loop {
            match self.open_one() {
                Ok(decoder) => {
                    self.stats.set_decoder(decoder.name());
                    self.decoder = Some(decoder);
                    return Ok(true);
                }
                Err(error) => self.fall_back(&error)?,
            }
        }
    }

    fn open_one(&mut self) -> Result<Decoder, AvError> {
        let backend = self.backend();
        if backend != Backend::Software && self.device.as_ref().is_none_or(|d| d.backend() != backend) {
            self.device = Some(Device::open(backend)?);
        }
        let (codec, name) = decoder_of(&self.track.codec, backend)?;
        let reorder = reorder(&self.track);
        Decoder::open(&DecoderSetup {
            codec,
            name,
            record: self.track.codec.record(),
            low_delay: reorder == 0,
            reorder,
            threads: if backend == Backend::Software { self.threads() } else { 1 },
            device: self.device.as_ref().filter(|_| backend != Backend::Software),
        })
    }

    fn threads(&self) -> u32 {
        let pixels = self.track.codec.picture().map_or(0, |picture| picture.width * picture.height);
        if pixels > ONE_THREAD { self.threads } else { 1 }
    }

    fn decode(&mut self, frame: &Frame, number: u64) -> Result<(), AvError> {
        let Some(decoder) = self.decoder.as_mut() else { return Ok(()) };
        let sent = decoder.send(&frame.payload, number as i64, frame.sync);
        let mut pictures = Vec::new();
        let received = loop {
            match decoder.receive() {
                Ok(Some(picture)) => pictures.push(picture),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        for picture in pictures {
            self.take(picture);
        }
        sent.and(received)
    }

    /// Puts a picture in its place. One that was not decoded whole is not shown (AVP-18).
    fn take(&mut self, mut picture: Picture) {
        let Some(number) = picture.pts().and_then(|pts| u64::try_from(pts).ok()) else { return };
        if picture.is_damaged() {
            self.slots.lost(number);
        } else {
            self.errors = 0;
            if let Some(words) = self.fields.see(&mut picture) {
                self.out.trouble(words);
            }
            let late = self.slots.picture(number, picture).is_some();
            self.learn(late);
        }
    }

    /// Pictures that are late one after the other come from a decoder that holds back more than the source's times say:
    /// it is waited for, else nothing but repeats would be shown.
    fn learn(&mut self, late: bool) {
        self.late = if late { self.late + 1 } else { 0 };
        if self.late >= LATE_MAX && self.slack < SLACK_MAX {
            self.late = 0;
            self.slack += 1;
            self.slots.set_patience(patience(&self.track, self.slack));
        }
    }

    /// Counts an error; software is never given up for one, as there the bitstream is to blame.
    fn is_failed(&mut self, sync: bool) -> bool {
        self.errors += 1;
        self.backend() != Backend::Software && (sync || self.errors >= ERRORS_MAX)
    }

    fn fall_back(&mut self, error: &AvError) -> Result<(), AvError> {
        let from = self.backend();
        self.at += 1;
        let to = self.backends.get(self.at).copied();
        self.decoder = None;
        self.device = None;
        self.errors = 0;
        let reason = error.to_string();
        self.out.send(FromWorker::Fallback(Fallback { stage: Stage::Decode, from, to, reason }));
        match to {
            Some(_) => Ok(()),
            None => Err(error.clone()),
        }
    }
}

/// Codecs of old cameras are decoded in software whatever there is: devices that can are rare, and the work is small.
fn able(track: &Track, backends: Vec<Backend>) -> Vec<Backend> {
    match track.codec {
        CodecConfig::ForeignVideo(_) => vec![Backend::Software],
        _ => backends,
    }
}

/// Pictures that have to be held back to be put in order: what the bitstream says, else what its times say.
fn reorder(track: &Track) -> u32 {
    if track.reorder_delay <= 0 {
        return 0;
    }
    let spacing = track.grid.spacing().rescale(track.timescale).ticks.max(1);
    let by_times = u32::try_from((track.reorder_delay + spacing - 1) / spacing).unwrap_or(16).min(16);
    track.codec.picture().and_then(|picture| picture.max_reorder).unwrap_or(by_times)
}

fn patience(track: &Track, slack: u32) -> Patience {
    Patience { reorder: reorder(track), slack }
}

/// The codec's number at libav, and the decoder to take where the codec's first one cannot use the device.
pub(super) fn decoder_of(
    codec: &CodecConfig,
    backend: Backend,
) -> Result<(Id, Option<&'static str>), AvError> {
    let qsv = backend == Backend::Qsv;
    let pick = |id, own: &'static str| Ok((id, qsv.then_some(own)));
    match codec {
        CodecConfig::H264(_) => pick(Id::H264, "h264_qsv"),
        CodecConfig::H265(_) => pick(Id::HEVC, "hevc_qsv"),
        CodecConfig::Vp9(_) => pick(Id::VP9, "vp9_qsv"),
        CodecConfig::ForeignVideo(pictures) => match pictures.codec {
            ForeignVideo::Mjpeg => Ok((Id::MJPEG, None)),
            ForeignVideo::Mpeg2 => Ok((Id::MPEG2VIDEO, None)),
        },
        // libav's own AV1 decoder is there for devices only.
        CodecConfig::Av1(_) if backend == Backend::Software => Ok((Id::AV1, None)),
        CodecConfig::Av1(_) => Ok((Id::AV1, Some(if qsv { "av1_qsv" } else { "av1" }))),
        other => Err(AvError::new("decoding", format!("{} is no video", other.rfc6381()))),
    }
}
