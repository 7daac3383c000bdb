//! What a seed decides.

use std::time::Duration;

use aqueduct_tests::random::Random;

/// Microseconds of virtual time.
pub type Micros = u64;
pub const SECOND: Micros = 1_000_000;
const MILLI: Micros = 1_000;
/// The clock's step.
pub const TICK: Micros = 10 * MILLI;
/// How long a run is, and from where on nothing goes wrong any more.
pub const LENGTH: Micros = 26 * SECOND;
const QUIET: Micros = 16 * SECOND;

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The publisher is away.
    Publisher,
    /// The origin is killed, and is back with what it kept.
    Restart,
    /// The link that feeds this edge is cut.
    Cut(usize),
    /// It has half a second more delay.
    Slow(usize),
    /// One in twelve objects does not arrive whole.
    Loss(usize),
}

/// Something that goes wrong, and when.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub what: What,
    pub from: Micros,
    pub to: Micros,
}

/// An edge, and the link that it is fed by.
#[derive(Clone, Debug)]
pub struct Edge {
    /// The edge above it; `None` for the origin.
    pub above: Option<usize>,
    pub delay: Micros,
    pub jitter: Micros,
}

/// Somebody who watches.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Where: an edge, or the origin.
    pub node: Option<usize>,
    pub joins: Micros,
    /// There and back.
    pub round_trip: Micros,
}

/// What a test breaks, so that the judge can be seen to find it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// A part of the origin is not kept.
    LosePart,
    /// A part's name comes to mean another number.
    RepeatName,
    /// The origin shows nothing new for three seconds, and nobody is told that something goes wrong.
    FreezeWithoutFault,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub part: Duration,
    pub rate: (u32, u32),
    /// Frames between keyframes.
    pub gop: u64,
    pub edges: Vec<Edge>,
    pub seats: Vec<Seat>,
    pub faults: Vec<Fault>,
    pub sabotage: Option<Sabotage>,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let part = [100, 200, 200, 333][random.below(4) as usize];
        let rate = [(25, 1), (30, 1), (30, 1), (50, 1), (30_000, 1_001)][random.below(5) as usize];
        let gop = u64::from(rate.0 / rate.1) * (1 + random.below(2));
        let edges: Vec<Edge> = (0..1 + random.below(3) as usize)
            .map(|index| Edge {
                above: (index > 0 && random.below(2) == 0).then(|| random.below(index as u64) as usize),
                delay: (1 + random.below(60)) * MILLI,
                jitter: random.below(part / 8) * MILLI,
            })
            .collect();
        let seats = (0..3 + random.below(6))
            .map(|_| Seat {
                node: random.below(edges.len() as u64 + 1).checked_sub(1).map(|edge| edge as usize),
                joins: 4 * SECOND + random.below(10) * SECOND + random.below(1_000) * MILLI,
                round_trip: (1 + random.below(40)) * MILLI,
            })
            .collect();
        let faults = (0..random.below(4)).map(|_| fault(&mut random, edges.len() as u64)).collect();
        Self { seed, part: Duration::from_millis(part), rate, gop, edges, seats, faults, sabotage: None }
    }

    /// Everything on the way from the publisher to this node goes through these edges.
    pub fn way(&self, node: Option<usize>) -> Vec<usize> {
        std::iter::successors(node, |edge| self.edges[*edge].above).collect()
    }

    /// What goes wrong of a kind at this moment.
    pub fn is(&self, what: What, now: Micros) -> bool {
        self.faults.iter().any(|fault| fault.what == what && (fault.from..fault.to).contains(&now))
    }

    /// Whether a viewer at this node may have to wait in this span: something was wrong on the way, or is only just over.
    /// Behind a fault come a keyframe, the segment that it opens, and what a player wants before it plays.
    pub fn excuses(&self, node: Option<usize>, from: Micros, to: Micros) -> bool {
        let way = self.way(node);
        let keyframes = self.gop * SECOND * u64::from(self.rate.1) / u64::from(self.rate.0);
        let after = 3 * SECOND + 2 * keyframes;
        self.faults.iter().any(|fault| {
            let concerns = match fault.what {
                What::Publisher | What::Restart => true,
                What::Cut(edge) | What::Slow(edge) | What::Loss(edge) => way.contains(&edge),
            };
            concerns && fault.from <= to && from <= fault.to + after
        })
    }
}

fn fault(random: &mut Random, edges: u64) -> Fault {
    let from = 6 * SECOND + random.below(6_000) * MILLI;
    let edge = random.below(edges) as usize;
    let (what, longest) = match random.below(6) {
        0 | 1 => (What::Publisher, 4_000),
        2 => (What::Restart, 3_000),
        3 => (What::Cut(edge), 4_000),
        4 => (What::Slow(edge), 3_000),
        _ => (What::Loss(edge), 3_000),
    };
    Fault { what, from, to: (from + 300 * MILLI + random.below(longest) * MILLI).min(QUIET) }
}
