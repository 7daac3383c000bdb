//! Carries faults out, one task each, and waits until an operator could see each of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::{sleep, sleep_until};

use super::harm;
use super::ledger::Told;
use super::plan::{Fault, Kind, LADDER, STREAMS, Step};
use super::source::Source;
use super::stage::{CALM, Node, Stage};
use super::window::{aftermath, concern};
use super::witness::{self, Witness};
use crate::linkproxy::Shape;
use crate::{Outcome, now};

/// How long a ladder may be without a worker before somebody wants to harm it.
const WORKER: Duration = Duration::from_secs(20);
/// How long publishers may take to be back behind an origin.
const BACK: Duration = Duration::from_secs(30);

/// Who acts: the nodes and the publishers.
pub struct Cast {
    /// The nodes.
    pub stage: Arc<Stage>,
    /// A publisher of each stream.
    pub sources: [Source; 3],
}

impl Cast {
    /// Starts a publisher of each stream.
    ///
    /// # Errors
    ///
    /// When a clip cannot be drawn, or one is not let in.
    pub async fn start(stage: &Arc<Stage>) -> Outcome<Self> {
        let (tiny, larger) = (super::source::clip(false)?, super::source::clip(true)?);
        let origin = stage.origin().server().await;
        let source = |stream: usize| {
            Source::start(origin.target(STREAMS[stream]), if stream == LADDER { &larger } else { &tiny })
        };
        let sources = [source(0), source(1), source(2)];
        drop(origin);
        for source in &sources {
            source.is_live().await?;
        }
        Ok(Self { stage: stage.clone(), sources })
    }

    /// Carries a step out when its time has come, and says what came of it.
    pub async fn step(self: Arc<Self>, number: usize, step: Step) {
        let ledger = &self.stage.ledger;
        sleep_until(ledger.moment(step.at)).await;
        let mut at = ledger.at();
        let outcome = Box::pin(self.carry_out(number, &step.fault, &mut at)).await;
        let moved = match outcome {
            Ok(moved) => moved,
            Err(why) => {
                ledger.broken(format!("{}: {why}", step.fault));
                "nothing".into()
            }
        };
        println!("{:7.1} s  → {}: {moved}", ledger.at().as_secs_f64(), step.fault);
        ledger.tell(Told { number, fault: step.fault, at, moved });
    }

    async fn carry_out(&self, number: usize, fault: &Fault, at: &mut Duration) -> Outcome<String> {
        let stage = &self.stage;
        let _held = Held::of(stage, fault).await;
        *at = stage.ledger.at();
        println!("{:7.1} s  {fault}", at.as_secs_f64());
        let run = Run { cast: self, number, fault };
        match fault.kind {
            Kind::Drop | Kind::Wrap | Kind::Jump | Kind::Takeover => run.publisher().await,
            Kind::WorkerKilled | Kind::WorkerStopped => run.worker().await,
            Kind::Cut | Kind::Slow | Kind::Loss => run.link().await,
            Kind::EdgeKilled | Kind::EdgeDrained => Box::pin(run.edge()).await,
            Kind::OriginKilled => Box::pin(run.origin()).await,
            Kind::Garbage | Kind::SlowViewers | Kind::HostileViewers => Box::pin(run.guests()).await,
        }
    }
}

/// Places that a fault has for itself: one after another at one place, and only the origin's end ends everything.
struct Held<'a> {
    _gone: Option<RwLockWriteGuard<'a, ()>>,
    _stays: Option<RwLockReadGuard<'a, ()>>,
    _one_edge: Option<MutexGuard<'a, ()>>,
    _edge: Option<MutexGuard<'a, ()>>,
    _stream: Option<MutexGuard<'a, ()>>,
}

