//! What is done about load, in steps with hysteresis (AVP-35): pure.
//!
//! Down: three seconds in a row that are too much, then one step; another one after three more, or each second while the
//! worker falls ever further behind: what is kept would be gone before all steps are taken. First less effort for all
//! rungs; then the rung that the fewest watch is given up; where one is left, every second frame of it. Up: half a
//! minute in a row with room, also for what the step will add, then one step back in reverse order. A step up that had
//! to be taken back within a minute makes the next wait twice as long, so that a machine at its limit doesn't swing; one
//! that held makes it half as long again.

use std::time::{Duration, Instant};

use aqueduct_common::event::GovernorStep;

/// Seconds in a row that are too much before a step down.
const TOO_MUCH_FOR: u32 = 3;
/// Seconds in a row with room before a step up, at first and at most.
const ROOM_FOR: u32 = 30;
const ROOM_FOR_MOST: u32 = 600;
/// A step down so soon after one up says that it was one too many.
const TAKEN_BACK: Duration = Duration::from_secs(60);
/// Seconds in a row that are too much, with nothing left to give up, before that is said.
const SPENT_FOR: u32 = 30;
/// Speed below which a rung cannot keep up (AVP-35).
const SPEED_LEAST: f64 = 1.05;
/// Speed above which there is room for more.
const SPEED_ROOM: f64 = 1.6;
/// Media on its way through the worker that is too much, and that leaves room.
const BEHIND_MOST: Duration = Duration::from_millis(300);
const BEHIND_ROOM: Duration = Duration::from_millis(150);
/// The same where frames without their payload are too much as well: the throttle holds any other worker below that.
const BEHIND_FAR: Duration = Duration::from_millis(1_500);
/// What a worker that is as far behind has to catch up with in a second, or each second is one too many.
const CATCHES_UP: Duration = Duration::from_millis(200);
/// Share of what the machine may carry beyond which nothing is added.
const MACHINE_ROOM: f64 = 0.85;

/// One second of a stream's worker.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Reading {
    /// Media on its way through the worker.
    pub behind: Duration,
    /// How much faster than real time the slowest rung is, by the 95th percentile of its frames; `None` without any.
    pub slowest: Option<f64>,
    /// Frames that lost their payload because the worker was behind.
    pub dropped: u64,
    /// What all streams take of what the machine may give, 1 being all of it.
    pub machine: f64,
    /// No other stream takes more than this one.
    pub costliest: bool,
}

/// What can still be done. A step up names what it is expected to add, in the measure of [`Reading::machine`].
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Options {
    /// There is a preset with less effort.
    pub quicker: bool,
    /// There is a rung to give up.
    pub shed: bool,
    /// There is a rung whose every second frame can go.
    pub halve: bool,
    /// Every second frame of a rung went before.
    pub whole: Option<f64>,
    /// A rung was given up before.
    pub restore: Option<f64>,
    /// Effort was taken away before.
    pub slower: Option<f64>,
}

impl Options {
    /// The next step down.
    pub const fn down(&self) -> Option<GovernorStep> {
        match self {
            Self { quicker: true, .. } => Some(GovernorStep::Quicker),
            Self { shed: true, .. } => Some(GovernorStep::Shed),
            Self { halve: true, .. } => Some(GovernorStep::Halve),
            _ => None,
        }
    }

    /// The next step up, and what it adds.
    pub fn up(&self) -> Option<(GovernorStep, f64)> {
        let whole = self.whole.map(|adds| (GovernorStep::Whole, adds));
        let restore = self.restore.map(|adds| (GovernorStep::Restore, adds));
        whole.or(restore).or_else(|| self.slower.map(|adds| (GovernorStep::Slower, adds)))
    }
}

/// Decides second by second.
#[derive(Debug)]
pub struct Governor {
    too_much: u32,
    /// Seconds in a row that were too much and could not be helped.
    helpless: u32,
    /// A step down was taken, and every second since was too much.
    stepped: bool,
    /// Media on its way through the worker a second ago.
    behind: Duration,
    room: u32,
    room_for: u32,
    last_up: Option<Instant>,
}

impl Default for Governor {
    fn default() -> Self {
        Self {
            too_much: 0,
            helpless: 0,
            stepped: false,
            behind: Duration::ZERO,
            room: 0,
            room_for: ROOM_FOR,
            last_up: None,
        }
    }
}

