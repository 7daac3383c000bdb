//! Rules that hold of everything that is published, checked at each update.

use std::collections::{HashMap, HashSet};

use aqueduct_common::object::PlaylistInfo;
use aqueduct_common::{Object, ObjectKind, Sample, Update};
use mp4_atom::{Atom as _, Decode as _, Header, Moof, Prft, Styp};

use super::playlist::{self, Playlist, Segment};

/// What a part's boxes say.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub tfdt: u64,
    pub ticks: u64,
    pub sequence: u32,
    pub first: bool,
    pub sync_first: bool,
    pub bytes: Vec<u8>,
    pub pts: Vec<i64>,
}

#[derive(Default)]
pub struct Checks {
    published: HashSet<String>,
    retired: HashSet<String>,
    /// Playlists that are retired or asleep, and may come back.
    withdrawn: HashSet<String>,
    /// Playlists that were said to sleep: they are offered even if they were never out.
    pub asleep: HashSet<String>,
    /// The multivariant playlist is out.
    offered: bool,
    /// By directory and file.
    pub chunks: HashMap<String, Chunk>,
    segments: HashMap<String, Vec<u8>>,
    inits: HashMap<String, Vec<u8>>,
    /// Segments whose bytes were compared with their parts'.
    whole: HashSet<(String, u64)>,
    /// All versions of each playlist, by path.
    pub lists: HashMap<String, Vec<Playlist>>,
    newest: HashMap<String, PlaylistInfo>,
    /// Era and date of each segment, whatever the rendition.
    eras: HashMap<u64, u64>,
    dates: HashMap<u64, String>,
    checked: HashMap<String, (u64, usize, u64)>,
    /// First decode time of each segment, by directory and number.
    pub starts: HashMap<(String, u64), u64>,
    /// Whether each segment begins with a sync sample.
    pub sync_starts: HashMap<(String, u64), bool>,
    /// Parts may be longer or shorter than the rule where a source's spacing is beyond all that was seen.
    pub lenient_parts: bool,
    /// Dates may differ between renditions: the sound begins late.
    pub lenient_dates: bool,
    pub fed: usize,
    pub ended: bool,
}

impl Checks {
    pub fn fed(&mut self, _sample: &Sample) {
        self.fed += 1;
    }

    /// The process begins again: names stay used, but nothing is out.
    pub fn restart(&mut self) {
        self.lists.clear();
        self.newest.clear();
        self.offered = false;
    }

    pub fn update(&mut self, update: &Update) {
        assert!(!self.ended, "nothing after the end");
        match update {
            Update::Publish(object) => self.publish(object),
            Update::Retire { path, .. } => {
                let known = self.published.contains(path.as_str()) || self.asleep.contains(path.as_str());
                assert!(known, "{path:?} was never there");
                assert!(self.retired.insert(path.as_str().to_owned()), "{path:?} retired twice");
                self.withdrawn
                    .extend(self.lists.contains_key(path.as_str()).then(|| path.as_str().to_owned()));
                self.retired_is_unlisted(path.as_str());
            }
            Update::Sleep { path, .. } => {
                let path = path.as_str();
                assert!(path.ends_with("/media.m3u8"), "{path:?} is no playlist");
                self.asleep.insert(path.to_owned());
                self.withdrawn.insert(path.to_owned());
            }
            Update::End { .. } => self.ended = true,
        }
    }

