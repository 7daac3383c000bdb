//! Streams and who publishes them: one publisher at a time, takeover, and the grace time in which a publisher may
//! come back and go on with the same stream (TL-26, RTMP-68). A stream with a list of [`sources`] has several at a time,
//! of which one is on air.

mod advice;
mod flow;
mod lease;
mod registry;
mod sources;

use std::collections::HashMap;
use std::time::Duration;

use aqueduct_common::event::{EventSender, Protocol};
use aqueduct_common::{Publication, SourceName, StreamName};
use tokio::sync::{mpsc, oneshot};

pub use lease::Lease;
use registry::Registry;
#[cfg(test)]
pub(crate) use registry::clock;
pub use sources::{Rules, SourcesError};

/// Questions that wait for the registry at most; askers wait beyond.
const ASKS: usize = 64;

/// What happens when a second publisher with a valid key asks for a stream that has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Takeover {
    /// The newcomer gets it at once.
    #[default]
    Replace,
    /// The newcomer is refused while the present publisher had data within two seconds.
    Refuse,
}

/// Rules of the registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// On a second publisher.
    pub takeover: Takeover,
    /// How long a stream without a publisher waits before it ends.
    pub grace: Duration,
    /// A transcode stage follows: sound that needs it goes on to it instead of being left out.
    pub transcodes: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { takeover: Takeover::Replace, grace: Duration::from_secs(30), transcodes: false }
    }
}

/// What a session asks for once its key was found good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishRequest {
    /// The stream.
    pub stream: StreamName,
    /// How the publisher came.
    pub protocol: Protocol,
    /// What its encoder calls itself.
    pub encoder: String,
    /// Which of the stream's sources it is, where it says so. It matters for streams that have a list of sources.
    pub source: Option<SourceName>,
}

/// Why a publish was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Another publisher has the stream, or the server has as many publishers as it takes.
    #[error("another publisher has this stream")]
    Busy,
    /// The server is stopping.
    #[error("the server is stopping")]
    Draining,
    /// The stream has a list of sources, and this one is not on it.
    #[error("the stream has no such source: see `sources` of its [[stream]] section")]
    UnknownSource,
}

/// Why a publisher must go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Shed {
    /// Nothing that can be played came in time: five seconds, or fifteen where pictures came and none to begin with
    /// (RTMP-60).
    #[error(
        "no track that can be played came in time: set H.264 or HEVC video with a keyframe interval of 1 s, and AAC audio"
    )]
    NoUsableTrack,
    /// Nobody is downstream any more.
    #[error("the stream's packager is gone")]
    Downstream,
}

/// How fast the publisher may go on (RTMP-69).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// At once.
    Go,
    /// Faster than real time: read on after this long.
    Wait(Duration),
}

impl Pace {
    const fn after(wait: Duration) -> Self {
        if wait.is_zero() { Self::Go } else { Self::Wait(wait) }
    }
}

/// Handle of the registry. The registry's task ends when every handle is dropped and every lease has come back.
#[derive(Clone, Debug)]
pub struct Streams {
    asks: mpsc::Sender<Ask>,
    transcodes: bool,
}

impl Streams {
    /// Starts the registry. It sends a [`Publication`] for each stream that begins.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(policy: Policy, publications: mpsc::Sender<Publication>, events: EventSender) -> Self {
        Self::with_sources(policy, HashMap::new(), publications, events)
    }

    /// The same with streams that have several sources.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn with_sources(
        policy: Policy,
        sources: HashMap<StreamName, Rules>,
        publications: mpsc::Sender<Publication>,
        events: EventSender,
    ) -> Self {
        let (asks, received) = mpsc::channel(ASKS);
        let transcodes = policy.transcodes;
        tokio::spawn(Registry::new(policy, sources, publications, events).run(received));
        Self { asks, transcodes }
    }

    /// A transcode stage follows: sound that needs it may be given.
    pub const fn transcodes(&self) -> bool {
        self.transcodes
    }

    /// Asks for a stream. Waits for a present publisher to let go of it, which takes one turn of its task.
    ///
    /// # Errors
    /// When the policy keeps the present publisher, or the server stops.
    pub async fn publish(&self, request: PublishRequest) -> Result<Lease, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Publish(request, reply)).await.map_err(|_| Refusal::Draining)?;
        answer.await.unwrap_or(Err(Refusal::Draining))
    }

    /// Asks for a stream that nobody publishes now.
    ///
    /// # Errors
    /// When somebody publishes it, or the server stops.
    pub async fn publish_if_free(&self, request: PublishRequest) -> Result<Lease, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::PublishIfFree(request, reply)).await.map_err(|_| Refusal::Draining)?;
        answer.await.unwrap_or(Err(Refusal::Draining))
    }

    /// Revokes every lease, ends all streams, and refuses new publishers. Returns when all leases have come back.
    pub async fn close(&self) {
        let (reply, done) = oneshot::channel();
        // A registry that is gone has nothing left to close.
        if self.asks.send(Ask::Close(reply)).await.is_ok() {
            let _ = done.await;
        }
    }
}

/// What sessions ask of the registry.
#[derive(Debug)]
enum Ask {
    Publish(PublishRequest, oneshot::Sender<Result<Lease, Refusal>>),
    PublishIfFree(PublishRequest, oneshot::Sender<Result<Lease, Refusal>>),
    Close(oneshot::Sender<()>),
}

#[cfg(test)]
mod tests;
