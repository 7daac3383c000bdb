//! What players report of themselves, on its way to analytics: CMCD on requests, and bodies that are posted (QOE-1, QOE-12).
//!
//! Nothing is read here but which stream it is for. A report is a stranger's text of bounded length, and is dropped where
//! nobody keeps up.

use std::time::{Duration, SystemTime};

use aqueduct_common::event::{Carrier, Event, Report};
use aqueduct_common::{StreamName, WallTime};
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Response, StatusCode, request};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::body::Body;
use crate::conn::Conn;
use crate::entrance::Entrance;
use crate::refuse::Refusal;
use crate::respond;
use crate::site::Site;

/// Where reports are posted, below a stream.
const PATH: &str = "beacon";
/// Bytes of CMCD on one request; three times what a list may have, for escapes.
const MOST_CMCD: usize = 6 * 1_024;
/// The four headers (QOE-5).
const HEADERS: [&str; 4] = ["cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status"];

/// A body that was posted, or why there is none.
pub(crate) type Posted = Result<Bytes, Refusal>;

/// Reads a body of bounded length, in a bounded time.
pub(crate) async fn collect<B>(body: B, patience: Duration) -> Posted
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match tokio::time::timeout(patience, Limited::new(body, Report::MOST).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::BodySize),
        Ok(Err(_)) | Err(_) => Err(Refusal::NoBody),
    }
}

/// The CMCD that a request carries: the query's wins (QOE-1).
fn cmcd(headers: &HeaderMap, query: Option<&str>) -> Option<(Carrier, Box<str>)> {
    let in_query = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("CMCD=")));
    if let Some(text) = in_query.filter(|text| text.len() <= MOST_CMCD) {
        return Some((Carrier::Query, text.into()));
    }
    let shards: Vec<&str> = HEADERS
        .iter()
        .filter_map(|name| headers.get(*name))
        .filter_map(|value| value.to_str().ok())
        .collect();
    let length: usize = shards.iter().map(|shard| shard.len() + 1).sum();
    (!shards.is_empty() && length <= MOST_CMCD).then(|| (Carrier::Headers, shards.join(",").into()))
}

impl Site {
    /// Passes on what a request for an object says of its player.
    pub(crate) fn pass_on(&self, conn: &Conn, stream: &StreamName, headers: &HeaderMap, query: Option<&str>) {
        let Some(events) = self.reports.get() else { return };
        let Some((carrier, text)) = cmcd(headers, query) else { return };
        let viewer = self.viewer(conn, headers, query);
        events.send(Event::Report(Report { stream: stream.clone(), at: now(), viewer, carrier, text }));
    }

    /// Takes a report that was posted. 404 for a stream that is not here, so that nobody makes up names.
    pub(crate) fn posted(
        &self,
        conn: &Conn,
        request: &request::Parts,
        body: Posted,
    ) -> Result<Response<Body>, Refusal> {
        let target = match self.enter(conn, request)? {
            Entrance::Open(target, _) => target,
            Entrance::Moved(response) => return Ok(response),
        };
        let Some((name, PATH)) = target.object() else { return Err(Refusal::Method) };
        let stream = self.store.find(name).ok_or(Refusal::NoStream)?;
        let text = String::from_utf8(body?.into()).map_err(|_| Refusal::NoBody)?;
        let carrier = if text.trim_start().starts_with('{') { Carrier::Beacon } else { Carrier::Lines };
        if let Some(events) = self.reports.get() {
            let viewer = self.viewer(conn, &request.headers, request.uri.query());
            let report =
                Report { stream: stream.name().clone(), at: now(), viewer, carrier, text: text.into() };
            events.send(Event::Report(report));
        }
        let mut response = respond::bare(StatusCode::NO_CONTENT);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

#[expect(clippy::disallowed_methods, reason = "a report is stamped where it comes in")]
fn now() -> WallTime {
    WallTime::from_system(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[test]
    fn cmcd_is_taken_from_either_carrier_and_not_at_any_length() {
        let mut headers = HeaderMap::new();
        assert_eq!(cmcd(&headers, Some("_HLS_msn=3")), None);
        headers.insert("cmcd-session", HeaderValue::from_static("sid=\"a\""));
        headers.insert("cmcd-object", HeaderValue::from_static("br=1"));
        assert_eq!(cmcd(&headers, None), Some((Carrier::Headers, "br=1,sid=\"a\"".into())));
        assert_eq!(cmcd(&headers, Some("a=b&CMCD=bl%3D1")), Some((Carrier::Query, "bl%3D1".into())));
        let long = format!("CMCD={}", "a".repeat(MOST_CMCD + 1));
        assert_eq!(cmcd(&HeaderMap::new(), Some(&long)), None);
    }

    #[tokio::test]
    async fn a_body_is_read_within_bounds() {
        let patience = Duration::from_secs(10);
        let body = |length: usize| Full::new(Bytes::from(vec![b'a'; length]));
        assert_eq!(collect(body(Report::MOST), patience).await.unwrap().len(), Report::MOST);
        assert_eq!(collect(body(Report::MOST + 1), patience).await, Err(Refusal::BodySize));
    }
}
