//! What the run has seen so far: windows in which players may wait, waits, rules that were broken, who is up.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::plan::Fault;
use super::window::{Concern, Seat, Window};
use crate::check::playlist::MediaPlaylist;
use crate::now;

/// Broken rules that are told one by one; the rest is counted.
const TOLD: usize = 40;
/// Part names of a playlist that are remembered: more than any window and what is kept behind it.
const NAMES: usize = 400;
/// How far back a delay of this program may be the cause of a wait.
const SHORTLY_BEFORE: Duration = Duration::from_secs(1);

/// A player that waited for a picture.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Which player.
    pub player: usize,
    /// Where.
    pub seat: Seat,
    /// Since the beginning of the run.
    pub from: Duration,
    /// Until then.
    pub to: Duration,
    /// It was the wait for the first picture.
    pub first: bool,
    /// What was refused to the player, or did not come, lately.
    pub refused: Vec<String>,
}

/// What came of a fault.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its number in the plan.
    pub number: usize,
    /// It.
    pub fault: Fault,
    /// When it began, since the beginning of the run.
    pub at: Duration,
    /// What an operator could see of it.
    pub moved: String,
}

/// Everything.
#[derive(Default)]
struct Inner {
    windows: Vec<Window>,
    waits: Vec<Wait>,
    broken: Vec<String>,
    known: Vec<String>,
    told: Vec<Told>,
    /// How much slower than an idle machine this one is.
    scale: f64,
    /// When this program itself came late, and by how much.
    late: Vec<(Duration, Duration)>,
    names: HashMap<String, BTreeMap<(u64, u64), String>>,
}

/// The record that all tasks share.
pub struct Ledger {
    begun: OnceLock<Instant>,
    /// Odd while a node is down; it grows with each change.
    lives: [AtomicU64; 3],
    lists: AtomicU64,
    files: AtomicU64,
    inner: Mutex<Inner>,
}