    fn publish(&mut self, object: &Object) {
        let path = object.path.as_str().to_owned();
        let fresh = self.published.insert(path.clone());
        let immutable = !matches!(object.kind, ObjectKind::Multivariant | ObjectKind::Playlist);
        if object.kind == ObjectKind::Init {
            let content = object.body.concat();
            let same =
                self.inits.insert(path.clone(), content.clone()).is_none_or(|before| before == content);
            assert!(same, "{path} has another content (CMAF-4)");
        } else {
            assert!(fresh || !immutable, "{path} used twice");
        }
        if object.kind == ObjectKind::Playlist {
            // The one thing that may come back: the playlist of a rendition that slept.
            self.retired.remove(&path);
            self.withdrawn.remove(&path);
        }
        assert!(!self.retired.contains(&path), "{path} came back");
        match object.kind {
            ObjectKind::Part => {
                self.chunks.insert(path, read_chunk(&object.body.concat()));
            }
            ObjectKind::Segment => {
                self.segments.insert(path, object.body.concat());
            }
            ObjectKind::Playlist => self.playlist(&path, object),
            ObjectKind::Init => assert!(object.body.concat().windows(4).any(|four| four == b"mvex")),
            ObjectKind::Multivariant => {
                let text = object.body.concat();
                let (rest, read) = m3u8_rs::parse_master_playlist(&text).unwrap();
                assert!(rest.is_empty() && !read.variants.is_empty());
                let named = |uri: &String| self.published.contains(uri) || self.asleep.contains(uri);
                assert!(read.variants.iter().all(|variant| named(&variant.uri)), "{read:?}");
                self.offered = true;
            }
        }
    }

    fn playlist(&mut self, path: &str, object: &Object) {
        let text = String::from_utf8(object.body.concat()).unwrap();
        let info = object.playlist.as_ref().unwrap();
        let list = playlist::read(&text);
        let dir = path.strip_suffix("media.m3u8").unwrap().to_owned();
        let seen = self.lists.get(path).map_or(0, Vec::len);
        if seen.is_multiple_of(16) {
            // Another reader's view, now and then: it is slow.
            let (rest, read) = m3u8_rs::parse_media_playlist(text.as_bytes()).unwrap();
            let complete = list.segments.iter().filter(|segment| segment.uri.is_some()).count();
            assert!(rest.is_empty() && read.segments.len() == complete && read.end_list == list.ended);
        }
        self.versions(path, &list, info);
        self.names(&dir, &list, info);
        for segment in &list.segments {
            self.segment(&dir, &list, segment);
        }
        self.spans(path, &list);
        self.contiguity(&dir, &list);
        self.delta(path, &list, info);
        self.reports(path, &list);
        self.newest.insert(path.to_owned(), info.clone());
        self.lists.entry(path.to_owned()).or_default().push(list);
    }

    /// Constants stay, counters go up, and the version says what the text says.
    fn versions(&mut self, path: &str, list: &Playlist, info: &PlaylistInfo) {
        let last = list.segments.last().unwrap();
        let version = info.version;
        assert_eq!(version.msn, last.msn);
        assert_eq!(version.complete, last.uri.is_some());
        if !list.ended {
            assert_eq!(version.part as usize + 1, last.parts.len().max(1), "{path}");
        }
        assert_eq!((info.ended, info.hint.is_some()), (list.ended, !list.ended));
        if let Some(before) = self.newest.get(path) {
            assert!(!before.ended, "a list goes on after its end");
            assert!(version >= before.version);
        }
        if let Some(before) = self.lists.get(path).and_then(|lists| lists.last()) {
            assert_eq!(
                (list.target_duration, list.part_target),
                (before.target_duration, before.part_target)
            );
            assert!(list.media_sequence >= before.media_sequence);
            assert!(list.discontinuity_sequence >= before.discontinuity_sequence);
        }
        for other in self.lists.values().filter_map(|lists| lists.last()) {
            assert_eq!(other.control, list.control, "SERVER-CONTROL is the same everywhere (LLHLS-12)");
            assert_eq!(other.target_duration, list.target_duration);
        }
        assert!(list.media_sequence >= 1);
        let hold = playlist::micros(&list.control["PART-HOLD-BACK"]);
        assert!(hold >= 3 * list.part_target);
    }

