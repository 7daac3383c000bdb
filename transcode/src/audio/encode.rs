//! AAC-LC at 48 kHz (AVP-17).

use aqueduct_common::codec::AacConfig;
use bytes::Bytes;
use ffmpeg_next as av;

use super::pcm::{FORMAT, Pcm, layout};
use super::{AudioError, RATE};
use crate::sys::{self, AvError};

/// Samples of an access unit.
pub(super) const FRAME: u32 = 1_024;

/// Bits a second of a channel from which on libav's fast search is the better one. The other one (AVP-17) here lets single
/// frames go wrong: one in some hundred comes out up to 5 dB louder, most in mono.
const FAST: u32 = 64_000;

/// An encoder with its stamps: access unit `n` is heard `n` frames after the first one, which begins `priming` samples
/// before the first sample that was put in (TL-17).
pub(super) struct Encoder {
    bitrate: u32,
    channels: usize,
    encoder: av::encoder::audio::Encoder,
    config: AacConfig,
    priming: i64,
    waiting: Pcm,
    /// Position of the next access unit, in samples; `None` before [`begin`](Self::begin).
    next: Option<i64>,
}

/// An access unit and the position at which it is heard, in samples.
pub(super) struct Unit {
    pub(super) at: i64,
    pub(super) data: Bytes,
}

impl Encoder {
    /// An encoder of `bitrate` bits a second for one or two channels.
    pub(super) fn open(bitrate: u32, channels: usize) -> Result<Self, AudioError> {
        let encoder = open(bitrate, channels)?;
        let (record, priming) = sys::sound_stream(&encoder);
        let config = AacConfig::parse(&record)?;
        let waiting = Pcm::empty(channels);
        Ok(Self { bitrate, channels, encoder, config, priming: priming.into(), waiting, next: None })
    }

    /// The configuration record.
    pub(super) const fn config(&self) -> &AacConfig {
        &self.config
    }

    /// Channels that it encodes.
    pub(super) const fn channels(&self) -> usize {
        self.channels
    }

    /// Bits a second.
    pub(super) const fn bitrate(&self) -> u32 {
        self.bitrate
    }

    /// Says where the first sample lies. Call [`restart`](Self::restart) before a second time.
    pub(super) const fn begin(&mut self, at: i64) {
        self.next = Some(at - self.priming);
    }

    /// It was told where its samples lie.
    pub(super) const fn has_begun(&self) -> bool {
        self.next.is_some()
    }

    /// Takes samples in, gives the units that are complete.
    pub(super) fn push(&mut self, pcm: &Pcm) -> Result<Vec<Unit>, AudioError> {
        self.waiting.append(pcm);
        let mut units = Vec::new();
        while self.waiting.len() >= FRAME as usize {
            let frame = self.waiting.take(FRAME as usize).frame(RATE);
            self.encoder.send_frame(&frame).map_err(refused)?;
            self.receive(&mut units)?;
        }
        Ok(units)
    }

    /// Gives all that is left, the last unit filled up with silence.
    pub(super) fn flush(&mut self) -> Result<Vec<Unit>, AudioError> {
        let mut units = Vec::new();
        if self.waiting.len() > 0 {
            let missing = FRAME as usize - self.waiting.len();
            units = self.push(&Pcm::silence(self.channels, missing))?;
        }
        self.encoder.send_eof().map_err(refused)?;
        self.receive(&mut units)?;
        self.restart()?;
        Ok(units)
    }

    /// Begins a new stream with the same parameters; what was inside is lost. libav's encoder has no way back.
    pub(super) fn restart(&mut self) -> Result<(), AudioError> {
        self.encoder = open(self.bitrate, self.channels)?;
        self.waiting = Pcm::empty(self.channels);
        self.next = None;
        Ok(())
    }

    fn receive(&mut self, units: &mut Vec<Unit>) -> Result<(), AudioError> {
        let mut packet = av::Packet::empty();
        while self.encoder.receive_packet(&mut packet).is_ok() {
            let Some(at) = self.next else { return Err(AudioError::NotBegun) };
            let data = Bytes::copy_from_slice(packet.data().unwrap_or_default());
            units.push(Unit { at, data });
            self.next = Some(at + i64::from(FRAME));
        }
        Ok(())
    }
}

fn open(bitrate: u32, channels: usize) -> Result<av::encoder::audio::Encoder, AudioError> {
    sys::init();
    let codec = av::encoder::find(av::codec::Id::AAC)
        .ok_or_else(|| AvError::new("opening an AAC encoder", "libav has none"))?;
    let mut encoder = av::codec::Context::new_with_codec(codec).encoder().audio().map_err(refused)?;
    encoder.set_rate(RATE as i32);
    encoder.set_format(FORMAT);
    encoder.set_channel_layout(layout(channels));
    encoder.set_bit_rate(bitrate as usize);
    encoder.set_time_base((1, RATE as i32));
    encoder.set_flags(av::codec::Flags::GLOBAL_HEADER);
    let mut options = av::Dictionary::new();
    let each = bitrate / u32::try_from(channels).unwrap_or(1).max(1);
    options.set("aac_coder", if each < FAST { "twoloop" } else { "fast" });
    encoder.open_as_with(codec, options).map_err(refused)
}

fn refused(error: av::Error) -> AudioError {
    AvError::new("encoding AAC", error.to_string()).into()
}
