//! A request's target, read: pure, and total over hostile input.
//!
//! A viewer's ticket is taken off first ([`read`]); the path is then decoded once. Query parameters other than the directives below are ignored here, so tokens and CMCD
//! are never part of what is looked up (QOE-10, EDGE-3).

use std::borrow::Cow;

use crate::token::Ticket;

/// Longest target that is read, in bytes (EDGE-36).
pub const MAX_TARGET: usize = 4_096;
/// Largest media sequence or part number that a directive may carry (LLHLS-21).
const MAX_NUMBER: u64 = 1 << 53;

/// What a target names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target<'a> {
    /// A page or one of its files: the whole path.
    Page(Cow<'a, str>),
    /// An object of a stream.
    Object {
        /// The path, decoded.
        path: Cow<'a, str>,
        /// Where `APP/NAME` ends in it.
        stream_end: usize,
        /// What the query asks of it.
        query: Query,
    },
}

impl Target<'_> {
    /// The whole path, decoded.
    pub fn path(&self) -> &str {
        match self {
            Self::Page(path) | Self::Object { path, .. } => path,
        }
    }

    /// `APP/NAME` and the path below it, of an object.
    pub fn object(&self) -> Option<(&str, &str)> {
        match self {
            Self::Page(_) => None,
            Self::Object { path, stream_end, .. } => Some((&path[1..*stream_end], &path[*stream_end + 1..])),
        }
    }
}

/// Delivery directives of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query {
    /// `_HLS_msn` and `_HLS_part`, or what is wrong with them. It is wrong only for a playlist that is still live.
    pub at: Result<At, BadDirective>,
    /// `_HLS_skip=YES` or `v2`: a delta update is welcome (LLHLS-29).
    pub skip: bool,
    /// `_AQ_hold=1`: wait a while for the stream to come on air.
    pub hold: bool,
}

impl Default for Query {
    fn default() -> Self {
        Self { at: Ok(At::Now), skip: false, hold: false }
    }
}

/// How far a playlist must have come for the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum At {
    /// As it is.
    #[default]
    Now,
    /// The segment with this number is complete.
    Segment(u64),
    /// This part, or anything after it, is listed.
    Part(u64, u64),
}

/// A directive that cannot be read (LLHLS-21).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadDirective {
    /// No number, negative, or beyond 2^53.
    #[error("_HLS_msn is not a whole number from 0 to 2^53: send a media sequence number, or leave it out")]
    Msn,
    /// The same of the part.
    #[error("_HLS_part is not a whole number from 0 to 2^53: send a part number, or leave it out")]
    Part,
    /// A part of no segment.
    #[error("_HLS_part came without _HLS_msn: send both, or neither")]
    PartAlone,
}

/// Why a target names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadTarget {
    /// Longer than [`MAX_TARGET`].
    #[error("the URL is longer than 4096 bytes: send a shorter query")]
    TooLong,
    /// It does not begin with a slash.
    #[error("the URL's path does not begin with /")]
    NoPath,
    /// `%` without two hexadecimal digits, or bytes that are no UTF-8.
    #[error("the URL's path has a broken percent escape")]
    Escape,
    /// A decoded slash, backslash or control character.
    #[error("the URL's path has an escaped slash or control character, which no path here has")]
    Hidden,
    /// `.`, `..` or nothing between two slashes.
    #[error("the URL's path has an empty or dotted segment: send it resolved")]
    Dots,
    /// `/t/` without a token behind it, with a second one, or in a disguise.
    #[error("the URL's token is damaged: it goes /t/TOKEN/APP/NAME/index.m3u8, without escapes")]
    Ticket,
}

/// Reads a target that may carry a viewer's ticket in its path (AUTH-11): the ticket, and what it is for. Nothing
/// behind this sees that there was one.
pub fn read<'a>(path: &'a str, query: Option<&str>) -> Result<(Option<Ticket<'a>>, Target<'a>), BadTarget> {
    if path.len() + query.map_or(0, str::len) > MAX_TARGET {
        return Err(BadTarget::TooLong);
    }
    let (ticket, path) = take_ticket(path)?;
    let target = parse(path, query)?;
    // A second ticket, or one that was escaped so that it would not be seen, is nobody's stream.
    if target.path().starts_with(TICKET) || target.path() == "/t" {
        return Err(BadTarget::Ticket);
    }
    Ok((ticket, target))
}

