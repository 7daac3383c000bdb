//! Media messages in, coded frames and codec configurations out.
//!
//! The demuxer keeps the promise that a track's first frame after a new configuration is a sync sample: inter
//! frames before it are dropped (RTMP-48). Sync is what the bitstream says, not what the FLV header says (RTMP-47).
//! Headers and metadata carry no time, so nothing here moves the clock (RTMP-39).

mod colour;
mod epoch;
mod sound;
mod video;

use std::collections::{BTreeMap, VecDeque};

use aqueduct_common::codec::CodecConfig;
use aqueduct_common::event::{Advice, Anomaly};
use aqueduct_common::{TrackId, TrackKind};
use bytes::Bytes;

use crate::flv::audio::AudioCodec;
use crate::flv::{self, FlvError, FourCc, Metadata, Tag};
use crate::rtmp::{MediaKind, Message};
use crate::timeline::Counts;
pub(crate) use sound::SoundTrack;
pub(crate) use video::VideoTrack;

/// One coded frame as the publisher stamped it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodedFrame {
    /// Its track: [`TrackId::VIDEO`], [`TrackId::AUDIO`], or one of the further ones.
    pub track: TrackId,
    /// Video or audio.
    pub kind: TrackKind,
    /// The wire's decode time in milliseconds; wraps.
    pub timestamp: u32,
    /// Nanoseconds to add to it (RTMP-57).
    pub nanos: u32,
    /// PTS − DTS in milliseconds.
    pub cts: i32,
    /// Decoding can start here; every audio frame.
    pub sync: bool,
    /// No other frame needs it.
    pub disposable: bool,
    /// Decoded samples of an audio frame at its track's rate; 0 for video.
    pub samples: u32,
    /// Duration of an audio frame in flicks; 0 for video, which does not say.
    pub nominal: i64,
    /// The frame as its sample entry wants it.
    pub payload: Bytes,
}

/// What the demuxer gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Demuxed {
    /// Frames of this track that follow are coded with this.
    Config(TrackId, CodecConfig),
    /// A frame.
    Frame(CodedFrame),
}

/// Something about the publisher's settings that the streamer should hear of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Notice {
    /// Sound that needs a transcode and gets none, by its codec's name.
    NeedsTranscode(&'static str),
    /// A FourCC that is not known.
    UnknownFourCc(FourCc),
    /// A codec number of the legacy header that is not known.
    UnknownNumber(TrackKind, u8),
    /// More tracks than are used.
    ExtraTracks(TrackKind, u8),
    /// A further track, by its number on the wire, that is left unused.
    UnusedTrack(TrackKind, u8, Unfit),
}

/// Why a further track is left unused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unfit {
    /// Its key frames are not those of the first video track.
    Keyframes,
    /// Its frames are neither those of the first video track nor every second one.
    Frames,
    /// Its pictures are reordered in another way than the first video track's.
    Reorder,
    /// It began after the others.
    Late,
    /// Nothing came of it any more.
    Silent,
    /// What it is coded with changed.
    Changed,
}

impl Unfit {
    /// In words for the streamer.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Keyframes => {
                "its keyframes are not at the same times as the first track's: set the same interval"
            }
            Self::Frames => {
                "its frames are not those of the first track: set the same frame rate, or half of it"
            }
            Self::Reorder => "its B-frames differ from the first track's: set the same number",
            Self::Late => "it began after the others: restart the stream with all tracks",
            Self::Silent => "nothing comes of it any more",
            Self::Changed => "its format changed while it was live: restart the stream",
        }
    }
}

impl Notice {
    /// In words for the streamer.
    pub fn advice(self) -> Advice {
        match self {
            Self::NeedsTranscode(codec) => Advice::NeedsTranscode { codec: codec.into() },
            Self::UnusedTrack(kind, number, why) => Advice::UnusedTrack { kind, number, reason: why.text() },
            Self::UnknownFourCc(four_cc) => Advice::UnknownCodec { codec: four_cc.to_string() },
            Self::UnknownNumber(kind, number) => {
                Advice::UnknownCodec { codec: format!("FLV {} {number}", kind.as_str()) }
            }
            Self::ExtraTracks(kind, unused) => Advice::ExtraTracks { kind, unused },
        }
    }
}

/// A further track, beside the first of its kind.
#[derive(Debug)]
enum Further {
    Video(Box<VideoTrack>),
    Sound(SoundTrack),
}

/// The number within the stream of a track that has number `number` on the wire: the first ones are 0 and 1, further
/// video tracks follow from 2 on and further audio tracks behind them.
pub(crate) const fn track_id(kind: TrackKind, number: u8) -> TrackId {
    match (kind, number) {
        (TrackKind::Video, 0) => TrackId::VIDEO,
        (TrackKind::Audio, 0) => TrackId::AUDIO,
        (TrackKind::Video, number) => TrackId(1 + number),
        (TrackKind::Audio, number) => TrackId(1 + flv::FURTHER_TRACKS + number),
    }
}

/// The kind and the number on the wire of a further track.
pub(crate) const fn wire_number(track: TrackId) -> (TrackKind, u8) {
    match track.0 {
        0 => (TrackKind::Video, 0),
        1 => (TrackKind::Audio, 0),
        id if id <= 1 + flv::FURTHER_TRACKS => (TrackKind::Video, id - 1),
        id => (TrackKind::Audio, id - 1 - flv::FURTHER_TRACKS),
    }
}

