//! From a container's packets to coded frames: parameter sets, start codes, ADTS headers (pure).
//!
//! A track's configuration comes before its first frame, and its first frame behind one is a sync sample: what comes before
//! is dropped (RTMP-48). Sync is what the bitstream says, not what the container says (RTMP-47).

mod adts;
mod pictures;
mod sound;

use aqueduct_common::{CodecConfig, TrackId, TrackKind};
use bytes::Bytes;

use super::protocol::{Packet, Stream};
use pictures::Pictures;
use sound::Sound;

/// A frame cannot be shown this much before or after it is decoded, in nanoseconds.
const OFFSET_MAX: i64 = 10_000_000_000;

/// What a source gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Frames of this track that follow are coded with this.
    Config(TrackId, CodecConfig),
    /// One coded frame.
    Frame(Frame),
    /// Something that an operator should read.
    Trouble(String),
    /// Packets of late that were not whole.
    Faulty {
        /// Left out: they could not be read.
        bad: u32,
        /// Taken as they were, with bytes missing.
        damaged: u32,
    },
}

/// One coded frame, on the source's own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// [`TrackId::VIDEO`] or [`TrackId::AUDIO`].
    pub track: TrackId,
    /// Pictures or sound.
    pub kind: TrackKind,
    /// Decode time in nanoseconds.
    pub nanos: i64,
    /// Presentation time less decode time, in nanoseconds.
    pub offset: i64,
    /// Decoding can start here; every frame of sound.
    pub sync: bool,
    /// No other frame needs it.
    pub disposable: bool,
    /// Decoded samples of a frame of sound; 0 for pictures.
    pub samples: u32,
    /// What they are counted at, in Hz; 0 for pictures.
    pub rate: u32,
    /// The frame as its sample entry wants it.
    pub payload: Bytes,
}

/// Why a packet was left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Dropped {
    /// The bitstream is not what its codec says.
    #[error(transparent)]
    Codec(#[from] aqueduct_common::codec::CodecError),
    /// Sound that does not say how long it lasts.
    #[error("a packet of sound is malformed")]
    BadSound,
}

/// The two tracks of a source.
#[derive(Debug)]
pub struct Tracks {
    transcodes: bool,
    video: Option<Pictures>,
    sound: Option<Sound>,
    /// The newest configuration of each that was given out.
    given: [Option<CodecConfig>; 2],
    /// What could not be taken, as it was said last: files that loop say it each time.
    troubles: Vec<String>,
    bad: u32,
    damaged: u32,
}

impl Tracks {
    /// Nothing is known yet. What needs a transcode is left out unless `transcodes`.
    pub const fn new(transcodes: bool) -> Self {
        Self {
            transcodes,
            video: None,
            sound: None,
            given: [None, None],
            troubles: Vec::new(),
            bad: 0,
            damaged: 0,
        }
    }

    /// Says how many packets were not whole since this was said last.
    pub fn tell_faults(&mut self, out: &mut Vec<Pulled>) {
        let (bad, damaged) = (std::mem::take(&mut self.bad), std::mem::take(&mut self.damaged));
        if (bad, damaged) != (0, 0) {
            out.push(Pulled::Faulty { bad, damaged });
        }
    }

    /// The source says what packets that follow are coded with.
    pub fn streams(&mut self, streams: &[Stream], out: &mut Vec<Pulled>) {
        (self.video, self.sound) = (None, None);
        let mut troubles = Vec::new();
        for stream in streams {
            let refused = match TrackId(stream.track) {
                TrackId::VIDEO => {
                    Pictures::new(stream, self.transcodes).map(|video| self.video = Some(video))
                }
                TrackId::AUDIO => Sound::new(stream, self.transcodes).map(|sound| self.sound = Some(sound)),
                _ => Ok(()),
            };
            troubles.extend(refused.err());
        }
        if troubles != self.troubles {
            out.extend(troubles.iter().cloned().map(Pulled::Trouble));
            self.troubles = troubles;
        }
    }

    /// Takes a packet.
    pub fn packet(&mut self, packet: Packet, out: &mut Vec<Pulled>) {
        self.damaged = self.damaged.saturating_add(packet.damaged.into());
        let track = packet.track;
        let mut found = Vec::new();
        let taken = match (track, &mut self.video, &mut self.sound) {
            (TrackId::VIDEO, Some(video), _) => video.packet(&packet, &mut found),
            (TrackId::AUDIO, _, Some(sound)) => sound.packet(packet, &mut found),
            _ => Ok(()),
        };
        self.bad = self.bad.saturating_add(taken.is_err().into());
        for item in found {
            match item {
                Found::Config(config) => self.give(track, config, out),
                Found::Frame(frame) => out.push(Pulled::Frame(frame)),
            }
        }
    }

    /// Says what a track is coded with, where that is new.
    fn give(&mut self, track: TrackId, config: CodecConfig, out: &mut Vec<Pulled>) {
        let given = &mut self.given[usize::from(track.0.min(1))];
        if given.as_ref() != Some(&config) {
            *given = Some(config.clone());
            out.push(Pulled::Config(track, config));
        }
    }
}

/// What a track finds in a packet.
#[derive(Debug)]
enum Found {
    Config(CodecConfig),
    Frame(Frame),
}

/// Presentation time less decode time, as far as it is believed.
fn offset(packet: &Packet) -> i64 {
    let offset = packet.pts.saturating_sub(packet.dts);
    if offset.saturating_abs() <= OFFSET_MAX { offset } else { 0 }
}

#[cfg(test)]
mod tests;
