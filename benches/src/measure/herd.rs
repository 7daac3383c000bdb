//! One published part → 2,000 blocked players, on one core served.
//!
//! The server runs on one core; publisher and players share the others. Every player holds its request before the
//! part exists (a round in which one came too late does not count). The clock starts when the publisher writes the
//! part's last frame and stops at the last byte of each player's answer, the players' own reading included.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};

use super::{MEGABITS, Setting, runtime};
use crate::error::Error;
use crate::http1::{Answer, Body, Connection};
use crate::playlist::Listed;
use crate::process::Program;
use crate::publisher::{Publisher, Sent};
use crate::report::Row;
use crate::server::{Server, load, reload};
use crate::source::{Source, Track};
use crate::spread::Spread;
use crate::{clock, machine, part, playlist};

/// The budget for 95 % of players to have their answer, in milliseconds.
const BUDGET_MS: f64 = 50.0;
const PLAYERS: usize = 2_000;
/// Players must be waiting for at least this long when the part's last frame is written.
const MARGIN: Duration = Duration::from_millis(10);
/// From the last request sent to where the server has surely read them all.
const SETTLE: Duration = Duration::from_millis(50);
/// How many parts ahead playlists are asked for, so that all players wait in time.
const AHEAD: u64 = 3;

/// Measures.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let core = machine::split();
    LocalSet::new().block_on(&runtime()?, measure(setting, core))
}

async fn measure(setting: &Setting<'_>, core: Option<usize>) -> Result<Vec<Row>, Error> {
    let rounds = setting.size(20, 3);
    let mut server = Server::start(setting.server, core).await?;
    let publisher = Publisher::start(&[server.rtmp], "herd", Source::new(MEGABITS))?;
    let path = server.live("herd").await?.video;
    let probe = Connection::open(server.http, 0).await?;
    let mut players = Vec::new();
    for index in 0..PLAYERS {
        players.push(Connection::open(server.http, index).await?);
    }
    let mut herd = Herd { players, probe, path, sent: publisher.sent(), late_rounds: 0 };
    let mut rows = Vec::new();
    for held in [Held::Playlist, Held::Part] {
        let (mut all, mut firsts, mut cpu) = (Vec::new(), Vec::new(), Duration::ZERO);
        let mut slowest_round = 0.0_f64;
        for _ in 0..rounds {
            let (times, spent) = herd.round(held, &server.program).await?;
            slowest_round = slowest_round.max(Spread::new(times.clone()).ms(95.0));
            firsts.extend(times.iter().min());
            all.extend(times);
            cpu += spent;
        }
        let cpu = cpu.as_secs_f64() * 1e6 / all.len() as f64;
        let first = Spread::new(firsts).ms(50.0);
        rows.extend(held.rows(&Spread::new(all), rounds, (first, slowest_round), cpu));
    }
    if let Some(last) = rows.last_mut() {
        last.detail.push_str(&format!("; {} rounds began too late and do not count", herd.late_rounds));
    }
    publisher.finish()?;
    Ok(rows)
}

/// What the players hold requests for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    Playlist,
    Part,
}

impl Held {
    fn rows(self, spread: &Spread, rounds: usize, (first, slowest_round): (f64, f64), cpu: f64) -> Vec<Row> {
        let what = match self {
            Self::Playlist => "blocked playlists",
            Self::Part => "held part requests (75 kB each)",
        };
        let row = |percent: f64, name: &str| {
            Row::new("herd", format!("one part → {PLAYERS} {what}, {name}"), "ms", spread.ms(percent))
        };
        let detail = format!(
            "{rounds} rounds; the first player of a round after {first:.1} ms (median); slowest round's p95 {slowest_round:.1} ms; server CPU {cpu:.1} µs per answer once all wait"
        );
        let p95 = row(95.0, "p95").detail(detail);
        let p95 = if self == Self::Playlist { p95.budget(BUDGET_MS) } else { p95 };
        vec![row(50.0, "p50"), row(100.0, "max"), p95]
    }
}

/// The players, all waiting for the same.
struct Herd {
    players: Vec<Connection>,
    probe: Connection,
    path: String,
    sent: Sent,
    late_rounds: usize,
}

