//! Who is on air: sources and times in, a wish out. Pure.

use std::time::{Duration, Instant};

use aqueduct_common::event::SwitchReason;

/// One source, by its place in the order of preference.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    present: bool,
    /// Its newest media.
    last: Option<Instant>,
    /// It has sent without a pause of `failover_after` since then.
    steady: Option<Instant>,
}

/// A change that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wish {
    /// Who goes on air.
    pub(super) to: usize,
    /// Why.
    pub(super) reason: SwitchReason,
}

/// The sources of one stream.
#[derive(Debug)]
pub(super) struct Choice {
    failover_after: Duration,
    restore_after: Duration,
    slots: Vec<Slot>,
    on_air: Option<usize>,
    /// Somebody has been on air.
    begun: bool,
}

impl Choice {
    pub(super) fn new(sources: usize, failover_after: Duration, restore_after: Duration) -> Self {
        let slots = vec![Slot::default(); sources];
        Self { failover_after, restore_after, slots, on_air: None, begun: false }
    }

    /// Who is on air. It may be silent, where nobody else is better.
    pub(super) const fn on_air(&self) -> Option<usize> {
        self.on_air
    }

    /// It came, and has sent nothing yet.
    pub(super) fn join(&mut self, source: usize) {
        if let Some(slot) = self.slots.get_mut(source) {
            *slot = Slot { present: true, last: None, steady: None };
        }
    }

    /// Media came of it at `now`.
    pub(super) fn media(&mut self, source: usize, now: Instant) {
        let failover = self.failover_after;
        if let Some(slot) = self.slots.get_mut(source).filter(|slot| slot.present) {
            let paused = slot.last.is_none_or(|last| now.saturating_duration_since(last) >= failover);
            if paused {
                slot.steady = Some(now);
            }
            slot.last = Some(slot.last.map_or(now, |last| last.max(now)));
        }
    }

    /// It left.
    pub(super) fn leave(&mut self, source: usize) {
        if let Some(slot) = self.slots.get_mut(source) {
            *slot = Slot::default();
        }
        if self.on_air == Some(source) {
            self.on_air = None;
        }
    }

    /// Nobody is on air any more, as if none had been.
    pub(super) const fn off_air(&mut self) {
        (self.on_air, self.begun) = (None, false);
    }

    /// The wish came true.
    pub(super) fn switched(&mut self, source: usize) {
        self.on_air = Some(source);
        self.begun = true;
    }

    /// It came, and sends again.
    pub(super) fn is_live(&self, source: usize, now: Instant) -> bool {
        let live = |slot: &Slot| {
            slot.present
                && slot.last.is_some_and(|last| now.saturating_duration_since(last) < self.failover_after)
        };
        self.slots.get(source).is_some_and(live)
    }

