//! Content steering: players are told which group of edges to play from (LLHLS-36). A group that stops, starves or is
//! full loses its viewers to the others without anybody reloading a page.

mod config;
mod judge;
mod manifest;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::watch;

use crate::cluster::{Directory, Edge, EdgeRecord};
use judge::{Group, Judge, Report};
use manifest::Asker;

pub use config::{Config, ConfigError, Pathway, Plan};

/// Where players ask, below `/APP/NAME/`. Multivariant playlists name it, relative to themselves.
pub const PATH: &str = "steering.json";
/// Load that says that an edge carries what it may, in thousandths.
const FULL: u32 = 1_000;
/// Seconds over which what is sent is averaged.
const SMOOTH: u64 = 5;

/// The steering of one edge.
#[derive(Debug)]
pub struct Steering {
    plan: Plan,
    directory: Option<(Directory, watch::Receiver<Arc<[Edge]>>)>,
    draining: AtomicBool,
    fed: AtomicBool,
    judged: Mutex<Judged>,
    groups: RwLock<Arc<[Group]>>,
}

#[derive(Debug)]
struct Judged {
    judge: Judge,
    carried: usize,
    /// Bytes a second, of the last few.
    rate: u64,
    load: u32,
    viewers: u32,
}

impl Steering {
    /// Steers by the plan, and by what the directory says where there is one.
    pub fn new(plan: Plan, directory: Option<Directory>) -> Self {
        let judge = Judge::new(plan.busy, plan.calm);
        let edges = directory.map(|directory| {
            let edges = directory.edges();
            (directory, edges)
        });
        Self {
            plan,
            directory: edges,
            draining: AtomicBool::new(false),
            fed: AtomicBool::new(true),
            judged: Mutex::new(Judged { judge, carried: 0, rate: 0, load: 0, viewers: 0 }),
            groups: RwLock::new(Arc::new([])),
        }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether this edge has what it serves. One that lost its upstreams sends its viewers away.
    pub fn set_fed(&self, fed: bool) {
        self.fed.store(fed, Relaxed);
    }

    /// It has begun to send its players away.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// From now on viewers are sent away: this edge stops soon.
    pub fn drain(&self, now: Instant) {
        self.draining.store(true, Relaxed);
        let (load, viewers) = {
            let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
            (judged.load, judged.viewers)
        };
        self.turn(load, viewers, now);
    }

    /// How many connections it carried a second ago.
    pub fn carries(&self) -> usize {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner).carried
    }

    /// Viewers would find another group: leaving is worth waiting for.
    pub fn has_elsewhere(&self) -> bool {
        let own = &self.plan.own.id;
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        self.plan.enabled && groups.iter().any(|group| group.id != *own)
    }

    /// Once a second: how many connections this edge carries, of how many it may, what it sent since, and for how many.
    pub(crate) fn tick(&self, carried: usize, most: usize, sent: u64, viewers: u32, now: Instant) {
        let rate = {
            let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
            judged.carried = carried;
            // Segments come in bursts: what counts is the mean of some seconds.
            judged.rate = judged.rate.saturating_mul(SMOOTH - 1).saturating_add(sent) / SMOOTH;
            judged.rate
        };
        let share = |part: u64, whole: u64| part.saturating_mul(u64::from(FULL)) / whole.max(1);
        let by_count = share(carried as u64, most as u64);
        let by_rate = if self.plan.bytes == 0 { 0 } else { share(rate, self.plan.bytes) };
        self.turn(u32::try_from(by_count.max(by_rate)).unwrap_or(FULL), viewers, now);
    }

    fn turn(&self, load: u32, viewers: u32, now: Instant) {
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        (judged.load, judged.viewers) = (load, viewers);
        let reports = self.reports(load, viewers);
        let groups: Arc<[Group]> = judged.judge.turn(&reports, now).into();
        let mut shown = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        if *shown != groups {
            tracing::info!(groups = ?groups.iter().map(|g| (&g.id, g.standing)).collect::<Vec<_>>(), "steering");
            *shown = groups;
        }
    }

    /// What is known of all edges: of this one first-hand, of the others what they say.
    fn reports(&self, load: u32, viewers: u32) -> Vec<Report> {
        let (draining, fed) = (self.draining.load(Relaxed), self.fed.load(Relaxed));
        let mut reports = Vec::new();
        if let Some(own) = self.plan.own() {
            reports.push(Report { group: own.clone(), load, draining, fed });
        }
        if let Some((directory, edges)) = &self.directory {
            self.tell(directory, load, viewers);
            let others = edges.borrow().clone();
            reports.extend(others.iter().filter(|edge| edge.node != *directory.node()).filter_map(said));
        }
        // What edges say of themselves counts, and not what was written here about their group.
        for group in &self.plan.others {
            if !reports.iter().any(|report| report.group.id == group.id) {
                reports.push(Report { group: group.clone(), load: 0, draining: false, fed: true });
            }
        }
        reports
    }

