//! Chunks, written in the ways that real publishers write them (RTMP-6..13).

use std::collections::HashMap;

/// A message before it is cut into chunks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Chunk stream.
    pub csid: u32,
    /// Type: 8 audio, 9 video, 18 data, 20 command.
    pub kind: u8,
    /// Message stream.
    pub stream: u32,
    /// Milliseconds as they go over the wire.
    pub timestamp: u32,
    /// The body.
    pub body: Vec<u8>,
}

/// How headers are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// Write only fmt 0 headers, with absolute timestamps.
    pub absolute: bool,
    /// Repeat the extended timestamp in fmt 3 chunks, as OBS and ffmpeg do (RTMP-9).
    pub repeat_extended: bool,
    /// Bytes in a chunk, announced to the server first.
    pub chunk_size: usize,
    /// Put audio chunks between the chunks of a video message (RTMP-12).
    pub interleave: bool,
    /// All media on one chunk stream, as OBS does, so that deltas can be negative (RTMP-11).
    pub one_csid: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { absolute: false, repeat_extended: true, chunk_size: 4_096, interleave: false, one_csid: false }
    }
}

#[derive(Clone, Copy)]
struct Last {
    timestamp: u32,
    length: usize,
    kind: u8,
    stream: u32,
}

/// Writes chunks; remembers each chunk stream's last header.
pub struct Writer {
    style: Style,
    /// Bytes in a chunk until [`Style::chunk_size`] has been announced.
    size: usize,
    last: HashMap<u32, Last>,
}

impl Writer {
    /// A writer that has said nothing yet.
    pub fn new(style: Style) -> Self {
        Self { style, size: 128, last: HashMap::new() }
    }

    /// Announces the style's chunk size and uses it from then on.
    pub fn announce(&mut self, out: &mut Vec<u8>) {
        let body = (self.style.chunk_size as u32).to_be_bytes().to_vec();
        self.write(out, &Message { csid: 2, kind: 1, stream: 0, timestamp: 0, body });
        self.size = self.style.chunk_size;
    }

    /// Writes one message.
    pub fn write(&mut self, out: &mut Vec<u8>, message: &Message) {
        for chunk in self.chunks(message) {
            out.extend_from_slice(&chunk);
        }
    }

    /// Writes two messages of unlike chunk streams, chunk by chunk in turn.
    pub fn interleave(&mut self, out: &mut Vec<u8>, one: &Message, other: &Message) {
        let (first, second) = (self.chunks(one), self.chunks(other));
        for index in 0..first.len().max(second.len()) {
            for chunk in [first.get(index), second.get(index)].into_iter().flatten() {
                out.extend_from_slice(chunk);
            }
        }
    }

    fn chunks(&mut self, message: &Message) -> Vec<Vec<u8>> {
        let mut head = Vec::new();
        let extended = self.header(&mut head, message);
        let mut chunks = Vec::new();
        let mut pieces = message.body.chunks(self.size);
        head.extend_from_slice(pieces.next().unwrap_or_default());
        chunks.push(head);
        for piece in pieces {
            let mut chunk = Vec::new();
            basic(&mut chunk, 3, message.csid);
            if let Some(extended) = extended.filter(|_| self.style.repeat_extended) {
                chunk.extend_from_slice(&extended.to_be_bytes());
            }
            chunk.extend_from_slice(piece);
            chunks.push(chunk);
        }
        chunks
    }

    /// Writes the first header; the extended timestamp comes back if there was one.
    fn header(&mut self, out: &mut Vec<u8>, message: &Message) -> Option<u32> {
        let now = Last {
            timestamp: message.timestamp,
            length: message.body.len(),
            kind: message.kind,
            stream: message.stream,
        };
        let before = self.last.insert(message.csid, now);
        // OBS writes timestamp 0 and data messages in full (RTMP-39).
        let full = self.style.absolute || message.timestamp == 0 || message.kind == 18;
        let before = before.filter(|before| !full && before.stream == now.stream);
        let (format, time) = match before {
            None => (0, message.timestamp),
            Some(before) => {
                let delta = message.timestamp.wrapping_sub(before.timestamp);
                let same = before.length == now.length && before.kind == now.kind;
                (if same { 2 } else { 1 }, delta)
            }
        };
        basic(out, format, message.csid);
        let extended = (time >= 0xff_ffff).then_some(time);
        out.extend_from_slice(&time.min(0xff_ffff).to_be_bytes()[1..]);
        if format < 2 {
            out.extend_from_slice(&(message.body.len() as u32).to_be_bytes()[1..]);
            out.push(message.kind);
        }
        if format == 0 {
            out.extend_from_slice(&message.stream.to_le_bytes());
        }
        if let Some(extended) = extended {
            out.extend_from_slice(&extended.to_be_bytes());
        }
        extended
    }
}

/// The basic header (RTMP-6).
pub fn basic(out: &mut Vec<u8>, format: u8, csid: u32) {
    match csid {
        2..=63 => out.push(format << 6 | csid as u8),
        64..=319 => out.extend_from_slice(&[format << 6, (csid - 64) as u8]),
        _ => {
            let rest = csid.saturating_sub(64) as u16;
            out.push(format << 6 | 1);
            out.extend_from_slice(&rest.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audio(timestamp: u32) -> Message {
        Message { csid: 4, kind: 8, stream: 1, timestamp, body: vec![0xaf, 1, 7] }
    }

    #[test]
    fn a_packet_older_than_the_last_is_a_delta_of_almost_two_to_the_32() {
        let mut writer = Writer::new(Style::default());
        let mut out = Vec::new();
        writer.write(&mut out, &audio(100));
        out.clear();
        writer.write(&mut out, &audio(87));
        // fmt 2, delta 0xffffff, extended 0xfffffff3 (RTMP-11).
        assert_eq!(out, [0x84, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf3, 0xaf, 1, 7]);
    }

    #[test]
    fn chunk_stream_numbers_are_written_in_one_two_or_three_bytes() {
        let write = |csid| {
            let mut out = Vec::new();
            basic(&mut out, 1, csid);
            out
        };
        assert_eq!(write(5), [0x45]);
        assert_eq!(write(70), [0x40, 6]);
        assert_eq!(write(64 + 5 + 256 * 3), [0x41, 5, 3]);
    }
}
