//! A stream's renditions side by side: when each lists what, and every byte of its segments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Outcome;
use crate::check::chunk::read_chunks;
use crate::check::init::read_init;
use crate::check::multivariant::{self, Entry};
use crate::check::playlist::{Edge, MediaPlaylist, Segment, resolve};
use crate::fetch::Client;

/// How often the multivariant playlist is looked at for renditions that have come.
const LOOK: Duration = Duration::from_millis(300);

/// A part as it was first listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Number of its segment.
    pub msn: u64,
    /// Its own, from 0.
    pub part: u64,
    /// GAP=YES.
    pub gap: bool,
    /// When the playlist that lists it was here.
    pub at: Instant,
    /// Where it ends: microseconds since 1970 by EXT-X-PROGRAM-DATE-TIME.
    pub end: i64,
}

/// A complete segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Its URI of EXT-X-MAP, made absolute.
    pub map: String,
    /// Preceded by EXT-X-DISCONTINUITY.
    pub discontinuity: bool,
    /// EXT-X-GAP.
    pub gap: bool,
    /// Its bytes; none of a gap.
    pub bytes: Bytes,
}

/// One rendition as it was seen.
#[derive(Clone, Debug)]
pub struct Rendition {
    /// What the multivariant playlist says of it.
    pub entry: Entry,
    /// Its parts in the order in which they were listed.
    pub parts: Vec<Part>,
    /// Its complete segments by number.
    pub segments: BTreeMap<u64, Kept>,
    /// Its init segments by URL.
    pub inits: BTreeMap<String, Bytes>,
    /// Its playlist ended or was withdrawn before the watch was over.
    pub gone: bool,
}

/// One sample's times in microseconds, and whether decoding can start there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment {
    /// Decode time.
    pub dts: i64,
    /// Presentation time.
    pub pts: i64,
    /// An IDR, by its bytes: what the flags say of it has been held against them.
    pub sync: bool,
}

/// Follows every rendition of a stream for `span` from its first multivariant playlist on, and fetches all segments.
///
/// # Errors
///
/// When the stream is not there, or the server is not.
pub async fn watch(url: &str, span: Duration) -> Outcome<Vec<Rendition>> {
    let whole = async {
        sleep(span).await;
        Ok(())
    };
    watch_during(url, whole).await.map(|(seen, ())| seen)
}

/// The same for as long as `during` goes on; gives what came of that as well.
///
/// # Errors
///
/// As for [`watch`], and those of `during`.
pub async fn watch_during<T>(
    url: &str,
    during: impl Future<Output = Outcome<T>>,
) -> Outcome<(Vec<Rendition>, T)> {
    let over = Arc::new(AtomicBool::new(false));
    let until_over = async {
        let result = during.await;
        over.store(true, Ordering::Relaxed);
        result
    };
    tokio::try_join!(watch_until(url, &over), until_over)
}

async fn watch_until(url: &str, over: &Arc<AtomicBool>) -> Outcome<Vec<Rendition>> {
    let (mut known, mut tasks) = (Vec::new(), JoinSet::new());
    let client = Arc::new(Client::new());
    while !over.load(Ordering::Relaxed) {
        let answer = client.get(url).await?;
        if answer.status.is_success() {
            for entry in multivariant::read(url, &answer.text()?).0.entries {
                if !known.contains(&entry.url) {
                    known.push(entry.url.clone());
                    let (client, over) = (client.clone(), over.clone());
                    tasks.spawn(async move { follow(&client, entry, &over).await });
                }
            }
        }
        sleep(LOOK).await;
    }
    let mut seen = Vec::new();
    while let Some(done) = tasks.join_next().await {
        seen.push(done??);
    }
    // As the multivariant playlist has them, whoever was done first.
    seen.sort_by_key(|rendition| known.iter().position(|url| *url == rendition.entry.url));
    if seen.is_empty() { Err(format!("{url} has named no rendition").into()) } else { Ok(seen) }
}

async fn follow(client: &Client, entry: Entry, over: &AtomicBool) -> Outcome<Rendition> {
    let mut seen = Rendition {
        entry,
        parts: Vec::new(),
        segments: BTreeMap::new(),
        inits: BTreeMap::new(),
        gone: false,
    };
    let mut edge: Option<Edge> = None;
    while !over.load(Ordering::Relaxed) {
        let url = match edge.map(Edge::next) {
            Some((msn, part)) => format!("{}?_HLS_msn={msn}&_HLS_part={part}", seen.entry.url),
            None => seen.entry.url.clone(),
        };
        let answer = client.get(&url).await?;
        match answer.status {
            StatusCode::OK => {}
            // The source is out, or the rendition is about to come back.
            StatusCode::SERVICE_UNAVAILABLE => {
                sleep(Duration::from_millis(100)).await;
                continue;
            }
            _ => {
                seen.gone = true;
                break;
            }
        }
        let text = answer.text()?;
        let list = MediaPlaylist::parse(&text).0.ok_or_else(|| format!("{url} is no playlist:\n{text}"))?;
        edge = list.edge().or(edge);
        seen.note_parts(&list, answer.done);
        seen.keep(client, &list).await?;
        if list.ended {
            seen.gone = true;
            break;
        }
    }
    Ok(seen)
}

