//! Chunks out in one layout, chunks in as servers send them (RTMP 1.0, 5.3).

use std::collections::HashMap;
use std::io::{self, Read};

/// Size of the chunks that are written: what OBS uses.
pub const OUT: u32 = 4_096;
/// More than any answer of a server.
const LARGEST_ANSWER: usize = 1 << 16;

/// What a message is; decides its type, chunk stream and message stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Protocol control: the size of chunks to come.
    SetChunkSize,
    /// A command of the connection.
    Command,
    /// A command of the stream.
    StreamCommand,
    /// `onMetaData`.
    Data,
    /// An FLV audio tag's body.
    Audio,
    /// An FLV video tag's body.
    Video,
}

impl Kind {
    /// (chunk stream, message type, message stream)
    fn ids(self) -> (u8, u8, u32) {
        match self {
            Self::SetChunkSize => (2, 1, 0),
            Self::Command => (3, 20, 0),
            Self::StreamCommand => (5, 20, 1),
            Self::Data => (4, 18, 1),
            Self::Audio => (4, 8, 1),
            Self::Video => (6, 9, 1),
        }
    }
}

/// Writes a message of `body` at `timestamp` milliseconds (below 2^24 - 1) to `out`.
pub fn append(out: &mut Vec<u8>, kind: Kind, timestamp: u32, body: &[u8]) {
    let (csid, id, stream) = kind.ids();
    // The control message comes first and is short; all later chunks have the size that it sets.
    for (index, chunk) in body.chunks(OUT as usize).enumerate() {
        if index > 0 {
            out.push(0xc0 | csid);
        } else {
            out.push(csid);
            out.extend(&timestamp.min(0x00ff_fffe).to_be_bytes()[1..]);
            out.extend(&(body.len() as u32).to_be_bytes()[1..]);
            out.push(id);
            out.extend(stream.to_le_bytes());
        }
        out.extend(chunk);
    }
}

/// Puts a server's chunks together.
#[derive(Debug)]
pub struct Reader {
    size: usize,
    streams: HashMap<u8, Half>,
}

/// A message in the making.
#[derive(Clone, Default, Debug)]
struct Half {
    length: usize,
    id: u8,
    body: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { size: 128, streams: HashMap::new() }
    }
}

impl Reader {
    /// The next command message's body; control messages are taken in.
    pub fn next(&mut self, from: &mut impl Read) -> io::Result<Vec<u8>> {
        loop {
            let Some((id, body)) = self.chunk(from)? else { continue };
            match (id, body.as_slice()) {
                (1, [a, b, c, d, ..]) => self.size = u32::from_be_bytes([*a, *b, *c, *d]) as usize,
                (20, _) => return Ok(body),
                _ => {}
            }
        }
    }

    /// Reads one chunk; a message if it was the last of one.
    fn chunk(&mut self, from: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
        let [basic] = read(from)?;
        let half = self.streams.entry(basic & 0x3f).or_default();
        let mut long = false;
        if basic >> 6 < 3 {
            let [a, b, c] = read(from)?;
            long = [a, b, c] == [0xff; 3];
        }
        if basic >> 6 < 2 {
            let [a, b, c, id] = read(from)?;
            (half.length, half.id) = (u32::from_be_bytes([0, a, b, c]) as usize, id);
        }
        if basic >> 6 < 1 {
            let _stream: [u8; 4] = read(from)?;
        }
        if long {
            let _timestamp: [u8; 4] = read(from)?;
        }
        if half.length > LARGEST_ANSWER {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the server's message is too long for an answer",
            ));
        }
        let wanted = (half.length - half.body.len().min(half.length)).min(self.size);
        let mut part = vec![0; wanted];
        from.read_exact(&mut part)?;
        half.body.extend(part);
        Ok((half.body.len() >= half.length).then(|| (half.id, std::mem::take(&mut half.body))))
    }
}

fn read<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut out = Vec::new();
        append(&mut out, Kind::SetChunkSize, 0, &OUT.to_be_bytes());
        let body: Vec<u8> = (0..10_000).map(|n| n as u8).collect();
        append(&mut out, Kind::StreamCommand, 7, &body);
        append(&mut out, Kind::Command, 7, b"short");
        let (mut reader, mut from) = (Reader::default(), out.as_slice());
        assert_eq!(reader.next(&mut from).unwrap(), body);
        assert_eq!(reader.next(&mut from).unwrap(), b"short");
        assert!(reader.next(&mut from).is_err());
    }
}
