//! Sources that are pulled: one task each, kept at work for as long as they are wanted.

mod backoff;
mod config;
mod fault;
mod guard;
pub(super) mod session;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use aqueduct_common::event::{Advice, EventSender, Protocol, SourceChange};
use aqueduct_common::{Event, SourceName, StreamName};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{PullConfig, PullError, PullPlan, Start, Transport};

use crate::config::Plan;
use crate::server::clock;
use crate::stream::{Lease, PublishRequest, Refusal, Streams};
use backoff::Backoff;
use fault::Fault;
use session::{Source, end_of};
pub use view::{PullState, PullView};

/// Sources at a time; each holds two sockets and a task.
pub const SOURCES_MAX: usize = 1_000;
/// How long the registry may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long sources have to say goodbye when the server stops.
const DRAIN: Duration = Duration::from_secs(2);
/// A source that is pulled while watched goes on for so long after the last viewer.
const LINGER: Duration = Duration::from_secs(60);
/// A problem is told again after this while it lasts.
const REMIND: Duration = Duration::from_secs(10);

/// Why a source is not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddError {
    /// There is one of this name for its stream.
    #[error(
        "a source of this name is there for this stream: give it another name, or remove the other first"
    )]
    Exists,
    /// There are as many as are taken.
    #[error("no more than {SOURCES_MAX} sources are pulled")]
    TooMany,
}

/// Handle of all sources. Clones share them.
#[derive(Clone)]
pub struct Pulls {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Pulls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pulls").field("count", &lock(&self.shared.entries).len()).finish()
    }
}

struct Shared {
    entries: Mutex<BTreeMap<(StreamName, SourceName), Entry>>,
    tasks: TaskTracker,
    streams: Streams,
    events: EventSender,
    /// Whom `rtsps://` trusts: read when it is first needed.
    tls: OnceLock<Arc<rustls::ClientConfig>>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Entry {
    pull: Arc<Pull>,
    stop: CancellationToken,
}

/// One source, shared by its task and whoever looks at it.
#[derive(Debug)]
struct Pull {
    plan: PullPlan,
    state: Mutex<PullState>,
    /// When it was last asked for.
    wanted: Mutex<Option<Instant>>,
    woken: Notify,
}

impl Pulls {
    /// The sources of `plan`. They end with `stop`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(plan: &Plan, streams: Streams, events: EventSender, stop: CancellationToken) -> Self {
        let (entries, tasks, tls) = (Mutex::default(), TaskTracker::new(), OnceLock::new());
        let pulls = Self { shared: Arc::new(Shared { entries, tasks, streams, events, tls, stop }) };
        for source in &plan.cameras {
            if let Err(error) = pulls.add(source.clone()) {
                tracing::warn!(stream = %source.stream, %error, "a source is left out");
            }
        }
        pulls
    }

