//! Headers of answers (section I of the LL-HLS rules): pure.

use crate::check::rule::{self, Rule};
use crate::fetch::Answer;

/// What kind of list was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum List {
    Multivariant,
    Plain,
    Directed,
}

/// Headers that hold on every status (LLHLS-39, -40).
pub(super) fn always(answer: &Answer) -> Vec<(Rule, String)> {
    let mut found = Vec::new();
    if answer.header("access-control-allow-origin").is_empty() {
        found.push((rule::CORS, format!("no Access-Control-Allow-Origin on {}", answer.status)));
    }
    let exposed = answer.header("access-control-expose-headers").to_ascii_lowercase();
    for name in ["age", "date", "content-length", "content-range"] {
        if !exposed.split(',').any(|one| one.trim() == name) && exposed != "*" {
            found.push((rule::CORS, format!("{name} is not exposed on {}", answer.status)));
            break;
        }
    }
    if answer.header("timing-allow-origin").is_empty() {
        found.push((rule::CORS, format!("no Timing-Allow-Origin on {}", answer.status)));
    }
    if answer.header("date").is_empty() {
        found.push((rule::DATE, format!("no Date on {}", answer.status)));
    }
    found
}

/// Headers of a playlist.
pub(super) fn playlist(answer: &Answer, list: List) -> Vec<(Rule, String)> {
    let mut found = always(answer);
    if answer.header("content-type") != "application/vnd.apple.mpegurl" {
        found.push((rule::CONTENT_TYPE, format!("{:?} on a playlist", answer.header("content-type"))));
    }
    if answer.header("content-encoding") != "gzip" {
        found.push((rule::GZIP, "a playlist is not compressed though gzip was accepted".into()));
    }
    if !answer.header("vary").to_ascii_lowercase().contains("accept-encoding") {
        found.push((rule::GZIP, "Vary does not name Accept-Encoding".into()));
    }
    let cache = answer.header("cache-control");
    let fits = match (list, max_age(cache)) {
        (List::Multivariant, Some(age)) => age <= 10,
        (List::Plain, Some(age)) => age <= 1,
        (List::Plain | List::Multivariant, None) => cache.contains("no-cache") || cache.contains("no-store"),
        (List::Directed, age) => age.is_some_and(|age| age <= 60),
    };
    if !fits {
        found.push((rule::CACHE_CONTROL, format!("{cache:?} on {list:?}")));
    }
    found
}

/// Headers of a part, a segment or an init segment.
pub(super) fn media(answer: &Answer, audio: bool) -> Vec<(Rule, String)> {
    let mut found = always(answer);
    let wanted = if audio { "audio/mp4" } else { "video/mp4" };
    let kind = answer.header("content-type");
    if kind != wanted && kind != "video/iso.segment" {
        found.push((rule::CONTENT_TYPE, format!("{kind:?}, not {wanted:?}")));
    }
    if !answer.header("content-encoding").is_empty() {
        found.push((rule::GZIP, format!("{:?} on media", answer.header("content-encoding"))));
    }
    if answer.header("content-length") != answer.body.len().to_string() {
        found.push((rule::HINT_UNSERVED, "media without its Content-Length".into()));
    }
    let cache = answer.header("cache-control");
    if max_age(cache).is_none_or(|age| age < 30) {
        found.push((rule::CACHE_CONTROL, format!("{cache:?} on media whose name is never reused")));
    }
    if answer.header("accept-ranges") != "bytes" {
        found.push((rule::RANGE, "no Accept-Ranges: bytes".into()));
    }
    if !answer.header("etag").starts_with('"') {
        found.push((rule::ETAG, format!("{:?} is no strong ETag", answer.header("etag"))));
    }
    found
}

/// Headers of a refusal: what is not there yet must not be remembered as absent (LLHLS-27).
pub(super) fn refusal(answer: &Answer) -> Vec<(Rule, String)> {
    let mut found = always(answer);
    let cache = answer.header("cache-control");
    if !cache.contains("no-store") && max_age(cache).is_none_or(|age| age > 1) {
        found.push((rule::CACHE_CONTROL, format!("{cache:?} on {}", answer.status)));
    }
    found
}

fn max_age(cache_control: &str) -> Option<u64> {
    let value = cache_control.split(',').find_map(|one| one.trim().strip_prefix("max-age="))?;
    value.parse().ok()
}