/// Where a ticket stands in a path.
const TICKET: &str = "/t/";

/// Takes the ticket off a path; without one it stays as it is. The ticket is not decoded: it has no escapes.
pub fn take_ticket(path: &str) -> Result<(Option<Ticket<'_>>, &str), BadTarget> {
    let Some(rest) = path.strip_prefix(TICKET) else { return Ok((None, path)) };
    let (ticket, below) = rest.split_at(rest.find('/').ok_or(BadTarget::Ticket)?);
    Ticket::new(ticket).map(|ticket| (Some(ticket), below)).ok_or(BadTarget::Ticket)
}

/// Reads a target: the path, and the query after `?` if there is one.
pub fn parse<'a>(path: &'a str, query: Option<&str>) -> Result<Target<'a>, BadTarget> {
    if path.len() + query.map_or(0, str::len) > MAX_TARGET {
        return Err(BadTarget::TooLong);
    }
    if !path.starts_with('/') {
        return Err(BadTarget::NoPath);
    }
    let path = decode(path)?;
    let mut segments = path[1..].split('/');
    let dotted = |segment: &str| matches!(segment, "." | "..");
    // A directory's trailing slash is the one empty segment that means something, and only pages have it.
    if segments.any(dotted) || path.contains("//") {
        return Err(BadTarget::Dots);
    }
    Ok(match stream_end(&path) {
        None => Target::Page(path),
        Some(stream_end) => {
            Target::Object { path, stream_end, query: parse_query(query.unwrap_or_default()) }
        }
    })
}

/// Where `/APP/NAME` ends, if something follows it that is not a page's.
fn stream_end(path: &str) -> Option<usize> {
    let page = ["/watch/", "/assets/", "/doctor/"].iter().any(|begin| path.starts_with(begin));
    if page || path.ends_with('/') {
        return None;
    }
    let mut slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
    slashes.nth(2)
}