    /// Begins to pull a source.
    ///
    /// # Errors
    /// When its stream has one of this name already, or there are too many.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn add(&self, plan: PullPlan) -> Result<(), AddError> {
        let mut entries = lock(&self.shared.entries);
        let key = (plan.stream.clone(), plan.source.clone());
        if entries.contains_key(&key) {
            return Err(AddError::Exists);
        }
        if entries.len() >= SOURCES_MAX {
            return Err(AddError::TooMany);
        }
        let stop = self.shared.stop.child_token();
        let (state, wanted, woken) = (Mutex::default(), Mutex::default(), Notify::new());
        let pull = Arc::new(Pull { plan, state, wanted, woken });
        entries.insert(key, Entry { pull: pull.clone(), stop: stop.clone() });
        let worker = Worker { pull, shared: self.shared.clone(), backoff: Backoff::default(), told: None };
        self.shared.tasks.spawn(worker.run(stop));
        Ok(())
    }

    /// Ends a stream's sources, or the one of this name. The stream waits for the grace time, as if its publisher had
    /// left. `false` where there is none.
    pub fn remove(&self, stream: &StreamName, source: Option<&str>) -> bool {
        let mut entries = lock(&self.shared.entries);
        let before = entries.len();
        entries.retain(|(of, name), entry| {
            let ends = of == stream && source.is_none_or(|source| name.as_str() == source);
            if ends {
                entry.stop.cancel();
            }
            !ends
        });
        entries.len() < before
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<PullView> {
        let view = |entry: &Entry| PullView {
            stream: entry.pull.plan.stream.to_string(),
            source: entry.pull.plan.source.to_string(),
            host: entry.pull.plan.place(),
            transport: entry.pull.plan.transport,
            start: entry.pull.plan.start,
            state: lock(&entry.pull.state).clone(),
        };
        lock(&self.shared.entries).values().map(view).collect()
    }

    /// Streams that are pulled while somebody watches.
    pub fn on_watch(&self) -> Vec<StreamName> {
        let entries = lock(&self.shared.entries);
        let on_watch = |entry: &&Entry| entry.pull.plan.start == Start::OnWatch;
        entries.values().filter(on_watch).map(|entry| entry.pull.plan.stream.clone()).collect()
    }

    /// Somebody asks for a stream. `true` where a source of it is, or is to be, pulled for that.
    pub fn want(&self, stream: &StreamName) -> bool {
        let entries = lock(&self.shared.entries);
        let mut any = false;
        for entry in entries.values().filter(|entry| entry.pull.plan.stream == *stream) {
            if entry.pull.plan.start == Start::OnWatch {
                *lock(&entry.pull.wanted) = Some(clock().0);
                entry.pull.woken.notify_one();
                any = true;
            }
        }
        any
    }

    /// Waits until the stop, and then until every source has ended.
    pub async fn run(self) {
        self.shared.stop.cancelled().await;
        self.shared.tasks.close();
        if tokio::time::timeout(DRAIN, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.shared.tasks.len(), "sources did not end in time");
        }
    }
}

/// A source's task.
struct Worker {
    pull: Arc<Pull>,
    shared: Arc<Shared>,
    backoff: Backoff,
    /// The problem that was told last, and when.
    told: Option<(Fault, Instant)>,
}

