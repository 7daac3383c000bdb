//! One version of one object, in every form in which it may be sent.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use aqueduct_common::object::{ContentType, Object, ObjectKind, PlaylistInfo};
use bytes::Bytes;
use http::HeaderValue;

use crate::audience::Audience;

/// A body in one encoding. Shared by everyone who is sent it.
#[derive(Debug)]
pub struct Blob {
    chunks: Vec<Bytes>,
    len: u64,
    heads: OnceLock<Heads>,
}

/// Header values that follow from the bytes alone.
#[derive(Debug)]
struct Heads {
    length: HeaderValue,
    tag: HeaderValue,
    weak_tag: HeaderValue,
}

impl Blob {
    /// A body of these bytes.
    pub fn new(chunks: Vec<Bytes>) -> Self {
        let len = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { chunks, len, heads: OnceLock::new() }
    }

    /// The bytes, in order.
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// How many bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// `Content-Length`.
    pub fn length(&self) -> &HeaderValue {
        &self.heads().length
    }

    /// A strong entity tag: a checksum of the bytes, and their number. A path is never reused for other media, so this
    /// only has to tell versions of a list apart, and to be the same on every edge.
    pub fn tag(&self) -> &HeaderValue {
        &self.heads().tag
    }

    /// The same, weak: for texts, whose encodings differ in bytes and not in meaning.
    pub fn weak_tag(&self) -> &HeaderValue {
        &self.heads().weak_tag
    }

    fn heads(&self) -> &Heads {
        self.heads.get_or_init(|| {
            let mut sum = flate2::Crc::new();
            self.chunks.iter().for_each(|chunk| sum.update(chunk));
            let tag = format!("W/\"{:08x}-{:x}\"", sum.sum(), self.len);
            Heads { length: HeaderValue::from(self.len), tag: ascii(&tag[2..]), weak_tag: ascii(&tag) }
        })
    }
}

/// A text, and its gzip form, which is made once, when the first client asks for it.
#[derive(Debug)]
pub struct Text {
    plain: Arc<Blob>,
    gzip: OnceLock<Option<Arc<Blob>>>,
}

impl Text {
    /// A text of these bytes.
    pub fn new(chunks: Vec<Bytes>) -> Self {
        Self { plain: Arc::new(Blob::new(chunks)), gzip: OnceLock::new() }
    }

    /// As it is.
    pub fn plain(&self) -> &Arc<Blob> {
        &self.plain
    }

    /// Compressed, or `None` where that is not smaller.
    pub fn gzip(&self) -> Option<&Arc<Blob>> {
        self.gzip
            .get_or_init(|| {
                let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(5));
                for chunk in self.plain.chunks() {
                    coder.write_all(chunk).ok()?;
                }
                let packed = coder.finish().ok()?;
                let smaller = (packed.len() as u64) < self.plain.len();
                smaller.then(|| Arc::new(Blob::new(vec![packed.into()])))
            })
            .as_ref()
    }
}

/// One version of one object.
#[derive(Debug)]
pub struct Entry {
    kind: ObjectKind,
    content_type: ContentType,
    full: Text,
    delta: Option<Text>,
    list: Option<PlaylistInfo>,
    audience: Option<Arc<Audience>>,
    directed_cache: HeaderValue,
}

impl Entry {
    /// Takes what the packager made.
    pub fn new(object: Object) -> Self {
        let Object { kind, content_type, body, mut playlist, .. } = object;
        let delta = playlist.as_mut().and_then(|info| info.delta.take()).map(|delta| Text::new(vec![delta]));
        let mut cache = String::new();
        // Held responses may be kept as long as a target duration (cmaf-llhls, section I).
        let seconds = playlist.as_ref().map_or(0, |info| info.target_duration.as_secs());
        let _ = write!(cache, "max-age={seconds}");
        let full = Text::new(body);
        Self {
            kind,
            content_type,
            full,
            delta,
            list: playlist,
            audience: None,
            directed_cache: ascii(&cache),
        }
    }

    /// The same, with those who ask for its playlist.
    pub(crate) fn watched_by(self, audience: Option<Arc<Audience>>) -> Self {
        Self { audience, ..self }
    }

    /// Who asks for its playlist, where its publisher wants to know.
    pub(crate) fn audience(&self) -> Option<&Arc<Audience>> {
        self.audience.as_ref()
    }

    /// What it is.
    pub fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// Its media type.
    pub fn content_type(&self) -> ContentType {
        self.content_type
    }

    /// The whole object.
    pub fn full(&self) -> &Text {
        &self.full
    }

    /// The delta update of the same version, where there is one (LLHLS-29).
    pub fn delta(&self) -> Option<&Text> {
        self.delta.as_ref()
    }

    /// A media playlist's particulars. Its `delta` has moved to [`Entry::delta`].
    pub fn list(&self) -> Option<&PlaylistInfo> {
        self.list.as_ref()
    }

    /// `Cache-Control` of a response to a request that named a version.
    pub fn directed_cache(&self) -> &HeaderValue {
        &self.directed_cache
    }

    /// Every piece of memory that it holds, compressed forms aside.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        let delta = self.delta.iter().flat_map(|text| text.plain.chunks());
        self.full.plain.chunks().iter().chain(delta)
    }
}

/// A header value of text made here.
fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits, letters and punctuation only")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn gzip_is_made_once_and_unpacks_to_the_text() {
        let lines = Bytes::from("#EXT-X-PART:DURATION=0.2,URI=\"p1.m4s\"\n".repeat(50));
        let text = Text::new(vec![lines.slice(..100), lines.slice(100..)]);
        let (first, again) = (text.gzip().unwrap(), text.gzip().unwrap());
        assert!(Arc::ptr_eq(first, again));
        assert!(first.len() < text.plain().len() / 4);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*first.chunks()[0]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, lines);
        assert!(Text::new(vec![Bytes::from_static(b"#EXTM3U")]).gzip().is_none());
    }

    #[test]
    fn a_tag_follows_the_bytes_however_they_are_cut() {
        let tag = |chunks: &[&'static str]| {
            Blob::new(chunks.iter().map(|chunk| Bytes::from_static(chunk.as_bytes())).collect()).tag().clone()
        };
        assert_eq!(tag(&["ab", "c"]), tag(&["a", "", "bc"]));
        assert_ne!(tag(&["abc"]), tag(&["abd"]));
        assert_ne!(tag(&[]), tag(&["\0"]));
    }
}
