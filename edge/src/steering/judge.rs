//! Which groups of edges viewers may be sent to. Pure.
//!
//! What gets worse counts at once. What gets better counts when it has been better for a while, so that a group that
//! comes and goes does not pull viewers to and fro (EDGE-28).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::config::Pathway;

/// How long a group must have been better before it is taken for better.
const STAY: Duration = Duration::from_secs(30);

/// What one edge says of itself, or is said of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Report {
    /// Its group.
    pub(crate) group: Pathway,
    /// In thousandths of what it may carry.
    pub(crate) load: u32,
    /// It is about to stop.
    pub(crate) draining: bool,
    /// It has what it serves.
    pub(crate) fed: bool,
}

/// How a group does, from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Standing {
    /// It serves.
    Good,
    /// It serves, and is near what it may carry.
    Busy,
    /// All its edges are about to stop.
    Draining,
    /// None of its edges has anything to serve.
    Starved,
}

/// A group as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) standing: Standing,
    /// In thousandths: how many of its viewers should go elsewhere while it is busy.
    pub(crate) excess: u32,
}

/// Judges groups, second by second.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    busy: u32,
    calm: u32,
    known: BTreeMap<String, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    standing: Standing,
    /// Since when it looks better than that.
    better_since: Option<Instant>,
}

impl Judge {
    /// A group is busy from `busy` on, and no longer below `calm`: thousandths.
    pub(crate) fn new(busy: u32, calm: u32) -> Self {
        Self { busy, calm, known: BTreeMap::new() }
    }

    /// Takes in what all edges say; answers every group, by its name. A group that nobody speaks of is gone.
    pub(crate) fn turn(&mut self, reports: &[Report], now: Instant) -> Vec<Group> {
        let mut groups: BTreeMap<&str, Vec<&Report>> = BTreeMap::new();
        for report in reports {
            groups.entry(&report.group.id).or_default().push(report);
        }
        self.known.retain(|id, _| groups.contains_key(id.as_str()));
        let mut judged = Vec::with_capacity(groups.len());
        for (id, reports) in groups {
            let load = load(&reports);
            let standing = self.standing(id, looks(&reports, load, self.threshold(id)), now);
            // So many that its load falls halfway to calm.
            let target = u64::from(self.busy + self.calm) / 2;
            let excess = u64::from(load).saturating_sub(target) * 1_000 / u64::from(load.max(1));
            let excess = if standing == Standing::Busy { excess as u32 } else { 0 };
            judged.push(Group { id: id.to_owned(), host: reports[0].group.host.clone(), standing, excess });
        }
        judged
    }

    /// From which load on a group is busy: one that is stays so until it is calm.
    fn threshold(&self, id: &str) -> u32 {
        let busy = self.known.get(id).is_some_and(|known| known.standing == Standing::Busy);
        if busy { self.calm } else { self.busy }
    }

    fn standing(&mut self, id: &str, looks: Standing, now: Instant) -> Standing {
        let Some(known) = self.known.get_mut(id) else {
            self.known.insert(id.to_owned(), Known { standing: looks, better_since: None });
            return looks;
        };
        if looks >= known.standing {
            *known = Known { standing: looks, better_since: None };
        } else {
            let since = *known.better_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= STAY {
                *known = Known { standing: looks, better_since: None };
            }
        }
        known.standing
    }
}

/// The load of those of its edges that viewers may come to.
fn load(reports: &[&Report]) -> u32 {
    let loads: Vec<u32> =
        reports.iter().filter(|report| serves(report)).map(|report| report.load.min(10_000)).collect();
    loads.iter().sum::<u32>() / (loads.len() as u32).max(1)
}

fn serves(report: &Report) -> bool {
    report.fed && !report.draining
}

fn looks(reports: &[&Report], load: u32, busy: u32) -> Standing {
    let serving = reports.iter().any(|report| serves(report));
    match (serving, reports.iter().any(|report| report.fed)) {
        (true, _) if load >= busy => Standing::Busy,
        (true, _) => Standing::Good,
        (false, true) => Standing::Draining,
        (false, false) => Standing::Starved,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(group: &str, load: u32) -> Report {
        let group = Pathway { id: group.into(), host: format!("{group}.example") };
        Report { group, load, draining: false, fed: true }
    }

    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn begin() -> Instant {
        Instant::now()
    }

    fn standing(judge: &mut Judge, reports: &[Report], now: Instant) -> Standing {
        judge.turn(reports, now)[0].standing
    }

    #[test]
    fn a_group_is_as_good_as_its_edges_that_serve() {
        let (mut judge, now) = (Judge::new(850, 700), begin());
        let leaving = |load| Report { draining: true, ..report("a", load) };
        let starved = |load| Report { fed: false, ..report("a", load) };
        for (reports, expected) in [
            (vec![report("a", 100), leaving(1_000)], Standing::Good),
            (vec![report("a", 900), leaving(0)], Standing::Busy),
            (vec![leaving(0), starved(0)], Standing::Draining),
            (vec![starved(0)], Standing::Starved),
        ] {
            let mut judge = judge.clone();
            assert_eq!(standing(&mut judge, &reports, now), expected, "{reports:?}");
        }
        assert!(judge.turn(&[], now).is_empty());
    }

    #[test]
    fn worse_counts_at_once_and_better_after_a_while() {
        let (mut judge, begin) = (Judge::new(850, 700), begin());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut seen = |load, second| standing(&mut judge, &[report("a", load)], at(second));
        assert_eq!(seen(100, 0), Standing::Good);
        assert_eq!(seen(850, 1), Standing::Busy);
        // Below busy, and not calm: nothing changes however long it stays there.
        assert_eq!(seen(800, 100), Standing::Busy);
        assert_eq!(seen(699, 101), Standing::Busy);
        // A relapse begins the count anew.
        assert_eq!(seen(750, 120), Standing::Busy);
        assert_eq!(seen(600, 121), Standing::Busy);
        assert_eq!(seen(600, 150), Standing::Busy);
        assert_eq!(seen(600, 151), Standing::Good);
    }

    #[test]
    fn so_many_are_sent_away_that_the_rest_fits() {
        let mut judge = Judge::new(850, 700);
        let group = &judge.turn(&[report("a", 1_000)], begin())[0];
        assert_eq!((group.standing, group.excess), (Standing::Busy, 225));
    }

    proptest! {
        /// However edges flap, a group gets better at most once in the time that it has to stay better.
        #[test]
        fn flapping_is_damped(loads in proptest::collection::vec((0u32..1_200, any::<bool>(), any::<bool>()), 1..200)) {
            let (mut judge, begin) = (Judge::new(850, 700), begin());
            let (mut last, mut improved): (Option<Standing>, Option<u64>) = (None, None);
            for (second, (load, draining, fed)) in (0u64..).zip(loads) {
                let said = Report { draining, fed, ..report("a", load) };
                let now = standing(&mut judge, &[said], begin + Duration::from_secs(second));
                if last.is_some_and(|last| now < last) {
                    prop_assert!(improved.is_none_or(|before| second - before >= 30));
                    improved = Some(second);
                }
                last = Some(now);
            }
        }
    }
}
