//! Which players may have to wait, and when: what the design's failure table allows each fault. Pure.

use std::time::Duration;

use super::plan::{Fault, Kind, LADDER};

/// Whom a fault may concern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Concern {
    /// Nobody who watches.
    Nobody,
    /// Who watches this stream.
    Stream(usize),
    /// Who watches a rung of the ladder.
    Rungs,
    /// Who watches at this edge.
    Edge(usize),
    /// Everybody.
    All,
}

/// Where a player was when it waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat {
    /// The stream.
    pub stream: usize,
    /// It watches an encoded rung, not the source.
    pub rung: bool,
    /// Bits of the edges that it asked meanwhile: 1 for the first, 2 for the second.
    pub edges: u8,
}

/// A time in which some may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// The fault's number in the plan.
    pub fault: usize,
    /// Who.
    pub concern: Concern,
    /// Since the beginning of the run.
    pub from: Duration,
    /// [`Duration::MAX`] while the fault goes on.
    pub to: Duration,
}

/// The second column of the design's table: who sees anything of it.
pub const fn concern(fault: &Fault) -> Concern {
    match fault.kind {
        Kind::Drop | Kind::Wrap | Kind::Jump | Kind::Takeover => Concern::Stream(fault.stream),
        Kind::WorkerKilled | Kind::WorkerStopped => Concern::Rungs,
        // A drained edge has sent its players away before it stops; who comes when it is back may wait.
        Kind::Cut | Kind::Slow | Kind::Loss | Kind::EdgeKilled | Kind::EdgeDrained => {
            Concern::Edge(fault.edge)
        }
        Kind::OriginKilled => Concern::All,
        Kind::Garbage | Kind::SlowViewers | Kind::HostileViewers => Concern::Nobody,
    }
}

/// How long after its end a fault may still be seen, on an idle machine.
pub const fn aftermath(kind: Kind) -> Duration {
    Duration::from_secs(match kind {
        Kind::Garbage | Kind::SlowViewers | Kind::HostileViewers => 0,
        // A discontinuity costs a segment.
        Kind::Jump => 2,
        // The session, a keyframe, a part, and what a player wants before it plays.
        Kind::Drop | Kind::Wrap | Kind::Takeover => 4,
        // Two seconds until a worker is replaced, and what a player wants.
        Kind::WorkerKilled | Kind::WorkerStopped => 5,
        Kind::Slow | Kind::Loss => 3,
        // A link is found dead after a second, and dialled anew within some.
        Kind::Cut => 4,
        // Who was there tries once more and moves.
        Kind::EdgeKilled | Kind::EdgeDrained => 5,
        // Publishers come back, links are dialled anew, a keyframe.
        Kind::OriginKilled => 8,
    })
}

impl Window {
    fn allows(&self, seat: &Seat) -> bool {
        match self.concern {
            Concern::Nobody => false,
            Concern::Stream(stream) => seat.stream == stream,
            Concern::Rungs => seat.stream == LADDER && seat.rung,
            Concern::Edge(edge) => seat.edges & (1 << edge) != 0,
            Concern::All => true,
        }
    }
}

/// How much of a wait no window allows: the longest stretch of it.
pub fn uncovered(seat: &Seat, from: Duration, to: Duration, windows: &[Window]) -> Duration {
    let mut allowed: Vec<_> = windows
        .iter()
        .filter(|window| window.allows(seat) && window.from < to && window.to > from)
        .map(|window| (window.from, window.to))
        .collect();
    allowed.sort_unstable();
    let (mut reached, mut longest) = (from, Duration::ZERO);
    for (begin, end) in allowed {
        longest = longest.max(begin.saturating_sub(reached));
        reached = reached.max(end);
    }
    longest.max(to.saturating_sub(reached))
}

/// Faults whose windows a wait lies in.
pub fn causes(seat: &Seat, from: Duration, to: Duration, windows: &[Window]) -> Vec<usize> {
    let lies_in = |window: &&Window| window.allows(seat) && window.from < to && window.to > from;
    let mut faults: Vec<usize> = windows.iter().filter(lies_in).map(|window| window.fault).collect();
    faults.dedup();
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::plan::{KINDS, Plan};

    const S: Duration = Duration::from_secs(1);
    const SEAT: Seat = Seat { stream: 0, rung: false, edges: 1 };

    fn window(concern: Concern, from: u32, to: u32) -> Window {
        Window { fault: 0, concern, from: S * from, to: S * to }
    }

    #[test]
    fn a_wait_is_covered_by_all_windows_together() {
        let windows = [window(Concern::Edge(0), 2, 4), window(Concern::Stream(0), 3, 6)];
        assert_eq!(uncovered(&SEAT, S * 2, S * 6, &windows), Duration::ZERO);
        assert_eq!(uncovered(&SEAT, S, S * 6, &windows), S);
        assert_eq!(uncovered(&SEAT, S * 5, S * 9, &windows), S * 3);
        assert_eq!(uncovered(&SEAT, S * 7, S * 9, &windows), S * 2);
        let apart = [window(Concern::All, 1, 2), window(Concern::All, 5, 6)];
        assert_eq!(uncovered(&SEAT, S, S * 6, &apart), S * 3);
    }

    #[test]
    fn who_is_elsewhere_may_not_wait() {
        let elsewhere = [
            window(Concern::Edge(1), 0, 9),
            window(Concern::Stream(1), 0, 9),
            window(Concern::Rungs, 0, 9),
            window(Concern::Nobody, 0, 9),
        ];
        assert_eq!(uncovered(&SEAT, S * 2, S * 4, &elsewhere), S * 2);
        assert_eq!(causes(&SEAT, S * 2, S * 4, &elsewhere), [] as [usize; 0]);
        let moved = Seat { edges: 3, ..SEAT };
        assert_eq!(uncovered(&moved, S * 2, S * 4, &elsewhere), Duration::ZERO);
        let rung = Seat { stream: LADDER, rung: true, edges: 1 };
        assert_eq!(uncovered(&rung, S * 2, S * 4, &elsewhere), Duration::ZERO);
    }

    #[test]
    fn a_fault_that_goes_on_covers_all_that_follows() {
        let open = Window { to: Duration::MAX, ..window(Concern::All, 3, 3) };
        assert_eq!(uncovered(&SEAT, S * 3, S * 100, &[open]), Duration::ZERO);
        assert_eq!(causes(&SEAT, S * 3, S * 100, &[open]), [0]);
    }

    #[test]
    fn what_concerns_nobody_has_no_aftermath() {
        for step in Plan::of(1, S * 3_600).steps.iter().take(KINDS.len()) {
            let nobody = concern(&step.fault) == Concern::Nobody;
            assert_eq!(nobody, aftermath(step.fault.kind) == Duration::ZERO, "{}", step.fault);
        }
    }
}
