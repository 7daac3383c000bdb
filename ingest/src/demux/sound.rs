//! The audio track: configuration records and access units.

use std::collections::VecDeque;

use aqueduct_common::TrackKind;
use aqueduct_common::codec::{AacConfig, CodecConfig, OpusConfig, opus};
use bytes::Bytes;

use super::video::Dropped;
use super::{CodedFrame, Demuxed};
use crate::flv::audio::{AudioCodec, AudioPacket};

/// State of the audio track.
#[derive(Debug, Default)]
pub(super) struct SoundTrack {
    header: Option<(AudioCodec, Bytes)>,
    config: Option<CodecConfig>,
}

impl SoundTrack {
    /// Takes one packet.
    pub(super) fn push(
        &mut self,
        timestamp: u32,
        nanos: u32,
        packet: AudioPacket,
        out: &mut VecDeque<Demuxed>,
    ) -> Result<(), Dropped> {
        match packet {
            AudioPacket::Header { codec, record } => self.push_header(codec, &record, out),
            AudioPacket::Frame { codec, data } => {
                if data.is_empty() {
                    return Ok(());
                }
                if self.header.is_none() && codec == AudioCodec::Opus {
                    // An Opus header may be empty (RTMP-55), so its absence says as much.
                    self.push_header(codec, &Bytes::new(), out)?;
                }
                let (samples, rate) = self.samples(codec, &data)?;
                let nominal =
                    i64::from(samples) * i64::from(aqueduct_common::Timescale::FLICKS.hz()) / i64::from(rate);
                let kind = TrackKind::Audio;
                let (cts, sync, disposable) = (0, true, false);
                let frame = CodedFrame {
                    kind,
                    timestamp,
                    nanos,
                    cts,
                    sync,
                    disposable,
                    samples,
                    nominal,
                    payload: data,
                };
                out.push_back(Demuxed::Frame(frame));
                Ok(())
            }
            AudioPacket::End | AudioPacket::Foreign(_) => Ok(()),
        }
    }

    fn push_header(
        &mut self,
        codec: AudioCodec,
        record: &Bytes,
        out: &mut VecDeque<Demuxed>,
    ) -> Result<(), Dropped> {
        if self.header.as_ref().is_some_and(|(known, bytes)| *known == codec && bytes == record) {
            return Ok(());
        }
        let parsed = match codec {
            AudioCodec::Aac => AacConfig::parse(record).map(CodecConfig::Aac),
            AudioCodec::Opus => OpusConfig::parse_head(record).map(CodecConfig::Opus),
        };
        self.header = Some((codec, Bytes::copy_from_slice(record)));
        let config = match parsed {
            Ok(config) => config,
            Err(error) => {
                self.config = None;
                return Err(error.into());
            }
        };
        if self.config.as_ref() != Some(&config) {
            self.config = Some(config.clone());
            out.push_back(Demuxed::Config(config));
        }
        Ok(())
    }

    /// Decoded samples of a frame, and the rate that they are counted at.
    fn samples(&self, codec: AudioCodec, data: &[u8]) -> Result<(u32, u32), Dropped> {
        match (codec, &self.config) {
            (AudioCodec::Aac, Some(CodecConfig::Aac(config))) => {
                Ok((config.frame_samples.max(1), config.output_rate.max(1)))
            }
            (AudioCodec::Opus, Some(CodecConfig::Opus(_))) => {
                opus::packet_samples(data).map(|samples| (samples, 48_000)).ok_or(Dropped::BadPacket)
            }
            _ => Err(Dropped::NoHeader),
        }
    }
}
