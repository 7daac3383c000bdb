//! This node among the others: the directory of nodes, the steering of players, and what leaving means for both.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_common::{EventSender, StreamName};
use aqueduct_edge::cluster::{Claim, Directory};
use aqueduct_edge::relay::Trail;
use aqueduct_edge::steering::Steering;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Plan;

/// An edge that has lost its upstreams for so long sends its viewers to other edges. Until then they play on from what
/// is here.
const STARVED: Duration = Duration::from_secs(3);
/// What a drain leaves for the connections that are left once viewers were steered away.
const CLOSING: Duration = Duration::from_secs(3);
/// How often a drain looks whether all have left.
const LOOK: Duration = Duration::from_millis(250);

/// This node among the others.
#[derive(Clone, Debug)]
pub struct Nodes {
    directory: Directory,
    steering: Option<Arc<Steering>>,
    /// The operator asked for a drain.
    asked: CancellationToken,
}

impl Nodes {
    /// Starts the directory. Edges are fed at `relay`, where they are.
    pub fn start(plan: &Plan, relay: Option<SocketAddr>, events: EventSender) -> Self {
        if plan.cluster.is_shared() && relay.is_some() && !plan.cluster.is_announced() {
            tracing::warn!("cluster.relay is not set: edges will not find this node in the directory");
        }
        let directory = Directory::start(plan.cluster.clone(), events);
        let steering = plan.steering.is_enabled().then(|| {
            let shared = plan.cluster.is_shared().then(|| directory.clone());
            Arc::new(Steering::new(plan.steering.clone(), shared))
        });
        Self { directory, steering, asked: CancellationToken::new() }
    }

    /// What tells players where to go, if anything does.
    pub fn steering(&self) -> Option<Arc<Steering>> {
        self.steering.clone()
    }

    /// Cancelled when the operator asks for a drain.
    pub fn asked(&self) -> &CancellationToken {
        &self.asked
    }

    /// This node has a stream, for as long as what comes back lives.
    pub fn claim(&self, stream: &StreamName) -> Claim {
        self.directory.claim(stream)
    }

    /// What this node tells those that may go on with its streams, and hears of those before it.
    pub fn elsewhere(&self) -> Words {
        Words(self.directory.clone())
    }

    /// The origin of each stream, as the directory says: its relay's HOST:PORT.
    pub fn holders(&self) -> watch::Receiver<Arc<[aqueduct_edge::cluster::Origin]>> {
        self.directory.origins()
    }

    /// Nodes that may feed this one: those that are configured, and those of the directory behind them.
    pub fn upstreams(&self, fixed: watch::Receiver<Vec<String>>) -> watch::Receiver<Vec<String>> {
        let mut origins = self.directory.origins();
        let (told, heard) = watch::channel(fixed.borrow().clone());
        tokio::spawn(async move {
            let mut fixed = fixed;
            loop {
                let mut list = fixed.borrow_and_update().clone();
                for origin in origins.borrow_and_update().iter() {
                    if !list.contains(&origin.relay) {
                        list.push(origin.relay.clone());
                    }
                }
                told.send_if_modified(|last| std::mem::replace(last, list.clone()) != list);
                tokio::select! {
                    changed = fixed.changed() => if changed.is_err() { return },
                    changed = origins.changed() => if changed.is_err() { return },
                    () = told.closed() => return,
                }
            }
        });
        heard
    }

    /// Watches who feeds this edge: without anybody, viewers are better off elsewhere.
    pub fn watch_feed(&self, mut trail: watch::Receiver<Trail>) {
        let Some(steering) = self.steering.clone() else { return };
        tokio::spawn(async move {
            loop {
                if trail.wait_for(|trail| trail.depth > 0).await.is_err() {
                    return;
                }
                steering.set_fed(true);
                if trail.wait_for(|trail| trail.depth == 0).await.is_err() {
                    return;
                }
                let back = tokio::time::timeout(STARVED, trail.wait_for(|trail| trail.depth > 0)).await;
                if back.is_err() {
                    tracing::warn!("nobody feeds this edge: its viewers are sent to others");
                    steering.set_fed(false);
                }
            }
        });
    }

    /// Leaves the others in order, before anything stops: viewers are sent to other edges while this one still serves
    /// them, and the streams of an origin go to a standby. Takes no longer than `deadline` allows.
    pub async fn leave(&self, deadline: Duration) {
        if let Some(steering) = self.steering.as_ref().filter(|steering| steering.has_elsewhere()) {
            let patience = steering.plan().leave().min(deadline.saturating_sub(CLOSING));
            tracing::info!(?patience, "sending viewers to other edges");
            steering.drain(now());
            let empty = async {
                while steering.carries() > 0 {
                    tokio::time::sleep(LOOK).await;
                }
            };
            let _ = tokio::time::timeout(patience, empty).await;
        }
        self.directory.close().await;
    }
}

/// What nodes tell each other of a stream that goes from one to the other.
#[derive(Debug)]
pub struct Words(Directory);

impl Words {
    /// Whoever has the stream next is to know this; nothing, where it has ended.
    pub fn say(&self, stream: &StreamName, word: &str) {
        self.0.say(stream, word);
    }

    /// What was said by whoever had it before, and how long ago at most.
    pub fn heard(&self, stream: &StreamName) -> Option<(String, Duration)> {
        self.0.heard(stream).map(|(word, ago)| (word.to_string(), ago))
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(set: &[(&str, &str)]) -> Plan {
        let set = set.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        crate::config::load(&crate::cli::Settings { set, ..Default::default() }).unwrap()
    }

    #[tokio::test]
    async fn upstreams_are_what_is_configured_and_what_the_directory_knows() {
        let plan = plan(&[("cluster.node", "o1"), ("cluster.relay", "found:4443")]);
        let nodes = Nodes::start(&plan, None, EventSender::detached());
        let (set, fixed) = watch::channel(vec!["first:4443".to_owned()]);
        let mut upstreams = nodes.upstreams(fixed);
        upstreams.wait_for(|list| *list == ["first:4443", "found:4443"]).await.unwrap();
        set.send_replace(vec!["found:4443".into(), "second:4443".into()]);
        upstreams.wait_for(|list| *list == ["found:4443", "second:4443"]).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_whose_viewers_have_nowhere_to_go_leaves_at_once() {
        let nodes = Nodes::start(&plan(&[("steering.enabled", "true")]), None, EventSender::detached());
        nodes.leave(Duration::from_secs(30)).await;
    }
}
