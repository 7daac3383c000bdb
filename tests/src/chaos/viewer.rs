//! Players that do what hls.js does at low latency: a blocking reload of each list at all times, every part once as soon as
//! it is listed, and the next host after an error. Viewers leave after a while and come anew.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

use super::ledger::Wait;
use super::plan::{EDGES, LADDER, STREAMS};
use super::play::{Gap, Play};
use super::stage::Stage;
use super::track::Track;
use super::window::Seat;
use crate::check::multivariant::{self, Entry};
use crate::fetch::{Answer, Client};
use crate::random::Random;

/// How often time passes for a picture.
const TICK: Duration = Duration::from_millis(100);
/// How often a player asks where to play from.
const STEERING: Duration = Duration::from_secs(2);
/// After an error.
pub const AGAIN: Duration = Duration::from_millis(300);
/// The longest that a request may take: beyond every hold.
const PATIENCE: Duration = Duration::from_secs(12);
/// Errors in a row after which the next host is tried, where the host answers at all.
const ENOUGH: u8 = 2;
/// Refusals that are remembered for what is told of a wait.
const REMEMBERED: usize = 12;
/// How long back what a player asked counts as where it was.
const SHORTLY: Duration = Duration::from_secs(4);

/// A viewer's habits.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    /// Its number.
    pub number: usize,
    /// What it watches.
    pub stream: usize,
    /// The lowest rendition, not the highest.
    pub rung: bool,
    /// Where it begins.
    pub home: usize,
}

impl Habit {
    /// Viewers of all streams at both edges; every second one of the ladder watches a rung.
    pub const fn of(number: usize) -> Self {
        let (stream, turn) = (number % STREAMS.len(), number / STREAMS.len());
        Self { number, stream, rung: stream == LADDER && turn % 4 < 2, home: turn % EDGES.len() }
    }
}

/// One sitting of a viewer.
pub struct Sitting {
    /// The nodes.
    pub stage: Arc<Stage>,
    habit: Habit,
    client: Client,
    host: AtomicUsize,
    errors: AtomicU8,
    inner: Mutex<Inner>,
}

struct Inner {
    play: Play,
    /// It plays an encoded rung.
    rung: bool,
    /// When each host was last asked.
    asked: [Option<Duration>; 2],
    /// What was refused, or did not come, lately.
    refused: VecDeque<String>,
}

/// Comes, watches for a while, leaves, and comes again, until the run is over.
pub async fn view(stage: Arc<Stage>, habit: Habit, seed: u64, mut over: watch::Receiver<bool>) {
    let mut random = Random::new(seed ^ (habit.number as u64 + 1).wrapping_mul(0x9e37_79b9));
    while !*over.borrow() {
        let sitting = Sitting::new(stage.clone(), habit);
        let stays = Duration::from_millis(15_000 + random.below(25_000));
        tokio::select! {
            () = sitting.watch() => {}
            () = sleep(stays) => {}
            _ = over.wait_for(|over| *over) => {}
        }
        sitting.leave();
    }
}

impl Sitting {
    fn new(stage: Arc<Stage>, habit: Habit) -> Self {
        let play = Play::new(stage.ledger.at());
        let inner = Mutex::new(Inner { play, rung: false, asked: [None; 2], refused: VecDeque::new() });
        let (host, errors) = (habit.home.into(), 0.into());
        Self { stage, habit, client: Client::new(), host, errors, inner }
    }

    async fn watch(&self) {
        loop {
            let entries = self.open().await;
            let tracks = self.choose(&entries);
            self.picture(|play, _| {
                play.follow(tracks.len());
                None
            });
            let tracks = tracks.into_iter().enumerate();
            let tracks =
                tracks.map(|(number, path)| async move { Track::new(number, path).follow(self).await });
            // A list that is gone has another one: the stream is opened anew.
            tokio::select! {
                () = first_of(tracks) => {}
                () = self.tick() => {}
                () = self.steer() => {}
            }
        }
    }

    /// The multivariant playlist, from whoever has it.
    async fn open(&self) -> Vec<Entry> {
        let path = format!("/live/{}/index.m3u8", STREAMS[self.habit.stream]);
        loop {
            let host = self.host();
            match self.ask(host, &path).await {
                Some(answer) if answer.status.is_success() => {
                    let text = answer.text().unwrap_or_default();
                    let entries = multivariant::read(&path, &text).0.entries;
                    if !entries.is_empty() {
                        self.went_well();
                        return entries;
                    }
                }
                Some(_) => self.went_wrong(host, false),
                None => self.went_wrong(host, true),
            }
            sleep(AGAIN).await;
        }
    }

