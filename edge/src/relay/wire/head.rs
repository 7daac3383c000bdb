//! What stands before an object's bytes.

use std::time::Duration;

use aqueduct_common::object::{Ahead, ContentType, ObjectKind, ObjectPath, PlaylistInfo, Version};
use bytes::Bytes;

use super::frame::{millis, put_millis};
use super::ranges::Ranges;
use super::text::{Fields, is_name, put_name, put_varint};
use super::{MAX_BODY, MAX_HEAD, Malformed};

/// Flags that this version may ignore.
const MAY_IGNORE: u16 = 0x00ff;
/// The flag of [`Head::history`].
const HISTORY: u16 = 1;
/// Parts of a segment at most.
const MAX_PARTS: u64 = 4_096;

/// The head of an object: whose it is, what it is, and how many bytes follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// The subscription that it answers.
    pub sub: u32,
    /// Numbers of one line compare within one epoch alone.
    pub epoch: u64,
    /// The line: the directory of its path; empty for the stream's own.
    pub line: String,
    /// Its name within the line.
    pub file: String,
    /// When it was published where it was made, in microseconds since 1970.
    pub created: i64,
    /// Its content type.
    pub content_type: ContentType,
    /// It is older than what is live at the moment: how late it is says nothing of the link.
    pub history: bool,
    /// What it is.
    pub what: What,
}

/// What an object is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Published once and never changed.
    Media(Media),
    /// A version of a media playlist.
    List(ListHead),
    /// A version of what has no particulars: the multivariant playlist. The newest wins.
    Index {
        /// Place among the versions.
        serial: u64,
        /// Bytes that follow.
        len: u32,
    },
}

/// Init segment, part or segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Media {
    /// Its number within line and epoch.
    pub seq: u64,
    /// What it is.
    pub kind: ObjectKind,
    /// Where its bytes are.
    pub body: Body,
}

/// Where the bytes of media are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// So many follow.
    Bytes(u32),
    /// They are those of these objects of the same line, one after the other (a segment's are its parts').
    Of(Vec<u64>),
}

/// A media playlist's particulars.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListHead {
    /// Place among the line's versions.
    pub serial: u64,
    /// Every object of the line that was there and not retired when it was published: it may be seen where all of
    /// these are held (EDGE-14), and what is held of lower numbers and is not among them is retired.
    pub live: Ranges,
    /// How long what it retires stays fetchable (LLHLS-7).
    pub linger: Duration,
    /// What the edge's store wants to know; `delta` and `needs` travel in other ways.
    pub info: PlaylistInfo,
    /// Bytes of the whole playlist that follow.
    pub len: u32,
    /// Bytes of the delta update that follow after it, where there is one.
    pub delta: Option<u32>,
}

impl Head {
    /// Bytes that follow the head.
    pub fn follows(&self) -> usize {
        match &self.what {
            What::Media(Media { body: Body::Bytes(len), .. }) | What::Index { len, .. } => *len as usize,
            What::Media(_) => 0,
            What::List(list) => list.len as usize + list.delta.unwrap_or_default() as usize,
        }
    }

    /// Its path within the stream.
    pub fn path(&self) -> ObjectPath {
        path_of(&self.line, &self.file)
    }

