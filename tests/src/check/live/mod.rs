//! A live stream, followed the way the strictest player would and probed beside.

mod follow;
mod headers;
mod probe;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::linter::Linter;
use super::multivariant::{Entry, Multivariant};
use super::report::Report;
use super::rule::{self, Rule};
use crate::fetch::{Answer, Client};
use crate::{Outcome, now};

/// How to check.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long the stream is followed.
    pub span: Duration,
    /// How long to wait for the stream to be there at first.
    pub wait: Duration,
    /// Speak HTTP/2.
    pub http2: bool,
    /// Send the requests that a healthy player never sends, and look at how they are refused.
    pub probes: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { span: Duration::from_secs(10), wait: Duration::from_secs(15), http2: false, probes: true }
    }
}

/// How often the multivariant playlist is looked at for renditions that are new.
const INDEX_EVERY: Duration = Duration::from_secs(2);

/// Follows the stream of this multivariant playlist and says what was found.
///
/// # Errors
///
/// When the stream is not there, or the server is not. What the stream does wrong is in the report instead.
pub async fn check(url: &str, options: Options) -> Outcome<Report> {
    let client = if options.http2 { Client::http2() } else { Client::new() };
    let run = Run {
        client: Arc::new(client),
        linter: Arc::new(Mutex::new(Linter::default())),
        index: Arc::from(url),
        start: now(),
        until: now() + options.wait + options.span,
    };
    let (entries, run) = run.open(url, options).await?;
    follow_all(&run, entries, options.probes).await?;
    // A server that has stopped meanwhile cannot take anything back.
    let _ = run.reload_index().await;
    let linter = run.linter.lock().map(|mut linter| std::mem::take(&mut *linter)).unwrap_or_default();
    Ok(linter.report(run.at()))
}

/// Follows these renditions, and those that come meanwhile.
async fn follow_all(run: &Run, entries: Vec<Entry>, probes: bool) -> Outcome {
    let mut tasks: JoinSet<Outcome> = JoinSet::new();
    let (mut known, mut coming, mut failed) = (HashSet::new(), entries, None);
    loop {
        for entry in coming.drain(..).filter(|entry| known.insert(entry.url.clone())) {
            let run = run.clone();
            tasks.spawn(async move { follow::follow(&run, &entry, probes).await });
        }
        tokio::select! {
            done = tasks.join_next() => match done {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => failed = failed.or(Some(error)),
                Some(Err(error)) => failed = failed.or(Some(error.into())),
                None => return failed.map_or(Ok(()), Err),
            },
            () = tokio::time::sleep(INDEX_EVERY), if !run.over() => {
                coming = run.reload_index().await.unwrap_or_default();
            }
        }
    }
}

/// What all tasks of a check share.
#[derive(Clone)]
struct Run {
    client: Arc<Client>,
    linter: Arc<Mutex<Linter>>,
    index: Arc<str>,
    start: Instant,
    until: Instant,
}

impl Run {
    /// Fetches the multivariant playlist as soon as it is there; the span counts from then.
    async fn open(mut self, url: &str, options: Options) -> Outcome<(Vec<Entry>, Self)> {
        let deadline = now() + options.wait;
        let answer = loop {
            let answer = self.client.send(Method::GET, url, &[("accept-encoding", "gzip")]).await?;
            if answer.status.is_success() {
                break answer;
            }
            if now() >= deadline {
                return Err(format!("{url} answers {} and not a playlist", answer.status).into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        self.until = now() + options.span;
        let multivariant = self.judge_index(&answer)?;
        if multivariant.entries.is_empty() {
            return Err(format!("{url} names no media playlist").into());
        }
        if options.probes {
            probe::multivariant(&self, url).await?;
        }
        Ok((multivariant.entries, self))
    }

    fn judge_index(&self, answer: &Answer) -> Outcome<Multivariant> {
        let (text, at) = (answer.text()?, self.at());
        self.note_headers(&self.index, headers::playlist(answer, headers::List::Multivariant));
        Ok(self.with(|linter| linter.multivariant(&self.index, &text, at)))
    }

    /// Takes the multivariant playlist again: with a new init segment its promises may be new ones, and renditions
    /// come and go.
    async fn reload_index(&self) -> Outcome<Vec<Entry>> {
        let answer = self.client.send(Method::GET, &self.index, &[("accept-encoding", "gzip")]).await?;
        if answer.status.is_success() {
            return Ok(self.judge_index(&answer)?.entries);
        }
        Ok(Vec::new())
    }

    fn at(&self) -> Duration {
        self.since(now())
    }

    fn since(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.start)
    }

    fn over(&self) -> bool {
        now() >= self.until
    }

    fn with<T: Default>(&self, act: impl FnOnce(&mut Linter) -> T) -> T {
        self.linter.lock().map(|mut linter| act(&mut linter)).unwrap_or_default()
    }

    fn note(&self, rule: Rule, place: &str, detail: &str) {
        let at = self.at();
        self.with(|linter| linter.note(rule, place, detail, at));
    }

    fn note_headers(&self, place: &str, found: Vec<(Rule, String)>) {
        for (rule, detail) in found {
            self.note(rule, place, &detail);
        }
    }

    /// Fetches something that is listed: it has to be there.
    async fn listed(&self, playlist: &str, url: &str) -> Option<Answer> {
        match self.client.get(url).await {
            Ok(answer) if answer.status == http::StatusCode::OK => Some(answer),
            Ok(answer) => {
                self.note(rule::UNFETCHABLE, playlist, &format!("{url}: {}", answer.status));
                None
            }
            Err(error) => {
                self.note(rule::UNFETCHABLE, playlist, &format!("{url}: {error}"));
                None
            }
        }
    }
}
