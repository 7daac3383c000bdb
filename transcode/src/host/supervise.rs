//! A worker's life as its host sees it: pure.
//!
//! A worker that is lost is replaced: at once, then after 0.25 s, 0.5 s, 1 s … at most 30 s, and at once again after
//! 30 s of health. A hang is told by input that gives no output: [`HANG_FRAMES`] frames and a span of the clock that
//! doubles with each hang in a row, because what comes back again and again is a slow machine rather than a hang. After
//! a third of a second the system is asked what the process does: one that was stopped is lost, and one that waits for
//! a CPU or for memory is given more time than one that waits for nothing.

use std::time::{Duration, Instant};

use aqueduct_common::event::WorkerLoss;

/// Least frames of input without any output that count as a hang.
pub const HANG_FRAMES: u32 = 12;
/// Least time that they take where nothing of the worker wants a CPU.
pub const HANG_AFTER: Duration = Duration::from_millis(700);
/// The same where something of it does: it may be starved, or swapped out.
pub const HANG_BUSY: Duration = Duration::from_secs(1);
/// Silence after which the system is asked, and frames of input.
pub const LOOK_AFTER: Duration = Duration::from_millis(350);
/// The frames of it.
pub const LOOK_FRAMES: u32 = 6;
/// The same before a worker has given anything: it opens decoders and encoders, and a GPU's driver.
pub const HANG_AT_START: Duration = Duration::from_secs(5);
/// How long a worker may take until it reads.
pub const READY_WITHIN: Duration = Duration::from_secs(5);
/// Health after which a loss counts as the first again.
pub const HEALTHY: Duration = Duration::from_secs(30);
/// The longest pause before another worker is started.
pub const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What the host has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Start a worker.
    Start,
    /// End the one that runs, which is lost for this cause.
    Kill(WorkerLoss),
    /// Ask the system what the one that runs does, and say so to [`Supervisor::looked`].
    Look,
}

/// What the threads of a worker do that gives nothing out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pulse {
    /// They are stopped.
    Stopped,
    /// All of them sleep.
    Idle,
    /// One runs, wants to, or waits for memory or a disk.
    Busy,
    /// The system does not say.
    Unknown,
}

impl Pulse {
    /// Silence after which it counts as a hang.
    const fn patience(self) -> Duration {
        match self {
            Self::Stopped | Self::Idle | Self::Unknown => HANG_AFTER,
            Self::Busy => HANG_BUSY,
        }
    }
}

/// What is known of a loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loss {
    /// Since its last frame; `None` when it never gave one.
    pub last_frame: Option<Duration>,
    /// Until another is started.
    pub retry: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    /// No worker is wanted.
    Idle,
    /// One is started at this moment.
    Pausing { until: Instant },
    /// Started; it has not said that it reads.
    Starting { since: Instant },
    /// It reads.
    Running { since: Instant },
    /// It was told to be killed; its end has not been heard of.
    Dying,
}

/// Decides when a stream's worker is started and killed.
#[derive(Debug)]
pub struct Supervisor {
    life: Life,
    /// Losses without [`HEALTHY`] between them.
    streak: u32,
    /// Of these, hangs.
    hangs: u32,
    lost: u32,
    last_output: Option<Instant>,
    /// Frames of input since the last output, and when the first of them was given.
    unanswered: u32,
    unanswered_since: Option<Instant>,
    /// What the system said since then.
    pulse: Option<Pulse>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self {
            life: Life::Idle,
            streak: 0,
            hangs: 0,
            lost: 0,
            last_output: None,
            unanswered: 0,
            unanswered_since: None,
            pulse: None,
        }
    }
}

impl Supervisor {
    /// A worker is wanted from now on. Does nothing when there is one, or one is on its way.
    pub const fn want(&mut self, now: Instant) {
        if matches!(self.life, Life::Idle) {
            self.life = Life::Pausing { until: now };
        }
    }

    /// No worker is wanted any more; the shell ends the one that runs.
    pub const fn release(&mut self) {
        self.life = Life::Idle;
        self.forget_input();
    }

    /// A worker's process is there.
    pub const fn started(&mut self, now: Instant) {
        self.life = Life::Starting { since: now };
        self.last_output = None;
        self.forget_input();
    }