    /// Writes it with its length, if its names are ones that the other side takes.
    pub fn write(&self) -> Result<Bytes, Malformed> {
        let mut out = vec![0; 4];
        out.extend_from_slice(&(u16::from(self.history) * HISTORY).to_be_bytes());
        out.extend_from_slice(&self.sub.to_be_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        put_name(&mut out, &self.line)?;
        put_name(&mut out, &self.file)?;
        out.extend_from_slice(&self.created.to_be_bytes());
        out.push(type_code(self.content_type));
        match &self.what {
            What::Media(media) => media.write(&mut out),
            What::List(list) => list.write(&mut out)?,
            What::Index { serial, len } => {
                out.push(4);
                out.extend_from_slice(&serial.to_be_bytes());
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
        let length = (out.len() - 4) as u32;
        out[..4].copy_from_slice(&length.to_be_bytes());
        Ok(out.into())
    }

    fn read(head: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(head);
        let fields = &mut fields;
        let flags = fields.u16()?;
        if flags & !MAY_IGNORE != 0 {
            return Err(Malformed::Unknown("a flag"));
        }
        let (sub, epoch) = (fields.u32()?, fields.u64()?);
        let (line, file) = (fields.name()?.to_owned(), fields.step()?.to_owned());
        let created = fields.u64()?.cast_signed();
        let content_type = content_type(fields.u8()?)?;
        let what = match fields.u8()? {
            kind @ 0..=2 => What::Media(Media::read(kind, fields)?),
            3 => What::List(ListHead::read(fields)?),
            4 => What::Index { serial: fields.number()?, len: fields.u32()? },
            _ => return Err(Malformed::Unknown("an object's kind")),
        };
        let history = flags & HISTORY != 0;
        let head = Self { sub, epoch, line, file, created, content_type, history, what };
        if head.follows() > MAX_BODY { Err(Malformed::TooLong("an object")) } else { Ok(head) }
    }
}

/// A path of a line.
pub(crate) fn path_of(line: &str, file: &str) -> ObjectPath {
    if line.is_empty() { ObjectPath::new(file) } else { ObjectPath::new(format!("{line}/{file}")) }
}

/// A path's line and file.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The number of a kind of media.
pub(super) fn media_code(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Init => 0,
        ObjectKind::Segment => 2,
        // Only media are written here.
        ObjectKind::Part | ObjectKind::Playlist | ObjectKind::Multivariant => 1,
    }
}

pub(super) fn media_kind(code: u8) -> Result<ObjectKind, Malformed> {
    match code {
        0 => Ok(ObjectKind::Init),
        1 => Ok(ObjectKind::Part),
        2 => Ok(ObjectKind::Segment),
        _ => Err(Malformed::Unknown("a kind of media")),
    }
}

pub(super) fn type_code(content_type: ContentType) -> u8 {
    match content_type {
        ContentType::Hls => 0,
        ContentType::VideoMp4 => 1,
        ContentType::AudioMp4 => 2,
    }
}

pub(super) fn content_type(code: u8) -> Result<ContentType, Malformed> {
    match code {
        0 => Ok(ContentType::Hls),
        1 => Ok(ContentType::VideoMp4),
        2 => Ok(ContentType::AudioMp4),
        _ => Err(Malformed::Unknown("a content type")),
    }
}

impl Media {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(media_code(self.kind));
        out.extend_from_slice(&self.seq.to_be_bytes());
        match &self.body {
            Body::Bytes(len) => {
                out.push(0);
                out.extend_from_slice(&len.to_be_bytes());
            }
            Body::Of(parts) => {
                out.push(1);
                put_varint(out, parts.len() as u64);
                // Parts of a segment come before it.
                parts.iter().for_each(|part| put_varint(out, self.seq.wrapping_sub(*part)));
            }
        }
    }

    fn read(kind: u8, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let kind = media_kind(kind)?;
        let seq = fields.number()?;
        if !fields.flag("a body's place")? {
            return Ok(Self { seq, kind, body: Body::Bytes(fields.u32()?) });
        }
        let count = fields.varint()?;
        if count > MAX_PARTS {
            return Err(Malformed::TooLong("a list of parts"));
        }
        let mut parts = Vec::new();
        for _ in 0..count {
            let before = fields.varint()?;
            parts.push(seq.checked_sub(before).filter(|part| *part < seq).ok_or(Malformed::Ranges)?);
        }
        Ok(Self { seq, kind, body: Body::Of(parts) })
    }
}

impl ListHead {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let info = &self.info;
        out.push(3);
        out.extend_from_slice(&self.serial.to_be_bytes());
        self.live.write(out);
        put_millis(out, self.linger);
        out.extend_from_slice(&info.version.msn.to_be_bytes());
        out.extend_from_slice(&info.version.part.to_be_bytes());
        out.push(u8::from(info.version.complete) | u8::from(info.ended) << 1);
        // A hint that cannot be said is none: what it names comes all the same.
        let hint = info.hint.as_ref().filter(|hint| is_name(hint.as_str()));
        out.push(u8::from(hint.is_some()));
        hint.map_or(Ok(()), |hint| put_name(out, hint.as_str()))?;
        out.extend_from_slice(&info.ahead.parts.to_be_bytes());
        put_millis(out, info.ahead.hold);
        put_millis(out, info.target_duration);
        put_option(out, info.demand, |out, demand| out.push(demand));
        out.extend_from_slice(&self.len.to_be_bytes());
        put_option(out, self.delta, |out, delta| out.extend_from_slice(&delta.to_be_bytes()));
        Ok(())
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let (serial, live, linger) = (fields.number()?, Ranges::read(fields)?, millis(fields)?);
        let (msn, part, bits) = (fields.u64()?, fields.u32()?, fields.u8()?);
        let hint = option(fields, |fields| fields.name().map(ObjectPath::new))?;
        let ahead = Ahead { parts: fields.u32()?, hold: millis(fields)? };
        let target_duration = millis(fields)?;
        let demand = option(fields, Fields::u8)?;
        let (len, delta) = (fields.u32()?, option(fields, Fields::u32)?);
        let info = PlaylistInfo {
            version: Version { msn, part, complete: bits & 1 != 0 },
            delta: None,
            hint,
            ahead,
            target_duration,
            ended: bits & 2 != 0,
            needs: None,
            demand,
        };
        Ok(Self { serial, live, linger, info, len, delta })
    }
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn option<'a, T>(
    fields: &mut Fields<'a>,
    read: impl FnOnce(&mut Fields<'a>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if fields.flag("an option")? { read(fields).map(Some) } else { Ok(None) }
}

/// Takes the head from the beginning of what comes.
#[derive(Debug, Default)]
pub struct HeadReader(Vec<u8>);

impl HeadReader {
    /// Takes what came; answers the head when it is whole, with the bytes beyond it.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<(Head, Bytes)>, Malformed> {
        self.0.extend_from_slice(bytes);
        let Some(length) = self.0.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_HEAD {
            return Err(Malformed::TooLong("a head"));
        }
        let Some(head) = self.0.get(4..4 + length) else { return Ok(None) };
        let head = Head::read(head)?;
        Ok(Some((head, Bytes::copy_from_slice(&self.0[4 + length..]))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads() -> Vec<Head> {
        let head = |what| Head {
            sub: 3,
            epoch: u64::MAX,
            line: "e1/v0".into(),
            file: "p7.m4s".into(),
            created: -5,
            content_type: ContentType::AudioMp4,
            history: true,
            what,
        };
        let info = PlaylistInfo {
            version: Version { msn: 9, part: 2, complete: true },
            delta: None,
            hint: Some(ObjectPath::new("e1/v0/p8.m4s")),
            ahead: Ahead { parts: 30, hold: Duration::from_secs(8) },
            target_duration: Duration::from_secs(1),
            ended: true,
            needs: None,
            demand: Some(16),
        };
        let live = Ranges::of([0, 6, 7, 8]);
        let list =
            ListHead { serial: 4, live, linger: Duration::from_secs(10), info, len: 70, delta: Some(9) };
        let media = |body| Media { seq: 8, kind: ObjectKind::Segment, body };
        vec![
            head(What::Media(media(Body::Bytes(100)))),
            head(What::Media(media(Body::Of(vec![5, 6, 7])))),
            head(What::List(list)),
            head(What::Index { serial: 1, len: 12 }),
        ]
    }

    #[test]
    fn heads_come_back_however_they_are_cut_and_their_bodies_begin_where_they_end() {
        for head in heads() {
            let bytes = [&head.write().unwrap()[..], b"body"].concat();
            for step in [1, 5, bytes.len()] {
                let (mut reader, mut rest) = (HeadReader::default(), Vec::new());
                let mut read = None;
                for piece in bytes.chunks(step) {
                    match read {
                        Some(_) => rest.extend_from_slice(piece),
                        None => {
                            if let Some((head, beyond)) = reader.push(piece).unwrap() {
                                rest.extend_from_slice(&beyond);
                                read = Some(head);
                            }
                        }
                    }
                }
                assert_eq!((read.as_ref(), &rest[..]), (Some(&head), &b"body"[..]));
            }
        }
        assert_eq!(heads()[2].follows(), 79);
        assert_eq!(heads()[0].path().as_str(), "e1/v0/p7.m4s");
    }

    #[test]
    fn what_is_cut_off_too_long_or_flagged_as_new_is_refused() {
        for head in heads() {
            let bytes = head.write().unwrap();
            for cut in 4..bytes.len() {
                assert!(Head::read(&bytes[4..cut]).is_err(), "{head:?} cut at {cut}");
            }
            let mut flagged = bytes[4..].to_vec();
            flagged[1] |= 0x80;
            assert_eq!(Head::read(&flagged), Ok(head));
            flagged[0] = 1;
            assert_eq!(Head::read(&flagged), Err(Malformed::Unknown("a flag")));
        }
        let mut head = heads().remove(3);
        head.what = What::Index { serial: 1, len: MAX_BODY as u32 + 1 };
        assert_eq!(Head::read(&head.write().unwrap()[4..]), Err(Malformed::TooLong("an object")));
        assert!(HeadReader::default().push(&[1, 0, 0, 0]).is_err());
        // There is always a next number.
        head.what = What::Index { serial: u64::MAX, len: 1 };
        assert_eq!(Head::read(&head.write().unwrap()[4..]), Err(Malformed::Ranges));
        head.file = "a b".into();
        assert_eq!(head.write(), Err(Malformed::Name));
    }
}