impl Herd {
    /// Holds all requests until they are answered: how long each took from the part's last frame, and the server's
    /// CPU time from when all were waiting. A round that began too late is repeated.
    async fn round(&mut self, held: Held, server: &Program) -> Result<(Vec<Duration>, Duration), Error> {
        const ATTEMPTS: usize = 20;
        for _ in 0..ATTEMPTS {
            let target = self.target(held).await?;
            for player in &mut self.players {
                player.send(&target).await?;
            }
            // Until the server has read them all.
            tokio::time::sleep(SETTLE).await;
            let (waiting, cpu) = (clock::now(), server.cpu());
            let answers = self.receive(&target, held).await?;
            let cpu = server.cpu() - cpu;
            let written = self.written(&target, held, &answers).await?;
            if waiting + MARGIN < written {
                let times = answers.iter().map(|answer| answer.at.saturating_duration_since(written));
                return Ok((times.collect(), cpu));
            }
            self.late_rounds += 1;
        }
        let first = "the requests took longer to send than a part lasts".into();
        Err(Error::Errors { what: "rounds", count: ATTEMPTS, first })
    }

    /// What to ask for next.
    async fn target(&mut self, held: Held) -> Result<String, Error> {
        let mut media = load(&mut self.probe, &self.path).await?;
        match held {
            Held::Playlist => {
                let (msn, part) = media.next;
                Ok(format!("{}?_HLS_msn={msn}&_HLS_part={}", self.path, part + AHEAD))
            }
            Held::Part => {
                // At the moment that a part appears there is most time before the next.
                (media, _) = reload(&mut self.probe, &self.path, media.next).await?;
                media.hint.ok_or(Error::Unreadable { what: self.path.clone(), why: "it hints at no part" })
            }
        }
    }

    async fn receive(&mut self, target: &str, held: Held) -> Result<Vec<Answer>, Error> {
        let target: Rc<str> = target.into();
        let mut waiting = JoinSet::new();
        for (index, mut player) in self.players.drain(..).enumerate() {
            let target = target.clone();
            let body = if held == Held::Playlist || index == 0 { Body::Keep } else { Body::Drop };
            waiting.spawn_local(async move {
                let answer = player.receive(&target, body).await;
                (index, player, answer)
            });
        }
        let mut answers: Vec<Answer> = Vec::new();
        while let Some(Ok((index, player, answer))) = waiting.join_next().await {
            let answer = answer?;
            if answer.status != 200 {
                return Err(Error::Status { path: target.to_string(), status: answer.status });
            }
            self.players.push(player);
            // The one whose body was kept comes first.
            if index == 0 { answers.insert(0, answer) } else { answers.push(answer) }
        }
        Ok(answers)
    }

    /// When the frame was written that made all answers possible.
    async fn written(&mut self, target: &str, held: Held, answers: &[Answer]) -> Result<Instant, Error> {
        let unreadable = |why| Error::Unreadable { what: target.to_owned(), why };
        let bytes = match held {
            Held::Part => answers.first().ok_or(unreadable("there was no answer"))?.body.clone(),
            Held::Playlist => {
                let part = released_by(target, answers)?.ok_or(unreadable("it lists no part"))?;
                self.probe.get(&part.path, Body::Keep).await?.body
            }
        };
        let part = part::read(&bytes)?;
        self.sent.at(Track::Video, part.last_frame).ok_or(unreadable("its last frame was not sent"))
    }
}

/// The newest part of the oldest playlist among the answers. Players whose turn comes after the next change get that
/// newer playlist, as they should, and their time counts all the same.
fn released_by(target: &str, answers: &[Answer]) -> Result<Option<Listed>, Error> {
    let mut bodies: Vec<&Answer> = answers.iter().collect();
    bodies.dedup_by(|one, other| one.body == other.body);
    let mut oldest: Option<Listed> = None;
    for answer in bodies {
        let newest = playlist::media(target, &answer.text()?)?.parts.pop();
        oldest = [oldest, newest].into_iter().flatten().min_by_key(|part| part.at);
    }
    Ok(oldest)
}