    /// Paths of what it plays: a video rendition, and sound.
    fn choose(&self, entries: &[Entry]) -> Vec<String> {
        let lines = |entry: &&Entry| entry.resolution.map_or(0, |(_, lines)| lines);
        let video = entries.iter().filter(|entry| entry.resolution.is_some());
        let (highest, lowest) = (video.clone().max_by_key(lines), video.min_by_key(lines));
        let chosen = if self.habit.rung { lowest } else { highest };
        let is_rung = chosen.map(|entry| &entry.url) != highest.map(|entry| &entry.url);
        self.inner().rung = is_rung;
        let sound = entries.iter().find(|entry| entry.resolution.is_none());
        chosen.into_iter().chain(sound).map(|entry| entry.url.clone()).collect()
    }

    async fn tick(&self) {
        let mut next = self.stage.ledger.at();
        loop {
            next += TICK;
            sleep_until(self.stage.ledger.moment(next)).await;
            self.picture(|play, now| play.advance(now));
        }
    }

    /// Goes where its edge sends it.
    async fn steer(&self) {
        let path = format!("/live/{}/steering.json?_HLS_pathway=.", STREAMS[self.habit.stream]);
        loop {
            sleep(STEERING).await;
            let host = self.host();
            let Ok(Ok(answer)) = timeout(PATIENCE, self.client.get(&self.stage.edge(host).url(&path))).await
            else {
                continue;
            };
            let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let first = told["PATHWAY-PRIORITY"][0].as_str();
            if let Some(other) = EDGES.iter().position(|edge| Some(*edge) == first) {
                self.host.store(other, Ordering::Relaxed);
            }
        }
    }

    fn leave(&self) {
        self.picture(|play, now| play.leave(now));
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets something happen to the picture, and notes a wait that is over.
    pub fn picture(&self, happens: impl FnOnce(&mut Play, Duration) -> Option<Gap>) {
        let now = self.stage.ledger.at();
        let mut inner = self.inner();
        let Some(Gap { from, to, first }) = happens(&mut inner.play, now) else { return };
        let recent = |asked: Option<Duration>| asked.is_some_and(|asked| asked + SHORTLY >= from);
        let edges = u8::from(recent(inner.asked[0])) | u8::from(recent(inner.asked[1])) << 1;
        let seat = Seat { stream: self.habit.stream, rung: inner.rung, edges };
        let refused = inner.refused.iter().cloned().collect();
        drop(inner);
        self.stage.ledger.waited(Wait { player: self.habit.number, seat, from, to, first, refused });
    }

    /// Where it plays from.
    pub fn host(&self) -> usize {
        self.host.load(Ordering::Relaxed)
    }

    /// Asks a host for something; `None` when no answer came.
    pub async fn ask(&self, host: usize, path: &str) -> Option<Answer> {
        self.inner().asked[host] = Some(self.stage.ledger.at());
        let url = self.stage.edge(host).url(path);
        let answer = timeout(PATIENCE, self.client.get(&url)).await.ok().and_then(Result::ok);
        let status = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
        if status != 200 {
            let (at, tail) = (self.stage.ledger.at(), path.rsplit('/').next().unwrap_or(path));
            let mut inner = self.inner();
            inner.refused.truncate(REMEMBERED - 1);
            inner.refused.push_front(format!("{:.1} {} {tail} {status}", at.as_secs_f64(), EDGES[host]));
        }
        answer
    }

    /// An answer was as it should be.
    pub fn went_well(&self) {
        self.errors.store(0, Ordering::Relaxed);
    }

    /// An answer was not: at once, or after another one, the next host is tried.
    pub fn went_wrong(&self, host: usize, silent: bool) {
        let errors = self.errors.fetch_add(1, Ordering::Relaxed) + 1;
        if self.host() == host && (silent || errors >= ENOUGH) {
            self.errors.store(0, Ordering::Relaxed);
            self.host.store(1 - host, Ordering::Relaxed);
        }
    }

    /// Who it is, for what is told of it.
    pub fn name(&self) -> String {
        format!("player {} of {}", self.habit.number, STREAMS[self.habit.stream])
    }
}

/// Runs all until one of them ends.
async fn first_of<F: Future<Output = ()>>(futures: impl IntoIterator<Item = F>) {
    let mut running: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        // Every one of them is polled, as any may have been woken.
        let ended = running.iter_mut().map(|future| future.as_mut().poll(context).is_ready());
        if ended.fold(false, |any, one| any | one) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_is_watched_at_both_edges_and_the_ladder_in_both_renditions() {
        let habits: Vec<Habit> = (0..12).map(Habit::of).collect();
        for stream in 0..STREAMS.len() {
            for home in 0..EDGES.len() {
                assert!(habits.iter().any(|habit| habit.stream == stream && habit.home == home));
            }
        }
        for home in 0..EDGES.len() {
            let ladder = habits.iter().filter(|habit| habit.stream == LADDER && habit.home == home);
            assert_eq!(ladder.filter(|habit| habit.rung).count(), 1);
        }
        assert!(habits.iter().all(|habit| !habit.rung || habit.stream == LADDER));
    }
}
