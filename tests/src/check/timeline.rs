//! One rendition's media, in the order of its playlist: whether it is continuous and is what the playlist says.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use bytes::Bytes;

use super::chunk::{Chunk, read_chunks};
use super::init::{Init, MediaFault, read_init};
use super::listing::too_short;
use super::playlist::{Edge, MediaPlaylist, Segment};
use super::rule;

/// Parts that wait for their bytes before the wait is given up.
const PATIENCE: usize = 64;
/// Parts, and whole segments, whose bytes are kept for comparison.
const KEPT: usize = 256;

/// The newest bytes by URI.
#[derive(Default)]
struct Recent {
    by_uri: HashMap<String, Bytes>,
    order: VecDeque<String>,
}

impl Recent {
    fn get(&self, uri: &str) -> Option<&Bytes> {
        self.by_uri.get(uri)
    }

    fn insert(&mut self, uri: &str, bytes: Bytes) {
        if self.by_uri.insert(uri.to_owned(), bytes).is_none() {
            self.order.push_back(uri.to_owned());
        }
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_uri.remove(&oldest);
        }
    }
}

/// A part that a playlist lists.
#[derive(Clone, Default, Debug)]
struct Listed {
    uri: String,
    map: String,
    msn: u64,
    first: bool,
    /// There is nothing of it.
    gap: bool,
    /// Nothing of its segment is there before it.
    opens: bool,
    /// There is nothing of the part before it.
    after_gap: bool,
    discontinuity: bool,
    micros: i64,
    independent: bool,
    /// The segment's URI and its number of parts, on its last part.
    closes: Option<(String, usize)>,
    /// PART-TARGET in microseconds.
    target: i64,
}

/// Where a segment's media begins, for comparison between renditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// Its media sequence number.
    pub msn: u64,
    /// Presentation time of its boundary in microseconds.
    pub micros: i64,
    /// Duration of its first sample in microseconds.
    pub frame: i64,
    /// It follows a discontinuity, or nothing.
    pub fresh: bool,
    /// Its first sample is sync.
    pub sync: bool,
    /// Presentation less decode time of its first sample, in microseconds.
    pub delay: i64,
}

/// The media of one rendition.
#[derive(Default)]
pub struct Timeline {
    inits: HashMap<String, (Bytes, Option<Init>)>,
    queue: VecDeque<Listed>,
    queued: Option<Edge>,
    parts: Recent,
    segments: Recent,
    written: Vec<Bytes>,
    waiting: BTreeMap<String, (Bytes, u64)>,
    next_time: Option<u64>,
    next_sequence: Option<u32>,
    starts: Vec<Start>,
    independent_segments: bool,
    frame_micros: i64,
    peak: u64,
    /// Bytes and microseconds of all whole segments.
    total: (u64, i64),
    /// Target duration in microseconds.
    target: i64,
    looked_at: u64,
    frames: u64,
    frames_micros: u64,
    /// Parts shorter than LLHLS-3 allows, until the media tells why.
    short: HashSet<String>,
    before: Option<(String, i64)>,
}

impl Timeline {
    /// Takes note of the parts that this full list adds, in order.
    pub fn list(&mut self, list: &MediaPlaylist, independent_segments: bool) {
        self.independent_segments = independent_segments;
        self.target = list.target_micros();
        for segment in &list.segments {
            if segment.gap && segment.parts.is_empty() {
                self.list_gap(segment);
            }
            self.list_segment(list, segment);
        }
    }

    /// A segment of which there is nothing, not even parts that are gaps.
    fn list_gap(&mut self, segment: &Segment) {
        let edge = Edge { msn: segment.msn, part: 0, complete: false };
        if self.queued.is_none_or(|queued| edge > queued) {
            self.queued = Some(edge);
            self.queue.push_back(Listed { msn: segment.msn, first: true, gap: true, ..Listed::default() });
        }
    }

