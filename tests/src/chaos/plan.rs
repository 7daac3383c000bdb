//! What a seed decides: which fault comes when. A plan is a value; the run carries it out.

use std::fmt;
use std::time::Duration;

use crate::random::Random;

/// Streams that are published, in the order of their numbers in a plan. The last one has a ladder.
pub const STREAMS: [&str; 3] = ["show", "clock", "ladder"];
/// The one with the ladder.
pub const LADDER: usize = 2;
/// Edges, as players know them.
pub const EDGES: [&str; 2] = ["a", "b"];
/// Nothing goes wrong for so long: what is measured then says how crowded the machine is.
pub const WARM_UP: Duration = Duration::from_secs(10);
/// Nor in so much of the end, so that everything can be seen to go on.
pub const QUIET: Duration = Duration::from_secs(10);

/// Kinds of faults. Each comes once before any comes again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A publisher vanishes and comes back.
    Drop,
    /// It comes back with timestamps that wrap around a moment later.
    Wrap,
    /// Its timestamps jump.
    Jump,
    /// A second publisher with the same key takes its stream.
    Takeover,
    /// Somebody sends what is no RTMP, or is RTMP at its worst.
    Garbage,
    /// The ladder's worker is killed.
    WorkerKilled,
    /// The ladder's worker stops, and its supervisor must find out.
    WorkerStopped,
    /// An edge's link to the origin is cut.
    Cut,
    /// It carries little.
    Slow,
    /// It loses datagrams.
    Loss,
    /// An edge is killed and starts again.
    EdgeKilled,
    /// An edge is drained by its operator and starts again.
    EdgeDrained,
    /// The origin is killed and starts again.
    OriginKilled,
    /// Players that take a byte a second.
    SlowViewers,
    /// Players that ask for nonsense and reset what they asked for.
    HostileViewers,
}

/// All of them.
pub const KINDS: [Kind; 15] = [
    Kind::Drop,
    Kind::Wrap,
    Kind::Jump,
    Kind::Takeover,
    Kind::Garbage,
    Kind::WorkerKilled,
    Kind::WorkerStopped,
    Kind::Cut,
    Kind::Slow,
    Kind::Loss,
    Kind::EdgeKilled,
    Kind::EdgeDrained,
    Kind::OriginKilled,
    Kind::SlowViewers,
    Kind::HostileViewers,
];

/// One fault: what, where, how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// Which stream, where it is about one.
    pub stream: usize,
    /// Which edge, where it is about one.
    pub edge: usize,
    /// How long it lasts, or how long what is gone is away.
    pub lasts: Duration,
    /// A number of the kind's own: by how many milliseconds a clock jumps, where an attack's randomness begins.
    pub amount: i64,
}

/// A fault and when it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Since the beginning of the run.
    pub at: Duration,
    /// What goes wrong.
    pub fault: Fault,
}

/// A whole run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// What it is made from.
    pub seed: u64,
    /// How long the run is.
    pub length: Duration,
    /// In order of time.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The plan of a seed. A longer run begins as a shorter one of the same seed does.
    pub fn of(seed: u64, length: Duration) -> Self {
        let mut random = Random::new(seed ^ 0xc4a0_5eed);
        let (mut bag, mut steps, mut at) = (Vec::new(), Vec::new(), WARM_UP);
        while at + QUIET <= length {
            let kind = draw(&mut bag, &mut random);
            let fault = Fault::of(kind, &mut random);
            steps.push(Step { at, fault });
            at += Duration::from_millis(pause(kind) + random.below(2_500));
        }
        Self { seed, length, steps }
    }
}

/// The next kind out of a bag that is filled with all of them when it is empty.
fn draw(bag: &mut Vec<Kind>, random: &mut Random) -> Kind {
    if bag.is_empty() {
        bag.extend(KINDS);
    }
    bag.swap_remove(random.below(bag.len() as u64) as usize)
}

/// Milliseconds before the next fault, at least. Faults overlap; but a node that starts is given time.
const fn pause(kind: Kind) -> u64 {
    match kind {
        Kind::OriginKilled => 9_000,
        Kind::EdgeKilled | Kind::EdgeDrained => 4_000,
        _ => 1_500,
    }
}

