//! Requests that get no object: status, and plain words on what to do.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};

use crate::body::Body;
use crate::entry::Blob;
use crate::respond::bare;
use crate::route::{BadDirective, BadTarget};
use crate::token::Denied;

/// Why a request gets no object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Bad request: {0}.")]
    Target(#[from] BadTarget),
    #[error("Bad request: {0}.")]
    Directive(#[from] BadDirective),
    #[error("Only GET, HEAD and OPTIONS are answered here, and reports of players at /APP/NAME/beacon.")]
    Method,
    #[error("A report has at most 16 KiB: send it in several.")]
    BodySize,
    #[error("The report did not come whole, or is no text.")]
    NoBody,
    #[error("The request's head is longer than 16 KiB: send fewer or shorter headers.")]
    HeadSize,
    #[error(
        "That is too far ahead of the playlist: load it without _HLS_msn and _HLS_part, and go on from there."
    )]
    TooFarAhead,
    #[error("No stream of this name is on air. Start publishing to it, or check the name.")]
    NoStream,
    #[error("This stream has no such object. Load its playlist again.")]
    NoObject,
    #[error("This part was announced and then not made. Load the playlist again.")]
    NeverCame,
    #[error("This object has left the stream's window. Load the playlist again.")]
    Gone,
    #[error("No server could be asked for this object. Ask again.")]
    Unreachable,
    #[error("Players are not steered here. Play on from where you are.")]
    NoSteering,
    #[error("There is no page here. Streams play at /watch/APP/NAME.")]
    NoPage,
    #[error("Nothing new came in time; the publisher may be away for a moment. Ask again.")]
    HeldTooLong,
    #[error(
        "The way to the stream's origin is cut, and what is here is too old. Ask again, or ask another server."
    )]
    Stale,
    #[error("This server is about to stop. Ask again.")]
    Draining,
    #[error("Too many requests of this player are waiting already. Wait for their answers first.")]
    TooManyHeld,
    #[error("Too many requests come from this address. Ask again in a second.")]
    TooOften,
    #[error("The range lies beyond the object's {0} bytes.")]
    Range(u64),
    #[error("{0}.")]
    Denied(#[from] Denied),
}

impl Refusal {
    /// The status it is answered with.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Target(BadTarget::TooLong) => StatusCode::URI_TOO_LONG,
            Self::Target(_) | Self::Directive(_) | Self::TooFarAhead => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodySize => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoBody => StatusCode::BAD_REQUEST,
            Self::HeadSize => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoStream | Self::NoObject | Self::NeverCame | Self::NoPage => StatusCode::NOT_FOUND,
            Self::Gone | Self::NoSteering => StatusCode::GONE,
            Self::HeldTooLong | Self::Stale | Self::Unreachable | Self::Draining => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::TooManyHeld | Self::TooOften => StatusCode::TOO_MANY_REQUESTS,
            Self::Range(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Denied(denied) => denied.status(),
        }
    }

    /// When asking again makes sense, in seconds.
    fn retry_after(self) -> Option<HeaderValue> {
        match self {
            Self::HeldTooLong
            | Self::Stale
            | Self::Unreachable
            | Self::NoStream
            | Self::TooManyHeld
            | Self::TooOften
            | Self::Denied(Denied::Unready) => Some(HeaderValue::from_static("1")),
            Self::Draining => Some(HeaderValue::from_static("0")),
            _ => None,
        }
    }

    /// What is not here now may be here in a moment, so nobody may remember that it was missing (EDGE-4); what has
    /// expired never comes back (LLHLS-27).
    fn cache(self) -> HeaderValue {
        HeaderValue::from_static(if self == Self::Gone { "max-age=60" } else { "no-store" })
    }

    /// The whole response.
    pub(crate) fn response(self) -> Response<Body> {
        let text = Arc::new(Blob::new(vec![Bytes::from(format!("{self}\n"))]));
        let mut response = bare(self.status());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CONTENT_LENGTH, text.len().into());
        headers.insert(CACHE_CONTROL, self.cache());
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds);
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        match self {
            Self::Method => drop(headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"))),
            Self::Range(len) => {
                let value = HeaderValue::from_str(&format!("bytes */{len}")).expect("a number is plain text");
                headers.insert(CONTENT_RANGE, value);
            }
            _ => {}
        }
        *response.body_mut() = Body::whole(&text);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_do_and_is_not_remembered() {
        let cases = [
            (Refusal::Target(BadTarget::TooLong), 414, "no-store", None),
            (Refusal::Target(BadTarget::Dots), 400, "no-store", None),
            (Refusal::Directive(BadDirective::PartAlone), 400, "no-store", None),
            (Refusal::Method, 405, "no-store", None),
            (Refusal::BodySize, 413, "no-store", None),
            (Refusal::NoBody, 400, "no-store", None),
            (Refusal::HeadSize, 431, "no-store", None),
            (Refusal::TooFarAhead, 400, "no-store", None),
            (Refusal::NoStream, 404, "no-store", Some("1")),
            (Refusal::NoObject, 404, "no-store", None),
            (Refusal::NeverCame, 404, "no-store", None),
            (Refusal::Gone, 410, "max-age=60", None),
            (Refusal::NoPage, 404, "no-store", None),
            (Refusal::HeldTooLong, 503, "no-store", Some("1")),
            (Refusal::Stale, 503, "no-store", Some("1")),
            (Refusal::Unreachable, 503, "no-store", Some("1")),
            (Refusal::Draining, 503, "no-store", Some("0")),
            (Refusal::TooManyHeld, 429, "no-store", Some("1")),
            (Refusal::TooOften, 429, "no-store", Some("1")),
            (Refusal::Range(7), 416, "no-store", None),
            (Refusal::Denied(Denied::Missing), 401, "no-store", None),
            (Refusal::Denied(Denied::Stream), 403, "no-store", None),
            (Refusal::Denied(Denied::Unready), 503, "no-store", Some("1")),
        ];
        for (refusal, status, cache, retry) in cases {
            let response = refusal.response();
            let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(response.status().as_u16(), status, "{refusal:?}");
            assert_eq!(header("cache-control").as_deref(), Some(cache), "{refusal:?}");
            assert_eq!(header("retry-after").as_deref(), retry, "{refusal:?}");
            assert_eq!(header("access-control-allow-origin").as_deref(), Some("*"), "{refusal:?}");
            assert_eq!(header("www-authenticate").is_some(), status == 401, "{refusal:?}");
            assert_eq!(header("content-length"), Some((refusal.to_string().len() + 1).to_string()));
        }
    }
}
