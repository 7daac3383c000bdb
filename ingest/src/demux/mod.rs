//! Media messages in, coded frames and codec configurations out.
//!
//! The demuxer keeps the promise that a track's first frame after a new configuration is a sync sample: inter
//! frames before it are dropped (RTMP-48). Sync is what the bitstream says, not what the FLV header says (RTMP-47).
//! Headers and metadata carry no time, so nothing here moves the clock (RTMP-39).

mod colour;
mod sound;
mod video;

use std::collections::VecDeque;

use aqueduct_common::TrackKind;
use aqueduct_common::codec::CodecConfig;
use aqueduct_common::event::{Advice, Anomaly};
use bytes::Bytes;

use crate::flv::{self, FlvError, FourCc, Metadata, Tag};
use crate::rtmp::{MediaKind, Message};
use crate::timeline::Counts;
use sound::SoundTrack;
use video::VideoTrack;

/// One coded frame as the publisher stamped it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodedFrame {
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
    /// Frames of this kind that follow are coded with this.
    Config(CodecConfig),
    /// A frame.
    Frame(CodedFrame),
}

/// Something about the publisher's settings that the streamer should hear of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Notice {
    /// Sound that needs a transcode, by its codec's name.
    NeedsTranscode(&'static str),
    /// A FourCC that is not known.
    UnknownFourCc(FourCc),
    /// A codec number of the legacy header that is not known.
    UnknownNumber(TrackKind, u8),
    /// More tracks than are used.
    ExtraTracks(TrackKind, u8),
}

impl Notice {
    /// In words for the streamer.
    pub fn advice(self) -> Advice {
        match self {
            Self::NeedsTranscode(codec) => Advice::NeedsTranscode { codec: codec.into() },
            Self::UnknownFourCc(four_cc) => Advice::UnknownCodec { codec: four_cc.to_string() },
            Self::UnknownNumber(kind, number) => {
                Advice::UnknownCodec { codec: format!("FLV {} {number}", kind.as_str()) }
            }
            Self::ExtraTracks(kind, unused) => Advice::ExtraTracks { kind, unused },
        }
    }
}

/// The demuxer of one publisher's session.
#[derive(Debug, Default)]
pub struct Demuxer {
    video: VideoTrack,
    sound: SoundTrack,
    extra: [u32; 2],
    notice: Option<Notice>,
    metadata: Option<Metadata>,
    counts: Counts,
    out: VecDeque<Demuxed>,
}

impl Demuxer {
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
        let Some(packet) = tag.packet else { return };
        if self.video.push(timestamp, tag.nanos, packet, &mut self.out).is_err() {
            self.counts.add(Anomaly::BadUnit);
        }
        self.counts.add_many(Anomaly::ColourConflict, self.video.take_colour_conflicts());
    }

    fn push_sound(&mut self, timestamp: u32, tag: Tag<flv::AudioPacket>) {
        self.note_extra(TrackKind::Audio, tag.extra_tracks);
        match tag.packet {
            None => {}
            Some(flv::AudioPacket::Foreign(codec)) => self.notice = Some(Notice::NeedsTranscode(codec)),
            Some(packet) => {
                let taken = self.sound.push(timestamp, tag.nanos, packet, &mut self.out);
                self.counts.add_many(Anomaly::BadUnit, u32::from(taken.is_err()));
            }
        }
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