    /// Every name that is listed is there, and the hint is not yet.
    fn names(&self, dir: &str, list: &Playlist, info: &PlaylistInfo) {
        let there = |file: &str| self.published.contains(&format!("{dir}{file}"));
        for segment in &list.segments {
            assert!(there(&segment.map));
            assert!(segment.parts.iter().all(|part| there(&part.uri) != part.gap), "{segment:?}");
            if let Some(uri) = &segment.uri {
                assert_eq!(there(uri), !segment.gap, "{uri}");
            }
        }
        let files = list.segments.iter().any(|segment| {
            segment.uri.is_some() && !segment.gap || segment.parts.iter().any(|part| !part.gap)
        });
        assert!(list.ended || info.needs.is_some() == files, "{info:?}");
        assert!(info.needs.as_ref().is_none_or(|needs| there(&needs.as_str()[dir.len()..])));
        if let Some(hint) = &list.hint {
            let numbers =
                list.segments.iter().flat_map(|segment| &segment.parts).map(|part| number(&part.uri));
            // A track that had nothing for as long as parts are listed has none.
            let newest = numbers.max();
            assert!(newest.is_none_or(|newest| number(hint) == newest + 1), "the hint counts on (LLHLS-15)");
            assert_eq!(info.hint.as_ref().unwrap().as_str(), format!("{dir}{hint}"));
        }
    }

    fn segment(&mut self, dir: &str, list: &Playlist, segment: &Segment) {
        let era = *self.eras.entry(segment.msn).or_insert(segment.era);
        assert_eq!(segment.era, era, "discontinuities are numbered alike (TL-28), segment {}", segment.msn);
        let date = self.dates.entry(segment.msn).or_insert_with(|| segment.date.clone());
        assert!(self.lenient_dates || segment.date == *date, "PDT {} and {date} (TL-38)", segment.date);
        let count = segment.parts.len();
        for (index, part) in segment.parts.iter().enumerate() {
            let last = index + 1 == count;
            assert!(
                self.lenient_parts || part.micros <= list.part_target,
                "part of {} µs over {} (LLHLS-2)",
                part.micros,
                list.part_target
            );
            assert!(
                self.lenient_parts
                    || last
                    || part.independent
                    || part.gap
                    || segment.parts[index + 1].gap
                    || part.micros * 100 >= list.part_target * 85,
                "part of {} µs under 85 % of {} (LLHLS-3)",
                part.micros,
                list.part_target
            );
            if !part.gap {
                let chunk = &self.chunks[&format!("{dir}{}", part.uri)];
                let first = segment.parts[..index].iter().all(|before| before.gap);
                assert_eq!(chunk.first, first, "styp on the first chunk only (CMAF-8)");
                let after_gap = index > 0 && segment.parts[index - 1].gap;
                let begins = part.independent && (chunk.sync_first || dir.contains("/a"));
                assert!(!after_gap || begins, "a track is back with a sync sample");
            }
        }
        let Some(micros) = segment.micros else { return };
        assert!((micros + 500_000) / 1_000_000 <= list.target_duration, "EXTINF {micros} (LLHLS-1)");
        if count > 0 && self.whole.insert((dir.to_owned(), segment.msn)) {
            let sum: u64 = segment.parts.iter().map(|part| part.micros).sum();
            assert!(sum.abs_diff(micros) <= count as u64, "EXTINF {micros}, parts {sum} (LLHLS-11)");
            let gaps = segment.parts.iter().any(|part| part.gap);
            assert_eq!(gaps, segment.gap, "a segment with a part missing is a gap (LLHLS-18)");
            if gaps {
                return;
            }
            let parts = segment.parts.iter().map(|part| &self.chunks[&format!("{dir}{}", part.uri)].bytes);
            let bytes: Vec<u8> = parts.flatten().copied().collect();
            assert!(
                self.segments[&format!("{dir}{}", segment.uri.as_ref().unwrap())] == bytes,
                "bytes (CMAF-8)"
            );
        }
    }

