//! One request, from its head to its response.

mod object;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use aqueduct_common::event::EventSender;
use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, Method, Response, request};
use tokio_util::sync::CancellationToken;

use crate::audience::Demand;
use crate::body::Body;
use crate::config::Limits;
use crate::conn::Conn;
use crate::crowd::Crowd;
use crate::entrance::Entrance;
use crate::entry::Text;
use crate::pages::{Page, Pages, Service};
use crate::refuse::Refusal;
use crate::report::Posted;
use crate::respond::{self, Ask};
use crate::route::{self, Target};
use crate::steering::{self, Steering};
use crate::store::Store;
use crate::tally::{Class, Protocol, Shed, Tally};
use crate::token::Access;

/// Longest head of a request, in bytes (EDGE-36).
const MAX_HEAD: usize = 16 * 1_024;
/// Page files that are kept in compressed form.
const MAX_PRESSED: usize = 64;

/// What all connections serve.
pub(crate) struct Site {
    pub(crate) store: Store,
    pub(crate) pages: Arc<dyn Pages>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) limits: Limits,
    /// Who may watch what.
    pub(crate) access: Access,
    /// Hears which playlists are asked for.
    pub(crate) demand: Option<Arc<dyn Demand>>,
    /// Where players are told which group of edges to play from.
    pub(crate) steering: OnceLock<Arc<Steering>>,
    /// Where players' reports go.
    pub(crate) reports: OnceLock<EventSender>,
    /// What is answered for who asks.
    pub(crate) service: OnceLock<Arc<dyn Service>>,
    /// Cancelled when the server stops: who is held is let go.
    pub(crate) draining: CancellationToken,
    /// Page files by place and length. Each keeps its bytes, so a place is not reused while it is here.
    pressed: Mutex<HashMap<(usize, usize), Arc<Text>>>,
    /// Who waits for which rendition.
    crowd: Arc<Crowd>,
    /// Keys the hashes of viewers: nothing leads back to an address.
    hashing: RandomState,
}

/// A response, what it was for, and how long the request was held.
struct Outcome {
    class: Class,
    held: Duration,
    result: Result<Response<Body>, Refusal>,
}

impl Outcome {
    fn refused(refusal: Refusal, held: Duration) -> Self {
        Self { class: Class::Other, held, result: Err(refusal) }
    }
}

impl Site {
    pub(crate) fn new(
        store: Store,
        pages: Arc<dyn Pages>,
        limits: Limits,
        access: Access,
        demand: Option<Arc<dyn Demand>>,
    ) -> Self {
        Self {
            store,
            pages,
            tally: Arc::default(),
            limits,
            access,
            demand,
            steering: OnceLock::new(),
            reports: OnceLock::new(),
            service: OnceLock::new(),
            draining: CancellationToken::new(),
            pressed: Mutex::default(),
            crowd: Arc::default(),
            hashing: RandomState::new(),
        }
    }

    /// Answers one request. Dropping the future frees everything that it holds.
    pub(crate) async fn serve(&self, conn: &Arc<Conn>, request: request::Parts) -> Response<Body> {
        let begun = now();
        let protocol = Protocol::from(request.version);
        let _answering = conn.begin(protocol);
        let head = request.method == Method::HEAD;
        let outcome = self.answer(conn, &request, head).await;
        let mut response = outcome.result.unwrap_or_else(Refusal::response);
        let took = now().saturating_duration_since(begun).saturating_sub(outcome.held);
        if outcome.class.is_object() {
            respond::timed(&mut response, outcome.held, took);
        }
        conn.sheet().request(outcome.class, response.status().as_u16(), protocol, took);
        if head {
            return respond::without_body(response);
        }
        response.map(|body| body.of(outcome.class).through(|| conn.send()))
    }

    /// Answers a request with a body, which is a player's report.
    pub(crate) fn serve_posted(
        &self,
        conn: &Arc<Conn>,
        request: &request::Parts,
        body: Posted,
    ) -> Response<Body> {
        let begun = now();
        let protocol = Protocol::from(request.version);
        let _answering = conn.begin(protocol);
        let result = if conn.may_ask() {
            self.posted(conn, request, body)
        } else {
            self.tally.shed(Shed::RequestRate);
            Err(Refusal::TooOften)
        };
        let response = result.unwrap_or_else(Refusal::response);
        let took = now().saturating_duration_since(begun);
        conn.sheet().request(Class::Other, response.status().as_u16(), protocol, took);
        response.map(|body| body.of(Class::Other).through(|| conn.send()))
    }

