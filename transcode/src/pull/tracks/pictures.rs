//! The video track.

use aqueduct_common::TrackKind;
use aqueduct_common::codec::nal::{self, NalCodec};
use aqueduct_common::codec::{
    Av1Config, AvcConfig, CodecConfig, CodecError, ForeignVideo, HevcConfig, Vp9Config, av1, vp9,
};
use bytes::Bytes;

use super::{Dropped, Found, Frame, Packet, Stream, offset};
use crate::worker::bitstream::{Framing, split, with_lengths};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Codec {
    H264,
    H265,
    Av1,
    Vp9,
    Foreign(ForeignVideo),
}

/// State of the video track.
#[derive(Debug)]
pub(super) struct Pictures {
    codec: Codec,
    framing: Framing,
    /// vpcC, which a container of VP9 does not hand on.
    vpcc: Bytes,
    config: Option<CodecConfig>,
    /// The configuration has been said.
    told: bool,
    /// Pictures are dropped until the next sync sample.
    waits: bool,
    /// The next keyframe may describe the configuration further.
    seeks_hdr: bool,
}

/// A picture, and what it says of its coding.
struct Unit {
    payload: Bytes,
    sync: bool,
    disposable: bool,
    has_picture: bool,
    changed: Option<CodecConfig>,
}

impl Pictures {
    /// A track of this kind, or in words why it cannot be taken. What needs a transcode is taken where it `transcodes`.
    pub(super) fn new(stream: &Stream, transcodes: bool) -> Result<Self, String> {
        let codec = match stream.codec.as_str() {
            "h264" => Codec::H264,
            "hevc" => Codec::H265,
            "av1" => Codec::Av1,
            "vp9" => Codec::Vp9,
            "mjpeg" => Codec::Foreign(ForeignVideo::Mjpeg),
            "mpeg1video" | "mpeg2video" => Codec::Foreign(ForeignVideo::Mpeg2),
            other => {
                return Err(format!(
                    "video of codec {other} is left out: send H.264, HEVC, AV1, VP9, MPEG-2 or MJPEG"
                ));
            }
        };
        if let (Codec::Foreign(codec), false) = (codec, transcodes) {
            return Err(format!(
                "{} is left out: it does not play in browsers without a transcode; set transcode.mode to \"auto\", or send \
                 H.264",
                codec.name()
            ));
        }
        let header = Bytes::copy_from_slice(&stream.header);
        // A record begins with its version, a start code with a zero. What is shorter than a record is none.
        let record = header.first() == Some(&1) && header.len() >= 7;
        let framing = if record { Framing::Lengths } else { Framing::Stream };
        let config = config_of(codec, framing, &header);
        let vpcc = Bytes::copy_from_slice(&vpcc(stream.profile));
        Ok(Self { codec, framing, vpcc, config, told: false, waits: true, seeks_hdr: true })
    }

    /// Takes one packet.
    pub(super) fn packet(&mut self, packet: &Packet, out: &mut Vec<Found>) -> Result<(), Dropped> {
        let mut unit = self.unit(&packet.payload)?;
        self.describe(&mut unit);
        if let Some(config) = unit.changed.take() {
            self.config = Some(config);
            (self.told, self.waits, self.seeks_hdr) = (false, true, true);
        }
        self.seeks_hdr &= !unit.sync;
        let Some(config) = &self.config else { return Ok(()) };
        if !unit.has_picture || (self.waits && !unit.sync) {
            return Ok(());
        }
        if !std::mem::replace(&mut self.told, true) {
            out.push(Found::Config(config.clone()));
        }
        self.waits = false;
        out.push(Found::Frame(Frame {
            track: packet.track,
            kind: TrackKind::Video,
            nanos: packet.dts,
            offset: offset(packet),
            sync: unit.sync,
            disposable: unit.disposable,
            samples: 0,
            rate: 0,
            payload: unit.payload,
        }));
        Ok(())
    }

    fn unit(&self, payload: &Bytes) -> Result<Unit, Dropped> {
        match self.codec {
            Codec::H264 => self.nals(payload, NalCodec::H264),
            Codec::H265 => self.nals(payload, NalCodec::H265),
            Codec::Av1 => av1_unit(payload),
            Codec::Vp9 => self.vp9_unit(payload),
            Codec::Foreign(codec) => self.foreign_unit(codec, payload),
        }
    }