    /// The window is never shorter than it must be, and lists parts where it must (LLHLS-7, LLHLS-14).
    fn spans(&self, path: &str, list: &Playlist) {
        if list.ended {
            return;
        }
        let complete = |from: &Segment| {
            list.segments
                .iter()
                .filter(|segment| segment.msn >= from.msn)
                .filter_map(|segment| segment.micros)
                .sum::<u64>()
        };
        let three = 3_000_000 * list.target_duration;
        let first_ever = self.lists.get(path).map_or(list.media_sequence, |lists| lists[0].media_sequence);
        if list.media_sequence > first_ever {
            assert!(complete(&list.segments[0]) >= three);
        }
        let unlisted = list.segments.iter().rev().find(|segment| segment.parts.is_empty() && !segment.gap);
        let after = unlisted.and_then(|segment| list.segments.iter().find(|next| next.msn > segment.msn));
        if let Some(after) = after {
            assert!(complete(after) >= three, "parts for 3·TD (LLHLS-7)");
        }
    }

    /// No hole and no overlap within an era (TL-37). Looks at each listed part once.
    fn contiguity(&mut self, dir: &str, list: &Playlist) {
        for segment in &list.segments {
            if segment.gap
                && segment.parts.iter().all(|part| part.gap)
                && (segment.msn, 0) > self.checked.get(dir).map_or((0, 0), |(msn, at, _)| (*msn, *at))
            {
                self.checked.insert(dir.to_owned(), (segment.msn, 0, 0));
            }
            for (index, part) in segment.parts.iter().enumerate() {
                if part.gap {
                    self.checked.insert(dir.to_owned(), (segment.msn, index + 1, 0));
                    continue;
                }
                let chunk = &self.chunks[&format!("{dir}{}", part.uri)];
                let (msn, at, end) = self.checked.get(dir).copied().unwrap_or((0, 0, 0));
                if (segment.msn, index + 1) <= (msn, at) {
                    continue;
                }
                let begins_era = segment.discontinuity && index == 0;
                if index == 0 {
                    self.starts.insert((dir.to_owned(), segment.msn), chunk.tfdt);
                    self.sync_starts.insert((dir.to_owned(), segment.msn), chunk.sync_first);
                }
                assert!(
                    end == 0 || begins_era || chunk.tfdt == end,
                    "tfdt {} after {end} (TL-37)",
                    chunk.tfdt
                );
                self.checked.insert(dir.to_owned(), (segment.msn, index + 1, chunk.tfdt + chunk.ticks));
            }
        }
    }

    /// A player that holds an earlier list gets the same from the delta update (LLHLS-32).
    fn delta(&self, path: &str, list: &Playlist, info: &PlaylistInfo) {
        let Some(delta) = &info.delta else { return };
        let delta = playlist::read(std::str::from_utf8(delta).unwrap());
        let until = playlist::micros(&list.control["CAN-SKIP-UNTIL"]);
        let bare = |list: &Playlist| {
            let mut list = list.clone();
            for segment in list.segments.iter_mut().take(delta.skipped) {
                segment.parts.clear();
            }
            list
        };
        for held in self.lists.get(path).into_iter().flatten().rev().take(until as usize / 2_000_000) {
            let merged = playlist::apply(&delta, held);
            assert_eq!(bare(&merged), bare(list));
        }
        let kept: u64 = list.segments[delta.skipped..].iter().filter_map(|segment| segment.micros).sum();
        assert!(kept >= until, "nothing nearer than CAN-SKIP-UNTIL is skipped");
    }

    fn retired_is_unlisted(&self, path: &str) {
        for (list_path, lists) in &self.lists {
            let Some(file) = path.strip_prefix(list_path.strip_suffix("media.m3u8").unwrap()) else {
                continue;
            };
            let list = lists.last().unwrap();
            if list.ended || self.withdrawn.contains(list_path) {
                continue;
            }
            for segment in &list.segments {
                let listed = segment.uri.as_deref() == Some(file)
                    || segment.map == file
                    || segment.parts.iter().any(|part| part.uri == file);
                assert!(!listed, "{path} is retired while it is listed");
            }
        }
    }

