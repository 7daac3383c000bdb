//! The chunk layer, reading side (RTMP-6 to RTMP-16): bytes in, whole messages out.
//!
//! Each chunk stream has its own reassembly, so chunks may interleave. A message that lies whole within one chunk
//! leaves as a slice of the input, without a copy; one that is split over chunks is put together with one copy.

use bytes::{Buf, Bytes, BytesMut};

use super::wire;

/// Most chunk streams of one connection (RTMP-63).
const MAX_CHUNK_STREAMS: usize = 16;
/// Longest video or aggregate message (RTMP-63).
const MAX_VIDEO: usize = 8 << 20;
/// Longest audio message (RTMP-63).
const MAX_AUDIO: usize = 1 << 20;
/// Longest message of any other type (RTMP-63).
const MAX_OTHER: usize = 64 << 10;
/// Bytes of unfinished messages before a publish is authorised, which leaves room for the input within the 64 KiB of
/// RTMP-5, and after (RTMP-63).
const PARTIAL: (usize, usize) = (40 << 10, 12 << 20);
/// Longest message that is awaited whole in the input, before a publish is authorised and after.
const DIRECT: (usize, usize) = (4 << 10, 64 << 10);
/// A timestamp of 0xFFFFFF says that an extended one follows (RTMP-8).
const EXTENDED: u32 = 0xff_ffff;
/// A repeated absolute timestamp above this is taken for a reader's habit, not for a delta (RTMP-10).
const GUESS_ABOVE_MILLIS: u32 = 5_000;

/// One message of any type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawMessage {
    /// Message type (RTMP-17).
    pub type_id: u8,
    /// Message stream id.
    pub stream_id: u32,
    /// Absolute timestamp in milliseconds; wraps.
    pub timestamp: u32,
    /// The payload.
    pub body: Bytes,
}

/// Why bytes are not RTMP chunks that we take. The connection cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChunkError {
    /// A compressed header on a chunk stream that had none before (RTMP-16).
    #[error("chunk stream {csid} begins with a header of type {fmt}, which repeats one that never came")]
    NoHeader {
        /// The chunk stream.
        csid: u32,
        /// The header's type, 1 to 3.
        fmt: u8,
    },
    /// A message longer than its type may be (RTMP-63).
    #[error("a message of type {type_id} declares {length} bytes; {limit} are allowed")]
    TooLong {
        /// The message's type.
        type_id: u8,
        /// What it declares.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// More than 16 chunk streams.
    #[error("more than {MAX_CHUNK_STREAMS} chunk streams are in use")]
    TooManyStreams,
    /// Unfinished messages hold too much.
    #[error("unfinished messages hold more than {0} bytes")]
    TooMuchPartial(usize),
    /// A chunk size of 0, or one with the top bit set (RTMP-13).
    #[error("chunk size {0} is not allowed")]
    ChunkSize(u32),
    /// A control message whose body is too short.
    #[error("a control message of type {0} is too short")]
    ShortControl(u8),
}

/// Reads chunks. Set Chunk Size and Abort are carried out here and not handed on.
#[derive(Debug)]
pub struct ChunkReader {
    chunk_size: usize,
    streams: Vec<ChunkStream>,
    /// The chunk whose payload is being read: index of its stream, bytes still to come.
    open: Option<(usize, usize)>,
    partial_bytes: usize,
    authorised: bool,
    guesses: u64,
    passed_over: u32,
}

impl Default for ChunkReader {
    fn default() -> Self {
        Self {
            chunk_size: 128,
            streams: Vec::new(),
            open: None,
            partial_bytes: 0,
            authorised: false,
            guesses: 0,
            passed_over: 0,
        }
    }
}

/// What one chunk stream remembers (RTMP-12).
#[derive(Debug)]
struct ChunkStream {
    csid: u32,
    timestamp: u32,
    delta: u32,
    /// `delta` is the timestamp of a type 0 header.
    absolute: bool,
    /// The raw extended field of the header that opened the message.
    extended: Option<u32>,
    length: usize,
    type_id: u8,
    stream_id: u32,
    /// A message has begun and is not whole.
    begun: bool,
    partial: Vec<u8>,
}

/// A chunk's header as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Header {
    size: usize,
    fmt: u8,
    csid: u32,
    /// The timestamp or delta, extended field resolved; `None` for type 3.
    time: Option<u32>,
    extended: bool,
    length_and_type: Option<(usize, u8)>,
    stream_id: Option<u32>,
}

impl ChunkReader {
    /// Allows what a publisher may send, instead of the little that a stranger may.
    pub fn authorise(&mut self) {
        self.authorised = true;
    }

    /// The peer's chunk size.
    pub fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// How often a repeated type 0 timestamp was not taken for a delta (RTMP-10).
    pub fn guesses(&self) -> u64 {
        self.guesses
    }

    /// Messages since it was last asked for that began and did not come out: given up, or carried out here.
    pub fn take_passed_over(&mut self) -> u32 {
        std::mem::take(&mut self.passed_over)
    }

