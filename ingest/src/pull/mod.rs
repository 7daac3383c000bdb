//! Sources that this server fetches, or whose bytes another stage takes apart: when they are opened and tried again, and
//! how they stand in their streams.
//!
//! The container formats themselves are another stage's: [`Opener`] is what it does for this one.

mod config;
mod drive;
mod link;
mod plan;
mod retry;

use std::io;

use aqueduct_common::{SourceName, StreamName};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::demux::Demuxed;

pub use config::{PullConfig, PullConfigError};
pub(crate) use drive::{Drive, Ended};
pub(crate) use link::Link;
pub use plan::{Origin, Pick, PullPlan, SCHEMES};
pub(crate) use retry::Retry;

use aqueduct_common::Event;
use aqueduct_common::event::{Advice, EventSender, Protocol, PullChange, SourceChange};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::server::clock;
use crate::stream::{PublishRequest, Streams};

/// How long a source may take for its first frame, where it does not wait for somebody to send.
const FIRST: Duration = Duration::from_secs(20);
/// How long a pull stands aside whose stream somebody else has taken: it must not fight.
const ASIDE: Duration = Duration::from_secs(60);
/// What is wrong with a source is told again after this while it lasts.
const REMIND: Duration = Duration::from_secs(10);
/// How long pulls have to end when the server stops.
const DRAIN: Duration = Duration::from_secs(3);

/// What opens sources, in a process of their own.
pub trait Opener: std::fmt::Debug + Send + Sync + 'static {
    /// Opens one. Returns at once; what becomes of it is heard.
    ///
    /// # Errors
    /// When no process could be started.
    fn open(&self, wanted: Wanted<'_>) -> io::Result<Opened>;
}

/// What is to be opened.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// A source of the configuration.
    Pull(&'a PullPlan),
    /// MPEG-TS, whose bytes are received here.
    Transport(&'a StreamName),
}

/// A source that is being opened. It ends when this is dropped.
#[derive(Debug)]
pub struct Opened {
    /// What comes of it.
    pub items: mpsc::Receiver<Item>,
    /// Where bytes go that are received here; what does not fit is lost.
    pub bytes: Option<mpsc::Sender<Bytes>>,
}

/// What comes of a source.
#[derive(Debug)]
pub enum Item {
    /// A configuration or a frame.
    Demuxed(Demuxed),
    /// Something that an operator should read.
    Trouble(String),
    /// Packets of late that were not whole: left out, and taken as they were.
    Faulty {
        /// Left out: they could not be read.
        bad: u32,
        /// Taken as they were, with bytes missing.
        damaged: u32,
    },
    /// It has ended: why, in words. Nothing follows.
    Gone(String),
}

/// All sources of the configuration.
#[derive(Debug)]
pub struct Pulls {
    plans: Vec<PullPlan>,
    opener: Arc<dyn Opener>,
    streams: Streams,
    events: EventSender,
}

impl Pulls {
    /// Pulls that have not begun.
    pub fn new(plans: Vec<PullPlan>, opener: Arc<dyn Opener>, streams: Streams, events: EventSender) -> Self {
        Self { plans, opener, streams, events }
    }

    /// Keeps every source open until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        for plan in self.plans {
            let (opener, streams, events) = (self.opener.clone(), self.streams.clone(), self.events.clone());
            tasks.spawn(Pull { plan, opener, streams, events }.run(stop.clone()));
        }
        tasks.close();
        stop.cancelled().await;
        if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
            tracing::warn!(left = tasks.len(), "pulls did not end in time");
        }
    }
}

/// One of them.
#[derive(Debug)]
struct Pull {
    plan: PullPlan,
    opener: Arc<dyn Opener>,
    streams: Streams,
    events: EventSender,
}

impl Pull {
    async fn run(self, stop: CancellationToken) {
        let mut retry = Retry::new();
        while !stop.is_cancelled() {
            let begun = clock().0;
            let ended = self.once(&stop).await;
            let lived = clock().0.saturating_duration_since(begun);
            let (why, wait) = match ended {
                Ended::Stop => return,
                Ended::Source(why) => (why, retry.after(lived)),
                Ended::Revoked => (
                    "another publisher has taken the stream: give this pull a stream of its own".to_owned(),
                    ASIDE,
                ),
                Ended::Busy => ("another publisher has the stream".to_owned(), retry.after(Duration::ZERO)),
            };
            let PullPlan { stream, name, reconnect, .. } = &self.plan;
            tracing::warn!(%stream, pull = name, why, retry = ?reconnect.then_some(wait), "pull lost");
            let problem = format!("{} ({}): {why}", self.plan.name, self.plan.origin.shown());
            self.report(PullChange::Lost { reason: why, retry_millis: reconnect.then(|| millis(wait)) });
            if !reconnect {
                self.advise(&problem);
                return;
            }
            if self.rest(&problem, wait, &stop).await {
                return;
            }
        }
    }

    /// Waits, and tells all the while what is wrong. Whether the server stops.
    async fn rest(&self, problem: &str, wait: Duration, stop: &CancellationToken) -> bool {
        let until = clock().0 + wait;
        loop {
            self.advise(problem);
            let left = until.saturating_duration_since(clock().0);
            tokio::select! {
                () = tokio::time::sleep(left.min(REMIND)) => {}
                () = stop.cancelled() => return true,
            }
            if clock().0 >= until {
                return false;
            }
        }
    }

    /// Tells whoever looks at the stream what is wrong with its source.
    fn advise(&self, problem: &str) {
        let (stream, problem) = (self.plan.stream.clone(), problem.to_owned());
        if let Some(source) = self.source() {
            let what = SourceChange::Failing { problem: problem.clone() };
            self.events.send(Event::Source { stream: stream.clone(), source, what });
        }
        self.events.send(Event::Advice { stream, advice: Advice::SourceFails { problem } });
    }

    /// Opens it once, and stays with it to its end.
    async fn once(&self, stop: &CancellationToken) -> Ended {
        let PullPlan { stream, name, origin, stall, .. } = &self.plan;
        tracing::info!(%stream, pull = name, from = %origin.shown(), "pull begins");
        self.report(PullChange::Opening);
        let opened = match self.opener.open(Wanted::Pull(&self.plan)) {
            Ok(opened) => opened,
            Err(error) => return Ended::Source(format!("no worker could be started: {error}")),
        };
        let drive = Drive {
            streams: self.streams.clone(),
            request: self.request(),
            first: (!origin.listens()).then_some(FIRST),
            stall: *stall,
            link: None,
            events: self.events.clone(),
        };
        drive.run(opened.items, None, stop).await
    }

    fn request(&self) -> PublishRequest {
        let encoder = format!("pull {}: {}", self.plan.name, self.plan.origin.shown());
        let (stream, source) = (self.plan.stream.clone(), self.source());
        PublishRequest { stream, protocol: Protocol::Pull, encoder, source }
    }

    /// What it is called among its stream's sources. A name that its plan allows is one that a source may have.
    fn source(&self) -> Option<SourceName> {
        format!("pull:{}", self.plan.name).parse().ok()
    }

    fn report(&self, what: PullChange) {
        let (stream, name) = (self.plan.stream.clone(), self.plan.name.clone());
        self.events.send(Event::Pull { stream, name, what });
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