    /// Reports say what the others serve at this moment, and each that is out has one (LLHLS-16).
    fn reports(&self, path: &str, list: &Playlist) {
        if list.ended || !self.offered {
            return;
        }
        let epoch = path.split('/').next().unwrap();
        let mut reported = HashSet::new();
        for (uri, msn, part) in &list.reports {
            let other = format!("{epoch}/{}", uri.strip_prefix("../").unwrap());
            assert!(other != path && reported.insert(other.clone()), "{uri}");
            assert!(!self.withdrawn.contains(&other), "{uri} is not there");
            let version = &self.newest[&other].version;
            assert_eq!((*msn, *part), (version.msn, u64::from(version.part)), "report on {uri} in {path}");
        }
        for (other, info) in &self.newest {
            let due = other != path && !info.ended && !self.withdrawn.contains(other);
            assert!(!due || reported.contains(other), "no report on {other} in {path}");
        }
    }

    /// Rungs are cut where the first one is: each segment's first decode time and parts, all of one timescale.
    pub fn assert_rungs_aligned(&self, reference: &str, rung: &str) {
        let of = |dir: &str| -> HashMap<u64, u64> {
            let of_dir = self.starts.iter().filter(|((path, _), _)| path.ends_with(&format!("/{dir}/")));
            of_dir.map(|((_, msn), tfdt)| (*msn, *tfdt)).collect()
        };
        let (reference, rung) = (of(reference), of(rung));
        assert!(!rung.is_empty());
        for (msn, tfdt) in rung {
            assert_eq!(tfdt, reference[&msn], "segment {msn} begins elsewhere");
        }
    }
}

fn number(uri: &str) -> u64 {
    uri[1..].strip_suffix(".m4s").unwrap().parse().unwrap()
}

fn read_chunk(bytes: &[u8]) -> Chunk {
    let mut rest = bytes;
    let (mut first, mut moof, mut prft) = (false, None, None);
    loop {
        let mut peek = rest;
        let header = Header::decode(&mut peek).unwrap();
        match header.kind {
            kind if kind == Styp::KIND => {
                Styp::decode(&mut rest).unwrap();
                assert!(prft.is_none());
                first = true;
            }
            kind if kind == Moof::KIND => {
                let before = rest.len();
                moof = Some((Moof::decode(&mut rest).unwrap(), before));
                moof.as_mut().unwrap().1 = before - rest.len();
            }
            kind if kind == mp4_atom::FourCC::new(b"prft") => prft = Some(Prft::decode(&mut rest).unwrap()),
            kind if kind == mp4_atom::FourCC::new(b"mdat") => {
                assert_eq!(header.size, Some(peek.len()), "one mdat, to the end");
                break;
            }
            kind => panic!("box {kind} in a chunk"),
        }
    }
    let (moof, moof_length) = moof.unwrap();
    let traf = &moof.traf[0];
    let run = &traf.trun[0];
    assert_eq!(run.data_offset, Some(moof_length as i32 + 8));
    let sizes: u32 = run.samples.iter().map(|sample| sample.size.unwrap()).sum();
    assert_eq!(sizes as usize + 8, rest.len());
    let tfdt = traf.tfdt.as_ref().unwrap().base_media_decode_time;
    let mut dts = tfdt as i64;
    let mut pts = Vec::new();
    for sample in run.samples.iter() {
        pts.push(dts + sample.cts.unwrap_or(0));
        assert!(sample.duration.unwrap() > 0, "never 0 (CMAF-11)");
        dts += i64::from(sample.duration.unwrap());
    }
    let prft = prft.unwrap();
    assert_eq!(prft.utc_time_semantics, mp4_atom::ReferenceTime::RealTime);
    let flags = run.samples.get(0).unwrap().flags.or(traf.tfhd.default_sample_flags);
    Chunk {
        tfdt,
        ticks: dts as u64 - tfdt,
        sequence: moof.mfhd.sequence_number,
        first,
        sync_first: flags == Some(0x0200_0000),
        bytes: bytes.to_vec(),
        pts,
    }
}
