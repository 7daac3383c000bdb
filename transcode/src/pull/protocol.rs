//! What a pull's worker and its host say to each other: one [`Job`] in, then packets out. Bytes follow the job where the
//! server itself receives them.
//!
//! The form on the wire is that of [`crate::protocol`]: both sides read it with [`Reader`](crate::protocol::Reader).

use std::fmt;

use aqueduct_common::TrackId;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::protocol::{Message, ProtocolError};

/// The protocol's version.
pub const VERSION: u16 = 1;
/// A packet's fields: track, flags, dts, pts, duration.
const HEADER: usize = 1 + 1 + 8 + 8 + 8;
/// Times that are believed, in nanoseconds: 146 years leave room for any arithmetic on them.
const NANOS_MAX: i64 = 1 << 62;
/// A packet that lasts longer is not believed: ten seconds.
const DURATION_MAX: i64 = 10_000_000_000;

const KEY: u8 = 1;
const DAMAGED: u8 = 2;

/// Kinds toward a worker. Media has the number that it has in the encoding worker's protocol, as the reader wants it.
mod to {
    pub(super) const JOB: u8 = 1;
    pub(super) const BYTES: u8 = 3;
}

/// Kinds from a worker.
mod from {
    pub(super) const READY: u8 = 65;
    pub(super) const STREAMS: u8 = 66;
    pub(super) const PACKET: u8 = 67;
    pub(super) const TROUBLE: u8 = 70;
}

/// From the host to its worker. The end is a closed input.
#[derive(Clone, Debug, PartialEq)]
pub enum ToPull {
    /// What to open. Always the first message, and the only one of its kind.
    Job(Job),
    /// Bytes of the source, for [`Source::Fed`].
    Bytes(Bytes),
}

/// From a worker to its host.
#[derive(Clone, Debug, PartialEq)]
pub enum FromPull {
    /// The worker is in its cage and reads. Always the first message.
    Ready {
        /// The version it speaks.
        version: u16,
    },
    /// What the packets that follow are coded with: before the first one, and when it changes.
    Streams(Vec<Stream>),
    /// One packet.
    Packet(Packet),
    /// Something that an operator should read, in words.
    Trouble(String),
}

/// What to open, and what of it to take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The protocol's version.
    pub version: u16,
    /// The source.
    pub source: Source,
    /// Which of its video streams.
    pub video: Pick,
    /// Which of its audio streams.
    pub audio: Pick,
    /// Where there is no sound, silence beside the pictures.
    pub silence: bool,
}

/// Where media comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Source {
    /// The host sends its bytes.
    Fed {
        /// Formats that they may have, by libavformat's names, with commas between them.
        format: String,
    },
    /// Files that the worker was started with, one after another at their own pace, over and over.
    Files {
        /// Their names, which help to tell their formats.
        names: Vec<String>,
    },
    /// A URL.
    Url {
        /// It. What it holds besides a host and a path may be secret.
        url: Hidden,
        /// Protocols that opening it may lead to, with commas between them.
        protocols: String,
        /// Options of libavformat and its protocols.
        options: Vec<(String, Hidden)>,
        /// Packets are given out at their own pace: the source gives them in bursts.
        paced: bool,
    },
    /// A still image, which the worker was started with, as a picture that does not move.
    Still {
        /// Its name.
        name: String,
        /// Pixels across and down, even.
        size: (u32, u32),
        /// Frames a second.
        fps: u32,
    },
}

/// Text that is not printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Which stream of a kind is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pick {
    /// The first one.
    #[default]
    First,
    /// None.
    None,
    /// The one with this number among its kind, from 0.
    Number(u8),
    /// The first one in this language, as the source writes it.
    Language(String),
}

/// What a track's packets are coded with, as the container says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// The track's number: 0 is the video, 1 the audio.
    pub track: u8,
    /// libav's name of its codec.
    pub codec: String,
    /// Configuration record, or parameter sets with start codes; empty where packets bring what is needed.
    pub header: Vec<u8>,
    /// Sampling rate in Hz; 0 for pictures.
    pub rate: u32,
    /// Channels; 0 for pictures.
    pub channels: u16,
    /// The codec's number of its profile; negative where unknown.
    pub profile: i32,
    /// ISO 639 language; empty where it is not said.
    pub language: String,
}

