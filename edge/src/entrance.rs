//! The way in: what a request asks for, and what lets its viewer at it.

use http::{Response, request};

use crate::body::Body;
use crate::conn::Conn;
use crate::refuse::Refusal;
use crate::respond;
use crate::route::{self, BadTarget, Target};
use crate::site::Site;
use crate::tally::Shed;
use crate::token::{self, Denied, Pass, Place, Ticket};

/// How a request goes on.
pub(crate) enum Entrance<'a> {
    /// To what it asks for.
    Open(Target<'a>, Pass),
    /// To the same under another URL.
    Moved(Response<Body>),
}

impl Site {
    /// Reads a request's target and lets it on before anything is looked up, so that nobody learns what there is
    /// (AUTH-24). Who is refused is counted.
    pub(crate) fn enter<'a>(
        &self,
        conn: &Conn,
        request: &'a request::Parts,
    ) -> Result<Entrance<'a>, Refusal> {
        let uri = &request.uri;
        let (ticket, target) = route::read(uri.path(), uri.query()).inspect_err(|error| {
            self.tally.shed(if *error == BadTarget::TooLong { Shed::UrlSize } else { Shed::Url });
        })?;
        let entrance = self.admit(conn, ticket, target, request);
        Ok(entrance.inspect_err(|denied| self.tally.denied(*denied))?)
    }

    /// A ticket in the query moves into the path; that of a watch page unread, for its requests will show it.
    fn admit<'a>(
        &self,
        conn: &Conn,
        ticket: Option<Ticket<'_>>,
        target: Target<'a>,
        request: &request::Parts,
    ) -> Result<Entrance<'a>, Denied> {
        let query = request.uri.query();
        let moved = |text: &str| {
            let query = query.map(token::without_ticket).unwrap_or_default();
            let response = respond::to_path_form(text, request.uri.path(), &query);
            response.map(Entrance::Moved).ok_or(Denied::Malformed)
        };
        let Some((stream, _)) = target.object().filter(|(stream, _)| self.access.protects(stream)) else {
            let is_watch = ticket.is_none() && target.path().starts_with("/watch/");
            let shown = query.filter(|_| is_watch).and_then(token::in_query);
            return match shown.filter(|shown| Ticket::new(&shown.text).is_some()) {
                Some(shown) => moved(&shown.text),
                None => Ok(Entrance::Open(target, Pass::default())),
            };
        };
        let shown = token::shown(ticket, query, &request.headers);
        let pass = self.access.admit(stream, shown.as_ref(), conn.peer(), unix_now())?;
        match shown {
            Some(shown) if shown.place == Place::Query => moved(&shown.text),
            _ => Ok(Entrance::Open(target, pass)),
        }
    }
}

/// Seconds since 1970, by which tokens live.
#[expect(clippy::disallowed_methods, reason = "tokens name the time of day")]
fn unix_now() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
