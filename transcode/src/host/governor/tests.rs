use proptest::prelude::*;

use super::*;

const ALL: Options =
    Options { quicker: true, shed: true, halve: true, whole: None, restore: Some(0.1), slower: Some(0.1) };
const GOOD: Reading = Reading {
    behind: Duration::from_millis(40),
    slowest: Some(3.0),
    dropped: 0,
    machine: 0.4,
    costliest: true,
};
const SLOW: Reading = Reading { slowest: Some(0.9), ..GOOD };

#[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
fn start() -> Instant {
    Instant::now()
}

/// The step and the second it was taken in.
fn until_step(
    governor: &mut Governor,
    reading: &Reading,
    options: Options,
    now: &mut Instant,
) -> (u32, GovernorStep) {
    for second in 1..2_000 {
        *now += Duration::from_secs(1);
        if let Some((step, reason)) = governor.report(reading, options, *now) {
            assert!(!reason.is_empty());
            return (second, step);
        }
    }
    panic!("no step");
}

#[test]
fn slow_seconds_take_effort_away_then_a_rung_and_at_last_every_second_frame() {
    let (mut governor, mut now) = (Governor::default(), start());
    assert_eq!(until_step(&mut governor, &SLOW, ALL, &mut now), (3, GovernorStep::Quicker));
    let quickest = Options { quicker: false, ..ALL };
    assert_eq!(until_step(&mut governor, &SLOW, quickest, &mut now), (3, GovernorStep::Shed));
    let one = Options { shed: false, ..quickest };
    assert_eq!(until_step(&mut governor, &SLOW, one, &mut now), (3, GovernorStep::Halve));
}

#[test]
fn a_worker_that_falls_far_behind_costs_a_step_each_second_until_it_catches_up() {
    let (mut governor, now) = (Governor::default(), start());
    let quickest = Options { quicker: false, ..ALL };
    let behind = |millis| Reading { behind: Duration::from_millis(millis), dropped: 30, ..SLOW };
    let mut step = |millis| governor.report(&behind(millis), quickest, now).map(|(step, _)| step);
    assert_eq!([step(600), step(1_300)], [None, None], "the first step has its three seconds");
    assert_eq!(step(2_000), Some(GovernorStep::Shed));
    assert_eq!([step(2_700), step(2_600)], [Some(GovernorStep::Shed); 2]);
    assert_eq!([step(2_000), step(1_700)], [None, None], "it catches up");
    assert_eq!(step(1_400), Some(GovernorStep::Shed), "but is behind for three seconds more");
    assert_eq!([step(1_450), step(1_490)], [None, None], "near enough");
}

#[test]
fn where_nothing_is_left_to_give_up_that_is_said_once() {
    let (mut governor, mut now) = (Governor::default(), start());
    let nothing = Options { quicker: false, shed: false, halve: false, ..ALL };
    assert_eq!(until_step(&mut governor, &SLOW, nothing, &mut now), (30, GovernorStep::Spent));
    assert!((0..500).all(|_| governor.report(&SLOW, nothing, now).is_none()));
    assert_eq!(governor.report(&GOOD, nothing, now), None);
    assert_eq!(until_step(&mut governor, &SLOW, nothing, &mut now), (30, GovernorStep::Spent));
}

#[test]
fn one_good_second_begins_the_count_anew() {
    let (mut governor, now) = (Governor::default(), start());
    for _ in 0..20 {
        assert_eq!(governor.report(&SLOW, ALL, now), None);
        assert_eq!(governor.report(&SLOW, ALL, now), None);
        assert_eq!(governor.report(&GOOD, ALL, now), None);
    }
}