/// One packet. Times are in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its track.
    pub track: TrackId,
    /// The container calls it a key frame.
    pub key: bool,
    /// Bytes of it are missing.
    pub damaged: bool,
    /// Decode time.
    pub dts: i64,
    /// Presentation time.
    pub pts: i64,
    /// Duration; 0 where unknown.
    pub duration: i64,
    /// Its bytes.
    pub payload: Bytes,
}

impl Message for ToPull {
    fn decode(kind: u8, body: Bytes) -> Result<Self, ProtocolError> {
        match kind {
            to::JOB => json(kind, &body).map(Self::Job),
            to::BYTES => Ok(Self::Bytes(body)),
            _ => Err(ProtocolError::Kind(kind)),
        }
    }

    fn encode(&self, head: &mut BytesMut) -> Result<Bytes, ProtocolError> {
        match self {
            Self::Job(job) => put(head, to::JOB, job),
            Self::Bytes(bytes) => {
                head.put_u8(to::BYTES);
                Ok(bytes.clone())
            }
        }
    }
}

impl Message for FromPull {
    fn decode(kind: u8, body: Bytes) -> Result<Self, ProtocolError> {
        match kind {
            from::READY => Ok(Self::Ready { version: json(kind, &body)? }),
            from::STREAMS => json(kind, &body).map(Self::Streams),
            from::PACKET => read_packet(kind, body).map(Self::Packet),
            from::TROUBLE => json(kind, &body).map(Self::Trouble),
            _ => Err(ProtocolError::Kind(kind)),
        }
    }

    fn encode(&self, head: &mut BytesMut) -> Result<Bytes, ProtocolError> {
        match self {
            Self::Ready { version } => put(head, from::READY, version),
            Self::Streams(streams) => put(head, from::STREAMS, streams),
            Self::Packet(packet) => Ok(put_packet(head, packet)),
            Self::Trouble(words) => put(head, from::TROUBLE, words),
        }
    }
}

fn put<T: Serialize>(head: &mut BytesMut, kind: u8, value: &T) -> Result<Bytes, ProtocolError> {
    head.put_u8(kind);
    let written = serde_json::to_writer(head.writer(), value);
    written.map(|()| Bytes::new()).map_err(|error| ProtocolError::Json { kind, error })
}

fn json<T: DeserializeOwned>(kind: u8, body: &[u8]) -> Result<T, ProtocolError> {
    serde_json::from_slice(body).map_err(|error| ProtocolError::Json { kind, error })
}

fn put_packet(head: &mut BytesMut, packet: &Packet) -> Bytes {
    head.put_u8(from::PACKET);
    head.put_u8(packet.track.0);
    head.put_u8(if packet.key { KEY } else { 0 } | if packet.damaged { DAMAGED } else { 0 });
    head.put_i64(packet.dts);
    head.put_i64(packet.pts);
    head.put_i64(packet.duration);
    packet.payload.clone()
}

fn read_packet(kind: u8, mut body: Bytes) -> Result<Packet, ProtocolError> {
    if body.len() < HEADER {
        return Err(ProtocolError::TooShort(kind));
    }
    let (track, flags) = (TrackId(body.get_u8()), body.get_u8());
    if track > TrackId::AUDIO {
        return Err(ProtocolError::Frame("track"));
    }
    if flags & !(KEY | DAMAGED) != 0 {
        return Err(ProtocolError::Frame("flags"));
    }
    let (dts, pts, duration) = (body.get_i64(), body.get_i64(), body.get_i64());
    let reasonable = -NANOS_MAX..=NANOS_MAX;
    if !reasonable.contains(&dts) || !reasonable.contains(&pts) {
        return Err(ProtocolError::Frame("time"));
    }
    if !(0..=DURATION_MAX).contains(&duration) {
        return Err(ProtocolError::Frame("duration"));
    }
    let (key, damaged) = (flags & KEY != 0, flags & DAMAGED != 0);
    Ok(Packet { track, key, damaged, dts, pts, duration, payload: body })
}