impl Worker {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            self.show(PullState::Asleep);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.pull.is_wanted() => {}
            }
            self.show(PullState::Connecting);
            let Some(fault) = self.session(&stop).await else {
                if stop.is_cancelled() {
                    return;
                }
                continue;
            };
            let retry = self.backoff.failed(&fault, random());
            self.tell(&fault, retry);
            let until = clock().0 + retry;
            loop {
                let now = clock().0;
                let Some(left) = until.checked_duration_since(now).filter(|left| !left.is_zero()) else {
                    break;
                };
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(left.min(REMIND)) => self.advise(&fault),
                }
            }
        }
    }

    /// One session, in a task of its own: a panic in it costs this attempt. `None` where it ended as it should.
    async fn session(&mut self, stop: &CancellationToken) -> Option<Fault> {
        let (plan, tls) = (self.pull.plan.clone(), self.shared.trust(self.pull.plan.tls));
        let transcodes = self.shared.streams.transcodes();
        let mut opening = tokio::spawn(async move { session::open(&plan, tls.as_ref(), transcodes).await });
        let opened = tokio::select! {
            () = stop.cancelled() => {
                opening.abort();
                return None;
            }
            opened = &mut opening => opened,
        };
        let source = match opened {
            Ok(Ok(source)) => source,
            Ok(Err(fault)) => return Some(fault),
            Err(_) => return Some(Fault::Broken),
        };
        let request = PublishRequest {
            stream: self.pull.plan.stream.clone(),
            protocol: Protocol::Rtsp,
            encoder: format!("pulled from {}", self.pull.plan.place()),
            source: Some(self.pull.plan.source.clone()),
        };
        // A publisher that pushes was set to work by somebody; a source is always there.
        let lease = match tokio::time::timeout(PATIENCE, self.shared.streams.publish_if_free(request)).await {
            Ok(Ok(lease)) => lease,
            Ok(Err(Refusal::UnknownSource)) => return Some(Fault::Unlisted),
            Ok(Err(_)) | Err(_) => return Some(Fault::Busy),
        };
        self.show(PullState::Playing);
        self.play(source, lease, stop).await
    }

    async fn play(&mut self, source: Source, lease: Lease, stop: &CancellationToken) -> Option<Fault> {
        let (sender, mut goods) = tokio::sync::mpsc::channel(4);
        let leave = stop.child_token();
        let left = leave.clone();
        let task = tokio::spawn(async move {
            let mut lease = lease;
            // A report that nobody takes in time is followed by the next.
            let report = |at| sender.try_send(at).unwrap_or_default();
            let fault = tokio::select! {
                () = left.cancelled() => None,
                fault = source.play(&mut lease, report) => fault,
            };
            let revoked = lease.is_revoked();
            lease.end(end_of(fault.as_ref()));
            (fault, revoked)
        });
        // The sender ends with the task.
        while let Some(at) = goods.recv().await {
            self.backoff.good(at);
            self.told = None;
            if !self.pull.is_wanted_at(at) {
                leave.cancel();
            }
        }
        match task.await {
            Ok((None, true)) if !stop.is_cancelled() => Some(Fault::Busy),
            Ok((fault, _)) => fault,
            Err(_) => Some(Fault::Broken),
        }
    }

    fn show(&self, state: PullState) {
        *lock(&self.pull.state) = state;
    }

    /// Tells of a problem: once in the log while it stays the same, and as long as it lasts to whoever looks at the stream.
    fn tell(&mut self, fault: &Fault, retry: Duration) {
        let host = self.pull.plan.place();
        let problem = fault.text(&host);
        let retry_millis = u64::try_from(retry.as_millis()).unwrap_or(u64::MAX);
        let stream = &self.pull.plan.stream;
        let known = self.told.as_ref().is_some_and(|(told, _)| told == fault);
        if known {
            tracing::debug!(%stream, problem, retry_millis, "a source still fails");
        } else {
            tracing::warn!(%stream, problem, retry_millis, "a source fails");
        }
        self.told = Some((fault.clone(), clock().0));
        self.shared.events.send(Event::Refused { protocol: Protocol::Rtsp, reason: fault.label() });
        self.advise(fault);
        self.show(PullState::Failing { problem, retry_millis });
    }

    fn advise(&self, fault: &Fault) {
        let problem = fault.text(&self.pull.plan.place());
        let PullPlan { stream, source, .. } = self.pull.plan.clone();
        let what = SourceChange::Failing { problem: problem.clone() };
        self.shared.events.send(Event::Source { stream: stream.clone(), source, what });
        self.shared.events.send(Event::Advice { stream, advice: Advice::SourceFails { problem } });
    }
}

impl Shared {
    /// Whom a source that speaks TLS is to be believed by: the system's authorities.
    fn trust(&self, needed: bool) -> Option<Arc<rustls::ClientConfig>> {
        needed.then(|| self.tls.get_or_init(system_trust).clone())
    }
}

fn system_trust() -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone());
    let builder = builder
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|_| rustls::ClientConfig::builder_with_protocol_versions(rustls::DEFAULT_VERSIONS));
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

impl Pull {
    fn is_wanted_at(&self, now: Instant) -> bool {
        self.plan.start == Start::Always
            || lock(&self.wanted).is_some_and(|at| now.saturating_duration_since(at) < LINGER)
    }

    async fn is_wanted(&self) {
        while !self.is_wanted_at(clock().0) {
            self.woken.notified().await;
        }
    }
}

/// Any number: it only spreads retries.
fn random() -> u32 {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 4];
    // Without random bytes every source has the same jitter.
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// The data is plain state: a panic elsewhere leaves it usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
