//! The chain of one sound rendition.

use aqueduct_common::track::Grid;
use aqueduct_common::{CodecConfig, MediaTime, Timescale, Track, TrackId, WallTime};

use super::align::{Aligner, Place};
use super::decode::{Decoded, Decoder};
use super::encode::{Encoder, FRAME, Unit};
use super::loudness::{Dynamics, Reading};
use super::pcm::Pcm;
use super::resample::Resampler;
use super::{AudioError, RATE};
use crate::protocol::{AudioJob, Frame, Loudness, SoundReport};

/// The output's scale.
const SCALE: Timescale = Timescale::of(RATE);
/// libav's encoder keeps its bitrate on average over a few frames; over a segment it stays within this share of it.
const PEAK_PERCENT: u64 = 115;
/// Access units of a second.
const SECOND: usize = RATE.div_ceil(FRAME) as usize;
/// Longest silence that one lost frame stands for, in seconds.
const LOST_MAX: i64 = 10;

/// Source frames in, frames of AAC-LC at 48 kHz out.
pub struct Chain {
    track: TrackId,
    language: String,
    bitrate: u32,
    loudness: Option<Loudness>,
    /// More channels are mixed to two, so that peaks add up.
    mixes: bool,
    /// The source's scale and rate as announced.
    scale: Timescale,
    rate: u32,
    /// One or two: as announced, until the first decoded frame shows how many they are.
    channels: usize,
    settled: bool,
    decoder: Decoder,
    aligner: Aligner,
    resampler: Resampler,
    /// Where levels have to be looked after.
    dynamics: Option<Dynamics>,
    encoder: Encoder,
    /// Arrival of the newest source frame.
    received: WallTime,
    /// Packets that the decoder refused.
    refused: u64,
    /// Access units since levels were last read.
    unread: usize,
}

impl Chain {
    /// A chain for one rendition of the source track.
    ///
    /// # Errors
    /// When the track is no sound, or libav has no decoder or encoder for it.
    pub fn new(job: &AudioJob, source: &Track) -> Result<Self, AudioError> {
        let not_sound = || AudioError::NotSound { codec: source.codec.rfc6381() };
        let (rate, coded) = source.codec.sound().ok_or_else(not_sound)?;
        let channels = usize::from(coded).clamp(1, 2);
        let mixes = coded > 2;
        let encoder = Encoder::open(job.bitrate, channels)?;
        let dynamics = dynamics(job.loudness, mixes, &encoder)?;
        Ok(Self {
            track: job.track,
            language: source.language.clone(),
            bitrate: job.bitrate,
            loudness: job.loudness,
            mixes,
            scale: source.timescale,
            rate,
            channels,
            settled: false,
            decoder: Decoder::open(&source.codec)?,
            aligner: Aligner::default(),
            resampler: Resampler::new(rate, channels)?,
            dynamics,
            encoder,
            received: WallTime::default(),
            refused: 0,
            unread: 0,
        })
    }

    /// What the frames are coded with; `None` before the first one went in.
    pub fn track(&self) -> Option<Track> {
        self.settled.then(|| Track {
            id: self.track,
            codec: CodecConfig::Aac(self.encoder.config().clone()),
            timescale: SCALE,
            grid: Grid::Fixed(MediaTime::new(FRAME.into(), SCALE)),
            reorder_delay: 0,
            language: self.language.clone(),
            bandwidth: Some(u64::from(self.bitrate) * PEAK_PERCENT / 100),
        })
    }

    /// Takes a source frame; one without payload, or that cannot be decoded, is silence. Gives what is ready.
    ///
    /// # Errors
    /// When the chain cannot go on.
    pub fn push(&mut self, frame: Frame) -> Result<Vec<Frame>, AudioError> {
        let Frame { pts, duration, received, payload, .. } = frame;
        self.received = received;
        let decoded = if payload.is_empty() { None } else { self.decode(&payload) };
        let (place, rate) = match decoded {
            // The decoder holds it back.
            Some(None) => return Ok(Vec::new()),
            Some(Some(Decoded { pcm, rate })) => {
                self.settle(pcm.planes.len())?;
                let at = self.position(pts, rate);
                (self.aligner.push(at, rate, pcm), rate)
            }
            None => {
                let channels = self.decoder.settle(self.channels);
                self.settle(channels)?;
                let rate = self.resampler.rate();
                let samples = self.position(duration.into(), rate).clamp(1, LOST_MAX * i64::from(rate));
                let silence = Pcm::silence(self.channels, samples as usize);
                (self.aligner.push_silence(self.position(pts, rate), rate, silence), rate)
            }
        };
        self.feed(place, rate)
    }

    /// Decodes a packet; `None` where that fails, which makes it a lost one.
    fn decode(&mut self, payload: &[u8]) -> Option<Option<Decoded>> {
        let decoded = self.decoder.push(payload).ok();
        self.refused += u64::from(decoded.is_none());
        decoded
    }