impl Packet {
    /// Brings its times into what the other side believes.
    #[must_use]
    pub fn reasonable(mut self) -> Self {
        self.dts = self.dts.clamp(-NANOS_MAX, NANOS_MAX);
        self.pts = self.pts.clamp(-NANOS_MAX, NANOS_MAX);
        self.duration = self.duration.clamp(0, DURATION_MAX);
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Encoded, Reader, encode};

    fn through<M: Message>(message: &M) -> M {
        let Encoded { head, payload } = encode(message).unwrap();
        let mut reader = Reader::<M>::default();
        reader.push(&head);
        reader.push(&payload);
        let read = reader.poll().unwrap().unwrap();
        assert_eq!(reader.pending(), 0);
        read
    }

    fn job(source: Source) -> Job {
        Job {
            version: VERSION,
            source,
            video: Pick::First,
            audio: Pick::Language("deu".into()),
            silence: true,
        }
    }

    #[test]
    fn messages_go_through() {
        let url = Source::Url {
            url: Hidden("srt://h:1?passphrase=hidden-words".into()),
            protocols: "srt".into(),
            options: vec![("passphrase".into(), Hidden("hidden-words".into()))],
            paced: false,
        };
        for source in [
            url,
            Source::Fed { format: "mpegts".into() },
            Source::Files { names: vec!["a.mp4".into()] },
            Source::Still { name: "a.png".into(), size: (1_280, 720), fps: 25 },
        ] {
            let message = ToPull::Job(job(source));
            assert!(!format!("{message:?}").contains("hidden-words"), "{message:?}");
            assert_eq!(through(&message), message);
        }
        let bytes = ToPull::Bytes(Bytes::from_static(&[0x47; 188]));
        assert_eq!(through(&bytes), bytes);
        let stream = Stream {
            track: 1,
            codec: "aac".into(),
            header: vec![0x11, 0x90],
            rate: 48_000,
            channels: 2,
            profile: 1,
            language: "deu".into(),
        };
        let packet = Packet {
            track: TrackId::VIDEO,
            key: true,
            damaged: true,
            dts: -40_000_000,
            pts: 0,
            duration: 40_000_000,
            payload: Bytes::from_static(&[1, 2, 3]),
        };
        for message in [
            FromPull::Ready { version: VERSION },
            FromPull::Streams(vec![stream]),
            FromPull::Packet(packet),
            FromPull::Trouble("lost".into()),
        ] {
            assert_eq!(through(&message), message);
        }
    }

    #[test]
    fn what_is_beyond_reason_is_refused() {
        let good = Packet {
            track: TrackId::AUDIO,
            key: false,
            damaged: false,
            dts: 0,
            pts: 0,
            duration: 0,
            payload: Bytes::from_static(&[1]),
        };
        for bad in [
            Packet { track: TrackId(2), ..good.clone() },
            Packet { dts: i64::MIN, ..good.clone() },
            Packet { pts: NANOS_MAX + 1, ..good.clone() },
            Packet { duration: -1, ..good.clone() },
        ] {
            let Encoded { head, payload } = encode(&FromPull::Packet(bad.clone())).unwrap();
            let mut reader = Reader::<FromPull>::default();
            reader.push(&[&head[..], &payload].concat());
            assert!(reader.poll().unwrap().is_err(), "{bad:?}");
            let cured = FromPull::Packet(Packet { track: TrackId::AUDIO, ..bad }.reasonable());
            assert_eq!(through(&cured), cured);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_lead_to_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut to = Reader::<ToPull>::default();
            let mut from = Reader::<FromPull>::default();
            to.push(&bytes);
            from.push(&bytes);
            while to.poll().is_some() {}
            while from.poll().is_some() {}
        }
    }
}