impl Governor {
    /// Another worker begins: what it costs while it starts says nothing.
    pub const fn restart(&mut self) {
        self.too_much = 0;
        self.helpless = 0;
        self.stepped = false;
        self.behind = Duration::ZERO;
        self.room = 0;
    }

    /// Takes in a second's figures. Returns what to do, and why.
    pub fn report(
        &mut self,
        reading: &Reading,
        options: Options,
        now: Instant,
    ) -> Option<(GovernorStep, String)> {
        let before = std::mem::replace(&mut self.behind, reading.behind);
        let Some(trouble) = trouble(reading) else {
            (self.too_much, self.helpless, self.stepped) = (0, 0, false);
            return self.up(reading, options, now);
        };
        (self.too_much, self.room) = (self.too_much + 1, 0);
        let Some(step) = options.down() else { return self.spent(&trouble) };
        self.helpless = 0;
        let falls_behind = reading.behind > BEHIND_FAR && reading.behind + CATCHES_UP > before;
        let seconds = if self.stepped && falls_behind { 1 } else { TOO_MUCH_FOR };
        if self.too_much < seconds {
            return None;
        }
        (self.too_much, self.stepped) = (0, true);
        if let Some(up) = self.last_up.take()
            && now.duration_since(up) < TAKEN_BACK
        {
            self.room_for = (self.room_for * 2).min(ROOM_FOR_MOST);
        }
        let seconds = if falls_behind {
            format!("it falls behind, by {:.1} s so far", reading.behind.as_secs_f64())
        } else {
            format!("{TOO_MUCH_FOR} s in a row were too much")
        };
        Some((step, format!("{seconds} ({trouble})")))
    }

    /// Nothing is left to give up: said once, until it is better.
    fn spent(&mut self, trouble: &str) -> Option<(GovernorStep, String)> {
        self.helpless = self.helpless.saturating_add(1);
        let reason = || {
            format!(
                "{SPENT_FOR} s in a row were too much ({trouble}), and nothing is left to give up: pictures are \
                 repeated instead; give the machine fewer streams or more CPUs, or name a smaller rung in \
                 transcode.ladder"
            )
        };
        (self.helpless == SPENT_FOR).then(|| (GovernorStep::Spent, reason()))
    }

    fn up(&mut self, reading: &Reading, options: Options, now: Instant) -> Option<(GovernorStep, String)> {
        let next = options.up();
        self.room = match next {
            // What there is to come back is waited for; room before that counts as well.
            Some((_, adds)) if !has_room(reading, adds) => 0,
            None if !has_room(reading, 0.0) => 0,
            _ => self.room.saturating_add(1),
        };
        let (step, _) = next.filter(|_| self.room >= self.room_for)?;
        let reason = format!("there was room for {} s", self.room);
        self.room = 0;
        if self.last_up.is_some_and(|up| now.duration_since(up) >= TAKEN_BACK) {
            self.room_for = (self.room_for / 2).max(ROOM_FOR);
        }
        self.last_up = Some(now);
        Some((step, reason))
    }
}

/// Why a second was too much, in words.
fn trouble(reading: &Reading) -> Option<String> {
    if reading.dropped > 0 {
        return Some(format!("{} frames were left out in the last one", reading.dropped));
    }
    if reading.behind > BEHIND_MOST {
        return Some(format!("encoding is {} ms behind", reading.behind.as_millis()));
    }
    if let Some(speed) = reading.slowest.filter(|speed| *speed < SPEED_LEAST) {
        return Some(format!("the slowest rung is encoded at {speed:.2} of real time"));
    }
    let over = reading.machine > 1.0 && reading.costliest;
    over.then(|| {
        format!(
            "all streams take {:.0} % of the CPU time they may, transcode.cpu_percent",
            reading.machine * 100.0
        )
    })
}

/// There is room for a step that adds so much.
fn has_room(reading: &Reading, adds: f64) -> bool {
    reading.behind < BEHIND_ROOM
        && reading.machine + adds < MACHINE_ROOM
        && reading.slowest.is_none_or(|speed| speed > SPEED_ROOM)
}

#[cfg(test)]
mod tests;