/// Undoes percent escapes, once. Nothing that is a separator may come out of it.
fn decode(path: &str) -> Result<Cow<'_, str>, BadTarget> {
    if path.bytes().any(|byte| byte.is_ascii_control() || byte == b'\\') {
        return Err(BadTarget::Hidden);
    }
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (high, low) = (bytes.next().and_then(hex), bytes.next().and_then(hex));
        let (Some(high), Some(low)) = (high, low) else { return Err(BadTarget::Escape) };
        match high << 4 | low {
            b'/' | b'\\' | 0..=31 | 127 => return Err(BadTarget::Hidden),
            plain => decoded.push(plain),
        }
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| BadTarget::Escape)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Reads the directives of a query. The first of equal keys counts; other keys are not looked at.
pub fn parse_query(query: &str) -> Query {
    let (mut msn, mut part, mut skip, mut hold) = (None, None, None, None);
    for pair in query.split('&') {
        // CMCD, tokens and whatever else rides along begin otherwise.
        if !pair.starts_with('_') {
            continue;
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match key {
            "_HLS_msn" => &mut msn,
            "_HLS_part" => &mut part,
            "_HLS_skip" => &mut skip,
            "_AQ_hold" => &mut hold,
            _ => continue,
        };
        slot.get_or_insert(value);
    }
    Query { at: parse_at(msn, part), skip: matches!(skip, Some("YES" | "v2")), hold: hold == Some("1") }
}

fn parse_at(msn: Option<&str>, part: Option<&str>) -> Result<At, BadDirective> {
    let Some(msn) = msn else {
        return if part.is_some() { Err(BadDirective::PartAlone) } else { Ok(At::Now) };
    };
    let msn = number(msn).ok_or(BadDirective::Msn)?;
    match part {
        None => Ok(At::Segment(msn)),
        Some(part) => number(part).map(|part| At::Part(msn, part)).ok_or(BadDirective::Part),
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|n| *n <= MAX_NUMBER)
}

/// The CMCD session of a query, still escaped: `…sid%3D%22HERE%22…` (QOE-8). Untrusted; only ever hashed.
pub fn query_session(query: &str) -> Option<&str> {
    let cmcd = query.split('&').find_map(|pair| pair.strip_prefix("CMCD="))?;
    let at = cmcd.find("sid%3D%22")?;
    let before = &cmcd[..at];
    let first_key =
        before.is_empty() || before.ends_with("%2C") || before.ends_with("%2c") || before.ends_with(',');
    let (session, _) = cmcd[at + 9..].split_once("%22")?;
    (first_key && !session.is_empty()).then_some(session)
}

/// The CMCD session of a `CMCD-Session` header: `…sid="HERE"…` (QOE-5).
pub fn header_session(header: &str) -> Option<&str> {
    let mut keys = header.split(',').map(str::trim_ascii_start);
    let (session, _) = keys.find_map(|key| key.strip_prefix("sid=\""))?.split_once('"')?;
    (!session.is_empty()).then_some(session)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(path: &str) -> Option<(String, String)> {
        let target = parse(path, None).ok()?;
        target.object().map(|(stream, path)| (stream.into(), path.into()))
    }

    #[test]
    fn a_stream_is_two_segments_and_its_objects_lie_below() {
        for (path, stream, below) in [
            ("/live/show/index.m3u8", "live/show", "index.m3u8"),
            ("/live/show/e1/v0/p1.m4s", "live/show", "e1/v0/p1.m4s"),
            ("/l%69ve/show/e1/v0/p1%2em4s", "live/show", "e1/v0/p1.m4s"),
            ("/LIVE/show/index.m3u8", "LIVE/show", "index.m3u8"),
            ("/live/show/%252e%252e", "live/show", "%2e%2e"),
        ] {
            assert_eq!(object(path), Some((stream.into(), below.into())), "{path}");
        }
        for path in [
            "/",
            "/watch",
            "/watch/live/show",
            "/assets/a/b/c.js",
            "/live",
            "/live/show",
            "/live/show/",
            "/live/show/e1/",
        ] {
            assert!(matches!(parse(path, None), Ok(Target::Page(_))), "{path}");
        }
    }

    #[test]
    fn tricks_with_paths_are_refused() {
        for (path, error) in [
            ("live/show/x", BadTarget::NoPath),
            ("", BadTarget::NoPath),
            ("*", BadTarget::NoPath),
            ("/live/../etc/passwd", BadTarget::Dots),
            ("/live/show/./x", BadTarget::Dots),
            ("/live/show/%2e%2E/x", BadTarget::Dots),
            ("/live/show/..", BadTarget::Dots),
            ("//live/show/x", BadTarget::Dots),
            ("/live//show", BadTarget::Dots),
            ("/live/show//", BadTarget::Dots),
            ("/live%2fshow/x", BadTarget::Hidden),
            ("/live/show/..%2F..%2Fx", BadTarget::Hidden),
            ("/live/show/..%5cx", BadTarget::Hidden),
            ("/live/show\\x", BadTarget::Hidden),
            ("/live/show/x%00.m4s", BadTarget::Hidden),
            ("/live/show/%0d%0ax", BadTarget::Hidden),
            ("/live/show/%7f", BadTarget::Hidden),
            ("/live/show/%", BadTarget::Escape),
            ("/live/show/%2", BadTarget::Escape),
            ("/live/show/%zz", BadTarget::Escape),
            ("/live/show/%+1", BadTarget::Escape),
            ("/live/show/%ff%fe", BadTarget::Escape),
        ] {
            assert_eq!(parse(path, None), Err(error), "{path}");
        }
        let long = format!("/live/show/{}", "x".repeat(4_090));
        assert_eq!(parse(&long, None), Err(BadTarget::TooLong));
        assert_eq!(parse("/live/show/x", Some(&"q".repeat(4_090))), Err(BadTarget::TooLong));
    }

    #[test]
    fn a_ticket_is_taken_off_the_path() {
        for (path, ticket, rest) in [
            ("/t/a.b.c/live/show/index.m3u8", Some("a.b.c"), "/live/show/index.m3u8"),
            ("/t/v1~k~1~s/live/show/e1/v0/p1.m4s", Some("v1~k~1~s"), "/live/show/e1/v0/p1.m4s"),
            ("/t/a.b.c/watch/live/show", Some("a.b.c"), "/watch/live/show"),
            ("/t/t/live/show/x", Some("t"), "/live/show/x"),
            ("/live/t/x", None, "/live/t/x"),
            ("/T/a.b.c/live/show/x", None, "/T/a.b.c/live/show/x"),
            ("/tt/a.b.c/live", None, "/tt/a.b.c/live"),
        ] {
            let (found, target) = read(path, None).unwrap();
            assert_eq!((found.map(Ticket::expose), target.path()), (ticket, rest), "{path}");
        }
        for (path, error) in [
            ("/t/a.b.c", BadTarget::Ticket),
            ("/t", BadTarget::Ticket),
            ("/t/", BadTarget::Ticket),
            ("/t//live/show/x", BadTarget::Ticket),
            ("/t/./live/show/x", BadTarget::Ticket),
            ("/t/../live/show/x", BadTarget::Ticket),
            ("/t/a.b.c/t/d.e.f/live/show/x", BadTarget::Ticket),
            ("/t/a.b.c/%74/d.e.f/live/show/x", BadTarget::Ticket),
            ("/%74/a.b.c/live/show/x", BadTarget::Ticket),
            ("/t/a%2eb.c/live/show/x", BadTarget::Ticket),
            ("/t/a.b.c%2Flive/show/x", BadTarget::Ticket),
            ("/t/a.b.c%00/live/show/x", BadTarget::Ticket),
            ("/t/a b/live/show/x", BadTarget::Ticket),
            ("/t%2fa.b.c/live/show/x", BadTarget::Hidden),
            ("//t/a.b.c/live/show/x", BadTarget::Dots),
            ("/./t/a.b.c/live/show/x", BadTarget::Dots),
            ("/t/a.b.c//live/show/x", BadTarget::Dots),
            ("/t/a.b.c/live/../vip/show/x", BadTarget::Dots),
            ("/t/a.b.c/live/%2e%2e/vip/x", BadTarget::Dots),
            ("/t/a.b.c/live%2fshow/x", BadTarget::Hidden),
        ] {
            assert_eq!(read(path, None).map(|_| ()), Err(error), "{path}");
        }
        let long = format!("/t/{}/live/show/x", "a".repeat(2_049));
        assert_eq!(read(&long, None).map(|_| ()), Err(BadTarget::Ticket));
        assert_eq!(read(&long, Some(&"q".repeat(2_100))).map(|_| ()), Err(BadTarget::TooLong));
    }

    #[test]
    fn directives_are_read_as_llhls_21_says() {
        let at = |query: &str| parse_query(query).at;
        for (query, expected) in [
            ("", Ok(At::Now)),
            ("token=x&CMCD=br%3D1", Ok(At::Now)),
            ("_HLS_msn=7", Ok(At::Segment(7))),
            ("_HLS_msn=7&_HLS_part=0", Ok(At::Part(7, 0))),
            ("_HLS_part=3&tk=abc&_HLS_msn=007", Ok(At::Part(7, 3))),
            ("_HLS_msn=9007199254740992", Ok(At::Segment(1 << 53))),
            ("_HLS_msn=1&_HLS_msn=2", Ok(At::Segment(1))),
            ("_HLS_msn=1&_HLS_msn=x", Ok(At::Segment(1))),
            ("_HLS_unknown=9&_HLS_msn=4", Ok(At::Segment(4))),
            ("_hls_msn=4", Ok(At::Now)),
            ("x=1?_HLS_msn=4", Ok(At::Now)),
            ("_HLS_part=1", Err(BadDirective::PartAlone)),
            ("_HLS_part=x", Err(BadDirective::PartAlone)),
            ("_HLS_msn", Err(BadDirective::Msn)),
            ("_HLS_msn=", Err(BadDirective::Msn)),
            ("_HLS_msn=-1", Err(BadDirective::Msn)),
            ("_HLS_msn=+1", Err(BadDirective::Msn)),
            ("_HLS_msn=1.5", Err(BadDirective::Msn)),
            ("_HLS_msn=0x10", Err(BadDirective::Msn)),
            ("_HLS_msn=9007199254740993", Err(BadDirective::Msn)),
            ("_HLS_msn=99999999999999999999999999", Err(BadDirective::Msn)),
            ("_HLS_msn=x&_HLS_msn=1", Err(BadDirective::Msn)),
            ("_HLS_msn=1&_HLS_part=", Err(BadDirective::Part)),
            ("_HLS_msn=1&_HLS_part=-0", Err(BadDirective::Part)),
            ("_HLS_msn=1&_HLS_part=9007199254740993", Err(BadDirective::Part)),
        ] {
            assert_eq!(at(query), expected, "{query}");
        }
        let skips =
            ["YES", "v2", "yes", "NO", ""].map(|value| parse_query(&format!("_HLS_skip={value}")).skip);
        assert_eq!(skips, [true, true, false, false, false]);
        assert!(parse_query("a=b&_AQ_hold=1").hold && !parse_query("_AQ_hold=0").hold);
    }

    #[test]
    fn a_cmcd_session_is_found_in_either_carrier() {
        for (query, session) in [
            ("CMCD=bl%3D1200%2Csid%3D%225f0c%22%2Cst%3Dll", Some("5f0c")),
            ("a=b&CMCD=sid%3D%225f0c%22", Some("5f0c")),
            ("CMCD=cid%3D%22sid%3D%22%22", None),
            ("CMCD=sid%3D%22%22", None),
            ("CMCD=sid%3D%22open", None),
            ("CMCD=br%3D1", None),
            ("sid%3D%22x%22", None),
        ] {
            assert_eq!(query_session(query), session, "{query}");
        }
        assert_eq!(header_session("cid=\"s7k2\", sid=\"5f0c\",st=ll"), Some("5f0c"));
        assert_eq!(header_session("cid=\"sid=\""), None);
    }

    proptest! {
        #[test]
        fn nothing_that_is_parsed_climbs_or_hides(path in "/(%[0-9a-fA-F]{2}|[a-c./%\\\\]|\\PC){0,40}", query in "\\PC{0,60}") {
            if let Ok(target) = parse(&path, Some(&query)) {
                let text = match &target { Target::Page(path) | Target::Object { path, .. } => path };
                prop_assert!(!text.split('/').any(|segment| matches!(segment, "." | "..")));
                prop_assert!(!text.contains("//") && !text.contains('\\') && !text.contains('\0'));
                if let Some((stream, below)) = target.object() {
                    prop_assert_eq!(format!("/{stream}/{below}"), text.to_string());
                    prop_assert_eq!(stream.matches('/').count(), 1);
                    prop_assert!(!below.is_empty());
                }
            }
            let _ = (query_session(&query), header_session(&query));
        }

        #[test]
        fn a_ticket_never_reaches_what_is_looked_up(
            ticket in "[A-Za-z0-9._~-]{1,20}|\\PC{0,8}",
            path in "/(t|%74|%2f|\\.|[a-c/%]){0,30}",
        ) {
            let whole = format!("/t/{ticket}{path}");
            if let Ok((found, target)) = read(&whole, None) {
                let found = found.expect("a path below /t/ is read with its ticket");
                let begins = format!("/t/{}/", found.expose());
                prop_assert!(!found.expose().contains('/') && whole.starts_with(&begins));
                let rest = &whole[begins.len() - 1..];
                prop_assert_eq!(parse(rest, None), Ok(target.clone()));
                prop_assert!(!target.path().starts_with("/t/"));
            }
        }
    }
}