    /// It says that it reads.
    pub fn ready(&mut self, now: Instant) {
        if matches!(self.life, Life::Starting { .. }) {
            self.life = Life::Running { since: now };
            // What was fed to it while it started counts from now on.
            self.unanswered_since = self.unanswered_since.map(|_| now);
        }
    }

    /// A frame was given to it that should give output.
    pub fn fed(&mut self, now: Instant) {
        self.unanswered = self.unanswered.saturating_add(1);
        self.unanswered_since.get_or_insert(now);
    }

    /// It gave a frame out.
    pub const fn output(&mut self, now: Instant) {
        self.last_output = Some(now);
        self.forget_input();
    }

    /// What it was fed gives no output: everything it makes is asleep or shed.
    pub const fn forget_input(&mut self) {
        self.unanswered = 0;
        self.unanswered_since = None;
        self.pulse = None;
    }

    /// What the system says of the one that runs.
    pub const fn looked(&mut self, pulse: Pulse) {
        if self.pulse.is_some() {
            self.pulse = Some(pulse);
        }
    }

    /// It is gone. `None` when it was to go.
    pub fn lost(&mut self, cause: WorkerLoss, now: Instant) -> Option<Loss> {
        let healthy = match self.life {
            Life::Idle | Life::Pausing { .. } => return None,
            Life::Running { since } => now.duration_since(since) >= HEALTHY,
            Life::Starting { .. } | Life::Dying => false,
        };
        if healthy {
            (self.streak, self.hangs) = (0, 0);
        }
        let retry = pause(self.streak);
        self.streak = self.streak.saturating_add(1);
        self.lost = self.lost.saturating_add(1);
        if cause == WorkerLoss::Hang {
            self.hangs = self.hangs.saturating_add(1);
        }
        let last_frame = self.last_output.map(|at| now.duration_since(at));
        self.life = Life::Pausing { until: now + retry };
        self.forget_input();
        Some(Loss { last_frame, retry })
    }

    /// Workers lost so far.
    pub const fn lost_so_far(&self) -> u32 {
        self.lost
    }

    /// A worker reads.
    pub const fn is_running(&self) -> bool {
        matches!(self.life, Life::Running { .. })
    }

    /// What is due.
    pub fn poll(&mut self, now: Instant) -> Option<Act> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        match self.life {
            Life::Pausing { .. } => Some(Act::Start),
            Life::Starting { .. } => Some(self.kill(WorkerLoss::Start)),
            Life::Running { since } => {
                if now.duration_since(since) >= HEALTHY {
                    // A hang after long health is the first in a row.
                    self.hangs = 0;
                }
                match self.deadline().is_some_and(|deadline| now >= deadline) {
                    true if self.pulse.is_none() => {
                        self.pulse = Some(Pulse::Unknown);
                        Some(Act::Look)
                    }
                    true => Some(self.kill(WorkerLoss::Hang)),
                    false => None,
                }
            }
            Life::Idle | Life::Dying => None,
        }
    }

    /// When [`Supervisor::poll`] has something to say, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        match self.life {
            Life::Idle | Life::Dying => None,
            Life::Pausing { until } => Some(until),
            Life::Starting { since } => Some(since + READY_WITHIN),
            Life::Running { .. } => self.unanswered_since.and_then(|since| Some(since + self.patience()?)),
        }
    }

    /// Silence after which there is something to do; `None` before there was enough input.
    fn patience(&self) -> Option<Duration> {
        let after = match self.pulse {
            None => return (self.unanswered >= LOOK_FRAMES).then_some(LOOK_AFTER),
            Some(Pulse::Stopped) => return Some(Duration::ZERO),
            Some(_) if self.unanswered < HANG_FRAMES => return None,
            Some(_) if self.last_output.is_none() => HANG_AT_START,
            Some(pulse) => pulse.patience(),
        };
        Some(after * (1 << self.hangs.min(3)))
    }

    const fn kill(&mut self, cause: WorkerLoss) -> Act {
        self.life = Life::Dying;
        Act::Kill(cause)
    }
}