impl Ledger {
    /// A run that has not begun.
    pub fn new() -> Self {
        let inner = Mutex::new(Inner { scale: 1.0, ..Inner::default() });
        Self { begun: OnceLock::new(), lives: Default::default(), lists: 0.into(), files: 0.into(), inner }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run begins now.
    pub fn begin(&self) {
        let _ = self.begun.set(now());
    }

    /// Since the beginning of the run.
    pub fn at(&self) -> Duration {
        self.begun.get().map_or(Duration::ZERO, |begun| now() - *begun)
    }

    /// The moment that is so long after the beginning.
    pub fn moment(&self, at: Duration) -> Instant {
        self.begun.get().map_or_else(now, |begun| *begun) + at
    }

    /// Which life a node is in: 0 is the origin, then edges.
    pub fn life(&self, node: usize) -> u64 {
        self.lives[node].load(Ordering::SeqCst)
    }

    /// A node is up.
    pub fn is_up(&self, node: usize) -> bool {
        self.life(node).is_multiple_of(2)
    }

    /// A node goes down or is up again.
    pub fn turn(&self, node: usize) {
        self.lives[node].fetch_add(1, Ordering::SeqCst);
    }

    /// A rule is broken.
    pub fn broken(&self, why: impl Into<String>) {
        let (at, why) = (self.at(), why.into());
        let mut inner = self.lock();
        if inner.broken.len() < TOLD {
            println!("{:7.1} s  BROKEN  {why}", at.as_secs_f64());
        }
        inner.broken.push(format!("at {:.1} s: {why}", at.as_secs_f64()));
    }

    /// A rule is broken in a way that the product is known for.
    pub fn known(&self, why: String) {
        self.lock().known.push(why);
    }

    /// Rules that were broken in a known way.
    pub fn all_known(&self) -> Vec<String> {
        self.lock().known.clone()
    }

    /// Rules that were broken.
    pub fn all_broken(&self) -> Vec<String> {
        self.lock().broken.clone()
    }

    /// From now on a fault may make some wait; what comes back closes it.
    pub fn open(&self, fault: usize, concern: Concern) -> usize {
        let window = Window { fault, concern, from: self.at(), to: Duration::MAX };
        let mut inner = self.lock();
        inner.windows.push(window);
        inner.windows.len() - 1
    }

    /// A window ends so long after now, by the measure of an idle machine.
    pub fn close(&self, window: usize, aftermath: Duration) {
        let to = self.at() + self.scaled(aftermath);
        self.lock().windows[window].to = to;
    }

    /// All windows.
    pub fn windows(&self) -> Vec<Window> {
        self.lock().windows.clone()
    }

    /// A player has waited.
    pub fn waited(&self, wait: Wait) {
        self.lock().waits.push(wait);
    }

    /// All waits.
    pub fn waits(&self) -> Vec<Wait> {
        self.lock().waits.clone()
    }

    /// What came of a fault.
    pub fn tell(&self, told: Told) {
        self.lock().told.push(told);
    }

    /// What came of all faults, in their order.
    pub fn all_told(&self) -> Vec<Told> {
        let mut told = self.lock().told.clone();
        told.sort_by_key(|told| told.number);
        told
    }

    /// Says how much slower than an idle machine this one is.
    pub fn set_scale(&self, scale: f64) {
        self.lock().scale = scale;
    }

    /// What takes so long on an idle machine, on this one.
    pub fn scaled(&self, time: Duration) -> Duration {
        time.mul_f64(self.lock().scale)
    }

    /// This program was woken so much too late.
    pub fn late(&self, by: Duration) {
        let at = self.at();
        self.lock().late.push((at, by));
    }

    /// The most by which this program was late in a span, or shortly before.
    pub fn lateness(&self, from: Duration, to: Duration) -> Duration {
        let inner = self.lock();
        let within = inner.late.iter().filter(|(at, by)| *at + SHORTLY_BEFORE >= from && *at <= to + *by);
        within.map(|(_, by)| *by).max().unwrap_or_default()
    }

    /// One more list was read, or file.
    pub fn count(&self, list: bool) {
        if list { &self.lists } else { &self.files }.fetch_add(1, Ordering::Relaxed);
    }

    /// Lists that were read, and files.
    pub fn counts(&self) -> (u64, u64) {
        (self.lists.load(Ordering::Relaxed), self.files.load(Ordering::Relaxed))
    }

    /// A part has one name for ever, at whatever node; the first one that has another.
    pub fn names(&self, path: &str, list: &MediaPlaylist) -> Result<(), String> {
        let mut inner = self.lock();
        let names = inner.names.entry(path.to_owned()).or_default();
        for segment in &list.segments {
            for (number, part) in segment.parts.iter().enumerate().filter(|(_, part)| !part.gap) {
                let place = (segment.msn, number as u64);
                let name = names.entry(place).or_insert_with(|| part.uri.clone());
                if *name != part.uri {
                    return Err(format!("part {place:?} was {name}, and is now {}", part.uri));
                }
            }
        }
        while names.len() > NAMES {
            names.pop_first();
        }
        Ok(())
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

/// A list that one node shows after another one in one life: numbers go up, what is constant stays.
pub fn follows(before: &MediaPlaylist, list: &MediaPlaylist) -> Result<(), String> {
    let end = |list: &MediaPlaylist| list.edge().map(|edge| (edge.msn, edge.complete, edge.part));
    if list.media_sequence < before.media_sequence {
        return Err(format!("begins at {} after {}", list.media_sequence, before.media_sequence));
    }
    if list.discontinuity_sequence < before.discontinuity_sequence {
        let (now, then) = (list.discontinuity_sequence, before.discontinuity_sequence);
        return Err(format!("discontinuity sequence {now:?} after {then:?}"));
    }
    if end(list) < end(before) {
        return Err(format!("ends at {:?} after {:?}", end(list), end(before)));
    }
    let constants = |list: &MediaPlaylist| {
        (list.constants.target_duration, list.constants.part_target.map(|target| target.micros))
    };
    if constants(list) != constants(before) {
        return Err(format!("targets {:?} after {:?}", constants(list), constants(before)));
    }
    Ok(())
}
