//! The audio track: configuration records and access units.

use std::collections::VecDeque;

use aqueduct_common::codec::{AacConfig, CodecConfig, ForeignCodec, ForeignConfig, OpusConfig, opus};
use aqueduct_common::{TrackId, TrackKind};
use bytes::Bytes;

use super::epoch::Epoch;
use super::video::Dropped;
use super::{CodedFrame, Demuxed};
use crate::flv::audio::{AudioCodec, AudioPacket};

/// State of an audio track.
#[derive(Debug)]
pub(crate) struct SoundTrack {
    epoch: Epoch<AudioCodec>,
}

impl SoundTrack {
    pub(crate) const fn new(track: TrackId) -> Self {
        Self { epoch: Epoch::new(track) }
    }

    /// Takes one packet.
    pub(crate) fn push(
        &mut self,
        timestamp: u32,
        nanos: u32,
        packet: AudioPacket,
        out: &mut VecDeque<Demuxed>,
    ) -> Result<(), Dropped> {
        match packet {
            AudioPacket::Header { codec, record } => self.push_header(codec, &record, out),
            AudioPacket::Frame { codec, stereo, data } => {
                if data.is_empty() {
                    return Ok(());
                }
                match codec {
                    // An Opus header may be empty (RTMP-55), so its absence says as much.
                    AudioCodec::Opus if self.epoch.codec().is_none() => {
                        self.push_header(codec, &Bytes::new(), out)?;
                    }
                    AudioCodec::Foreign(codec) => self.note_foreign(codec, stereo, &data, out)?,
                    _ => {}
                }
                let (samples, rate) = self.samples(codec, &data)?;
                let nominal =
                    i64::from(samples) * i64::from(aqueduct_common::Timescale::FLICKS.hz()) / i64::from(rate);
                out.push_back(Demuxed::Frame(CodedFrame {
                    track: self.epoch.track(),
                    kind: TrackKind::Audio,
                    timestamp,
                    nanos,
                    cts: 0,
                    sync: true,
                    disposable: false,
                    samples,
                    nominal,
                    payload: data,
                }));
                Ok(())
            }
            AudioPacket::End | AudioPacket::Undecoded(_) => Ok(()),
        }
    }

    fn push_header(
        &mut self,
        codec: AudioCodec,
        record: &Bytes,
        out: &mut VecDeque<Demuxed>,
    ) -> Result<(), Dropped> {
        if !self.epoch.begin(codec, record) {
            return Ok(());
        }
        let parsed = match codec {
            AudioCodec::Aac => AacConfig::parse(record).map(CodecConfig::Aac),
            AudioCodec::Opus => OpusConfig::parse_head(record).map(CodecConfig::Opus),
            AudioCodec::Foreign(ForeignCodec::Flac) => ForeignConfig::flac(record).map(CodecConfig::Foreign),
            // Every packet says it; what a header says besides is not needed.
            AudioCodec::Foreign(_) => return Ok(()),
        };
        match parsed {
            Ok(config) => {
                self.adopt(config, out);
                Ok(())
            }
            Err(error) => {
                self.epoch.forget();
                Err(error.into())
            }
        }
    }

    /// Takes the configuration from a packet of a codec without a header.
    fn note_foreign(
        &mut self,
        codec: ForeignCodec,
        stereo: bool,
        data: &[u8],
        out: &mut VecDeque<Demuxed>,
    ) -> Result<(), Dropped> {
        let config = match codec {
            ForeignCodec::Flac
            | ForeignCodec::Vorbis
            | ForeignCodec::G722
            | ForeignCodec::Pcm16
            | ForeignCodec::G726
            | ForeignCodec::G726High => {
                return Ok(());
            }
            ForeignCodec::ALaw | ForeignCodec::MuLaw => ForeignConfig::g711(codec, 1 + u16::from(stereo))?,
            ForeignCodec::Mp2 | ForeignCodec::Mp3 | ForeignCodec::Ac3 | ForeignCodec::Eac3 => {
                ForeignConfig::of_packet(codec, data)?
            }
        };
        self.epoch.begin(AudioCodec::Foreign(codec), &Bytes::new());
        self.adopt(CodecConfig::Foreign(config), out);
        Ok(())
    }

    /// Says what packets of a codec without a header are coded with, where something else knows.
    pub(crate) fn begin_foreign(&mut self, config: ForeignConfig, out: &mut VecDeque<Demuxed>) {
        self.epoch.begin(AudioCodec::Foreign(config.codec), &Bytes::new());
        self.adopt(CodecConfig::Foreign(config), out);
    }

    fn adopt(&mut self, config: CodecConfig, out: &mut VecDeque<Demuxed>) {
        if self.epoch.adopt(&config) {
            self.epoch.give(config, out);
        }
    }

    /// Decoded samples of a frame, and the rate that they are counted at.
    fn samples(&self, codec: AudioCodec, data: &[u8]) -> Result<(u32, u32), Dropped> {
        match (codec, self.epoch.config()) {
            (AudioCodec::Aac, Some(CodecConfig::Aac(config))) => {
                Ok((config.frame_samples.max(1), config.output_rate.max(1)))
            }
            (AudioCodec::Opus, Some(CodecConfig::Opus(_))) => {
                opus::packet_samples(data).map(|samples| (samples, 48_000)).ok_or(Dropped::BadPacket)
            }
            (AudioCodec::Foreign(codec), Some(CodecConfig::Foreign(config))) if config.codec == codec => {
                let samples = config.samples(data).ok_or(Dropped::BadPacket)?;
                Ok((samples, config.rate))
            }
            _ => Err(Dropped::NoHeader),
        }
    }
}
