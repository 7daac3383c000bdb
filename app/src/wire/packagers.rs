//! Joins the packagers: one for every stream, and what the directory and other nodes say of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::feed::Publication;
use aqueduct_common::{EventSender, Publish, StreamName, Update};
use aqueduct_packager::{Checkpoints, Elsewhere, Lead};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Plan;
use crate::nodes::{Nodes, Words};

/// How long what a dead packager had published stays fetchable.
const DEAD_LINGER: Duration = Duration::from_secs(10);

/// What the packagers of two nodes tell each other when one takes a stream over.
#[derive(Debug)]
struct Takeover(Words);

impl Elsewhere for Takeover {
    fn tell(&self, stream: &StreamName, checkpoint: &str) {
        self.0.say(stream, checkpoint);
    }

    fn heard(&self, stream: &StreamName) -> Option<(String, Duration)> {
        self.0.heard(stream)
    }
}

/// What the directory says of a stream, as its packager wants it.
fn leads(mut told: watch::Receiver<aqueduct_edge::cluster::Lead>) -> watch::Receiver<Lead> {
    use aqueduct_edge::cluster::Lead as Told;
    let (sender, heard) = watch::channel(Lead::Unknown);
    tokio::spawn(async move {
        loop {
            sender.send_replace(match *told.borrow_and_update() {
                Told::Unknown => Lead::Unknown,
                Told::Ours => Lead::Leads,
                Told::Theirs => Lead::Follows,
            });
            tokio::select! {
                changed = told.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    heard
}

/// Gives every stream that begins a packager of its own. A packager that dies takes only its stream with it.
pub(super) async fn run(
    plan: Plan,
    mut publications: mpsc::Receiver<Publication>,
    sink: Arc<dyn Publish>,
    nodes: Nodes,
    events: EventSender,
    stop: CancellationToken,
) {
    let elsewhere = Arc::new(Takeover(nodes.elsewhere()));
    let checkpoints = Checkpoints::shared(Some(plan.data_dir.join("streams")), elsewhere);
    let (mut running, mut claims) = (JoinSet::new(), HashMap::new());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            begun = publications.recv() => {
                let Some(publication) = begun else { break };
                let claim = nodes.claim(&publication.stream);
                let task = running.spawn(aqueduct_packager::run(
                    plan.packager.clone(),
                    publication,
                    sink.clone(),
                    checkpoints.clone(),
                    events.clone(),
                    leads(claim.leads()),
                ));
                claims.insert(task.id(), claim);
            }
            Some(ended) = running.join_next_with_id() => {
                let id = match &ended {
                    Ok((id, ())) => *id,
                    Err(error) => error.id(),
                };
                let claim = claims.remove(&id);
                if let (Err(error), Some(claim)) = (ended, claim) {
                    let stream = claim.stream();
                    tracing::error!(%stream, %error, "a packager died; its stream begins anew when its publisher returns");
                    sink.publish(stream, Update::End { linger: DEAD_LINGER });
                }
            }
        }
    }
    // No ENDLIST on a stop: the numbering stands in the checkpoints, and the streams go on after a restart.
    running.shutdown().await;
}