    /// Tells the other nodes.
    fn tell(&self, directory: &Directory, load: u32, viewers: u32) {
        directory.report(EdgeRecord {
            pathway: self.plan.own.id.clone(),
            host: self.plan.own.host.clone(),
            load,
            viewers,
            draining: self.draining.load(Relaxed),
            fed: self.fed.load(Relaxed),
            instance: 0,
        });
    }

    /// The manifest for one player; `None` where players are to ask no more. `path` and `query` are the request's,
    /// `authority` its `Host`, `player` a number that it keeps.
    pub(crate) fn answer(&self, path: &str, query: &str, authority: &str, player: u64) -> Option<Bytes> {
        if !self.plan.enabled {
            return None;
        }
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner).clone();
        // The low bits choose who leaves a busy group.
        let asker = Asker { path, query, port, spread: player >> 32 };
        let manifest = manifest::answer(&groups, &self.plan.own.id, self.plan.ttl, asker);
        serde_json::to_vec(&manifest).ok().map(Bytes::from)
    }
}

/// What another edge says, where its group can be reached.
fn said(edge: &Edge) -> Option<Report> {
    let said = &edge.said;
    let group = Pathway { id: said.pathway.clone(), host: said.host.clone() };
    let reached = !group.id.is_empty() && !group.host.is_empty();
    reached.then_some(Report { group, load: said.load, draining: said.draining, fed: said.fed })
}

#[cfg(test)]
mod tests {
    use super::judge::Standing;
    use super::*;

    fn steering(json: &str) -> Steering {
        let plan = Plan::try_from(serde_json::from_str::<Config>(json).unwrap()).unwrap();
        Steering::new(plan, None)
    }

    fn told(steering: &Steering, query: &str) -> String {
        let bytes = steering.answer("/live/show/steering.json", query, "fra.example:8443", 7);
        String::from_utf8(bytes.unwrap().to_vec()).unwrap()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn groups_that_are_written_down_take_the_viewers_of_an_edge_that_drains() {
        let steering = steering(
            r#"{"enabled":true,"pathway":"fra","host":"fra.example","pathways":[{"id":"ber","host":"ber.example"}]}"#,
        );
        let now = Instant::now();
        steering.tick(10, 100, 0, 10, now);
        assert!(steering.has_elsewhere());
        assert!(told(&steering, "").contains(r#""PATHWAY-PRIORITY":[".","ber"]"#));
        steering.drain(now);
        let text = told(&steering, "");
        assert!(text.contains(r#""PATHWAY-PRIORITY":["ber","."]"#), "{text}");
        assert!(text.contains("//ber.example:8443/live/show/steering.json?base=fra"), "{text}");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn an_edge_without_upstream_or_room_sends_viewers_away() {
        let steering = steering(
            r#"{"enabled":true,"pathway":"fra","host":"fra.example","pathways":[{"id":"ber","host":"ber.example"}]}"#,
        );
        let now = Instant::now();
        steering.set_fed(false);
        steering.tick(0, 100, 0, 0, now);
        assert!(told(&steering, "").contains(r#"["ber","."]"#));
        steering.set_fed(true);
        steering.tick(0, 100, 0, 0, now);
        assert!(told(&steering, "").contains(r#"["ber","."]"#), "not before it has been better for a while");
    }

    #[test]
    fn players_are_told_to_stop_asking_where_it_is_off() {
        assert_eq!(steering("{}").answer("/live/show/steering.json", "", "h", 1), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn an_edge_whose_network_is_full_is_busy_however_few_its_connections_are() {
        let steering = steering(
            r#"{"enabled":true,"pathway":"fra","host":"fra.example","mbits":8,"pathways":[{"id":"ber","host":"ber.example"}]}"#,
        );
        let now = Instant::now();
        let standing =
            || steering.groups.read().unwrap().iter().find(|group| group.id == "fra").unwrap().standing;
        // One burst is not yet a load: 8 Mbit/s are 1 MB a second.
        steering.tick(1, 100, 2_000_000, 1, now);
        assert_eq!(standing(), Standing::Good);
        (0..20).for_each(|_| steering.tick(1, 100, 950_000, 1, now));
        assert_eq!(standing(), Standing::Busy);
    }
}
