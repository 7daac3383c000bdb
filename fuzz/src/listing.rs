//! What an edge sees of a packager, and the rules that playlists keep.

use std::collections::{HashMap, HashSet};

use aqueduct_common::object::{ObjectKind, Version};
use aqueduct_common::{Object, Update};
use bytes::Bytes;

/// Checks every update of one stream as it comes.
#[derive(Default)]
pub struct Listing {
    /// Media that were published, by path; retired ones too, for no name is used twice.
    bodies: HashMap<String, Bytes>,
    /// By playlist: version, TARGETDURATION line, PART-TARGET line.
    playlists: HashMap<String, (Version, [String; 2])>,
    /// Playlists that sleep, or slept.
    asleep: HashSet<String>,
    /// Segments that were compared with their parts.
    joined: HashSet<String>,
    ended: bool,
}

impl Listing {
    /// Panics where an update breaks a rule.
    pub fn check(&mut self, update: &Update) {
        assert!(!self.ended, "an update after the end");
        match update {
            Update::Publish(object) => self.publish(object),
            Update::Retire { path, .. } => {
                let path = path.as_str();
                let known = self.bodies.contains_key(path) || self.playlists.contains_key(path);
                assert!(known || self.asleep.contains(path), "{path} was never there");
            }
            Update::Sleep { path, .. } => {
                let path = path.as_str();
                assert!(!self.bodies.contains_key(path), "{path} is no playlist");
                self.asleep.insert(path.to_owned());
            }
            Update::End { .. } => self.ended = true,
        }
    }

    fn publish(&mut self, object: &Object) {
        let path = object.path.as_str().to_owned();
        let body: Bytes = object.body.iter().flat_map(|piece| piece.iter().copied()).collect();
        match object.kind {
            ObjectKind::Multivariant => {}
            ObjectKind::Playlist => self.list(&path, object, &String::from_utf8_lossy(&body)),
            ObjectKind::Init => {
                let before = self.bodies.insert(path, body.clone());
                assert!(before.is_none_or(|before| before == body), "CMAF-4: an init segment never changes");
            }
            ObjectKind::Part | ObjectKind::Segment => {
                assert!(self.bodies.insert(path, body).is_none(), "no name is used twice");
            }
        }
    }

    fn list(&mut self, path: &str, object: &Object, text: &str) {
        let info = object.playlist.as_ref().expect("a media playlist has its particulars");
        let tag = |name| text.lines().find(|line| line.starts_with(name)).expect(name).to_owned();
        let target = tag("#EXT-X-TARGETDURATION:");
        let part_inf = tag("#EXT-X-PART-INF:PART-TARGET=");
        let promises = [target.clone(), part_inf.clone()];
        if let Some((version, promised)) =
            self.playlists.insert(path.to_owned(), (info.version, promises.clone()))
        {
            assert!(info.version >= version, "versions only grow");
            assert_eq!(promised, promises, "LLHLS-1, LLHLS-2: constant");
        }
        assert_eq!(text.contains("#EXT-X-ENDLIST"), info.ended);
        let target: u64 = value(&target).parse().expect("TARGETDURATION is a whole number");
        let longest_part = micros(value(part_inf.split('=').next_back().expect("a value")));
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let (mut parts, mut parts_sum, mut gap, mut missing) = (Vec::new(), 0, false, false);
        let mut resumes = false;
        // The part before, where it may not be shorter than the rule says unless it is its segment's last.
        let mut short = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("#EXT-X-PART:DURATION=") {
                let (duration, rest) = rest.split_once(",URI=\"").expect("a part has a URI");
                let duration = micros(duration);
                parts_sum += duration;
                let uri = rest.split('"').next().expect("a URI");
                if rest.contains("GAP=YES") {
                    // The part before it may be short; the one behind it is something to begin with.
                    (short, missing, resumes) = (None, true, true);
                    assert!(
                        !self.bodies.contains_key(&format!("{folder}/{uri}")),
                        "LLHLS-18: {uri} is there"
                    );
                    continue;
                }
                let begins = !std::mem::take(&mut resumes) || rest.contains("INDEPENDENT=YES");
                assert!(begins, "{uri} comes after a gap");
                let body = self.body(folder, uri);
                assert_eq!(short, None, "LLHLS-3: us of the part before {uri} in {part_inf}");
                let full = duration * 100 >= longest_part * 85 || rest.contains("INDEPENDENT=YES");
                short = (!full).then_some(duration);
                // One sample cannot be cut.
                let fits = duration <= longest_part || samples(body) == Some(1);
                assert!(fits, "LLHLS-2: part of {duration} us in {part_inf}");
                parts.push(body.clone());
            } else if let Some(duration) = line.strip_prefix("#EXTINF:") {
                short = None;
                let duration = micros(duration.trim_end_matches(','));
                assert!(
                    (duration + 500_000) / 1_000_000 <= target,
                    "LLHLS-1: {line} in a target of {target}\n{text}"
                );
                if !parts.is_empty() || missing {
                    assert_eq!(missing, gap, "LLHLS-18: {line}");
                    // Each is rounded to a microsecond by itself.
                    let off = duration.abs_diff(parts_sum);
                    let most = if missing { 100 } else { parts.len() as u64 };
                    assert!(off <= most, "LLHLS-11: {line} of parts that last {parts_sum} us");
                }
                parts_sum = 0;
            } else if line == "#EXT-X-GAP" {
                gap = true;
            } else if !line.starts_with('#') && std::mem::take(&mut gap) {
                parts.clear();
                missing = false;
            } else if !line.starts_with('#') && !line.is_empty() {
                let segment = self.body(folder, line).clone();
                if !parts.is_empty() && self.joined.insert(format!("{folder}/{line}")) {
                    assert_eq!(parts.concat(), segment[..], "CMAF-8: a segment is its parts");
                }
                parts.clear();
            }
        }
    }

    fn body(&self, folder: &str, uri: &str) -> &Bytes {
        let path = format!("{folder}/{uri}");
        self.bodies.get(&path).unwrap_or_else(|| panic!("{path} is listed before it is there"))
    }
}

/// Samples of a part: the count of its `trun`.
fn samples(body: &[u8]) -> Option<u32> {
    let at = body.windows(4).position(|name| name == b"trun")?;
    let count = body.get(at + 8..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*count))
}

fn value(line: &str) -> &str {
    line.rsplit(':').next().unwrap_or_default()
}

/// A decimal of seconds, exact to the microsecond.
fn micros(text: &str) -> u64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u64 = whole.parse().expect("seconds");
    let fraction: u64 = format!("{fraction:0<6}")[..6].parse().expect("a fraction");
    whole * 1_000_000 + fraction
}
