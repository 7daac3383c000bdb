//! An object or a page, as a response. Pure (cmaf-llhls, section I).

use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::object::{ContentType, ObjectKind};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL,
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Response, StatusCode};

use crate::body::Body;
use crate::encoding::accepts_gzip;
use crate::entry::{Blob, Entry, Text};
use crate::pages::Answered;
use crate::range::{self, Span};
use crate::refuse::Refusal;
use crate::route::{At, Query};
use crate::token::Pass;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const CMSD_STATIC: HeaderName = HeaderName::from_static("cmsd-static");
const CMSD_DYNAMIC: HeaderName = HeaderName::from_static("cmsd-dynamic");
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");

/// LLHLS-39.
const ALLOWED: &str =
    "Range, CMCD-Request, CMCD-Object, CMCD-Status, CMCD-Session, Authorization, Content-Type";
const EXPOSED: &str = "Age, Date, Content-Length, Content-Range, Server-Timing, CMSD-Dynamic, CMSD-Static";

/// What a request says about the answer's form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    /// The directives.
    pub(crate) query: Query,
    /// HEAD: ranges do not apply.
    pub(crate) head: bool,
    /// All headers.
    pub(crate) headers: &'a HeaderMap,
    /// How long it was held.
    pub(crate) held: Duration,
    /// What lets the viewer in.
    pub(crate) pass: &'a Pass,
}

/// A response with what every one of them carries: CORS, whatever the status (LLHLS-39, AUTH-22).
pub(crate) fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.insert(TIMING_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    *response.headers_mut() = headers;
    response
}

