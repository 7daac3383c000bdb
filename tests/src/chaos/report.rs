//! What is judged when a run is over, and the table of its faults.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::browser::Browsed;
use super::ledger::{Told, Wait};
use super::monitor::{Memory, has_grown};
use super::plan::{Kind, Plan, WARM_UP};
use super::stage::{Stage, tail};
use super::window::{Window, causes, uncovered};

/// A wait that nothing allows, on an idle machine: for the next picture, and for the first one.
const STALL: Duration = Duration::from_millis(500);
const START: Duration = Duration::from_secs(3);

/// Waits that are told one by one.
const LONGEST: usize = 5;

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    plan: Plan,
    told: Vec<Told>,
    /// By a fault's number: the longest wait of players in its windows, and how many waited.
    waited: HashMap<usize, (Duration, usize)>,
    summary: String,
    broken: Vec<String>,
    logs: String,
}

/// Lives of the processes, and their memory.
type Lives = Vec<((usize, u64), Memory)>;

impl Report {
    /// Judges what the ledger has.
    pub async fn of(
        plan: &Plan,
        stage: &Stage,
        memory: HashMap<(usize, u64), Memory>,
        browsed: Vec<Browsed>,
    ) -> Self {
        let ledger = &stage.ledger;
        let (windows, waits) = (ledger.windows(), ledger.waits());
        let mut waited = HashMap::<usize, (Duration, usize)>::new();
        for wait in waits.iter().filter(|wait| wait.from >= WARM_UP) {
            judge(stage, wait, &windows);
            for fault in causes(&wait.seat, wait.from, wait.to, &windows) {
                let entry = waited.entry(fault).or_default();
                *entry = (entry.0.max(wait.to - wait.from), entry.1 + usize::from(!wait.first));
            }
        }
        let mut lives: Lives = memory.into_iter().collect();
        lives.sort_unstable_by_key(|(life, _)| *life);
        judge_processes(stage, &lives).await;
        let mut summary = summary(stage, waits, lives);
        summary.extend(browsed.iter().map(|browsed| browsed.judge(stage, &windows)));
        summary.extend(ledger.all_known().iter().map(|known| format!("KNOWN {known}\n")));
        let broken = ledger.all_broken();
        let mut logs = String::new();
        for node in stage.nodes.iter().filter(|_| !broken.is_empty()) {
            logs += &format!("--- {}\n{}\n", node.name, tail(&node.server().await.log(), 40));
        }
        Self { plan: plan.clone(), told: ledger.all_told(), waited, summary, broken, logs }
    }

    /// No rule was broken.
    pub const fn passed(&self) -> bool {
        self.broken.is_empty()
    }
}

/// No process has grown too much, no worker has died but those that were killed, and players have seen something.
async fn judge_processes(stage: &Stage, lives: &Lives) {
    let ledger = &stage.ledger;
    for ((node, _), memory) in lives.iter().filter(|(_, memory)| has_grown(memory)) {
        ledger.broken(format!("{} grows: {memory:?} MiB", stage.nodes[*node].name));
    }
    let told = ledger.all_told();
    let killed = told.iter().filter(|told| told.fault.kind == Kind::WorkerKilled).count();
    let name = "aqueduct_transcode_worker_losses_total";
    match stage.origin().metric(name, "cause=\"signal\"").await {
        Ok(died) if died <= killed as f64 => {}
        Ok(died) => ledger.broken(format!("{died} workers died of signals, {killed} were killed")),
        Err(error) => ledger.broken(format!("the origin does not answer at the end: {error}")),
    }
    let (lists, files) = ledger.counts();
    if lists < 100 || files < 100 {
        ledger.broken(format!("players saw {lists} lists and {files} files, which shows nothing"));
    }
}

fn summary(stage: &Stage, mut waits: Vec<Wait>, lives: Lives) -> String {
    let (lists, files) = stage.ledger.counts();
    let stalls = waits.iter().filter(|wait| !wait.first);
    let (count, sum) = (stalls.clone().count(), stalls.map(|wait| wait.to - wait.from).sum::<Duration>());
    let mut summary = format!("{lists} lists and {files} files, {count} stalls of {sum:.1?} together\n");
    waits.sort_by_key(|wait| std::cmp::Reverse(wait.to - wait.from));
    for Wait { player, seat, from, to, refused, .. } in waits.iter().take(LONGEST) {
        let lasted = *to - *from;
        summary += &format!(
            "waited {lasted:.1?} from {from:.1?} on: player {player}, {seat:?}, refused {refused:?}\n"
        );
    }
    for ((node, life), Memory { settled, last, .. }) in lives {
        let settled = settled.map_or_else(|| "-".into(), |settled| format!("{settled:.0}"));
        let (name, life) = (&stage.nodes[node].name, life / 2 + 1);
        summary += &format!("{name}, life {life}: {settled} MiB once settled, {last:.0} at its end\n");
    }
    summary
}

/// A wait must lie in what the faults of its time allow.
fn judge(stage: &Stage, wait: &Wait, windows: &[Window]) {
    let Wait { player, seat, from, to, first, refused } = wait;
    let ledger = &stage.ledger;
    let may = ledger.scaled(if *first { START } else { STALL }) + 2 * ledger.lateness(*from, *to);
    let not_allowed = uncovered(seat, *from, *to, windows);
    if not_allowed > may {
        let what = if *first { "its first picture" } else { "a picture" };
        ledger.broken(format!(
            "player {player} ({seat:?}) waited for {what} from {from:.1?} to {to:.1?}: {not_allowed:.2?} of it in no fault's \
             window, of {may:.2?} that it may; refused, newest first: {refused:?}"
        ));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:>8}  {:44} {:>12}  what moved", "when", "fault", "longest wait")?;
        for Told { number, fault, at, moved } in &self.told {
            let longest = match self.waited.get(number) {
                Some((longest, players)) => format!("{:.1} s ({players})", longest.as_secs_f64()),
                None => "-".into(),
            };
            writeln!(f, "{:6.1} s  {:44} {longest:>12}  {moved}", at.as_secs_f64(), fault.to_string())?;
        }
        write!(f, "{}", self.summary)?;
        let (seed, seconds) = (self.plan.seed, self.plan.length.as_secs());
        if self.passed() {
            return writeln!(f, "nothing broken: SEED={seed} SECONDS={seconds} make chaos");
        }
        writeln!(f, "{}\n{}", self.logs, self.plan)?;
        self.broken.iter().take(40).try_for_each(|broken| writeln!(f, "BROKEN {broken}"))?;
        writeln!(f, "{} broken; again: SEED={seed} SECONDS={seconds} make chaos", self.broken.len())
    }
}
