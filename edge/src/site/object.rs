//! What a stream consists of: found, waited for where it is due, and answered.

use std::future::Future;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::object::ObjectKind;
use http::header::AGE;

use super::{Outcome, Site, now, session};
use crate::audience::Audience;
use crate::conn::Conn;
use crate::entry::Entry;
use crate::refuse::Refusal;
use crate::respond::{self, Ask};
use crate::route::{self, At};
use crate::stream::{Answer, Stream};
use crate::tally::Shed;
use crate::token::Denied;

/// How long a request may wait for its stream to come on air.
const STREAM_HOLD: Duration = Duration::from_secs(5);
/// The same where the stream comes on air because somebody asks: a camera is connected to, and its keyframe awaited.
const EXPECTED_HOLD: Duration = Duration::from_secs(9);

impl Site {
    pub(super) async fn object(
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
}
