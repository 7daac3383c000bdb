//! The video track: configuration records, parameter sets in band, and frames.

use std::collections::VecDeque;

use aqueduct_common::TrackKind;
use aqueduct_common::codec::nal::{self, NalCodec};
use aqueduct_common::codec::{
    Av1Config, AvcConfig, CodecConfig, CodecError, Colour, HevcConfig, Vp9Config, av1, vp9,
};
use bytes::Bytes;

use super::colour::ToldColour;
use super::{CodedFrame, Demuxed};
use crate::flv::video::{VideoCodec, VideoPacket};

/// Why a unit was dropped.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Dropped {
    /// The bitstream is not what its codec says.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// An Opus packet whose length its first byte does not explain.
    #[error("an Opus packet is malformed")]
    BadPacket,
    /// A frame without a configuration before it, or of another codec.
    #[error("a frame came before its sequence header")]
    NoHeader,
}

/// State of the video track.
#[derive(Debug, Default)]
pub(super) struct VideoTrack {
    header: Option<(VideoCodec, Bytes)>,
    /// What the frames are coded with; `None` while a header is unreadable, or waits for its first key frame.
    config: Option<CodecConfig>,
    /// Inter frames are dropped until the next sync sample (RTMP-48).
    waits_for_sync: bool,
    colour: ToldColour,
    /// The colour of the configuration that was given last.
    given: Option<Colour>,
    /// The configuration in the colours told since then.
    recoloured: Option<CodecConfig>,
    /// The newest picture was no sync sample.
    awaits_key: bool,
}

/// What a frame's bitstream shows.
struct Unit {
    payload: Bytes,
    sync: bool,
    disposable: bool,
    /// The configuration that this frame brings with it.
    changed: Option<CodecConfig>,
}

impl VideoTrack {
    /// The newest picture was none that decoding can start with.
    pub(super) const fn awaits_key(&self) -> bool {
        self.awaits_key
    }

    /// Takes one packet.
    pub(super) fn push(
        &mut self,
        timestamp: u32,
        nanos: u32,
        packet: VideoPacket,
        out: &mut VecDeque<Demuxed>,
    ) -> Result<(), Dropped> {
        match packet {
            VideoPacket::Header { codec, record } => self.push_header(codec, &record, out),
            VideoPacket::Frame { codec, cts, data, .. } => {
                if self.header.as_ref().is_none_or(|(known, _)| *known != codec) {
                    return Err(Dropped::NoHeader);
                }
                let Some(unit) = self.unit(codec, &data)? else { return Ok(()) };
                self.awaits_key = !unit.sync;
                if let Some(config) = unit.changed {
                    self.adopt(config, out);
                }
                if self.config.is_none() || (self.waits_for_sync && !unit.sync) {
                    return Ok(());
                }
                if unit.sync
                    && let Some(config) = self.recoloured.take()
                {
                    self.give(config, out);
                }
                self.waits_for_sync = false;
                let (kind, sync, disposable) = (TrackKind::Video, unit.sync, unit.disposable);
                let payload = unit.payload;
                let (samples, nominal) = (0, 0);
                let frame =
                    CodedFrame { kind, timestamp, nanos, cts, sync, disposable, samples, nominal, payload };
                out.push_back(Demuxed::Frame(frame));
                Ok(())
            }
            VideoPacket::Colour(told) => {
                self.recolour(told, out);
                Ok(())
            }
            VideoPacket::End => Ok(()),
        }
    }