    /// The next message, or `None` when `input` holds no more whole ones. What it has used is gone from `input`.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<RawMessage>, ChunkError> {
        loop {
            let message = match self.open {
                Some((index, left)) => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    self.take_payload(input, index, left)?
                }
                None => match self.begin_chunk(input)? {
                    Begun::NeedsMore => return Ok(None),
                    Begun::Open => None,
                    Begun::Whole(message) => Some(message),
                },
            };
            match message {
                Some(message) if message.type_id == wire::SET_CHUNK_SIZE => {
                    self.passed_over += 1;
                    self.set_chunk_size(&message.body)?;
                }
                Some(message) if message.type_id == wire::ABORT => {
                    self.passed_over += 1;
                    self.abort(&message.body)?;
                }
                Some(message) => return Ok(Some(message)),
                None => {}
            }
        }
    }

    fn begin_chunk(&mut self, input: &mut BytesMut) -> Result<Begun, ChunkError> {
        let Some(header) = self.parse(input)? else { return Ok(Begun::NeedsMore) };
        let index = self.stream_of(&header)?;
        let stream = &self.streams[index];
        let fresh = header.fmt != 3 || !stream.begun;
        let (length, type_id) = match header.length_and_type {
            Some(declared) => declared,
            None => (stream.length, stream.type_id),
        };
        let limit = max_length(type_id);
        if length > limit {
            return Err(ChunkError::TooLong { type_id, length, limit });
        }
        let have = if fresh { 0 } else { stream.partial.len() };
        let payload = (length - have).min(self.chunk_size);
        let whole = fresh && payload == length && length <= self.direct_limit();
        if whole && input.len() < header.size + length {
            return Ok(Begun::NeedsMore);
        }
        input.advance(header.size);
        if fresh {
            self.open_message(index, &header, length, type_id);
        }
        if whole {
            let stream = &mut self.streams[index];
            stream.begun = false;
            return Ok(Begun::Whole(stream.message(input.split_to(length).freeze())));
        }
        self.open = Some((index, payload));
        Ok(Begun::Open)
    }

    /// The chunk stream of a header, made if the header may make one.
    fn stream_of(&mut self, header: &Header) -> Result<usize, ChunkError> {
        if let Some(index) = self.find(header.csid) {
            return Ok(index);
        }
        // Some cheap encoders open the control stream with a type 1 header (RTMP-16).
        let opens = header.fmt == 0 || (header.fmt == 1 && header.csid == 2);
        if !opens {
            return Err(ChunkError::NoHeader { csid: header.csid, fmt: header.fmt });
        }
        if self.streams.len() == MAX_CHUNK_STREAMS {
            return Err(ChunkError::TooManyStreams);
        }
        self.streams.push(ChunkStream::new(header.csid));
        Ok(self.streams.len() - 1)
    }

    fn open_message(&mut self, index: usize, header: &Header, length: usize, type_id: u8) {
        let stream = &mut self.streams[index];
        // A new header in the middle of a message gives that message up.
        self.partial_bytes -= stream.partial.len();
        self.passed_over += u32::from(stream.begun);
        stream.partial = Vec::new();
        self.guesses += u64::from(stream.advance(header));
        stream.length = length;
        stream.type_id = type_id;
        stream.stream_id = header.stream_id.unwrap_or(stream.stream_id);
        stream.begun = true;
    }

    fn take_payload(
        &mut self,
        input: &mut BytesMut,
        index: usize,
        left: usize,
    ) -> Result<Option<RawMessage>, ChunkError> {
        let count = left.min(input.len());
        let limit = if self.authorised { PARTIAL.1 } else { PARTIAL.0 };
        if self.partial_bytes + count > limit {
            return Err(ChunkError::TooMuchPartial(limit));
        }
        let step = self.direct_limit();
        let stream = &mut self.streams[index];
        stream.append(&input[..count], step);
        input.advance(count);
        self.partial_bytes += count;
        self.open = (count < left).then_some((index, left - count));
        if stream.partial.len() < stream.length {
            return Ok(None);
        }
        stream.begun = false;
        let body = Bytes::from(std::mem::take(&mut stream.partial));
        self.partial_bytes -= body.len();
        Ok(Some(self.streams[index].message(body)))
    }

    /// Takes effect at the next chunk (RTMP-13).
    fn set_chunk_size(&mut self, body: &[u8]) -> Result<(), ChunkError> {
        let size = control_u32(body, wire::SET_CHUNK_SIZE)?;
        if size == 0 || size >> 31 == 1 {
            return Err(ChunkError::ChunkSize(size));
        }
        self.chunk_size = size.min(0xff_ffff) as usize;
        Ok(())
    }

    /// Drops the unfinished message of a chunk stream (RTMP-15).
    fn abort(&mut self, body: &[u8]) -> Result<(), ChunkError> {
        let csid = control_u32(body, wire::ABORT)?;
        if let Some(index) = self.find(csid) {
            let stream = &mut self.streams[index];
            self.partial_bytes -= stream.partial.len();
            stream.partial = Vec::new();
            stream.begun = false;
        }
        Ok(())
    }

    fn find(&self, csid: u32) -> Option<usize> {
        self.streams.iter().position(|stream| stream.csid == csid)
    }

    fn direct_limit(&self) -> usize {
        if self.authorised { DIRECT.1 } else { DIRECT.0 }
    }

    /// The header at the front of `input`; `None` when it is not there whole.
    fn parse(&self, input: &[u8]) -> Result<Option<Header>, ChunkError> {
        let Some((fmt, csid, basic)) = basic_header(input) else { return Ok(None) };
        let fields = [11, 7, 3, 0][usize::from(fmt)];
        let Some(rest) = input.get(basic..basic + fields) else { return Ok(None) };
        let stream = self.find(csid).map(|index| &self.streams[index]);
        let short_time = (fmt != 3).then(|| u24(rest));
        let mut header = Header {
            size: basic + fields,
            fmt,
            csid,
            time: short_time,
            extended: short_time == Some(EXTENDED),
            length_and_type: (fmt < 2).then(|| (u24(&rest[3..]) as usize, rest[6])),
            stream_id: (fmt == 0).then(|| u32::from_le_bytes([rest[7], rest[8], rest[9], rest[10]])),
        };
        let after = &input[header.size..];
        if header.extended {
            let Some(field) = after.first_chunk::<4>() else { return Ok(None) };
            header.time = Some(u32::from_be_bytes(*field));
            header.size += 4;
        } else if fmt == 3
            && let Some(stream) = stream
        {
            match stream.repeats_extended(after) {
                Some(true) => header.size += 4,
                Some(false) => {}
                None => return Ok(None),
            }
        }
        Ok(Some(header))
    }
}