    /// Learns how many channels there really are.
    fn settle(&mut self, channels: usize) -> Result<(), AudioError> {
        if !self.settled && channels != self.channels {
            self.channels = channels;
            self.resampler = Resampler::new(self.rate, channels)?;
            self.encoder = Encoder::open(self.bitrate, channels)?;
            self.dynamics = dynamics(self.loudness, self.mixes, &self.encoder)?;
        }
        self.settled = true;
        Ok(())
    }

    /// Gives all that is inside. What follows begins a new stream, as after [`reset`](Self::reset).
    ///
    /// # Errors
    /// When libav refuses to begin anew.
    pub fn flush(&mut self) -> Result<Vec<Frame>, AudioError> {
        let frames = self.finish()?;
        self.reset()?;
        Ok(frames)
    }

    /// Gives all that is inside.
    fn finish(&mut self) -> Result<Vec<Frame>, AudioError> {
        if !self.encoder.has_begun() {
            return Ok(Vec::new());
        }
        let mut rest = self.resampler.flush()?;
        if let Some(dynamics) = &mut self.dynamics {
            rest = dynamics.push(rest)?;
            rest.append(&dynamics.flush());
        }
        let mut units = self.encoder.push(&rest)?;
        units.extend(self.encoder.flush()?);
        Ok(self.frames(units))
    }

    /// Drops what is inside, at a break of the timeline. The next frame says where sound goes on.
    ///
    /// # Errors
    /// When libav refuses to begin anew.
    pub fn reset(&mut self) -> Result<(), AudioError> {
        self.decoder.reset();
        self.aligner.reset();
        self.resampler = Resampler::new(self.rate, self.channels)?;
        if let Some(dynamics) = &mut self.dynamics {
            dynamics.restart();
        }
        self.encoder.restart()
    }

    /// Levels, once for each second that came out; `None` where they are left alone.
    pub fn report(&mut self) -> Option<SoundReport> {
        let dynamics = self.dynamics.as_mut().filter(|_| self.unread >= SECOND)?;
        self.unread = 0;
        let Reading { heard, gain, reduction } = dynamics.read();
        // Hundredths are finer than any meter.
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        Some(SoundReport {
            track: self.track,
            integrated: heard.integrated.map(rounded),
            short_term: heard.short_term.map(rounded),
            true_peak: heard.true_peak.map(rounded),
            gain: rounded(gain),
            reduction: rounded(reduction).max(0.0),
        })
    }

    /// Packets that could not be decoded, and were replaced by silence.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Ticks of the source as samples at `rate` Hz.
    fn position(&self, ticks: i64, rate: u32) -> i64 {
        MediaTime::new(ticks, self.scale).rescale(Timescale::new(rate).unwrap_or(SCALE)).ticks
    }

    fn feed(&mut self, place: Place, rate: u32) -> Result<Vec<Frame>, AudioError> {
        let mut frames = Vec::new();
        let pcm = match place {
            Place::Next(pcm) => pcm,
            Place::Anew(at, pcm) => {
                frames = self.begin(at, rate)?;
                pcm
            }
        };
        let mut ready = Pcm::empty(self.channels);
        if self.resampler.rate() != rate {
            ready.append(&self.resampler.flush()?);
            self.resampler = Resampler::new(rate, self.channels)?;
        }
        ready.append(&self.resampler.push(pcm)?);
        if let Some(dynamics) = &mut self.dynamics {
            ready = dynamics.push(ready)?;
        }
        let units = self.encoder.push(&ready)?;
        if let Some(dynamics) = &mut self.dynamics {
            units.iter().for_each(|unit| dynamics.hear(&unit.data));
            self.unread += units.len();
        }
        frames.extend(self.frames(units));
        Ok(frames)
    }

    /// Begins at a position in samples at `rate` Hz. Gives what was before.
    fn begin(&mut self, at: i64, rate: u32) -> Result<Vec<Frame>, AudioError> {
        let frames = self.finish()?;
        self.resampler = Resampler::new(rate, self.channels)?;
        let at = MediaTime::new(at, Timescale::new(rate).unwrap_or(SCALE)).rescale(SCALE);
        self.encoder.begin(at.ticks);
        Ok(frames)
    }

    fn frames(&self, units: Vec<Unit>) -> Vec<Frame> {
        let frame = |unit: Unit| Frame {
            track: self.track,
            dts: unit.at,
            pts: unit.at,
            duration: FRAME,
            sync: true,
            disposable: false,
            received: self.received,
            payload: unit.data,
        };
        units.into_iter().map(frame).collect()
    }
}

/// What looks after levels, where that was asked for or channels are mixed (AVP-2).
fn dynamics(
    loudness: Option<Loudness>,
    mixes: bool,
    encoder: &Encoder,
) -> Result<Option<Dynamics>, AudioError> {
    let config = CodecConfig::Aac(encoder.config().clone());
    let make = || Dynamics::new(loudness, &config, encoder.channels(), encoder.bitrate());
    (mixes || loudness.is_some()).then(make).transpose()
}
