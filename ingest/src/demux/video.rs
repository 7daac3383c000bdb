//! The video track: configuration records, parameter sets in band, and frames.

use std::collections::VecDeque;

use aqueduct_common::codec::nal::{self, NalCodec};
use aqueduct_common::codec::{
    Av1Config, AvcConfig, CodecConfig, CodecError, Colour, ForeignVideo, Hdr, HevcConfig, Vp9Config, av1, vp9,
};
use aqueduct_common::{TrackId, TrackKind};
use bytes::Bytes;

use super::colour::ToldColour;
use super::epoch::Epoch;
use super::{CodedFrame, Demuxed};
use crate::flv::video::{ColourInfo, VideoCodec, VideoPacket};

/// Why a unit was dropped.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Dropped {
    /// The bitstream is not what its codec says.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A packet of sound that does not say how long it lasts.
    #[error("a packet of sound is malformed")]
    BadPacket,
    /// A frame without a configuration before it, or of another codec.
    #[error("a frame came before its sequence header")]
    NoHeader,
}

/// State of a video track.
#[derive(Debug)]
pub(crate) struct VideoTrack {
    epoch: Epoch<VideoCodec>,
    /// Inter frames are dropped until the next sync sample (RTMP-48).
    waits_for_sync: bool,
    colour: ToldColour,
    /// The colours of the configuration that was given last.
    given: Option<(Option<Colour>, Hdr)>,
    /// The next keyframe may describe the configuration further: it is the first one coded with it.
    seeks_hdr: bool,
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
    pub(crate) fn new(track: TrackId) -> Self {
        Self {
            epoch: Epoch::new(track),
            waits_for_sync: false,
            colour: ToldColour::default(),
            given: None,
            seeks_hdr: false,
            recoloured: None,
            awaits_key: false,
        }
    }

    /// The newest picture was none that decoding can start with.
    pub(crate) const fn awaits_key(&self) -> bool {
        self.awaits_key
    }

    /// It is known what frames are coded with.
    pub(crate) const fn is_begun(&self) -> bool {
        self.epoch.config().is_some()
    }

    /// Frames are missing: those that follow are of no use up to the next sync sample.
    pub(crate) const fn lose(&mut self) {
        self.waits_for_sync = true;
    }

    /// Takes one packet.
    pub(crate) fn push(
        &mut self,
        timestamp: u32,
        nanos: u32,
        packet: VideoPacket,
        out: &mut VecDeque<Demuxed>,
    ) -> Result<(), Dropped> {
        match packet {
            VideoPacket::Header { codec, record } => self.push_header(codec, &record, out),
            VideoPacket::Frame { codec, cts, data, .. } => {
                if self.epoch.codec() != Some(codec) {
                    return Err(Dropped::NoHeader);
                }
                let Some(mut unit) = self.unit(codec, &data)? else { return Ok(()) };
                self.awaits_key = !unit.sync;
                self.describe(&mut unit);
                if let Some(config) = unit.changed {
                    self.adopt(config, out);
                }
                self.seeks_hdr &= !unit.sync;
                if self.epoch.config().is_none() || (self.waits_for_sync && !unit.sync) {
                    return Ok(());
                }
                if unit.sync
                    && let Some(config) = self.recoloured.take()
                {
                    self.give(config, out);
                }
                self.waits_for_sync = false;
                out.push_back(Demuxed::Frame(CodedFrame {
                    track: self.epoch.track(),
                    kind: TrackKind::Video,
                    timestamp,
                    nanos,
                    cts,
                    sync: unit.sync,
                    disposable: unit.disposable,
                    samples: 0,
                    nominal: 0,
                    payload: unit.payload,
                }));
                Ok(())
            }
            VideoPacket::Colour(told) => {
                self.recolour(told, out);
                Ok(())
            }
            VideoPacket::End => Ok(()),
        }
    }

