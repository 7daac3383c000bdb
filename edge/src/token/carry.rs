//! Where in a request a ticket travels (AUTH-11). Pure.
//!
//! In the path it is inherited by every relative URI, so that playlists stay the same for everybody. In the query it is
//! only for whoever cannot write paths: such a request is sent on to the path form. A cookie works for pages of this host,
//! a header for programs.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use super::ticket::Ticket;

/// The cookie's name.
pub const COOKIE_NAME: &str = "aqueduct_token";

/// Where a ticket was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// `/t/TICKET/…`
    Path,
    /// `?tk=TICKET`, or `?e=…&k=…&p=…&s=…` of a signed URL.
    Query,
    /// `Cookie: aqueduct_token=TICKET`
    Cookie,
    /// `Authorization: Bearer TICKET`
    Header,
}

/// What a request shows.
pub struct Shown<'a> {
    /// The text of the ticket, of whatever form.
    pub text: Cow<'a, str>,
    /// The path prefix that a signed URL names (`p`).
    pub prefix: Option<Cow<'a, str>>,
    /// Where it was.
    pub place: Place,
}

/// What a request shows. Of several the first counts: path, query, cookie, header.
pub fn shown<'a>(
    ticket: Option<Ticket<'a>>,
    query: Option<&'a str>,
    headers: &'a HeaderMap,
) -> Option<Shown<'a>> {
    if let Some(ticket) = ticket {
        return Some(Shown { text: ticket.expose().into(), prefix: None, place: Place::Path });
    }
    if let Some(shown) = query.and_then(in_query) {
        return Some(shown);
    }
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    if let Some((_, text)) = pairs.find(|(name, _)| *name == COOKIE_NAME) {
        return Some(Shown { text: text.into(), prefix: None, place: Place::Cookie });
    }
    let (scheme, text) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let bearer = scheme.eq_ignore_ascii_case("Bearer");
    bearer.then_some(Shown { text: text.trim().into(), prefix: None, place: Place::Header })
}

/// The ticket of a query: `tk`, or the parts of a signed URL, of which `e` and `s` must be there. The first of equal keys
/// counts.
pub fn in_query(query: &str) -> Option<Shown<'_>> {
    let value = |wanted: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == wanted).map(|(_, value)| unescape(value))
    };
    if let Some(text) = value("tk") {
        return Some(Shown { text, prefix: None, place: Place::Query });
    }
    let (expires, signature) = (value("e")?, value("s")?);
    let key = value("k").unwrap_or_default();
    let text = format!("v1~{key}~{expires}~{signature}").into();
    Some(Shown { text, prefix: value("p"), place: Place::Query })
}

/// A query without its ticket, which moves into the path.
pub fn without_ticket(query: &str) -> String {
    let signed = !query.split('&').any(|pair| pair.starts_with("tk="));
    let is_ticket = |pair: &&str| match pair.split_once('=') {
        Some(("tk", _)) => true,
        Some(("e" | "k" | "p" | "s", _)) => signed,
        _ => false,
    };
    query.split('&').filter(|pair| !is_ticket(pair)).collect::<Vec<_>>().join("&")
}

/// Undoes percent escapes, once; what is broken stays and fits no ticket.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                rest = &after[2..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned().into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_path_wins_over_the_query_over_the_cookie_over_the_header() {
        let all = headers(&[
            (COOKIE, "a=b; aqueduct_token=c.c.c;x=y"),
            (COOKIE, "aqueduct_token=d.d.d"),
            (AUTHORIZATION, "bearer h.h.h"),
        ]);
        let find = |path, query, headers: &HeaderMap| {
            shown(Ticket::new(path), query, headers).map(|shown| (shown.text.into_owned(), shown.place))
        };
        let found = |text: &str, place| Some((text.to_owned(), place));
        assert_eq!(find("p.p.p", Some("tk=q.q.q"), &all), found("p.p.p", Place::Path));
        assert_eq!(find("", Some("a=b&tk=q.q.q&tk=z"), &all), found("q.q.q", Place::Query));
        assert_eq!(find("", Some("x=tk=q"), &all), found("c.c.c", Place::Cookie));
        let only = headers(&[(AUTHORIZATION, "Bearer h.h.h")]);
        assert_eq!(find("", None, &only), found("h.h.h", Place::Header));
        let basic = headers(&[(AUTHORIZATION, "Basic h.h.h"), (COOKIE, "aqueduct_token2=x; other")]);
        assert_eq!(find("", None, &basic), None);
    }

    #[test]
    fn a_signed_url_is_one_ticket() {
        let signed = in_query("e=1763637600&p=%2Flive%2Fshow%2F&s=abc&k=shop").unwrap();
        assert_eq!(
            (&*signed.text, signed.prefix.as_deref()),
            ("v1~shop~1763637600~abc", Some("/live/show/"))
        );
        assert_eq!(in_query("e=1&s=x").unwrap().text, "v1~~1~x");
        for nothing in ["e=1", "s=1", "", "E=1&S=2", "tk"] {
            assert!(in_query(nothing).is_none(), "{nothing}");
        }
        assert_eq!(in_query("tk=v1%7Ek%7E1%7Es").unwrap().text, "v1~k~1~s");
    }

    #[test]
    fn a_query_goes_on_without_its_ticket() {
        for (query, rest) in [
            ("tk=a.b.c", ""),
            ("_HLS_msn=4&tk=a.b.c&_HLS_part=1", "_HLS_msn=4&_HLS_part=1"),
            ("tk=a.b.c&s=kept&tk=d", "s=kept"),
            ("e=1&p=%2F&k=a&s=x&_HLS_msn=4", "_HLS_msn=4"),
        ] {
            assert_eq!(without_ticket(query), rest);
        }
    }

    proptest! {
        #[test]
        fn nothing_in_a_query_panics(query in "([a-z]{1,2}=|&|%[0-9a-fA-F]{0,2}|~|\\PC){0,30}") {
            if let Some(shown) = in_query(&query) {
                prop_assert_eq!(shown.place, Place::Query);
                let _ = Ticket::new(&shown.text).map(Ticket::read);
            }
            prop_assert!(!without_ticket(&query).split('&').any(|pair| pair.starts_with("tk=")));
        }
    }
}