/// The demuxer of one publisher's session.
#[derive(Debug)]
pub struct Demuxer {
    transcodes: bool,
    video: VideoTrack,
    sound: SoundTrack,
    further: BTreeMap<TrackId, Further>,
    extra: [u32; 2],
    notice: Option<Notice>,
    metadata: Option<Metadata>,
    counts: Counts,
    out: VecDeque<Demuxed>,
}

impl Default for Demuxer {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Demuxer {
    /// A demuxer at the beginning of a session. Sound that needs a transcode is left out unless `transcodes`.
    pub fn new(transcodes: bool) -> Self {
        Self {
            transcodes,
            video: VideoTrack::new(TrackId::VIDEO),
            sound: SoundTrack::new(TrackId::AUDIO),
            further: BTreeMap::new(),
            extra: [0; 2],
            notice: None,
            metadata: None,
            counts: Counts::default(),
            out: VecDeque::new(),
        }
    }

    /// Takes one message. Drain [`poll`](Self::poll) after it.
    pub fn push(&mut self, message: &Message) {
        match message.kind {
            MediaKind::Video => match flv::video::parse(&message.body) {
                Ok(tag) => self.push_video(message.timestamp, tag),
                Err(error) => self.refuse(TrackKind::Video, error),
            },
            MediaKind::Audio => match flv::audio::parse(&message.body) {
                Ok(tag) => self.push_sound(message.timestamp, tag),
                Err(error) => self.refuse(TrackKind::Audio, error),
            },
            MediaKind::Data => match flv::data::parse(&message.body) {
                Ok(metadata) => self.metadata = metadata.or(self.metadata.take()),
                Err(_) => self.counts.add(Anomaly::BadUnit),
            },
        }
    }

    /// The next configuration or frame.
    pub fn poll(&mut self) -> Option<Demuxed> {
        self.out.pop_front()
    }

    /// The newest picture was none that decoding can start with, whether or not it was given.
    pub const fn awaits_key(&self) -> bool {
        self.video.awaits_key()
    }

    /// What the last message showed about the publisher's settings.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }

    /// `onMetaData`, once after each that came.
    pub fn take_metadata(&mut self) -> Option<Metadata> {
        self.metadata.take()
    }

    /// Units dropped since they were last counted.
    pub fn take_counts(&mut self) -> impl Iterator<Item = (Anomaly, u32)> + use<> {
        self.counts.take()
    }

    fn push_video(&mut self, timestamp: u32, tag: Tag<flv::VideoPacket>) {
        self.note_extra(TrackKind::Video, tag.extra_tracks);
        if let Some(packet) = tag.packet {
            let taken = self.video.push(timestamp, tag.nanos, packet, &mut self.out);
            self.counts.add_many(Anomaly::BadUnit, u32::from(taken.is_err()));
            self.counts.add_many(Anomaly::ColourConflict, self.video.take_colour_conflicts());
        }
        for (number, packet) in tag.further {
            let id = track_id(TrackKind::Video, number);
            let track = self.further.entry(id).or_insert_with(|| Further::Video(VideoTrack::new(id).into()));
            if let Further::Video(track) = track {
                let taken = track.push(timestamp, tag.nanos, packet, &mut self.out);
                self.counts.add_many(Anomaly::BadUnit, u32::from(taken.is_err()));
            }
        }
    }

    fn push_sound(&mut self, timestamp: u32, tag: Tag<flv::AudioPacket>) {
        self.note_extra(TrackKind::Audio, tag.extra_tracks);
        for (number, packet) in tag.packet.map(|packet| (0, packet)).into_iter().chain(tag.further) {
            if let Some(packet) = self.admit(packet) {
                let id = track_id(TrackKind::Audio, number);
                let track = match number {
                    0 => &mut self.sound,
                    _ => {
                        match self.further.entry(id).or_insert_with(|| Further::Sound(SoundTrack::new(id))) {
                            Further::Sound(track) => track,
                            Further::Video(_) => continue,
                        }
                    }
                };
                let taken = track.push(timestamp, tag.nanos, packet, &mut self.out);
                self.counts.add_many(Anomaly::BadUnit, u32::from(taken.is_err()));
            }
        }
    }

    /// Leaves out what is not decoded, or needs a transcode that does not follow.
    fn admit(&mut self, packet: flv::AudioPacket) -> Option<flv::AudioPacket> {
        let name = match packet {
            flv::AudioPacket::Undecoded(name) => name,
            flv::AudioPacket::Frame { codec: AudioCodec::Foreign(codec), .. } if !self.transcodes => {
                codec.name()
            }
            packet => return Some(packet),
        };
        self.notice = Some(Notice::NeedsTranscode(name));
        None
    }

    /// Extra tracks come in messages of their own, so their numbers are gathered (RTMP-56).
    fn note_extra(&mut self, kind: TrackKind, tracks: u32) {
        if tracks != 0 {
            let seen = &mut self.extra[kind as usize];
            *seen |= tracks;
            self.notice = Some(Notice::ExtraTracks(kind, seen.count_ones() as u8));
        }
    }

    fn refuse(&mut self, kind: TrackKind, error: FlvError) {
        match error {
            FlvError::UnknownFourCc(four_cc) => self.notice = Some(Notice::UnknownFourCc(four_cc)),
            FlvError::UnknownCodec(number) => self.notice = Some(Notice::UnknownNumber(kind, number)),
            _ => {}
        }
        self.counts.add(Anomaly::BadUnit);
    }
}

#[cfg(test)]
mod tests;