    fn push_header(
        &mut self,
        codec: VideoCodec,
        record: &Bytes,
        out: &mut VecDeque<Demuxed>,
    ) -> Result<(), Dropped> {
        if !self.epoch.begin(codec, record) {
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
            VideoCodec::Vp9 | VideoCodec::Foreign(_) => Ok(None),
        };
        match parsed {
            Ok(Some(config)) => self.adopt(config, out),
            Ok(None) => self.wait(),
            Err(error) => {
                self.wait();
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// What frames are coded with comes with a later one.
    fn wait(&mut self) {
        self.epoch.forget();
        self.waits_for_sync = true;
    }

    fn adopt(&mut self, config: CodecConfig, out: &mut VecDeque<Demuxed>) {
        if self.epoch.adopt(&config) {
            self.waits_for_sync = true;
            self.recoloured = None;
            self.seeks_hdr = true;
            let completed = self.colour.complete(config);
            self.give(completed, out);
        }
    }

    fn give(&mut self, config: CodecConfig, out: &mut VecDeque<Demuxed>) {
        self.given = colours(&config);
        self.epoch.give(config, out);
    }

    /// Colours that change between frames hold from the next one that decoding can start with.
    fn recolour(&mut self, told: ColourInfo, out: &mut VecDeque<Demuxed>) {
        if !self.colour.tell(told) {
            return;
        }
        let Some(config) = self.epoch.config().cloned() else { return };
        let completed = self.colour.complete(config);
        let changes = colours(&completed) != self.given;
        self.recoloured = changes.then_some(completed);
        if self.waits_for_sync
            && let Some(config) = self.recoloured.take()
        {
            self.give(config, out);
        }
    }

    /// Adds the HDR10 metadata that stands in the first keyframe of a configuration. Later keyframes are not
    /// asked: encoders repeat it, and one that says another thing would cut the stream.
    fn describe(&self, unit: &mut Unit) {
        if !unit.sync || !(self.seeks_hdr || unit.changed.is_some()) {
            return;
        }
        if let Some(CodecConfig::H265(config)) = unit.changed.as_ref().or(self.epoch.config())
            && let Some(described) = config.described(&unit.payload)
        {
            unit.changed = Some(CodecConfig::H265(described));
        }
    }

    /// How often the publisher's word on colours was not the bitstream's, since it was last asked for.
    pub(super) fn take_colour_conflicts(&mut self) -> u32 {
        self.colour.take_conflicts()
    }

    /// Reads a frame; `None` where it holds no picture.
    fn unit(&self, codec: VideoCodec, data: &Bytes) -> Result<Option<Unit>, Dropped> {
        match (codec, self.epoch.config()) {
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
            (VideoCodec::Foreign(codec), _) => foreign_unit(codec, data),
            (VideoCodec::Avc | VideoCodec::Hevc, _) => Err(Dropped::NoHeader),
        }
    }

    fn vp9_unit(&self, data: &Bytes) -> Result<Unit, Dropped> {
        let header = vp9::frame_header(data)?;
        let changed = match (self.epoch.record(), header.size) {
            (Some(record), Some(size)) => Some(CodecConfig::Vp9(Vp9Config::parse(record, size)?)),
            _ => None,
        };
        Ok(Unit { payload: data.clone(), sync: header.sync, disposable: false, changed })
    }
}

fn colours(config: &CodecConfig) -> Option<(Option<Colour>, Hdr)> {
    config.picture().map(|picture| (picture.colour, picture.hdr))
}

/// Parameter sets may also come alone, without a picture: then the next sync sample is coded with them (RTMP-49).
fn from_nals(unit: nal::AccessUnit, changed: Option<CodecConfig>) -> Option<Unit> {
    if !unit.has_picture && changed.is_none() {
        return None;
    }
    let sync = unit.sync && unit.has_picture;
    Some(Unit { payload: unit.payload, sync, disposable: unit.disposable, changed })
}

/// It goes on as it came: whoever decodes it has to put up with what it is.
fn foreign_unit(codec: ForeignVideo, data: &Bytes) -> Result<Option<Unit>, Dropped> {
    let look = codec.look(data)?;
    Ok(Some(Unit {
        payload: data.clone(),
        sync: look.sync,
        disposable: look.disposable,
        changed: look.picture.map(|picture| CodecConfig::ForeignVideo(codec.with(picture))),
    }))
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
