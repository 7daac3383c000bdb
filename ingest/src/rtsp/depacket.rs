//! RTP payloads to frames, for both roles.
//!
//! H.264, H.265, JPEG, AAC and the simple codecs of sound are put together by retina, whose eyes have seen many cameras;
//! Opus and G.726 need no putting together. What retina holds for an unfinished frame is bounded here.

use std::num::{NonZeroU16, NonZeroU32};

use aqueduct_common::TrackKind;
use aqueduct_common::codec::{ForeignCodec, ForeignConfig, ForeignVideo};
use bytes::Bytes;
use retina::codec::{CodecItem, Depacketizer, FrameFormat, ParametersRef};
use retina::rtp::PacketMeta;
use retina::testutil::DepacketizeBuf;
use retina::{PacketContext, Timestamp};

use super::latm::Latm;
use super::reorder::Packet;
use super::sdp::Medium;
use crate::flv::audio::AudioCodec;
use crate::flv::video::VideoCodec;

/// What an unfinished frame may hold: more than any keyframe has (RTMP-14's limit for a message).
const FRAME_MAX: usize = 16 << 20;
/// AAC in LATM, by the name of its format.
const LATM: &str = "mp4a-latm";
/// Room at the beginning.
const ROOM: usize = 64 << 10;

/// How a track is coded, where it is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Coding {
    /// Pictures.
    Video(VideoCodec),
    /// Sound.
    Audio(AudioCodec),
}

impl Coding {
    /// The coding of a medium, or what is to be said of one that is not taken.
    ///
    /// # Errors
    /// With the codec's name for people.
    pub(super) fn of(medium: &Medium) -> Result<Self, &'static str> {
        let foreign = |codec| match medium.rate {
            8_000 => Ok(Self::Audio(AudioCodec::Foreign(codec))),
            _ => Err("G.711 at another rate than 8 kHz"),
        };
        match (medium.kind, medium.encoding.as_str()) {
            (Some(TrackKind::Video), "h264") => Ok(Self::Video(VideoCodec::Avc)),
            (Some(TrackKind::Video), "h265") => Ok(Self::Video(VideoCodec::Hevc)),
            (Some(TrackKind::Video), "jpeg") => Ok(Self::Video(VideoCodec::Foreign(ForeignVideo::Mjpeg))),
            (Some(TrackKind::Audio), "mpeg4-generic" | LATM) => Ok(Self::Audio(AudioCodec::Aac)),
            (Some(TrackKind::Audio), "opus") => Ok(Self::Audio(AudioCodec::Opus)),
            (Some(TrackKind::Audio), "g722") => Ok(Self::Audio(AudioCodec::Foreign(ForeignCodec::G722))),
            (Some(TrackKind::Audio), "l16") => Ok(Self::Audio(AudioCodec::Foreign(ForeignCodec::Pcm16))),
            (Some(TrackKind::Audio), "pcma") => foreign(ForeignCodec::ALaw),
            (Some(TrackKind::Audio), "pcmu") => foreign(ForeignCodec::MuLaw),
            (Some(TrackKind::Audio), encoding)
                if medium.rate == 8_000 && medium.channels.unwrap_or(1) == 1 =>
            {
                let (codec, _) = g726(encoding).ok_or_else(|| name(encoding))?;
                Ok(Self::Audio(AudioCodec::Foreign(codec)))
            }
            (_, encoding) => Err(name(encoding)),
        }
    }
}

/// The order and the size of G.726's codes by the format's name (RFC 3551, 4.5.4).
fn g726(encoding: &str) -> Option<(ForeignCodec, u8)> {
    let (codec, rate) = match encoding.strip_prefix("aal2-") {
        Some(rest) => (ForeignCodec::G726High, rest.strip_prefix("g726-")?),
        None => (ForeignCodec::G726, encoding.strip_prefix("g726-")?),
    };
    let bits = match rate {
        "16" => 2,
        "24" => 3,
        "32" => 4,
        "40" => 5,
        _ => return None,
    };
    Some((codec, bits))
}

/// Names of what is not taken.
fn name(encoding: &str) -> &'static str {
    match encoding {
        "mp4v-es" => "MPEG-4 part 2",
        "mpa" | "mpa-robust" => "MPEG audio",
        "l8" | "l24" => "PCM of another size than 16 bits",
        "g723" => "G.723",
        name if name.contains("g726") => "G.726 of a rare kind",
        "vp8" => "VP8",
        "vp9" => "VP9",
        "av1" => "AV1",
        "mp2t" => "MPEG-TS",
        "mpeg4-generic" => "AAC without its configuration",
        _ => "A codec that is not known",
    }
}