/// The pause after this many losses in a row before.
fn pause(streak: u32) -> Duration {
    match streak {
        0 => Duration::ZERO,
        n => (Duration::from_millis(250) * (1 << (n - 1).min(10))).min(PAUSE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: Duration = Duration::from_millis(33);

    #[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn running(now: Instant) -> Supervisor {
        let mut supervisor = Supervisor::default();
        supervisor.want(now);
        assert_eq!(supervisor.poll(now), Some(Act::Start));
        supervisor.started(now);
        supervisor.ready(now);
        supervisor
    }

    /// Feeds until it is told to kill, where the system says this of the worker; returns how long that takes.
    fn feed_until_killed(supervisor: &mut Supervisor, mut now: Instant, pulse: Pulse) -> Duration {
        let begin = now;
        loop {
            match supervisor.poll(now) {
                Some(Act::Look) => supervisor.looked(pulse),
                Some(act) => {
                    assert_eq!(act, Act::Kill(WorkerLoss::Hang));
                    return now.duration_since(begin);
                }
                None => {}
            }
            supervisor.fed(now);
            now += FRAME;
            assert!(now.duration_since(begin) < Duration::from_secs(60), "never");
        }
    }

    #[test]
    fn a_worker_that_answers_is_left_alone_and_one_that_stops_is_killed_in_time() {
        let now = start();
        let mut supervisor = running(now);
        for n in 0..300 {
            let at = now + FRAME * n;
            supervisor.fed(at);
            supervisor.output(at + FRAME / 2);
            assert_eq!(supervisor.poll(at), None);
        }
        let took = feed_until_killed(&mut supervisor, now + FRAME * 300, Pulse::Idle);
        assert!(took >= HANG_AFTER && took <= HANG_AFTER + FRAME * 2, "{took:?}");
    }

    #[test]
    fn what_the_system_says_shortens_or_lengthens_the_wait() {
        let now = start();
        let silent = |pulse| {
            let mut supervisor = running(now);
            supervisor.output(now);
            feed_until_killed(&mut supervisor, now, pulse)
        };
        let near = |took: Duration, after| took >= after && took <= after + FRAME * 2;
        assert!(near(silent(Pulse::Stopped), LOOK_AFTER));
        assert!(near(silent(Pulse::Busy), HANG_BUSY), "it may be starved");
        assert!(near(silent(Pulse::Unknown), HANG_AFTER));
        // One that is slow, but gives something, is never even looked at.
        let mut supervisor = running(now);
        for n in 0..100 {
            let at = now + LOOK_AFTER * n;
            supervisor.output(at);
            (0..10).for_each(|_| supervisor.fed(at));
            assert_eq!(supervisor.poll(at + LOOK_AFTER - FRAME), None);
        }
        // One that was stopped while it starts is lost as well.
        assert!(near(feed_until_killed(&mut running(now), now, Pulse::Stopped), LOOK_AFTER));
    }

    #[test]
    fn without_input_nothing_is_a_hang() {
        let now = start();
        let mut supervisor = running(now);
        supervisor.output(now);
        assert_eq!(supervisor.poll(now + Duration::from_secs(600)), None);
        (0..LOOK_FRAMES - 1).for_each(|_| supervisor.fed(now));
        assert_eq!(supervisor.poll(now + Duration::from_secs(600)), None, "too few frames to tell");
        supervisor.fed(now);
        assert_eq!(supervisor.poll(now + LOOK_AFTER), Some(Act::Look));
        supervisor.looked(Pulse::Idle);
        assert_eq!(supervisor.poll(now + Duration::from_secs(600)), None, "enough to ask, and not to act");
    }

    #[test]
    fn a_worker_has_longer_for_its_first_frame() {
        let now = start();
        let took = feed_until_killed(&mut running(now), now, Pulse::Busy);
        assert!(took >= HANG_AT_START && took <= HANG_AT_START + FRAME * 2, "{took:?}");
    }

    #[test]
    fn one_that_does_not_become_ready_was_refused_its_start() {
        let now = start();
        let mut supervisor = Supervisor::default();
        supervisor.want(now);
        supervisor.started(now);
        assert_eq!(supervisor.poll(now + READY_WITHIN), Some(Act::Kill(WorkerLoss::Start)));
        assert_eq!(supervisor.poll(now + READY_WITHIN), None, "once");
    }

    #[test]
    fn losses_in_a_row_wait_longer_and_longer_until_it_was_healthy() {
        let mut now = start();
        let mut supervisor = running(now);
        let mut waits = Vec::new();
        for _ in 0..11 {
            let loss = supervisor.lost(WorkerLoss::Signal(9), now).unwrap();
            waits.push(loss.retry.as_millis());
            assert_eq!(supervisor.poll(now + loss.retry), Some(Act::Start));
            now += loss.retry;
            supervisor.started(now);
            supervisor.ready(now);
        }
        assert_eq!(waits, [0, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        let loss = supervisor.lost(WorkerLoss::Signal(9), now + HEALTHY).unwrap();
        assert_eq!(loss.retry, Duration::ZERO);
        assert_eq!(supervisor.lost_so_far(), 12);
    }

    #[test]
    fn hangs_in_a_row_are_given_more_and_more_time() {
        let mut now = start();
        let mut supervisor = running(now);
        let mut took = Vec::new();
        for _ in 0..5 {
            supervisor.output(now);
            took.push(feed_until_killed(&mut supervisor, now, Pulse::Idle).as_millis() / 100);
            now += Duration::from_secs(10);
            supervisor.lost(WorkerLoss::Hang, now);
            supervisor.started(now);
            supervisor.ready(now);
        }
        assert_eq!(took, [7, 14, 28, 56, 56]);
    }

    #[test]
    fn the_age_of_the_last_frame_is_told_and_an_asked_end_is_no_loss() {
        let now = start();
        let mut supervisor = running(now);
        supervisor.output(now);
        let later = now + Duration::from_millis(1_234);
        let loss = supervisor.lost(WorkerLoss::Exit(3), later).unwrap();
        assert_eq!(loss.last_frame, Some(Duration::from_millis(1_234)));
        supervisor.started(later);
        supervisor.release();
        assert_eq!(supervisor.lost(WorkerLoss::Exit(0), later), None);
        assert_eq!(supervisor.lost_so_far(), 1);
        assert_eq!(supervisor.deadline(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u16),
        Fed,
        Output,
        Ready,
        Lost(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0u16..3_000).prop_map(Step::Wait),
            5 => Just(Step::Fed),
            3 => Just(Step::Output),
            1 => Just(Step::Ready),
            1 => (0u8..4).prop_map(Step::Lost),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        /// Whatever happens, there is never a second worker, and after a loss the next one is never further away than
        /// the longest pause.
        #[test]
        fn one_worker_at_a_time_and_always_another_one(steps in steps()) {
            let mut now = start();
            let mut supervisor = Supervisor::default();
            supervisor.want(now);
            let mut alive = false;
            for step in steps {
                match step {
                    Step::Wait(millis) => now += Duration::from_millis(millis.into()),
                    Step::Fed => supervisor.fed(now),
                    Step::Output if alive => supervisor.output(now),
                    Step::Ready if alive => supervisor.ready(now),
                    Step::Lost(how) if alive => {
                        let causes = [WorkerLoss::Exit(1), WorkerLoss::Hang, WorkerLoss::Protocol, WorkerLoss::Start];
                        let loss = supervisor.lost(causes[usize::from(how)], now);
                        prop_assert!(loss.is_some_and(|loss| loss.retry <= PAUSE_MAX));
                        alive = false;
                    }
                    _ => {}
                }
                match supervisor.poll(now) {
                    Some(Act::Start) => {
                        prop_assert!(!alive, "a second worker");
                        supervisor.started(now);
                        alive = true;
                    }
                    Some(Act::Kill(cause)) => {
                        prop_assert!(alive, "killed what is not there");
                        prop_assert!(supervisor.lost(cause, now).is_some());
                        alive = false;
                    }
                    Some(Act::Look) => {
                        prop_assert!(alive, "looks for what is not there");
                        supervisor.looked(Pulse::Busy);
                    }
                    None => {}
                }
                if !alive {
                    let deadline = supervisor.deadline();
                    prop_assert!(deadline.is_some_and(|at| at <= now + PAUSE_MAX), "no other worker is on its way");
                }
            }
        }
    }
}