impl Fault {
    fn of(kind: Kind, random: &mut Random) -> Self {
        let stream = random.below(STREAMS.len() as u64) as usize;
        let edge = random.below(EDGES.len() as u64) as usize;
        let (least, more) = match kind {
            Kind::Drop => (500, 4_500),
            Kind::Cut => (2_500, 3_500),
            Kind::Slow | Kind::Loss => (3_000, 3_000),
            Kind::EdgeKilled | Kind::EdgeDrained => (500, 3_000),
            Kind::OriginKilled => (200, 1_800),
            _ => (0, 0),
        };
        let lasts = Duration::from_millis(least + random.below(more + 1));
        let sign = if random.below(2) == 0 { 1 } else { -1 };
        let amount = match kind {
            Kind::Jump => sign * (20_000 + random.below(600_000) as i64),
            _ => random.below(1_000_000) as i64,
        };
        // What is about a worker is about the one stream that has one.
        let stream = if matches!(kind, Kind::WorkerKilled | Kind::WorkerStopped) { LADDER } else { stream };
        Self { kind, stream, edge, lasts, amount }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stream, edge) = (STREAMS[self.stream], EDGES[self.edge]);
        let seconds = self.lasts.as_secs_f64();
        match self.kind {
            Kind::Drop => write!(f, "publisher of {stream} away for {seconds:.1} s"),
            Kind::Wrap => write!(f, "publisher of {stream} back with a clock that wraps"),
            Kind::Jump => write!(f, "clock of {stream} jumps by {} ms", self.amount),
            Kind::Takeover => write!(f, "second publisher takes {stream}"),
            Kind::Garbage => write!(f, "garbage on the RTMP port"),
            Kind::WorkerKilled => write!(f, "worker of {stream} killed"),
            Kind::WorkerStopped => write!(f, "worker of {stream} stopped"),
            Kind::Cut => write!(f, "link to edge {edge} cut for {seconds:.1} s"),
            Kind::Slow => write!(f, "link to edge {edge} slow for {seconds:.1} s"),
            Kind::Loss => write!(f, "link to edge {edge} loses a tenth for {seconds:.1} s"),
            Kind::EdgeKilled => write!(f, "edge {edge} killed, away for {seconds:.1} s"),
            Kind::EdgeDrained => write!(f, "edge {edge} drained, away for {seconds:.1} s"),
            Kind::OriginKilled => write!(f, "origin killed, away for {seconds:.1} s"),
            Kind::SlowViewers => write!(f, "players at edge {edge} that take a byte a second"),
            Kind::HostileViewers => write!(f, "players at edge {edge} that ask for nonsense"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan of seed {}, {} s:", self.seed, self.length.as_secs())?;
        self.steps
            .iter()
            .try_for_each(|step| writeln!(f, "  {:7.1} s  {}", step.at.as_secs_f64(), step.fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_seed_leads_to_the_same_plan_and_another_to_another() {
        for seed in 0..50 {
            assert_eq!(Plan::of(seed, HOUR), Plan::of(seed, HOUR));
            assert_ne!(Plan::of(seed, HOUR).steps, Plan::of(seed + 1, HOUR).steps);
        }
    }

    #[test]
    fn a_longer_run_begins_as_a_shorter_one() {
        let (short, long) = (Plan::of(7, HOUR / 30), Plan::of(7, HOUR));
        assert!(!short.steps.is_empty());
        assert_eq!(short.steps, long.steps[..short.steps.len()]);
    }

    #[test]
    fn every_kind_comes_before_any_comes_again() {
        for seed in 0..200 {
            let plan = Plan::of(seed, HOUR);
            for round in plan.steps.chunks_exact(KINDS.len()) {
                let mut kinds: Vec<Kind> = round.iter().map(|step| step.fault.kind).collect();
                kinds.sort_unstable();
                assert_eq!(kinds, KINDS, "seed {seed}");
            }
        }
    }

    #[test]
    fn nothing_goes_wrong_at_the_beginning_and_at_the_end() {
        for seed in 0..200 {
            let plan = Plan::of(seed, Duration::from_secs(120));
            assert!(plan.steps.iter().all(|step| step.at >= WARM_UP && step.at + QUIET <= plan.length));
            assert!(plan.steps.windows(2).all(|pair| pair[0].at < pair[1].at));
        }
        assert_eq!(Plan::of(1, Duration::ZERO).steps, []);
    }

    #[test]
    fn workers_are_those_of_the_ladder_and_jumps_are_jumps() {
        for step in Plan::of(3, HOUR).steps {
            let Fault { kind, stream, amount, .. } = step.fault;
            assert!(!matches!(kind, Kind::WorkerKilled | Kind::WorkerStopped) || stream == LADDER);
            assert!(kind != Kind::Jump || amount.abs() >= 20_000);
        }
    }
}