    fn nals(&self, payload: &Bytes, codec: NalCodec) -> Result<Unit, Dropped> {
        let unit = match (self.framing, &self.config) {
            (Framing::Stream, _) => nal::access_unit(&with_lengths(payload), 4, codec)?,
            (Framing::Lengths, Some(CodecConfig::H264(config))) => {
                nal::access_unit(payload, config.length_size, codec)?
            }
            (Framing::Lengths, Some(CodecConfig::H265(config))) => {
                nal::access_unit(payload, config.length_size, codec)?
            }
            (Framing::Lengths, _) => nal::access_unit(payload, 4, codec)?,
        };
        let sets = &unit.parameter_sets;
        let changed = match (&self.config, sets.is_empty()) {
            (_, true) => None,
            (Some(CodecConfig::H264(config)), _) => config.updated(sets)?.map(CodecConfig::H264),
            (Some(CodecConfig::H265(config)), _) => config.updated(sets)?.map(CodecConfig::H265),
            // Sets that are not complete yet are no fault: the rest may come with the next keyframe.
            (_, _) => of_sets(codec, sets).ok(),
        };
        Ok(Unit {
            payload: unit.payload,
            sync: unit.sync && unit.has_picture,
            disposable: unit.disposable,
            has_picture: unit.has_picture,
            changed,
        })
    }

    fn vp9_unit(&self, payload: &Bytes) -> Result<Unit, Dropped> {
        let header = vp9::frame_header(payload)?;
        let read = header.size.map(|size| Vp9Config::parse(&self.vpcc, size)).transpose()?;
        let changed = read.map(CodecConfig::Vp9).filter(|config| self.config.as_ref() != Some(config));
        Ok(Unit {
            payload: payload.clone(),
            sync: header.sync,
            disposable: false,
            has_picture: true,
            changed,
        })
    }

    fn foreign_unit(&self, codec: ForeignVideo, payload: &Bytes) -> Result<Unit, Dropped> {
        let look = codec.look(payload)?;
        let read = look.picture.map(|picture| CodecConfig::ForeignVideo(codec.with(picture)));
        Ok(Unit {
            payload: payload.clone(),
            sync: look.sync,
            disposable: look.disposable,
            has_picture: true,
            changed: read.filter(|config| self.config.as_ref() != Some(config)),
        })
    }

    /// Adds the HDR10 metadata that stands in the first keyframe of a configuration.
    fn describe(&self, unit: &mut Unit) {
        if !unit.sync || !(self.seeks_hdr || unit.changed.is_some()) {
            return;
        }
        if let Some(CodecConfig::H265(config)) = unit.changed.as_ref().or(self.config.as_ref())
            && let Some(described) = config.described(&unit.payload)
        {
            unit.changed = Some(CodecConfig::H265(described));
        }
    }
}

/// What a container's header says; `None` where packets have to say it.
fn config_of(codec: Codec, framing: Framing, header: &Bytes) -> Option<CodecConfig> {
    let read = match (codec, framing) {
        (Codec::H264, Framing::Lengths) => AvcConfig::parse(header).map(CodecConfig::H264),
        (Codec::H265, Framing::Lengths) => HevcConfig::parse(header).map(CodecConfig::H265),
        (Codec::H264, Framing::Stream) => of_sets(NalCodec::H264, &split(Framing::Stream, header)),
        (Codec::H265, Framing::Stream) => of_sets(NalCodec::H265, &split(Framing::Stream, header)),
        (Codec::Av1, _) => Av1Config::parse(header).map(CodecConfig::Av1),
        (Codec::Vp9 | Codec::Foreign(_), _) => return None,
    };
    read.ok()
}

fn of_sets(codec: NalCodec, sets: &[Bytes]) -> Result<CodecConfig, CodecError> {
    match codec {
        NalCodec::H264 => AvcConfig::from_parameter_sets(sets, sets).map(CodecConfig::H264),
        NalCodec::H265 => HevcConfig::from_parameter_sets(sets, sets, sets).map(CodecConfig::H265),
    }
}

fn av1_unit(payload: &Bytes) -> Result<Unit, Dropped> {
    let unit = av1::temporal_unit(payload)?;
    let read = unit.sequence_header.as_ref().map(Av1Config::from_sequence_header).transpose()?;
    Ok(Unit {
        payload: unit.payload,
        sync: unit.sync && unit.has_picture,
        disposable: false,
        has_picture: unit.has_picture,
        changed: read.map(CodecConfig::Av1),
    })
}

/// Profile, level (told by the size later), 4:2:0 in 8 bits or, from profile 2 on, 10, and colours that are not said.
const fn vpcc(profile: i32) -> [u8; 8] {
    let profile = if profile >= 0 && profile <= 3 { profile as u8 } else { 0 };
    let depth = if profile >= 2 { 10 } else { 8 };
    [profile, 0, depth << 4 | 1 << 1, 2, 2, 2, 0, 0]
}
