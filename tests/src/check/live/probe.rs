//! Requests that a healthy player never sends, or sends seldom: how they are answered.

use std::time::Duration;

use http::{Method, StatusCode};

use super::{Run, headers};
use crate::Outcome;
use crate::check::multivariant::Entry;
use crate::check::playlist::{MediaPlaylist, resolve};
use crate::check::rule::{self, Rule};

/// What is answered at once is answered within this, on a loaded machine too.
const AT_ONCE: Duration = Duration::from_millis(1_500);

/// What the multivariant playlist's URL answers besides GET.
pub(super) async fn multivariant(run: &Run, url: &str) -> Outcome {
    let origin = ("origin", "https://player.example");
    let wanted = ("access-control-request-method", "GET");
    let preflight = run.client.send(Method::OPTIONS, url, &[origin, wanted]).await?;
    let allowed = preflight.header("access-control-allow-headers").to_ascii_lowercase();
    if !preflight.status.is_success() || !allowed.contains("range") {
        run.note(rule::CORS, url, &format!("preflight: {} allows {allowed:?}", preflight.status));
    }
    head(run, url, "identity").await
}

/// HEAD tells what GET would, of something that does not change meanwhile.
async fn head(run: &Run, url: &str, encoding: &str) -> Outcome {
    let accept = [("accept-encoding", encoding)];
    let get = run.client.send(Method::GET, url, &accept).await?;
    let head = run.client.send(Method::HEAD, url, &accept).await?;
    let same = ["content-type", "content-length"].iter().all(|name| get.header(name) == head.header(name));
    if get.status != head.status || !head.body.is_empty() || !same {
        run.note(rule::HEAD, url, &format!("{} for HEAD, {} for GET", head.status, get.status));
    }
    Ok(())
}

/// All probes of one rendition.
pub(super) async fn rendition(run: Run, entry: Entry, list: MediaPlaylist) -> Outcome {
    if list.ended || list.constants.part_target.is_none() {
        return Ok(());
    }
    directives(&run, &entry, &list).await?;
    names(&run, &entry).await?;
    conditional(&run, &entry).await?;
    let Some(segment) = list.complete().last() else { return Ok(()) };
    let url = resolve(&entry.url, &segment.uri);
    ranges(&run, &entry, &url).await?;
    head(&run, &url, "identity").await
}

async fn directives(run: &Run, entry: &Entry, list: &MediaPlaylist) -> Outcome {
    let url = &entry.url;
    for query in
        ["_HLS_part=0", "_HLS_msn=abc", "_HLS_msn=-1", "_HLS_msn=9007199254740993", "_HLS_msn=1&_HLS_part=x"]
    {
        expect(run, url, query, StatusCode::BAD_REQUEST, rule::BAD_DIRECTIVE).await?;
    }
    let Some(edge) = list.edge() else { return Ok(()) };
    // Far beyond what the stream can grow by while the question is on its way.
    expect(run, url, &format!("_HLS_msn={}", edge.msn + 100), StatusCode::BAD_REQUEST, rule::TOO_FAR).await?;
    let far = format!("_HLS_msn={}&_HLS_part=1000", edge.msn + 2);
    expect(run, url, &far, StatusCode::BAD_REQUEST, rule::TOO_FAR).await?;
    let old = list.media_sequence;
    for query in [
        format!("_HLS_msn={old}"),
        format!("_HLS_msn={old}&_HLS_part=0"),
        "_HLS_msn=0&_HLS_part=0".to_owned(),
        format!("_HLS_msn={old}&_HLS_msn=abc"),
        format!("_HLS_msn={old}&_HLS_whatever=1"),
        format!("token=x&_HLS_msn={old}"),
    ] {
        expect(run, url, &query, StatusCode::OK, rule::OLD_DIRECTIVE).await?;
    }
    Ok(())
}