    fn list_segment(&mut self, list: &MediaPlaylist, segment: &Segment) {
        for (index, part) in segment.parts.iter().enumerate() {
            let edge = Edge { msn: segment.msn, part: index as u64, complete: false };
            let last = segment.complete() && !segment.gap && index + 1 == segment.parts.len();
            if too_short(list, segment, index) {
                self.short.insert(part.uri.clone());
            }
            if self.queued.is_some_and(|queued| edge <= queued) {
                if last {
                    self.close(segment);
                }
                continue;
            }
            self.queued = Some(edge);
            self.queue.push_back(Listed {
                uri: part.uri.clone(),
                map: segment.map.clone().unwrap_or_default(),
                msn: segment.msn,
                first: index == 0,
                gap: part.gap,
                opens: segment.parts[..index].iter().all(|before| before.gap),
                after_gap: index > 0 && segment.parts[index - 1].gap,
                discontinuity: index == 0 && segment.discontinuity,
                micros: part.duration.micros,
                independent: part.independent,
                closes: last.then(|| (segment.uri.clone(), segment.parts.len())),
                target: list.constants.part_target.map_or(0, |target| target.micros),
            });
        }
    }

    /// The segment's last part had been listed before its EXTINF was.
    fn close(&mut self, segment: &Segment) {
        let last = segment.parts.last().map(|part| part.uri.as_str());
        let closes = Some((segment.uri.clone(), segment.parts.len()));
        match self.queue.iter_mut().find(|listed| Some(listed.uri.as_str()) == last) {
            Some(listed) => listed.closes = closes,
            None if self.segments.get(&segment.uri).is_some()
                || self.written.len() != segment.parts.len() => {}
            None => {
                let whole: Vec<u8> = self.written.drain(..).flatten().collect();
                self.segments.insert(&segment.uri, whole.into());
            }
        }
    }

    /// An init segment was fetched.
    pub fn init(&mut self, uri: &str, bytes: Bytes) -> Vec<MediaFault> {
        if let Some((known, _)) = self.inits.get(uri) {
            let reused = known != &bytes;
            return if reused { vec![(rule::INIT_REUSED, uri.to_owned())] } else { Vec::new() };
        }
        let (init, faults) = read_init(&bytes);
        self.inits.insert(uri.to_owned(), (bytes, init));
        faults
    }

    /// A part was fetched.
    pub fn part(&mut self, uri: &str, bytes: Bytes) -> Vec<MediaFault> {
        match self.parts.get(uri) {
            Some(known) if known != &bytes => vec![(rule::REWRITTEN, format!("{uri} has other bytes"))],
            _ => {
                self.parts.insert(uri, bytes);
                Vec::new()
            }
        }
    }

    /// A whole segment was fetched; `map` is the init segment that its playlist names.
    pub fn segment(
        &mut self,
        uri: &str,
        bytes: Bytes,
        map: &str,
        parts_listed: bool,
        micros: i64,
    ) -> Vec<MediaFault> {
        // A stub with one large frame is no peak: half a target duration is the least that counts (LLHLS-33).
        if 2 * micros >= self.target {
            self.peak = self.peak.max(bits_per_second(bytes.len() as u64, micros));
        }
        self.total = (self.total.0 + bytes.len() as u64, self.total.1 + micros.max(0));
        if parts_listed {
            self.waiting.insert(uri.to_owned(), (bytes, 0));
            return Vec::new();
        }
        let Some((_, Some(init))) = self.inits.get(map) else { return Vec::new() };
        let (chunks, mut faults) = read_chunks(&bytes, init);
        let ticks: u64 = chunks.iter().map(Chunk::duration).sum();
        compare_duration(ticks, micros, init, uri, &mut faults);
        faults
    }