#[test]
fn what_was_given_up_last_comes_back_first_and_a_swing_is_damped() {
    let (mut governor, mut now) = (Governor::default(), start());
    let halved = Options { whole: Some(0.1), ..ALL };
    assert_eq!(until_step(&mut governor, &GOOD, halved, &mut now), (30, GovernorStep::Whole));
    assert_eq!(until_step(&mut governor, &GOOD, ALL, &mut now), (30, GovernorStep::Restore));
    let complete = Options { restore: None, ..ALL };
    assert_eq!(until_step(&mut governor, &GOOD, complete, &mut now), (30, GovernorStep::Slower));
    assert_eq!(until_step(&mut governor, &SLOW, ALL, &mut now), (3, GovernorStep::Quicker));
    assert_eq!(until_step(&mut governor, &GOOD, ALL, &mut now), (60, GovernorStep::Restore));
    now += Duration::from_secs(120);
    assert_eq!(until_step(&mut governor, &SLOW, ALL, &mut now), (3, GovernorStep::Quicker));
    assert_eq!(until_step(&mut governor, &GOOD, ALL, &mut now).0, 60, "that one was not taken back");
    assert_eq!(until_step(&mut governor, &GOOD, ALL, &mut now).0, 60);
    assert_eq!(until_step(&mut governor, &GOOD, ALL, &mut now).0, 30, "and the one before has held");
}

#[test]
fn what_there_is_no_room_for_does_not_come_back() {
    let (mut governor, now) = (Governor::default(), start());
    let dear = Options { restore: Some(0.5), ..ALL };
    assert!((0..500).all(|_| governor.report(&GOOD, dear, now).is_none()));
}

#[test]
fn a_machine_that_is_full_costs_the_costliest_stream_a_step() {
    let full = Reading { machine: 1.2, ..GOOD };
    let (mut governor, mut now) = (Governor::default(), start());
    assert_eq!(until_step(&mut governor, &full, ALL, &mut now), (3, GovernorStep::Quicker));
    let other = Reading { costliest: false, ..full };
    let mut governor = Governor::default();
    assert!((0..200).all(|_| governor.report(&other, ALL, now).is_none()));
}

/// A machine with a ladder, as it is imagined.
#[derive(Clone, Debug)]
struct Model {
    /// Cost of each rung with least effort, from top to bottom.
    rungs: Vec<f64>,
    /// Effort above the least, each step half as costly again.
    effort: u32,
    usual: u32,
    shed: Vec<usize>,
    halved: Vec<usize>,
    /// What is expected of a step, over what comes of it.
    error: f64,
}

impl Model {
    fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.rungs.len()).filter(|rung| !self.shed.contains(rung))
    }

    fn cost(&self, rung: usize) -> f64 {
        let rate = if self.halved.contains(&rung) { 0.5 } else { 1.0 };
        self.rungs[rung] * 1.5f64.powi(self.effort as i32) * rate
    }

    fn load(&self) -> f64 {
        0.1 + self.running().map(|rung| self.cost(rung)).sum::<f64>()
    }

    fn least(&self) -> f64 {
        0.1 + 0.5 * self.rungs.last().copied().unwrap_or_default()
    }

    fn reading(&self, capacity: f64) -> Reading {
        let share = self.load() / capacity;
        let behind = Duration::from_millis(if share > 1.0 { 500 } else { 40 });
        let slowest = Some(1.7f64.max(1.0 / share)).filter(|_| share <= 1.0).or(Some(1.0 / share));
        Reading { behind, slowest, dropped: u64::from(share > 1.2), machine: share, costliest: true }
    }

    fn options(&self, capacity: f64) -> Options {
        let adds = |cost: f64| cost * self.error / capacity;
        let all: f64 = self.running().map(|rung| self.cost(rung)).sum();
        Options {
            quicker: self.effort > 0,
            shed: self.running().count() > 1,
            halve: self.running().any(|rung| !self.halved.contains(&rung)),
            whole: self.halved.last().map(|rung| adds(self.cost(*rung))),
            restore: self.shed.last().map(|rung| adds(self.cost(*rung))),
            slower: (self.effort < self.usual).then(|| adds(all * 0.5)),
        }
    }

    fn take(&mut self, step: GovernorStep) {
        match step {
            GovernorStep::Quicker => self.effort -= 1,
            GovernorStep::Slower => self.effort += 1,
            GovernorStep::Shed => {
                let top = self.running().next().unwrap();
                self.shed.push(top);
            }
            GovernorStep::Restore => drop(self.shed.pop()),
            GovernorStep::Halve => {
                let top = self.running().find(|rung| !self.halved.contains(rung)).unwrap();
                self.halved.push(top);
            }
            GovernorStep::Whole => drop(self.halved.pop()),
            GovernorStep::Cut | GovernorStep::Spent => {}
        }
    }

    /// Most steps down that there are.
    fn depth(&self) -> u32 {
        self.usual + 2 * self.rungs.len() as u32
    }
}