/// A frame, or a piece of sound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    /// Presentation time by the track's RTP clock, unrolled.
    pub(super) time: i64,
    /// Packets are missing before it.
    pub(super) lossy: bool,
    /// What it is coded with, where that is new: a configuration record.
    pub(super) record: Option<Bytes>,
    /// The frame: NAL units with lengths of four bytes, or a packet of sound.
    pub(super) data: Bytes,
}

/// Puts the frames of one track together.
pub(super) struct Depacket {
    medium: Medium,
    coding: Coding,
    way: Way,
    record: Option<Bytes>,
    lossy: bool,
}

/// How payloads become frames.
enum Way {
    /// They are frames.
    Whole,
    /// By retina.
    Retina(Inner),
    Latm(Latm),
}

struct Inner {
    depacketizer: Depacketizer,
    buffer: DepacketizeBuf,
    /// Bytes since the last frame.
    held: usize,
}

impl std::fmt::Debug for Depacket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Depacket").field("coding", &self.coding).finish_non_exhaustive()
    }
}

/// A payload that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an RTP payload cannot be read")]
pub(super) struct BadPayload;

impl Depacket {
    /// For a medium that is taken.
    ///
    /// # Errors
    /// When its parameters make no sense, with the codec's name.
    pub(super) fn new(medium: &Medium) -> Result<Self, &'static str> {
        let coding = Coding::of(medium)?;
        let way = match coding {
            Coding::Audio(
                AudioCodec::Opus | AudioCodec::Foreign(ForeignCodec::G726 | ForeignCodec::G726High),
            ) => Way::Whole,
            _ if medium.encoding == LATM => {
                let parameters = medium.parameters.as_deref().unwrap_or_default();
                Way::Latm(Latm::new(parameters).ok_or("AAC in LATM of a rare kind")?)
            }
            _ => Way::Retina(Inner::new(medium)?),
        };
        Ok(Self { medium: medium.clone(), coding, way, record: None, lossy: false })
    }

    /// How the track is coded.
    pub(super) const fn coding(&self) -> Coding {
        self.coding
    }

    /// What sound is coded with where only the session description says it.
    pub(super) fn described(&self) -> Option<ForeignConfig> {
        let channels = self.medium.channels.unwrap_or(1);
        match self.coding {
            Coding::Audio(AudioCodec::Foreign(ForeignCodec::G722)) => ForeignConfig::g722(channels).ok(),
            Coding::Audio(AudioCodec::Foreign(ForeignCodec::G726 | ForeignCodec::G726High)) => {
                let (codec, bits) = g726(&self.medium.encoding)?;
                ForeignConfig::g726(codec, bits).ok()
            }
            Coding::Audio(AudioCodec::Foreign(codec @ ForeignCodec::Pcm16)) => {
                ForeignConfig::new(codec, self.medium.rate, channels, Bytes::new()).ok()
            }
            _ => None,
        }
    }

    /// It needs a transcode before browsers play it.
    pub(super) const fn is_foreign(&self) -> bool {
        matches!(self.coding, Coding::Audio(AudioCodec::Foreign(_)) | Coding::Video(VideoCodec::Foreign(_)))
    }

    /// Its name, for people.
    pub(super) fn name(&self) -> &'static str {
        match self.coding {
            Coding::Audio(AudioCodec::Foreign(codec)) => codec.name(),
            Coding::Video(VideoCodec::Foreign(codec)) => codec.name(),
            _ => name(&self.medium.encoding),
        }
    }

    /// Sound has two channels.
    pub(super) fn is_stereo(&self) -> bool {
        self.medium.channels == Some(2)
    }

    /// Takes a packet, whose timestamp unrolled is `time` and before which `lost` are missing.
    ///
    /// # Errors
    /// When it, or what it completes, cannot be read. What was begun is left out then.
    pub(super) fn push(
        &mut self,
        packet: &Packet,
        time: i64,
        lost: u16,
        out: &mut Vec<Frame>,
    ) -> Result<(), BadPayload> {
        self.lossy |= lost > 0;
        match &mut self.way {
            Way::Whole => {
                if packet.payload.is_empty() {
                    return Err(BadPayload);
                }
                // A copy: the slice would keep what it was read into alive for as long as the stream lists it.
                let data = Bytes::copy_from_slice(&packet.payload);
                out.push(Frame { time, lossy: std::mem::take(&mut self.lossy), record: None, data });
                Ok(())
            }
            Way::Latm(latm) => {
                let (mut record, mut lossy) = (Some(latm.record().clone()), std::mem::take(&mut self.lossy));
                latm.push(&packet.payload, packet.marker, lost > 0, |later, data| {
                    let (record, lossy) = (record.take(), std::mem::take(&mut lossy));
                    out.push(Frame { time: time + later, lossy, record, data });
                })
            }
            Way::Retina(inner) => {
                inner.held += packet.payload.len();
                if inner.held > FRAME_MAX {
                    *inner = Inner::new(&self.medium).map_err(|_| BadPayload)?;
                    self.lossy = true;
                    return Err(BadPayload);
                }
                let pushed = inner.push(packet, time, lost, self.medium.rate);
                self.lossy |= pushed.is_none();
                self.pull(out).and(pushed.ok_or(BadPayload))
            }
        }
    }

    /// Takes what retina has completed.
    fn pull(&mut self, out: &mut Vec<Frame>) -> Result<(), BadPayload> {
        let mut result = Ok(());
        while let Way::Retina(inner) = &mut self.way
            && let Some(item) = inner.pull()
        {
            match item {
                Ok(item) => out.extend(self.frame(item)),
                Err(BadPayload) => {
                    self.lossy = true;
                    result = Err(BadPayload);
                }
            }
        }
        result
    }

    fn frame(&mut self, item: CodecItem) -> Option<Frame> {
        let (time, lossy, data) = match item {
            CodecItem::VideoFrame(frame) => {
                let (time, lossy) = (frame.timestamp().timestamp(), frame.loss() > 0);
                (time, lossy, Bytes::from(frame.into_data()))
            }
            CodecItem::AudioFrame(frame) => {
                (frame.timestamp().timestamp(), frame.loss() > 0, Bytes::copy_from_slice(frame.data()))
            }
            _ => return None,
        };
        let lossy = std::mem::take(&mut self.lossy) | lossy;
        Some(Frame { time, lossy, record: self.new_record(), data })
    }

    /// The configuration record, where it is another than before.
    fn new_record(&mut self) -> Option<Bytes> {
        let Way::Retina(inner) = &self.way else { return None };
        let record = match inner.depacketizer.parameters()? {
            ParametersRef::Video(video) => video.extra_data(),
            ParametersRef::Audio(audio) => audio.extra_data(),
            ParametersRef::Message(_) => return None,
        };
        if record.is_empty() || self.record.as_ref().is_some_and(|known| known == record) {
            return None;
        }
        let record = Bytes::copy_from_slice(record);
        self.record = Some(record.clone());
        Some(record)
    }
}