    /// Looks at every part whose bytes are here, in order.
    pub fn drain(&mut self) -> Vec<MediaFault> {
        let mut faults = Vec::new();
        while let Some(listed) = self.queue.front() {
            let ready =
                listed.gap || self.parts.get(&listed.uri).is_some() && self.inits.contains_key(&listed.map);
            if !ready && self.queue.len() < PATIENCE {
                break;
            }
            let Some(listed) = self.queue.pop_front() else { break };
            match self.parts.get(&listed.uri).cloned() {
                Some(bytes) if ready && !listed.gap => self.look(&listed, &bytes, &mut faults),
                _ => self.skip(),
            }
        }
        self.compare_segments(&mut faults);
        faults
    }

    /// A part that is not there, or whose bytes never came: what follows it cannot be judged by it.
    fn skip(&mut self) {
        (self.next_time, self.next_sequence, self.before) = (None, None, None);
        self.written.clear();
    }

    fn look(&mut self, listed: &Listed, bytes: &Bytes, faults: &mut Vec<MediaFault>) {
        let Some((_, Some(init))) = self.inits.get(&listed.map) else { return };
        let init = init.clone();
        self.looked_at += 1;
        let (chunks, mut found) = read_chunks(bytes, &init);
        let ticks: u64 = chunks.iter().map(Chunk::duration).sum();
        compare_duration(ticks, listed.micros, &init, &listed.uri, &mut found);
        if chunks.len() > 1 {
            found.push((rule::CHUNK_BOXES, format!("{} chunks in a part", chunks.len())));
        }
        if let Some(first) = chunks.first().and_then(|chunk| chunk.samples.first()) {
            let micros = i64::from(first.duration) * 1_000_000 / i64::from(init.timescale);
            self.judge_length(listed, micros, &mut found);
        }
        self.frames += chunks.iter().map(|chunk| chunk.samples.len() as u64).sum::<u64>();
        self.frames_micros += ticks.saturating_mul(1_000_000) / u64::from(init.timescale);
        if let Some(chunk) = chunks.first() {
            self.look_at_chunk(listed, chunk, &init, &mut found);
        }
        faults.extend(found.into_iter().map(|(rule, detail)| (rule, format!("{}: {detail}", listed.uri))));
        self.collect(listed, bytes);
    }

    /// LLHLS-3, with TL-31: the part before is short only if this one's first frame would not have fitted.
    fn judge_length(&mut self, listed: &Listed, frame: i64, faults: &mut Vec<MediaFault>) {
        let before = self.before.replace((listed.uri.clone(), listed.micros));
        let Some((uri, micros)) = before.filter(|_| !listed.first) else { return };
        if self.short.remove(&uri) {
            let fits = micros + frame <= listed.target;
            let rule = if fits { rule::PART_TOO_SHORT } else { rule::PART_SHORT_BY_SOURCE };
            faults.push((
                rule,
                format!("{uri} has {micros} µs of {} µs, the next frame {frame} µs", listed.target),
            ));
        }
    }

    fn look_at_chunk(&mut self, listed: &Listed, chunk: &Chunk, init: &Init, faults: &mut Vec<MediaFault>) {
        if chunk.styp != listed.opens {
            faults.push((rule::CHUNK_BOXES, "styp belongs on a segment's first chunk only".into()));
        }
        let (time, sequence) = (chunk.decode_time, chunk.sequence);
        if let Some(expected) = self.next_time.filter(|expected| !listed.discontinuity && *expected != time) {
            let off = i128::from(time) - i128::from(expected);
            faults.push((rule::HOLE, format!("tfdt {time} is {off} ticks from where the last part ended")));
        }
        if let Some(expected) = self.next_sequence.filter(|expected| *expected != sequence) {
            faults.push((rule::SEQUENCE, format!("{sequence}, not {expected}")));
        }
        let any_sync = chunk.samples.iter().any(|sample| sample.sync);
        if any_sync != listed.independent {
            faults.push((rule::INDEPENDENT_FALSE, format!("a sync sample: {any_sync}")));
        }
        let sync = chunk.samples.first().is_some_and(|sample| sample.sync);
        if listed.first && init.video && self.independent_segments && !sync {
            faults.push((rule::SEGMENT_START, format!("segment {}", listed.msn)));
        }
        if listed.after_gap && init.video && !sync {
            faults.push((rule::GAP_FORM, format!("segment {} goes on without a sync sample", listed.msn)));
        }
        if listed.first {
            self.start(listed, chunk, init, sync);
        }
        self.next_time = Some(time + chunk.duration());
        self.next_sequence = Some(sequence.wrapping_add(1));
    }