/// The answer to OPTIONS: any page may ask, for a day.
pub(crate) fn preflight() -> Response<Body> {
    let mut response = bare(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, OPTIONS"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    headers.insert(http::header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// An object that is here.
pub(crate) fn object(entry: &Entry, ask: &Ask<'_>) -> Result<Response<Body>, Refusal> {
    let (mut response, is_list) = match entry.kind() {
        ObjectKind::Multivariant | ObjectKind::Playlist => (list(entry, ask), true),
        ObjectKind::Init | ObjectKind::Part | ObjectKind::Segment => (media(entry, ask)?, false),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(entry.content_type().as_str()));
    let cache = cache(entry, ask.query);
    headers.insert(CACHE_CONTROL, if ask.pass.is_protected() { private(&cache) } else { cache });
    headers.insert(CMSD_STATIC, described(entry, ask.held));
    if is_list {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    } else {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    Ok(response)
}

/// Where a player is to go. Of nobody's interest but its own, and old in a moment.
pub(crate) fn steering(manifest: Bytes) -> Response<Body> {
    let blob = Arc::new(Blob::new(vec![manifest]));
    let mut response = bare(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, blob.length().clone());
    *response.body_mut() = Body::whole(&blob);
    response
}

/// What was made for the one who asks.
pub(crate) fn service(answered: Answered) -> Response<Body> {
    let blob = Arc::new(Blob::new(vec![answered.body]));
    let mut response =
        bare(StatusCode::from_u16(answered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    let headers = response.headers_mut();
    // Its key is shown by its own page alone.
    headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, blob.length().clone());
    *response.body_mut() = Body::whole(&blob);
    response
}

/// A page or one of its files.
pub(crate) fn page(
    text: &Text,
    content_type: &'static str,
    immutable: bool,
    ask: &Ask<'_>,
) -> Response<Body> {
    let mut response = encoded(text, ask, true);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, if immutable { FOREVER } else { REVALIDATE });
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    // A page's address may hold a token.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// Section I's table. Media names are never reused; a list named by its version may be kept for a target duration; a
/// list that is simply "the current one" is old after a part.
fn cache(entry: &Entry, query: Query) -> HeaderValue {
    match (entry.kind(), entry.list()) {
        (ObjectKind::Init | ObjectKind::Part | ObjectKind::Segment, _) => FOREVER,
        (ObjectKind::Multivariant, _) => HeaderValue::from_static("max-age=2"),
        (ObjectKind::Playlist, Some(list)) if list.ended || names_version(query) => {
            entry.directed_cache().clone()
        }
        (ObjectKind::Playlist, _) => REVALIDATE,
    }
}

/// The same for one viewer's own cache: one that is shared would hand it to those who may not have it. Whoever puts a CDN
/// that checks tokens itself before the edge tells it to keep things nevertheless.
fn private(cache: &HeaderValue) -> HeaderValue {
    if cache == FOREVER {
        return HeaderValue::from_static("private, max-age=31536000, immutable");
    }
    let text = format!("private, {}", cache.to_str().unwrap_or("no-cache"));
    HeaderValue::from_str(&text).unwrap_or(REVALIDATE)
}

fn names_version(query: Query) -> bool {
    matches!(query.at, Ok(At::Segment(_) | At::Part(..)))
}

fn list(entry: &Entry, ask: &Ask<'_>) -> Response<Body> {
    let live = entry.list().is_some_and(|list| !list.ended);
    let text = if ask.query.skip && live { entry.delta().unwrap_or(entry.full()) } else { entry.full() };
    // 304 would be right only for a request without directives (LLHLS-38).
    let directed = live && (ask.query.skip || names_version(ask.query));
    encoded(text, ask, !directed)
}

/// A text in the encoding that the client takes, or 304 where it has it already. Its tag is weak, and one of its own
/// per encoding.
fn encoded(text: &Text, ask: &Ask<'_>, conditional: bool) -> Response<Body> {
    let accepts = ask.headers.get(ACCEPT_ENCODING).is_some_and(|value| accepts_gzip(value.as_bytes()));
    let packed = if accepts { text.gzip() } else { None };
    let blob = packed.unwrap_or(text.plain());
    let tag = blob.weak_tag();
    if conditional && matches(ask.headers, tag) {
        return not_modified(tag);
    }
    let mut response = bare(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(ETAG, tag.clone());
    headers.insert(CONTENT_LENGTH, blob.length().clone());
    if packed.is_some() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    *response.body_mut() = Body::whole(blob);
    response
}

fn media(entry: &Entry, ask: &Ask<'_>) -> Result<Response<Body>, Refusal> {
    let blob = entry.full().plain();
    if matches(ask.headers, blob.tag()) {
        return Ok(not_modified(blob.tag()));
    }
    let mut response = match span(blob, ask) {
        Span::Beyond => return Err(Refusal::Range(blob.len())),
        Span::Whole => {
            let mut response = bare(StatusCode::OK);
            response.headers_mut().insert(CONTENT_LENGTH, blob.length().clone());
            *response.body_mut() = Body::whole(blob);
            response
        }
        Span::Bytes(range) => {
            let mut response = bare(StatusCode::PARTIAL_CONTENT);
            let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, blob.len());
            let headers = response.headers_mut();
            headers.insert(
                CONTENT_RANGE,
                HeaderValue::from_str(&content_range).expect("numbers are plain text"),
            );
            headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
            *response.body_mut() = Body::part(blob, range);
            response
        }
    };
    response.headers_mut().insert(ETAG, blob.tag().clone());
    Ok(response)
}

/// The range asked for, unless it is meant for another version of the object (`If-Range`).
fn span(blob: &Blob, ask: &Ask<'_>) -> Span {
    let Some(range) = ask.headers.get(RANGE).filter(|_| !ask.head) else { return Span::Whole };
    if ask.headers.get(IF_RANGE).is_some_and(|tag| tag != blob.tag()) {
        return Span::Whole;
    }
    range::parse(range.as_bytes(), blob.len())
}

/// `If-None-Match` names this tag; weakness does not count (RFC 9110, section 13.1.2).
fn matches(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let strong = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    headers.get_all(IF_NONE_MATCH).iter().any(|header| {
        let mut tags = header.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.any(|one| one == b"*" || strong(one) == strong(tag.as_bytes()))
    })
}

fn not_modified(tag: &HeaderValue) -> Response<Body> {
    let mut response = bare(StatusCode::NOT_MODIFIED);
    response.headers_mut().insert(ETAG, tag.clone());
    response
}

/// What the object is, and how long the request was held (CTA-5006): true of every copy that a cache keeps. Its kind
/// says it where no media is known.
fn described(entry: &Entry, held: Duration) -> HeaderValue {
    let kind = match (entry.kind(), entry.content_type()) {
        (ObjectKind::Multivariant | ObjectKind::Playlist, _) => "m",
        (ObjectKind::Init, _) => "i",
        (ObjectKind::Part | ObjectKind::Segment, ContentType::AudioMp4) => "a",
        (ObjectKind::Part | ObjectKind::Segment, _) => "v",
    };
    if held.is_zero() {
        return match kind {
            "m" => HeaderValue::from_static("ot=m,sf=h,st=l"),
            "i" => HeaderValue::from_static("ot=i,sf=h,st=l"),
            "a" => HeaderValue::from_static("ot=a,sf=h,st=l"),
            _ => HeaderValue::from_static("ot=v,sf=h,st=l"),
        };
    }
    let text = format!("ht={},ot={kind},sf=h,st=l", held.as_millis());
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("sf=h"))
}

/// Says how long the request was held, and how long the answer took besides: players that measure the network by their
/// requests leave both out.
pub(crate) fn timed(response: &mut Response<Body>, held: Duration, took: Duration) {
    let millis = |span: Duration| span.as_secs_f64() * 1_000.0;
    let timing = format!("held;dur={:.3}, edge;dur={:.3}", millis(held), millis(took));
    // CTA-5006: what this server alone knows of this answer, and caches may pass on or replace.
    let delay = format!("\"aqueduct\";rd={}", took.as_millis());
    let headers = response.headers_mut();
    for (name, text) in [(SERVER_TIMING, timing), (CMSD_DYNAMIC, delay)] {
        headers.extend(HeaderValue::from_str(&text).ok().map(|value| (name, value)));
    }
}

/// Sends a ticket from the query on to the path, where relative URIs inherit it (AUTH-11).
pub(crate) fn to_path_form(ticket: &str, path: &str, query: &str) -> Option<Response<Body>> {
    let question = if query.is_empty() { "" } else { "?" };
    let location = HeaderValue::from_str(&format!("/t/{ticket}{path}{question}{query}")).ok()?;
    let mut response = bare(StatusCode::TEMPORARY_REDIRECT);
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, 0.into());
    Some(response)
}

/// Takes the body off the answer to a HEAD; its headers stay those of a GET.
pub(crate) fn without_body(mut response: Response<Body>) -> Response<Body> {
    *response.body_mut() = Body::empty();
    response
}