    /// A header with the same bytes says nothing new; encoders repeat it (RTMP-48).
    fn push_header(
        &mut self,
        codec: VideoCodec,
        record: &Bytes,
        out: &mut VecDeque<Demuxed>,
    ) -> Result<(), Dropped> {
        if self.header.as_ref().is_some_and(|(known, bytes)| *known == codec && bytes == record) {
            return Ok(());
        }
        let parsed = match codec {
            VideoCodec::Avc => AvcConfig::parse(record).map(CodecConfig::H264).map(Some),
            VideoCodec::Hevc => HevcConfig::parse(record).map(CodecConfig::H265).map(Some),
            VideoCodec::Av1 => match Av1Config::parse(record) {
                Ok(config) => Ok(Some(CodecConfig::Av1(config))),
                // The first temporal unit brings it.
                Err(CodecError::Missing { .. }) => Ok(None),
                Err(error) => Err(error),
            },
            // The record does not say how large pictures are: the first key frame does.
            VideoCodec::Vp9 => Ok(None),
        };
        // A copy, since the slice would keep its whole message alive for the session's life.
        self.header = Some((codec, Bytes::copy_from_slice(record)));
        match parsed {
            Ok(Some(config)) => self.adopt(config, out),
            Ok(None) => (self.config, self.waits_for_sync) = (None, true),
            Err(error) => {
                (self.config, self.waits_for_sync) = (None, true);
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn adopt(&mut self, config: CodecConfig, out: &mut VecDeque<Demuxed>) {
        if self.config.as_ref() != Some(&config) {
            self.config = Some(config.clone());
            self.waits_for_sync = true;
            self.recoloured = None;
            let completed = self.colour.complete(config);
            self.give(completed, out);
        }
    }

    fn give(&mut self, config: CodecConfig, out: &mut VecDeque<Demuxed>) {
        self.given = config.picture().and_then(|picture| picture.colour);
        out.push_back(Demuxed::Config(config));
    }

    /// Colours that change between frames hold from the next one that decoding can start with.
    fn recolour(&mut self, told: Option<Colour>, out: &mut VecDeque<Demuxed>) {
        if !self.colour.tell(told) {
            return;
        }
        let Some(config) = self.config.clone() else { return };
        let completed = self.colour.complete(config);
        let changes = completed.picture().is_some_and(|picture| picture.colour != self.given);
        self.recoloured = changes.then_some(completed);
        if self.waits_for_sync
            && let Some(config) = self.recoloured.take()
        {
            self.give(config, out);
        }
    }

    /// How often the publisher's word on colours was not the bitstream's, since it was last asked for.
    pub(super) fn take_colour_conflicts(&mut self) -> u32 {
        self.colour.take_conflicts()
    }

    /// Reads a frame; `None` where it holds no picture.
    fn unit(&self, codec: VideoCodec, data: &Bytes) -> Result<Option<Unit>, Dropped> {
        match (codec, &self.config) {
            (VideoCodec::Avc, Some(CodecConfig::H264(config))) => {
                let unit = nal::access_unit(data, config.length_size, NalCodec::H264)?;
                let changed = match unit.parameter_sets.is_empty() {
                    true => None,
                    false => config.updated(&unit.parameter_sets)?.map(CodecConfig::H264),
                };
                Ok(from_nals(unit, changed))
            }
            (VideoCodec::Hevc, Some(CodecConfig::H265(config))) => {
                let unit = nal::access_unit(data, config.length_size, NalCodec::H265)?;
                let changed = match unit.parameter_sets.is_empty() {
                    true => None,
                    false => config.updated(&unit.parameter_sets)?.map(CodecConfig::H265),
                };
                Ok(from_nals(unit, changed))
            }
            (VideoCodec::Av1, _) => av1_unit(data),
            (VideoCodec::Vp9, _) => Ok(Some(self.vp9_unit(data)?)),
            (VideoCodec::Avc | VideoCodec::Hevc, _) => Err(Dropped::NoHeader),
        }
    }

    fn vp9_unit(&self, data: &Bytes) -> Result<Unit, Dropped> {
        let header = vp9::frame_header(data)?;
        let changed = match (&self.header, header.size) {
            (Some((_, record)), Some(size)) => Some(CodecConfig::Vp9(Vp9Config::parse(record, size)?)),
            _ => None,
        };
        Ok(Unit { payload: data.clone(), sync: header.sync, disposable: false, changed })
    }
}

/// Parameter sets may also come alone, without a picture: then the next sync sample is coded with them (RTMP-49).
fn from_nals(unit: nal::AccessUnit, changed: Option<CodecConfig>) -> Option<Unit> {
    if !unit.has_picture && changed.is_none() {
        return None;
    }
    let sync = unit.sync && unit.has_picture;
    Some(Unit { payload: unit.payload, sync, disposable: unit.disposable, changed })
}

fn av1_unit(data: &Bytes) -> Result<Option<Unit>, Dropped> {
    let unit = av1::temporal_unit(data)?;
    let changed = match &unit.sequence_header {
        Some(obu) => Some(CodecConfig::Av1(Av1Config::from_sequence_header(obu)?)),
        None => None,
    };
    if !unit.has_picture && changed.is_none() {
        return Ok(None);
    }
    let sync = unit.sync && unit.has_picture;
    Ok(Some(Unit { payload: unit.payload, sync, disposable: false, changed }))
}