impl Rendition {
    /// It has pictures.
    pub const fn is_video(&self) -> bool {
        self.entry.resolution.is_some()
    }

    /// Pixels down; 0 for sound.
    pub fn height(&self) -> u64 {
        self.entry.resolution.map_or(0, |(_, height)| height)
    }

    fn note_parts(&mut self, list: &MediaPlaylist, at: Instant) {
        let newest = self.parts.last().map_or((0, 0), |part| (part.msn, part.part + 1));
        for segment in list.segments.iter().filter(|segment| segment.date.is_some()) {
            let mut end = segment.date.unwrap_or_default();
            for (index, part) in segment.parts.iter().enumerate() {
                end += part.duration.micros;
                if (segment.msn, index as u64) >= newest {
                    self.parts.push(Part { msn: segment.msn, part: index as u64, gap: part.gap, at, end });
                }
            }
        }
    }

    async fn keep(&mut self, client: &Client, list: &MediaPlaylist) -> Outcome {
        for segment in list.complete() {
            if !self.segments.contains_key(&segment.msn) {
                let kept = self.fetch(client, segment).await?;
                self.segments.insert(segment.msn, kept);
            }
        }
        Ok(())
    }

    async fn fetch(&mut self, client: &Client, segment: &Segment) -> Outcome<Kept> {
        let map = resolve(&self.entry.url, segment.map.as_deref().unwrap_or_default());
        if !self.inits.contains_key(&map) {
            let init = get(client, &map).await?;
            self.inits.insert(map.clone(), init);
        }
        let bytes = match segment.gap {
            true => Bytes::new(),
            false => get(client, &resolve(&self.entry.url, &segment.uri)).await?,
        };
        Ok(Kept { map, discontinuity: segment.discontinuity, gap: segment.gap, bytes })
    }

    /// The times of every sample of a segment.
    ///
    /// # Errors
    ///
    /// When its bytes are wrong, or say something else than its flags.
    pub fn moments(&self, msn: u64) -> Outcome<Vec<Moment>> {
        let kept = self.segments.get(&msn).ok_or_else(|| format!("segment {msn} was not fetched"))?;
        let (init, faults) = read_init(self.inits.get(&kept.map).map(|init| &**init).unwrap_or_default());
        let init = init.ok_or_else(|| format!("{}: {faults:?}", kept.map))?;
        let (chunks, faults) = read_chunks(&kept.bytes, &init);
        if !faults.is_empty() {
            return Err(format!("{} segment {msn}: {faults:?}", self.entry.url).into());
        }
        let micros =
            |ticks: i64| (i128::from(ticks) * 1_000_000).div_euclid(i128::from(init.timescale.max(1))) as i64;
        let mut moments = Vec::new();
        for chunk in chunks {
            let mut dts = chunk.decode_time as i64;
            for sample in chunk.samples {
                let pts = dts + i64::from(sample.offset);
                moments.push(Moment { dts: micros(dts), pts: micros(pts), sync: sample.sync });
                dts += i64::from(sample.duration);
            }
        }
        Ok(moments)
    }

    /// Init segment and the segments behind it, one file for each stretch that can be decoded in one go.
    pub fn files(&self) -> Vec<Vec<u8>> {
        let (mut files, mut before): (Vec<Vec<u8>>, Option<(u64, &str)>) = (Vec::new(), None);
        for (msn, kept) in self.segments.iter().filter(|(_, kept)| !kept.gap) {
            let goes_on = before == msn.checked_sub(1).map(|last| (last, kept.map.as_str()));
            if !goes_on || kept.discontinuity {
                files.push(self.inits.get(&kept.map).map(|init| init.to_vec()).unwrap_or_default());
            }
            if let Some(file) = files.last_mut() {
                file.extend_from_slice(&kept.bytes);
            }
            before = Some((*msn, &kept.map));
        }
        files
    }

    /// The longest time without a new part that is no gap, from `from` to the last one seen.
    pub fn longest_pause(&self, from: Instant) -> Duration {
        let mut before = from;
        let mut longest = Duration::ZERO;
        for part in self.parts.iter().filter(|part| !part.gap && part.at >= from) {
            longest = longest.max(part.at - before);
            before = part.at;
        }
        longest
    }

    /// For each part with media, how late it was listed, against the part of this rendition that was soonest.
    pub fn lateness(&self) -> Vec<Duration> {
        let Some(first) = self.parts.first() else { return Vec::new() };
        let real = |part: &Part| {
            let passed = part.at.saturating_duration_since(first.at).as_micros() as i64;
            passed - (part.end - first.end)
        };
        let with_media: Vec<i64> = self.parts.iter().filter(|part| !part.gap).map(real).collect();
        let soonest = with_media.iter().min().copied().unwrap_or_default();
        with_media.iter().map(|late| Duration::from_micros((late - soonest) as u64)).collect()
    }
}

async fn get(client: &Client, url: &str) -> Outcome<Bytes> {
    let answer = client.get(url).await?;
    if answer.status != StatusCode::OK {
        return Err(format!("{url}, which is listed, answers {}", answer.status).into());
    }
    Ok(answer.body)
}