async fn expect(run: &Run, url: &str, query: &str, status: StatusCode, rule: Rule) -> Outcome {
    let answer = run.client.get(&format!("{url}?{query}")).await?;
    let took = answer.first - answer.sent;
    if answer.status != status || took > AT_ONCE {
        run.note(rule, url, &format!("{query}: {} after {took:?}, not {status} at once", answer.status));
    }
    let found = if status.is_success() { headers::always(&answer) } else { headers::refusal(&answer) };
    run.note_headers(url, found);
    Ok(())
}

/// Names that nothing lists are refused at once and not remembered for long (LLHLS-27).
async fn names(run: &Run, entry: &Entry) -> Outcome {
    for name in [
        "p99999999.m4s",
        "s99999999.m4s",
        "init-0000.mp4",
        "no-such-thing",
        "%2e%2e/%2e%2e/x",
        "..%2fmedia.m3u8",
    ] {
        let url = resolve(&entry.url, name);
        let answer = run.client.get(&url).await?;
        let refused = matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST);
        if !refused || answer.first - answer.sent > AT_ONCE {
            run.note(rule::FUTURE_NAME, &entry.url, &format!("{name}: {}", answer.status));
        }
        run.note_headers(&entry.url, headers::refusal(&answer));
    }
    Ok(())
}

/// If-None-Match is honoured for lists without directives, and compression only where it is accepted (LLHLS-38).
async fn conditional(run: &Run, entry: &Entry) -> Outcome {
    let plain = run.client.send(Method::GET, &entry.url, &[("accept-encoding", "identity")]).await?;
    if !plain.header("content-encoding").is_empty() {
        run.note(rule::GZIP, &entry.url, "compressed though only identity was accepted");
    }
    let tag = plain.header("etag").to_owned();
    if tag.is_empty() {
        run.note(rule::ETAG, &entry.url, "no ETag on a playlist");
        return Ok(());
    }
    let again = [("accept-encoding", "identity"), ("if-none-match", tag.as_str())];
    let answer = run.client.send(Method::GET, &entry.url, &again).await?;
    let same = answer.header("etag") == tag;
    if (same && answer.status != StatusCode::NOT_MODIFIED) || (!same && answer.status != StatusCode::OK) {
        run.note(
            rule::ETAG,
            &entry.url,
            &format!("If-None-Match {tag}: {} with {}", answer.status, answer.header("etag")),
        );
    }
    Ok(())
}

async fn ranges(run: &Run, entry: &Entry, url: &str) -> Outcome {
    let whole = run.client.get(url).await?;
    if whole.status != StatusCode::OK || whole.body.len() < 64 {
        return Ok(());
    }
    let size = whole.body.len();
    let cases = [
        ("bytes=0-15".to_owned(), 0..16),
        ("bytes=16-".to_owned(), 16..size),
        ("bytes=-10".to_owned(), size - 10..size),
        (format!("bytes=8-{}", size * 2), 8..size),
    ];
    for (range, bytes) in cases {
        let answer = run.client.send(Method::GET, url, &[("range", &range)]).await?;
        let told = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
        let right = answer.status == StatusCode::PARTIAL_CONTENT && answer.header("content-range") == told;
        if !right || answer.body != whole.body.slice(bytes) {
            let got = answer.header("content-range");
            run.note(rule::RANGE, &entry.url, &format!("{range}: {} {got:?}, not {told:?}", answer.status));
        }
    }
    let beyond = run.client.send(Method::GET, url, &[("range", &format!("bytes={size}-"))]).await?;
    if beyond.status != StatusCode::RANGE_NOT_SATISFIABLE {
        run.note(rule::RANGE, &entry.url, &format!("a range beyond the end: {}", beyond.status));
    }
    let tag = [("if-none-match", whole.header("etag"))];
    let answer = run.client.send(Method::GET, url, &tag).await?;
    if answer.status != StatusCode::NOT_MODIFIED {
        run.note(rule::ETAG, &entry.url, &format!("If-None-Match on media: {}", answer.status));
    }
    Ok(())
}