impl<'a> Held<'a> {
    async fn of(stage: &'a Stage, fault: &Fault) -> Self {
        let (_gone, _stays) = match fault.kind {
            Kind::OriginKilled => (Some(stage.origin_stays.write().await), None),
            _ => (None, Some(stage.origin_stays.read().await)),
        };
        let _one_edge = match fault.kind {
            Kind::EdgeKilled | Kind::EdgeDrained => Some(stage.one_edge.lock().await),
            _ => None,
        };
        let _edge = match fault.kind {
            Kind::EdgeKilled | Kind::EdgeDrained | Kind::Cut | Kind::Slow | Kind::Loss => {
                Some(stage.edges[fault.edge].lock().await)
            }
            _ => None,
        };
        let _stream = match fault.kind {
            Kind::Drop | Kind::Wrap | Kind::Jump | Kind::Takeover => {
                Some(stage.streams[fault.stream].lock().await)
            }
            Kind::WorkerKilled | Kind::WorkerStopped => Some(stage.streams[LADDER].lock().await),
            _ => None,
        };
        Self { _gone, _stays, _one_edge, _edge, _stream }
    }
}

/// One fault under way.
struct Run<'a> {
    cast: &'a Cast,
    number: usize,
    fault: &'a Fault,
}

impl Run<'_> {
    fn stage(&self) -> &Stage {
        &self.cast.stage
    }

    /// Does it within a window in which those whom it concerns may wait.
    async fn within<T>(&self, done: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        let ledger = &self.stage().ledger;
        let window = ledger.open(self.number, concern(self.fault));
        let outcome = Box::pin(done).await;
        ledger.close(window, aftermath(self.fault.kind));
        outcome
    }

    async fn publisher(&self) -> Outcome<String> {
        let source = &self.cast.sources[self.fault.stream];
        let (name, labels) = match self.fault.kind {
            Kind::Takeover => ("aqueduct_ingest_session_ends_total", "reason=\"taken_over\""),
            Kind::Wrap => ("aqueduct_ingest_ts_anomalies_total", "type=\"wrap\""),
            Kind::Jump => ("aqueduct_ingest_ts_anomalies_total", "type=\"jump\""),
            _ => ("aqueduct_ingest_session_ends_total", "reason=\"lost\""),
        };
        let witness = Witness::before(self.stage(), 0, name, labels).await?;
        let done = async {
            match self.fault.kind {
                Kind::Takeover => source.takeover().await,
                Kind::Jump => source.jump(self.fault.amount).await,
                Kind::Wrap => source.away(Duration::ZERO, true).await,
                _ => source.away(self.fault.lasts, false).await,
            }
        };
        self.within(done).await?;
        witness.moves(self.stage()).await
    }

    async fn worker(&self) -> Outcome<String> {
        let (signal, labels) = match self.fault.kind {
            Kind::WorkerKilled => ("-KILL", "cause=\"signal\""),
            _ => ("-STOP", "cause=\"hang\""),
        };
        let name = "aqueduct_transcode_worker_losses_total";
        let worker = worker(self.stage().origin()).await?;
        let witness = Witness::before(self.stage(), 0, name, labels).await?;
        // A worker that stopped is found out after a second or two; then it is as one that was killed.
        let done = async {
            Command::new("kill").args([signal, &worker.to_string()]).status().await?;
            witness.moves(self.stage()).await
        };
        self.within(done).await
    }

    async fn link(&self) -> Outcome<String> {
        let (stage, edge) = (self.stage(), self.fault.edge);
        let link = &stage.links[edge];
        let seed = self.fault.amount as u64;
        let (name, labels) = match self.fault.kind {
            Kind::Cut => ("aqueduct_relay_links_lost_total", ""),
            _ => (witness::LATE_PARTS, ""),
        };
        let witness = Witness::before(stage, edge + 1, name, labels).await?;
        let delay = Duration::from_millis(120);
        let done = async {
            match self.fault.kind {
                Kind::Cut => link.blackout(true),
                Kind::Slow => link.reshape(Shape { delay, rate: Some(60_000), seed, ..CALM }),
                _ => link.reshape(Shape { delay, loss_millionths: 100_000, seed, ..CALM }),
            }
            sleep(self.fault.lasts).await;
            link.blackout(false);
            link.reshape(CALM);
            Ok(())
        };
        self.within(done).await?;
        witness.moves(stage).await
    }

    async fn edge(&self) -> Outcome<String> {
        let stage = self.stage();
        let (node, ledger) = (stage.edge(self.fault.edge), &stage.ledger);
        let moved = if self.fault.kind == Kind::EdgeKilled {
            self.within(node.kill(ledger)).await?;
            witness::is_away(node).await?
        } else {
            // Players are sent away before it stops: nobody may see anything of it.
            let asked = now();
            node.drain(ledger).await?;
            let text = "sending viewers to other edges";
            if !node.server().await.log().contains(text) {
                return Err(format!("{} does not say \"{text}\"", node.name).into());
            }
            format!("{} says \"{text}\", ends with 0 after {:.1?}", node.name, now() - asked)
        };
        sleep(self.fault.lasts).await;
        // Whoever comes to an edge that has only just started may wait as well.
        self.within(async {
            Box::pin(node.revive(ledger)).await?;
            witness::is_fed(stage, node).await
        })
        .await?;
        Ok(moved)
    }

    async fn origin(&self) -> Outcome<String> {
        let (stage, name) = (self.stage(), "aqueduct_relay_links_lost_total");
        let (node, ledger) = (stage.origin(), &stage.ledger);
        let witness = Witness::before(stage, 1, name, "").await?;
        self.within(async {
            node.kill(ledger).await?;
            sleep(self.fault.lasts).await;
            Box::pin(node.revive(ledger)).await?;
            self.publishers_are_back().await?;
            for edge in 0..2 {
                witness::is_fed(stage, stage.edge(edge)).await?;
            }
            Ok(())
        })
        .await?;
        witness.moves(stage).await
    }

    /// A publisher that has not noticed yet is not back.
    async fn publishers_are_back(&self) -> Outcome {
        let deadline = now() + BACK;
        for (source, name) in self.cast.sources.iter().zip(STREAMS) {
            while self.stage().origin().server().await.told(name).await.is_err() {
                if now() > deadline {
                    return Err(format!("{name} is not back within {BACK:?}").into());
                }
                sleep(Duration::from_millis(100)).await;
            }
            source.is_live().await?;
        }
        Ok(())
    }

    async fn guests(&self) -> Outcome<String> {
        let (stage, edge) = (self.stage(), self.fault.edge);
        let seed = self.fault.amount as u64;
        if self.fault.kind == Kind::Garbage {
            let (refused, shed) = ("aqueduct_ingest_refused_total", "aqueduct_ingest_shed_total");
            let witness = Witness::before_either(stage, 0, refused, shed).await?;
            self.within(harm::garbage(stage, seed)).await?;
            return witness.moves(stage).await;
        }
        let (name, labels) = match self.fault.kind {
            Kind::SlowViewers => ("aqueduct_http_shed_total", "reason=\"slow_reader\""),
            _ => ("aqueduct_http_requests_total", "status_class=\"4xx\""),
        };
        let witness = Witness::before(stage, edge + 1, name, labels).await?;
        if self.fault.kind == Kind::SlowViewers {
            let (harm, moves) =
                tokio::join!(self.within(harm::slow_viewers(stage, edge)), witness.moves(stage));
            harm?;
            return moves;
        }
        self.within(harm::hostile_viewers(stage, edge, seed)).await?;
        witness.moves(stage).await
    }
}

/// The ladder's worker, which may have been replaced only just now.
async fn worker(origin: &Node) -> Outcome<u32> {
    let deadline = now() + WORKER;
    loop {
        if let Some(worker) = origin.server().await.workers().first() {
            return Ok(*worker);
        }
        if now() > deadline {
            return Err(format!("the ladder has had no worker for {WORKER:?}").into());
        }
        sleep(Duration::from_millis(50)).await;
    }
}