    fn start(&mut self, listed: &Listed, chunk: &Chunk, init: &Init, sync: bool) {
        let Some(first) = chunk.samples.first() else { return };
        let micros = |ticks: i64| (i128::from(ticks) * 1_000_000 / i128::from(init.timescale)) as i64;
        let presented = chunk.decode_time as i64 + i64::from(first.offset);
        let frame = micros(first.duration.into());
        let fresh = self.next_time.is_none() || listed.discontinuity;
        self.frame_micros = self.frame_micros.max(frame);
        self.starts.push(Start {
            msn: listed.msn,
            micros: micros(presented),
            frame,
            fresh,
            sync,
            delay: micros(first.offset.into()),
        });
    }

    fn collect(&mut self, listed: &Listed, bytes: &Bytes) {
        if listed.first {
            self.written.clear();
        }
        self.written.push(bytes.clone());
        if let Some((uri, parts)) = &listed.closes
            && self.written.len() == *parts
        {
            self.segments.insert(uri, self.written.drain(..).flatten().collect::<Vec<u8>>().into());
        }
    }

    fn compare_segments(&mut self, faults: &mut Vec<MediaFault>) {
        let (segments, mut unequal) = (&self.segments, Vec::new());
        self.waiting.retain(|uri, (bytes, waits)| match segments.get(uri) {
            Some(whole) => {
                if whole != bytes {
                    unequal.push(uri.clone());
                }
                false
            }
            None => {
                *waits += 1;
                *waits < 10_000
            }
        });
        faults.extend(unequal.into_iter().map(|uri| (rule::SEGMENT_BYTES, uri)));
    }

    /// Starts of segments found since the last call.
    pub fn take_starts(&mut self) -> Vec<Start> {
        std::mem::take(&mut self.starts)
    }

    /// The init segment with this URI.
    pub fn init_at(&self, uri: &str) -> Option<&Init> {
        self.inits.get(uri)?.1.as_ref()
    }

    /// The longest first frame of a segment so far, in microseconds.
    pub const fn frame_micros(&self) -> i64 {
        self.frame_micros
    }

    /// Highest bit rate of a whole segment so far.
    pub const fn peak(&self) -> u64 {
        self.peak
    }

    /// Bit rate of all whole segments so far; `None` before there are ten seconds of them.
    pub fn average(&self) -> Option<u64> {
        let (bytes, micros) = self.total;
        (micros >= 10_000_000).then(|| bits_per_second(bytes, micros))
    }

    /// Frames in 1 000 seconds, on average so far; `None` before there is a second of them.
    pub fn millifps(&self) -> Option<u64> {
        let enough = self.frames_micros > 1_000_000;
        enough.then(|| {
            u64::try_from(u128::from(self.frames) * 1_000_000_000 / u128::from(self.frames_micros))
                .unwrap_or(u64::MAX)
        })
    }

    /// Parts whose bytes were looked at.
    pub const fn looked_at(&self) -> u64 {
        self.looked_at
    }
}

fn bits_per_second(bytes: u64, micros: i64) -> u64 {
    u64::try_from(i128::from(bytes) * 8_000_000 / i128::from(micros.max(1))).unwrap_or(u64::MAX)
}

/// Five decimals are printed: half of the last is rounding, and so is a tick.
fn compare_duration(ticks: u64, micros: i64, init: &Init, uri: &str, faults: &mut Vec<MediaFault>) {
    let media = i128::from(ticks) * 1_000_000 / i128::from(init.timescale);
    if (media - i128::from(micros)).abs() > 20 {
        faults.push((rule::PART_DURATION, format!("{uri}: {micros} µs listed, {media} µs of media")));
    }
}
