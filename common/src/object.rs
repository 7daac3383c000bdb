//! What the packager makes and the edge serves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::name::StreamName;

/// Where an object is served, relative to `/APP/NAME/`: `index.m3u8`, `e4kz1q/v0/p1081.m4s`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectPath(Arc<str>);

impl ObjectPath {
    /// A path the packager made.
    pub fn new(path: impl Into<Arc<str>>) -> Self {
        Self(path.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ObjectPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What an object is; decides its caching and its content type, nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectKind {
    /// The multivariant playlist.
    Multivariant,
    /// A media playlist. Versioned; requests may block on it.
    Playlist,
    /// An init segment: immutable.
    Init,
    /// A partial segment: immutable.
    Part,
    /// A whole segment: immutable; its body is the list of its parts' bytes.
    Segment,
}

/// How far a media playlist has come: the newest part it lists, and whether that part's segment is complete.
///
/// The order is that of publication, so an edge compares versions without knowing what they number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Version {
    /// Media sequence number of the newest listed part's segment.
    pub msn: u64,
    /// Index of the newest listed part within it, from 0.
    pub part: u32,
    /// The segment `msn` is complete: its EXTINF is listed.
    pub complete: bool,
}

/// Bounds of what may be asked of a playlist before the answer is "too far ahead" (LLHLS-22).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ahead {
    /// Part numbers beyond the newest that may be waited for.
    pub parts: u32,
    /// How long a request may be held before it is answered 503 (LLHLS-23).
    pub hold: Duration,
}

/// A versioned playlist's particulars.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlaylistInfo {
    /// How far it has come.
    pub version: Version,
    /// The delta update of the same version (`_HLS_skip=YES` or `v2`), where one is offered.
    pub delta: Option<Bytes>,
    /// The one path that it hints: a request for it is held until it is published (LLHLS-26).
    pub hint: Option<ObjectPath>,
    /// What may be waited for.
    pub ahead: Ahead,
    /// Target duration, the base of cache lifetimes.
    pub target_duration: Duration,
    /// ENDLIST is present: directives are ignored and nobody waits any more.
    pub ended: bool,
    /// Newest path that the playlist lists: an edge releases the version only when it holds this (and, since
    /// paths are published in order, all before it).
    pub needs: Option<ObjectPath>,
    /// What an edge reports when this playlist is asked for, where the publisher wants to know; it means something to
    /// the publisher alone.
    pub demand: Option<u8>,
}

/// Content type of an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ContentType {
    /// `application/vnd.apple.mpegurl`
    Hls,
    /// `video/mp4`
    VideoMp4,
    /// `audio/mp4`
    AudioMp4,
}

impl ContentType {
    /// The header's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hls => "application/vnd.apple.mpegurl",
            Self::VideoMp4 => "video/mp4",
            Self::AudioMp4 => "audio/mp4",
        }
    }
}

/// One thing that an edge can serve.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its path below the stream's.
    pub path: ObjectPath,
    /// What it is.
    pub kind: ObjectKind,
    /// Its content type.
    pub content_type: ContentType,
    /// Its bytes, in order. A segment shares the bytes of its parts.
    pub body: Vec<Bytes>,
    /// Present for media playlists only.
    pub playlist: Option<PlaylistInfo>,
}

impl Object {
    /// Length of the body in bytes.
    pub fn len(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }

    /// The body has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One change to what an edge serves of a stream. Changes of a stream are ordered: media before the playlist that
/// lists it.
#[derive(Clone, Debug)]
pub enum Update {
    /// The object is there from now on. A playlist replaces its earlier version; other paths are never reused.
    Publish(Object),
    /// Nothing lists the path any more: it stays fetchable for `linger`, then it is gone for good.
    Retire {
        /// The path.
        path: ObjectPath,
        /// How long it stays fetchable (LLHLS-7).
        linger: Duration,
    },
    /// This playlist sleeps: nothing is made of what it lists until somebody asks for it. Its last version is withdrawn
    /// at once; whoever asks is held, and answered with the next version, whatever it lists.
    Sleep {
        /// The playlist's path; it need not have been published before.
        path: ObjectPath,
        /// What to report when it is asked for, as [`PlaylistInfo::demand`].
        demand: u8,
        /// How long a request is held for it at most, before it is answered 503 (LLHLS-23).
        hold: Duration,
    },
    /// The stream has ended: everything that it still has stays fetchable for `linger` (LLHLS-17).
    End {
        /// How long.
        linger: Duration,
    },
}

/// Where a packager puts its updates. The edge's store implements it; so will the relay.
pub trait Publish: Send + Sync {
    /// Applies one update. Never blocks.
    fn publish(&self, stream: &StreamName, update: Update);

    /// Another node publishes the stream from now on: what is here of it goes at once, as if it had never been, and without
    /// an end that anybody is told of.
    fn withdraw(&self, stream: &StreamName) {
        let _ = stream;
    }
}