    /// Who should be on air instead of who is. Until media is `out`, nobody sees a change: the best one begins.
    pub(super) fn wish(&self, now: Instant, out: bool) -> Option<Wish> {
        let best = |besides: Option<usize>| {
            (0..self.slots.len()).find(|&source| Some(source) != besides && self.is_live(source, now))
        };
        let Some(on_air) = self.on_air else {
            let reason = if self.begun { SwitchReason::Left } else { SwitchReason::First };
            return best(None).map(|to| Wish { to, reason });
        };
        if !self.is_live(on_air, now) {
            return best(Some(on_air)).map(|to| Wish { to, reason: SwitchReason::Silent });
        }
        if !out {
            let to = best(Some(on_air)).filter(|to| *to < on_air);
            return to.map(|to| Wish { to, reason: SwitchReason::First });
        }
        let steady = |source: &usize| {
            let since = self.slots.get(*source).and_then(|slot| slot.steady);
            self.is_live(*source, now)
                && since.is_some_and(|since| now.saturating_duration_since(since) >= self.restore_after)
        };
        (0..on_air).find(steady).map(|to| Wish { to, reason: SwitchReason::Restored })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FAILOVER: Duration = Duration::from_secs(1);
    const RESTORE: Duration = Duration::from_secs(5);

    /// What may happen in a tenth of a second: who sends, who comes or leaves.
    #[derive(Clone, Debug)]
    struct Step {
        sends: [bool; 3],
        turns: Option<usize>,
    }

    fn step() -> impl Strategy<Value = Step> {
        // Sources go on as they were for a while: independent coins would never be steady.
        (prop::array::uniform3(prop::bool::weighted(0.9)), prop::option::weighted(0.05, 0..3usize))
            .prop_map(|(sends, turns)| Step { sends, turns })
    }

    /// Carries wishes out as they come, and says when, to whom and why.
    fn run(steps: &[Step]) -> (Choice, Vec<(Instant, Wish)>, Instant) {
        let start = crate::stream::clock();
        let mut choice = Choice::new(3, FAILOVER, RESTORE);
        let (mut changes, mut present, mut now) = (Vec::new(), [true; 3], start);
        (0..3).for_each(|source| choice.join(source));
        for step in steps {
            now += Duration::from_millis(100);
            if let Some(source) = step.turns {
                present[source] = !present[source];
                if present[source] { choice.join(source) } else { choice.leave(source) }
            }
            for source in 0..3 {
                if step.sends[source] {
                    choice.media(source, now);
                }
            }
            let wish = choice.wish(now, true);
            if let Some(wish) = wish {
                assert!(choice.is_live(wish.to, now), "{wish:?} is not live");
                assert_ne!(Some(wish.to), choice.on_air());
                choice.switched(wish.to);
                changes.push((now, wish));
            }
            assert_eq!(choice.wish(now, true), None, "one step, one change");
        }
        (choice, changes, now)
    }

    proptest! {
        #[test]
        fn whoever_is_on_air_is_live_where_anybody_is(steps in prop::collection::vec(step(), 1..200)) {
            let (choice, _, now) = run(&steps);
            let live = (0..3).any(|source| choice.is_live(source, now));
            let on_air = choice.on_air().is_some_and(|on_air| choice.is_live(on_air, now));
            prop_assert_eq!(on_air, live);
        }

        #[test]
        fn the_preferred_one_is_on_air_once_it_is_steady(steps in prop::collection::vec(step(), 0..100)) {
            let calm = Step { sends: [true; 3], turns: None };
            let left = steps.iter().filter(|step| step.turns == Some(0)).count() % 2 == 1;
            let back = Step { sends: [true; 3], turns: left.then_some(0) };
            let steps: Vec<_> = steps.into_iter().chain([back]).chain(vec![calm; 70]).collect();
            prop_assert_eq!(run(&steps).0.on_air(), Some(0));
        }

        #[test]
        fn a_live_source_is_left_for_a_better_one_alone(steps in prop::collection::vec(step(), 1..300)) {
            let mut before: Option<usize> = None;
            for (_, wish) in run(&steps).1 {
                prop_assert!(
                    wish.reason != SwitchReason::Restored || before.is_some_and(|before| wish.to < before)
                );
                before = Some(wish.to);
            }
        }
    }

    #[test]
    fn a_silent_source_is_replaced_and_gets_back_when_steady() {
        let start = crate::stream::clock();
        let at = |millis| start + Duration::from_millis(millis);
        let mut choice = Choice::new(2, FAILOVER, RESTORE);
        assert_eq!(choice.wish(at(0), true), None);
        choice.join(1);
        choice.media(1, at(0));
        let first = choice.wish(at(0), true).unwrap();
        assert_eq!(first, Wish { to: 1, reason: SwitchReason::First });
        choice.switched(1);
        choice.join(0);
        choice.media(0, at(50));
        assert_eq!(choice.wish(at(50), false), Some(Wish { to: 0, reason: SwitchReason::First }));
        choice.join(0);
        for millis in (100..10_000).step_by(100) {
            choice.media(1, at(millis));
            choice.media(0, at(millis));
            match choice.wish(at(millis), true) {
                None => assert!(millis < 5_100 || choice.on_air() == Some(0), "{millis}"),
                Some(wish) => {
                    assert_eq!((millis, wish), (5_100, Wish { to: 0, reason: SwitchReason::Restored }));
                    choice.switched(0);
                }
            }
        }
        // Nothing comes of the preferred one any more, though it is there.
        choice.media(1, at(10_800));
        assert_eq!(choice.wish(at(10_800), true), None);
        choice.media(1, at(10_900));
        assert_eq!(choice.wish(at(10_900), true), Some(Wish { to: 1, reason: SwitchReason::Silent }));
        choice.switched(1);
        // It sends again before anything else happens: five seconds count from there.
        choice.media(0, at(11_000));
        choice.media(1, at(11_000));
        assert_eq!(choice.wish(at(11_000), true), None);
        // The other one leaves.
        choice.leave(1);
        assert_eq!(choice.wish(at(11_000), true), Some(Wish { to: 0, reason: SwitchReason::Left }));
    }
}