    async fn answer(&self, conn: &Arc<Conn>, request: &request::Parts, head: bool) -> Outcome {
        let uri = &request.uri;
        if !conn.may_ask() {
            self.tally.shed(Shed::RequestRate);
            return Outcome::refused(Refusal::TooOften, Duration::ZERO);
        }
        if request.method == Method::OPTIONS {
            return Outcome { class: Class::Other, held: Duration::ZERO, result: Ok(respond::preflight()) };
        }
        if !head && request.method != Method::GET {
            return Outcome::refused(Refusal::Method, Duration::ZERO);
        }
        if head_len(&request.headers) > MAX_HEAD {
            self.tally.shed(Shed::HeadSize);
            return Outcome::refused(Refusal::HeadSize, Duration::ZERO);
        }
        let (target, pass) = match self.enter(conn, request) {
            Ok(Entrance::Open(target, pass)) => (target, pass),
            Ok(Entrance::Moved(response)) => {
                return Outcome { class: Class::Other, held: Duration::ZERO, result: Ok(response) };
            }
            Err(refusal) => return Outcome::refused(refusal, Duration::ZERO),
        };
        let query = match target {
            Target::Object { query, .. } => query,
            Target::Page(_) => route::Query::default(),
        };
        let mut ask = Ask { query, head, headers: &request.headers, held: Duration::ZERO, pass: &pass };
        match target.object() {
            Some((_, steering::PATH)) => self.steer(conn, request, &ask),
            Some((stream, path)) => self.object(conn, stream, path, &mut ask, uri.query()).await,
            None => self.page(conn, target.path(), &ask).await,
        }
    }

    /// Tells a player which group of edges to play from (LLHLS-36). It may ask whether or not the stream is here.
    fn steer(&self, conn: &Conn, request: &request::Parts, ask: &Ask<'_>) -> Outcome {
        let (uri, headers) = (&request.uri, &request.headers);
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let authority = uri.authority().map(|authority| authority.as_str()).or(host).unwrap_or_default();
        let player = self.viewer(conn, headers, uri.query());
        let told = self.steering.get().and_then(|steering| {
            steering.answer(uri.path(), uri.query().unwrap_or_default(), authority, player)
        });
        // 410 ends a player's steering for good.
        let result = told.map(respond::steering).ok_or(Refusal::NoSteering);
        Outcome { class: Class::Other, held: ask.held, result }
    }

    async fn page(&self, conn: &Conn, path: &str, ask: &Ask<'_>) -> Outcome {
        if let Some(service) = self.service.get()
            && let Some(answer) = service.answer(path, ask.headers, conn.peer())
        {
            let response = respond::service(answer.await);
            return Outcome { class: Class::Page, held: ask.held, result: Ok(response) };
        }
        let Some(page) = self.pages.find(path) else { return Outcome::refused(Refusal::NoPage, ask.held) };
        let text = self.pressed(&page);
        let response = respond::page(&text, page.content_type, page.immutable, ask);
        Outcome { class: Class::Page, held: ask.held, result: Ok(response) }
    }

    /// A page's bytes with their compressed form, which is made once per file.
    fn pressed(&self, page: &Page) -> Arc<Text> {
        let mut pressed = self.pressed.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (page.body.as_ptr() as usize, page.body.len());
        if pressed.len() >= MAX_PRESSED && !pressed.contains_key(&place) {
            pressed.clear();
        }
        pressed.entry(place).or_insert_with(|| Arc::new(Text::new(vec![page.body.clone()]))).clone()
    }

    /// Who asks, as far as it matters for counting: the CMCD session, or address and user agent (QOE-23).
    pub(crate) fn viewer(&self, conn: &Conn, headers: &HeaderMap, query: Option<&str>) -> u64 {
        match session(headers, query) {
            Some(session) => self.hashing.hash_one(session),
            None => {
                self.hashing.hash_one((conn.peer(), headers.get(USER_AGENT).map(|value| value.as_bytes())))
            }
        }
    }
}

/// The CMCD session.
fn session<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<&'a str> {
    let header = || headers.get("cmcd-session").and_then(|value| route::header_session(value.to_str().ok()?));
    query.and_then(route::query_session).or_else(header)
}

fn head_len(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

#[expect(clippy::disallowed_methods, reason = "how long a request took is measured where it is answered")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
