//! One request, from its head to its response.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use aqueduct_common::event::EventSender;
use aqueduct_common::object::ObjectKind;
use http::header::{AGE, HOST, USER_AGENT};
use http::{HeaderMap, Method, Response, request};
use tokio_util::sync::CancellationToken;

use crate::audience::{Audience, Demand};
use crate::body::Body;
use crate::config::Limits;
use crate::conn::Conn;
use crate::crowd::Crowd;
use crate::entrance::Entrance;
use crate::entry::{Entry, Text};
use crate::pages::{Page, Pages, Service};
use crate::refuse::Refusal;
use crate::report::Posted;
use crate::respond::{self, Ask};
use crate::route::{self, At, Target};
use crate::steering::{self, Steering};
use crate::store::Store;
use crate::stream::{Answer, Stream};
use crate::tally::{Class, Protocol, Shed, Tally};
use crate::token::{Access, Denied};

/// Longest head of a request, in bytes (EDGE-36).
const MAX_HEAD: usize = 16 * 1_024;
/// How long a request may wait for its stream to come on air.
const STREAM_HOLD: Duration = Duration::from_secs(5);
/// The same where the stream comes on air because somebody asks: a camera is connected to, and its keyframe awaited.
const EXPECTED_HOLD: Duration = Duration::from_secs(9);
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

    async fn object(
        &self,
        conn: &Arc<Conn>,
        name: &str,
        path: &str,
        ask: &mut Ask<'_>,
        query: Option<&str>,
    ) -> Outcome {
        let found = match self.stream(conn, name, path, ask).await {
            Ok(stream) => self.entry(conn, &stream, path, ask, query).await.map(|entry| (stream, entry)),
            Err(refusal) => Err(refusal),
        };
        let (stream, entry) = match found {
            Ok(found) => found,
            Err(refusal) => return Outcome::refused(refusal, ask.held),
        };
        self.pass_on(conn, stream.name(), ask.headers, query);
        if matches!(entry.kind(), ObjectKind::Part | ObjectKind::Segment) {
            stream.viewers().saw(self.viewer(conn, ask.headers, query));
        }
        let mut result = respond::object(&entry, ask)
            .map(|response| response.map(|body| body.by(self.access.leave(ask.pass))));
        if let (Ok(response), Some(age), Some(_)) = (&mut result, stream.cut_off(), entry.list()) {
            // It is as old as the way to the origin is cut (EDGE-5).
            response.headers_mut().insert(AGE, age.as_secs().into());
        }
        Outcome { class: entry.kind().into(), held: ask.held, result }
    }

    /// The stream, after waiting for it to come on air if that is asked.
    async fn stream(
        &self,
        conn: &Arc<Conn>,
        name: &str,
        path: &str,
        ask: &mut Ask<'_>,
    ) -> Result<Arc<Stream>, Refusal> {
        let on_air = || self.store.find(name).filter(|stream| stream.is_on_air());
        if path.contains('/') || !(ask.query.hold || self.store.expects(name)) {
            if self.store.find(name).is_none() {
                self.summoned(conn, name, path, ask).await?;
            }
            return self.store.find(name).ok_or(Refusal::NoStream);
        }
        if let Some(stream) = on_air() {
            return Ok(stream);
        }
        let _called = self.call_for(conn, name);
        let arrival = self.store.await_stream(name).ok_or(Refusal::NoStream)?;
        // It may have come before there was anybody to tell.
        if let Some(stream) = on_air() {
            return Ok(stream);
        }
        let limit = if self.store.expects(name) { EXPECTED_HOLD } else { STREAM_HOLD };
        match self.hold(conn, limit, arrival.came(), ask).await {
            Ok(()) | Err(Refusal::HeldTooLong) => on_air().ok_or(Refusal::NoStream),
            Err(refusal) => Err(refusal),
        }
    }

    /// The object, after waiting for it if it is due.
    async fn entry(
        &self,
        conn: &Arc<Conn>,
        stream: &Stream,
        path: &str,
        ask: &mut Ask<'_>,
        query: Option<&str>,
    ) -> Result<Arc<Entry>, Refusal> {
        let at = ask.query.at.unwrap_or(At::Now);
        let mut answer = stream.read(path, at);
        if matches!(answer, Answer::NotFound)
            && self.summoned(conn, stream.name().as_str(), path, ask).await?
        {
            self.tally.fetched();
            answer = stream.read(path, at);
        }
        match answer {
            Answer::Stale => Err(Refusal::Stale),
            Answer::Ready(entry) => match ask.query.at {
                // Nobody minds directives where there is nothing to wait for (LLHLS-21).
                Err(bad) if entry.list().is_some_and(|list| !list.ended) => Err(bad.into()),
                _ => {
                    let viewer = || self.viewer(conn, ask.headers, query);
                    self.asked(stream, entry.audience(), false, viewer);
                    Ok(entry)
                }
            },
            Answer::TooFarAhead => Err(Refusal::TooFarAhead),
            Answer::Gone => Err(Refusal::Gone),
            Answer::NotFound => {
                let fetched = self.fetched(conn, stream.name(), path, ask).await?;
                fetched.ok_or(Refusal::NoObject)
            }
            Answer::Wait(waiter) => {
                let asleep = waiter.is_asleep();
                if let (true, Err(bad)) = (asleep, ask.query.at) {
                    return Err(bad.into());
                }
                let most = self.limits.held_per_rendition;
                let player = session(ask.headers, query)
                    .and_then(|session| self.player(stream.name().as_str(), path, session));
                let place = player.map(|player| self.crowd.enter(player, most));
                if let Some(None) = place {
                    self.tally.shed(Shed::Held);
                    return Err(Refusal::TooManyHeld);
                }
                let viewer = || self.viewer(conn, ask.headers, query);
                self.asked(stream, waiter.audience(), asleep, viewer);
                let limit = waiter.hold();
                let arrived = self.hold(conn, limit, waiter.arrived(), ask).await?;
                if asleep {
                    // The answer is the newest list, whole, and not the one version that was named.
                    ask.query = route::Query { hold: ask.query.hold, ..route::Query::default() };
                }
                arrived.ok_or(Refusal::NeverCame)
            }
        }
    }

    /// A playlist was asked for. Of one that sleeps it is told at once.
    fn asked(
        &self,
        stream: &Stream,
        audience: Option<&Arc<Audience>>,
        asleep: bool,
        viewer: impl FnOnce() -> u64,
    ) {
        let (Some(demand), Some(audience)) = (&self.demand, audience) else { return };
        audience.saw(viewer());
        if asleep && let Some(viewers) = audience.call(now()) {
            demand.asked(stream.name(), audience.demand(), viewers);
        }
    }

    /// Holds a request until something comes, within a limit, and notes how long it took. Who is cut off meanwhile is let
    /// go at once; a token that runs out meanwhile has been good enough (AUTH-15).
    pub(crate) async fn hold<T>(
        &self,
        conn: &Arc<Conn>,
        limit: Duration,
        until: impl Future<Output = T>,
        ask: &mut Ask<'_>,
    ) -> Result<T, Refusal> {
        let Some(_held) = conn.hold(self.limits.held_per_connection) else {
            self.tally.shed(Shed::Held);
            return Err(Refusal::TooManyHeld);
        };
        let begun = now();
        let result = tokio::select! {
            biased;
            () = self.access.withdrawn(ask.pass) => {
                self.tally.denied(Denied::Revoked);
                Err(Denied::Revoked.into())
            }
            come = until => Ok(come),
            () = self.draining.cancelled() => Err(Refusal::Draining),
            () = tokio::time::sleep(limit) => Err(Refusal::HeldTooLong),
        };
        ask.held += now().saturating_duration_since(begun);
        result
    }

    /// A player that tells its session, and the rendition that it waits for. Who tells none is bounded by its connection:
    /// behind one connection may be a proxy with many viewers.
    fn player(&self, name: &str, path: &str, session: &str) -> Option<u64> {
        let (rendition, _) = path.rsplit_once('/')?;
        Some(self.hashing.hash_one((session, name, rendition)))
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
mod tests {
    use aqueduct_common::object::{
        Ahead, ContentType, Object, ObjectPath, PlaylistInfo, Publish, Update, Version,
    };

    use super::*;
    use crate::allowance::Allowance;
    use crate::pages::NoPages;

    /// A stream of one playlist at part (10, 2), which hints a part.
    fn site() -> Arc<Site> {
        let store = Store::new();
        let list = PlaylistInfo {
            version: Version { msn: 10, part: 2, complete: false },
            delta: None,
            hint: Some(ObjectPath::new("e/next.m4s")),
            ahead: Ahead { parts: 30, hold: Duration::from_secs(8) },
            target_duration: Duration::from_secs(1),
            ended: false,
            needs: None,
            demand: None,
        };
        let object = Object {
            path: ObjectPath::new("e/media.m3u8"),
            kind: ObjectKind::Playlist,
            content_type: ContentType::Hls,
            body: vec!["#EXTM3U\n".into()],
            playlist: Some(list),
        };
        store.publish(&"live/show".parse().unwrap(), Update::Publish(object));
        let access = Access::open(crate::token::Plan::default()).unwrap();
        Arc::new(Site::new(store, Arc::new(NoPages), Limits::default(), access, None))
    }

    fn get(target: &str) -> request::Parts {
        http::Request::get(target).body(()).unwrap().into_parts().0
    }

    fn conn(site: &Site) -> Arc<Conn> {
        Arc::new(Conn::new([127, 0, 0, 1].into(), &site.tally, Arc::new(Allowance::new(100))))
    }

    /// The answer, how long it took, and what the headers say about asking again.
    #[expect(clippy::disallowed_methods, reason = "the paused clock of the test")]
    async fn ask(site: &Site, target: &str) -> (u16, u64, Option<String>) {
        let begun = tokio::time::Instant::now();
        let response = site.serve(&conn(site), get(target)).await;
        let retry = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), begun.elapsed().as_secs(), retry)
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_ends_at_its_limit() {
        let site = site();
        let again = Some("1".to_owned());
        // LLHLS-23: eight seconds for a playlist and for a hinted part, as the playlist says.
        assert_eq!(
            ask(&site, "/live/show/e/media.m3u8?_HLS_msn=10&_HLS_part=3").await,
            (503, 8, again.clone())
        );
        assert_eq!(ask(&site, "/live/show/e/next.m4s").await, (503, 8, again.clone()));
        // A stream that does not come on air.
        assert_eq!(ask(&site, "/live/none/index.m3u8?_AQ_hold=1").await, (404, 5, again.clone()));
        assert_eq!(ask(&site, "/live/show/index.m3u8?_AQ_hold=1").await, (404, 5, again.clone()));
        assert_eq!(ask(&site, "/live/none/index.m3u8").await, (404, 0, again));
        assert_eq!(site.tally.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_every_hold_at_once() {
        let site = site();
        let held: Vec<_> = [
            "/live/show/e/media.m3u8?_HLS_msn=10",
            "/live/show/e/next.m4s",
            "/live/no/index.m3u8?_AQ_hold=1",
        ]
        .map(|target| {
            let site = site.clone();
            tokio::spawn(async move { ask(&site, target).await })
        })
        .into();
        while site.tally.held() < 3 {
            tokio::task::yield_now().await;
        }
        site.draining.cancel();
        for answer in held {
            assert_eq!(answer.await.unwrap(), (503, 0, Some("0".to_owned())));
        }
        // What needs no waiting is still answered.
        assert_eq!(ask(&site, "/live/show/e/media.m3u8").await.0, 200);
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_leaves_nothing() {
        let site = site();
        let conn = conn(&site);
        {
            let mut answer = std::pin::pin!(site.serve(&conn, get("/live/show/e/next.m4s")));
            tokio::select! { biased; _ = answer.as_mut() => unreachable!(), () = std::future::ready(()) => {} }
            assert_eq!((site.tally.held(), conn.reading().busy), (1, true));
        }
        assert_eq!((site.tally.held(), conn.reading().busy), (0, false));
    }
}