/// What became of a chunk's beginning.
enum Begun {
    NeedsMore,
    Open,
    Whole(RawMessage),
}

impl ChunkStream {
    fn new(csid: u32) -> Self {
        Self {
            csid,
            timestamp: 0,
            delta: 0,
            absolute: false,
            extended: None,
            length: 0,
            type_id: 0,
            stream_id: 0,
            begun: false,
            partial: Vec::new(),
        }
    }

    /// Moves the time by a header that begins a message. `true` when a repeated timestamp was not taken for a delta.
    fn advance(&mut self, header: &Header) -> bool {
        if let Some(time) = header.time {
            self.absolute = header.fmt == 0;
            self.extended = header.extended.then_some(time);
            self.delta = time;
            // Deltas wrap: a step back comes as 0xFFFFFFF3 (RTMP-11).
            self.timestamp = if self.absolute { time } else { self.timestamp.wrapping_add(time) };
            return false;
        }
        let guess = self.absolute && self.delta > GUESS_ABOVE_MILLIS;
        if !guess {
            self.timestamp = self.timestamp.wrapping_add(self.delta);
        }
        guess
    }

    /// Whether a type 3 header is followed by the extended field again (RTMP-9); `None` when it takes more bytes to
    /// tell.
    fn repeats_extended(&self, after: &[u8]) -> Option<bool> {
        let Some(raw) = self.extended else { return Some(false) };
        if !self.begun {
            return (after.len() >= 4).then_some(true);
        }
        let seen = &after[..after.len().min(4)];
        let matches = |field: u32| field.to_be_bytes().starts_with(seen);
        match matches(raw) || matches(self.timestamp) {
            true if seen.len() < 4 => None,
            answer => Some(answer),
        }
    }

    /// Grows by what has arrived, never by what was declared: `step` bytes ahead at first, then by doubling, and no
    /// further than the message's end.
    fn append(&mut self, bytes: &[u8], step: usize) {
        let have = self.partial.len();
        if self.partial.capacity() - have < bytes.len() {
            let ahead = bytes.len().max(step).max(have).min(self.length - have);
            self.partial.reserve_exact(ahead);
        }
        self.partial.extend_from_slice(bytes);
    }

    fn message(&self, body: Bytes) -> RawMessage {
        RawMessage { type_id: self.type_id, stream_id: self.stream_id, timestamp: self.timestamp, body }
    }
}

/// Format, chunk stream id and size of the basic header (RTMP-6).
fn basic_header(input: &[u8]) -> Option<(u8, u32, usize)> {
    let first = *input.first()?;
    let (csid, size) = match first & 0x3f {
        0 => (64 + u32::from(*input.get(1)?), 2),
        1 => (64 + u32::from(*input.get(1)?) + 256 * u32::from(*input.get(2)?), 3),
        csid => (csid.into(), 1),
    };
    Some((first >> 6, csid, size))
}

fn max_length(type_id: u8) -> usize {
    match type_id {
        wire::VIDEO | wire::AGGREGATE => MAX_VIDEO,
        wire::AUDIO => MAX_AUDIO,
        _ => MAX_OTHER,
    }
}

fn control_u32(body: &[u8], type_id: u8) -> Result<u32, ChunkError> {
    body.first_chunk().map(|field| u32::from_be_bytes(*field)).ok_or(ChunkError::ShortControl(type_id))
}

fn u24(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])
}

#[cfg(test)]
mod tests;