fn models() -> impl Strategy<Value = Model> {
    let rungs = proptest::collection::vec(0.02f64..1.0, 1..9);
    (rungs, 0u32..6, 0.3f64..1.6).prop_map(|(mut rungs, usual, error)| {
        rungs.sort_by(|one, other| other.total_cmp(one));
        Model { rungs, effort: usual, usual, shed: Vec::new(), halved: Vec::new(), error }
    })
}

const fn is_up(step: GovernorStep) -> bool {
    matches!(step, GovernorStep::Whole | GovernorStep::Restore | GovernorStep::Slower)
}

/// Runs a model for as many seconds as capacities are given. Gives each step with its second.
fn run(model: &mut Model, capacities: impl Iterator<Item = f64>) -> Vec<(u32, GovernorStep)> {
    let (mut governor, start, mut steps) = (Governor::default(), start(), Vec::new());
    for (second, capacity) in capacities.enumerate() {
        let now = start + Duration::from_secs(second as u64);
        let (reading, options) = (model.reading(capacity), model.options(capacity));
        if let Some((step, _)) = governor.report(&reading, options, now) {
            let possible = options.down() == Some(step) || options.up().map(|(up, _)| up) == Some(step);
            assert!(possible || step == GovernorStep::Spent, "{step:?} of {options:?}");
            model.take(step);
            steps.push((second as u32, step));
        }
        assert!(model.running().count() > 0, "the last rung was given up");
    }
    steps
}

proptest! {
    /// Whatever the load does, where the throttle holds the worker, steps come no closer than three seconds, and none up
    /// within half a minute of any other.
    #[test]
    fn steps_keep_their_distance(
        mut model in models(),
        stretches in proptest::collection::vec((0.05f64..8.0, 1usize..200), 1..12),
    ) {
        let capacities = stretches.into_iter().flat_map(|(capacity, for_s)| std::iter::repeat_n(capacity, for_s));
        let steps = run(&mut model, capacities);
        for pair in steps.windows(2) {
            let apart = pair[1].0 - pair[0].0;
            prop_assert!(apart >= TOO_MUCH_FOR, "{pair:?}");
            prop_assert!(!is_up(pair[1].1) || apart >= ROOM_FOR, "{pair:?}");
        }
    }

    /// On a machine that stays the same, the load is met as soon as steps may be taken, if it can be met at all; and
    /// over two hours it comes back to what is too much ever more seldom.
    #[test]
    fn a_load_that_can_be_met_is_met_and_swings_die_down(mut model in models(), capacity in 0.05f64..8.0) {
        let met_within = TOO_MUCH_FOR * (model.depth() + 1);
        let after = |seconds: u32| {
            let mut model = model.clone();
            run(&mut model, std::iter::repeat_n(capacity, seconds as usize));
            model
        };
        if model.least() <= capacity {
            prop_assert!((0..=met_within).any(|seconds| after(seconds).load() <= capacity), "{model:?}");
        } else {
            prop_assert!(after(met_within).options(capacity).down().is_none(), "{model:?}");
        }
        let depth = model.depth();
        let steps = run(&mut model, std::iter::repeat_n(capacity, 7_200));
        let ups = steps.iter().filter(|(_, step)| is_up(*step)).count() as u32;
        // Waits of 30, 60, 120 … 600 s, and then one each ten minutes.
        prop_assert!(ups <= depth + 6 + 7_200 / ROOM_FOR_MOST, "{ups} steps up: {steps:?}");
    }

    /// When the load is gone, everything comes back.
    #[test]
    fn with_room_again_all_comes_back(mut model in models()) {
        run(&mut model, std::iter::repeat_n(0.05, 200));
        let back = (ROOM_FOR_MOST * (model.depth() + 1)) as usize;
        run(&mut model, std::iter::repeat_n(1_000.0, back));
        prop_assert!(model.shed.is_empty() && model.halved.is_empty() && model.effort == model.usual, "{model:?}");
    }
}