impl Inner {
    fn new(medium: &Medium) -> Result<Self, &'static str> {
        let kind = if medium.kind == Some(TrackKind::Video) { "video" } else { "audio" };
        let (encoding, parameters) = (medium.encoding.as_str(), medium.parameters.as_deref());
        let channels = medium.channels.and_then(NonZeroU16::new).or(NonZeroU16::new(1));
        let channels = if kind == "audio" { channels } else { None };
        let made = Depacketizer::new(kind, encoding, medium.rate, channels, parameters);
        // Parameters that are wrong are worse than none: those in the frames may be right.
        let made = made.or_else(|_| Depacketizer::new(kind, encoding, medium.rate, channels, None));
        let mut depacketizer = made.map_err(|_| name(encoding))?;
        depacketizer.set_frame_format(FrameFormat::MP4);
        Ok(Self { depacketizer, buffer: DepacketizeBuf::new(ROOM), held: 0 })
    }

    fn pull(&mut self) -> Option<Result<CodecItem, BadPayload>> {
        let item = self.depacketizer.pull()?;
        self.held = 0;
        Some(item.map_err(|_| BadPayload))
    }

    fn push(&mut self, packet: &Packet, time: i64, lost: u16, rate: u32) -> Option<()> {
        let meta = PacketMeta {
            ctx: PacketContext::dummy(),
            stream_id: 0,
            timestamp: Timestamp::new(time, NonZeroU32::new(rate)?, 0)?,
            sequence_number: packet.sequence,
            ssrc: packet.source,
            mark: packet.marker,
            loss: lost,
        };
        self.buffer.push(&mut self.depacketizer, meta, &packet.payload).ok()
    }
}
