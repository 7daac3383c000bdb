//! What an operator can see of a fault: a counter that moves, a node that does not answer.

use std::time::Duration;

use tokio::time::sleep;

use super::stage::{Node, Stage};
use crate::{Outcome, now};

/// No metric: parts that took more than a tenth of a second from the origin to an edge.
pub const LATE_PARTS: &str = "aqueduct_relay_part_lag_seconds over 0.1 s";
/// How long a fault may go unseen, on an idle machine.
const SEEN: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(100);

/// A counter of a node before a fault.
pub struct Witness {
    node: usize,
    life: u64,
    names: Vec<&'static str>,
    labels: &'static str,
    before: f64,
}

impl Witness {
    /// Reads a counter.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub async fn before(
        stage: &Stage,
        node: usize,
        name: &'static str,
        labels: &'static str,
    ) -> Outcome<Self> {
        Self::read(stage, node, vec![name], labels).await
    }

    /// Reads two counters of which one has to move.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub async fn before_either(
        stage: &Stage,
        node: usize,
        one: &'static str,
        other: &'static str,
    ) -> Outcome<Self> {
        Self::read(stage, node, vec![one, other], "").await
    }

    async fn read(
        stage: &Stage,
        node: usize,
        names: Vec<&'static str>,
        labels: &'static str,
    ) -> Outcome<Self> {
        // A node that is away at this moment begins with nothing.
        let life = stage.ledger.life(node);
        let mut witness = Self { node, life, names, labels, before: 0.0 };
        witness.before = witness.now(stage).await.unwrap_or_default();
        Ok(witness)
    }

    async fn now(&self, stage: &Stage) -> Outcome<f64> {
        let mut sum = 0.0;
        for name in &self.names {
            sum += reading(&stage.nodes[self.node], name, self.labels).await?;
        }
        Ok(sum)
    }

    /// Waits until it has moved, and says by how much.
    ///
    /// # Errors
    ///
    /// When it does not, and its node has not been restarted meanwhile.
    pub async fn moves(&self, stage: &Stage) -> Outcome<String> {
        let deadline = now() + stage.ledger.scaled(SEEN);
        let what = format!("{}{{{}}}", self.names.join(" or "), self.labels).replace("{}", "");
        let node = &stage.nodes[self.node].name;
        loop {
            let reading = self.now(stage).await.unwrap_or(self.before);
            if reading > self.before {
                return Ok(format!("{what} +{} at {node}", reading - self.before));
            }
            if stage.ledger.life(self.node) != self.life {
                return Ok(format!("unseen: {node} was restarted meanwhile"));
            }
            if now() > deadline {
                return Err(format!("{what} does not move at {node}").into());
            }
            sleep(LOOK).await;
        }
    }
}

async fn reading(node: &Node, name: &str, labels: &str) -> Outcome<f64> {
    if name == LATE_PARTS {
        let all = node.metric("aqueduct_relay_part_lag_seconds_count", "").await?;
        return Ok(all - node.metric("aqueduct_relay_part_lag_seconds_bucket", "le=\"0.1\"").await?);
    }
    node.metric(name, labels).await
}

/// A node that was killed does not answer: an operator's scraper says so.
///
/// # Errors
///
/// When somebody answers in its place.
pub async fn is_away(node: &Node) -> Outcome<String> {
    if node.is_ready(LOOK).await || node.metric("aqueduct_viewers", "").await.is_ok() {
        return Err(format!("{} answers, though it was killed", node.name).into());
    }
    Ok(format!("{} does not answer", node.name))
}

/// Waits until an edge has a link to the origin.
///
/// # Errors
///
/// When it gets none.
pub async fn is_fed(stage: &Stage, node: &Node) -> Outcome {
    let deadline = now() + stage.ledger.scaled(SEEN);
    loop {
        if node.metric("aqueduct_relay_upstreams", "").await.unwrap_or_default() >= 1.0 {
            return Ok(());
        }
        // It may be the next fault's turn to have it down.
        if !stage.ledger.is_up(node.number) {
            return Ok(());
        }
        if now() > deadline {
            return Err(format!("{} gets no link to the origin", node.name).into());
        }
        sleep(LOOK).await;
    }
}
