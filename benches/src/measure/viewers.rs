//! Cost and latency of 1,000 simulated low-latency players.
//!
//! Each player does what hls.js does with a video and an audio rendition: a blocking reload of either playlist at all
//! times, and each part fetched as soon as it is listed, over up to four keep-alive connections. The server has one
//! core, players and publisher the others. Any answer that is not 200, any part that is skipped, and any playlist that
//! did not advance is an error, and there may be none.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};

use super::{MEGABITS, Setting, runtime};
use crate::error::Error;
use crate::http1::{Answer, Body, Connection};
use crate::playlist::{self, Media};
use crate::publisher::{Publisher, Sent};
use crate::report::Row;
use crate::server::Server;
use crate::source::{Source, Track};
use crate::spread::Spread;
use crate::{clock, machine, part, process};

/// Playlists that are remembered by their bytes: all players get the same ones.
const REMEMBERED: usize = 32;

/// Measures.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let core = machine::split();
    LocalSet::new().block_on(&runtime()?, measure(setting, core))
}

/// What so many players cost, and how long they wait.
pub(super) struct Cost {
    /// Of the serving core, without what it takes when nobody watches.
    pub(super) percent: f64,
    /// From a part's last sample written to its last byte received, of 95 in 100.
    pub(super) p95_ms: f64,
}

/// The same crowds, of one size after the other, at one server.
pub(super) fn sweep(setting: &Setting<'_>, counts: &[usize]) -> Result<Vec<Cost>, Error> {
    let core = machine::split();
    let span = setting.size(Duration::from_secs(10), Duration::from_secs(2));
    let measure = async {
        let (server, publisher, paths) = stage(setting, core).await?;
        let (idle, mut costs) = (cost(&server, span).await, Vec::new());
        for count in counts {
            let seen = crowd(&server, &paths, publisher.sent(), *count, Plan { media: true, span }).await?;
            costs.push(Cost { percent: (seen.load - idle) * 100.0, p95_ms: seen.times.ms(95.0) });
        }
        publisher.finish()?;
        Ok(costs)
    };
    LocalSet::new().block_on(&runtime()?, measure)
}

/// What `watched` gives while so many players watch; they end after `span`.
pub(super) fn during<T>(
    setting: &Setting<'_>,
    players: usize,
    span: Duration,
    watched: impl AsyncFnOnce(&Server) -> Result<T, Error>,
) -> Result<T, Error> {
    let core = machine::split();
    let measure = async {
        let (server, publisher, paths) = stage(setting, core).await?;
        let playing = crowd(&server, &paths, publisher.sent(), players, Plan { media: true, span });
        let (_, value) = tokio::try_join!(playing, watched(&server))?;
        publisher.finish()?;
        Ok(value)
    };
    LocalSet::new().block_on(&runtime()?, measure)
}

/// A server with one stream, and the paths of its renditions.
async fn stage(
    setting: &Setting<'_>,
    core: Option<usize>,
) -> Result<(Server, Publisher, Vec<(Track, Rc<str>)>), Error> {
    let mut server = Server::start(setting.server, core).await?;
    let publisher = Publisher::start(&[server.rtmp], "viewers", Source::new(MEGABITS))?;
    let renditions = server.live("viewers").await?;
    let paths = [(Track::Video, Some(renditions.video)), (Track::Audio, renditions.audio)]
        .into_iter()
        .filter_map(|(track, path)| Some((track, path?.into())))
        .collect();
    Ok((server, publisher, paths))
}

async fn measure(setting: &Setting<'_>, core: Option<usize>) -> Result<Vec<Row>, Error> {
    let players = setting.size(1_000, 100);
    let span = setting.size(Duration::from_secs(20), Duration::from_secs(2));
    let (server, publisher, paths) = stage(setting, core).await?;
    let idle = cost(&server, span / 4).await;
    let only_lists = crowd(&server, &paths, publisher.sent(), players, Plan { media: false, span }).await?;
    let all = crowd(&server, &paths, publisher.sent(), players, Plan { media: true, span }).await?;
    publisher.finish()?;
    Ok(rows(players, idle, &only_lists, &all))
}

/// What a crowd does, and for how long it is measured.
#[derive(Clone, Copy)]
struct Plan {
    media: bool,
    span: Duration,
}

/// What a crowd cost and saw.
struct Seen {
    /// Server CPU seconds per second.
    load: f64,
    /// The clients' own.
    own_load: f64,
    span: Duration,
    playlists: u64,
    parts: u64,
    bytes: u64,
    times: Spread,
}

async fn cost(server: &Server, span: Duration) -> f64 {
    let (cpu, begin) = (server.program.cpu(), clock::now());
    tokio::time::sleep(span).await;
    (server.program.cpu() - cpu).as_secs_f64() / begin.elapsed().as_secs_f64()
}

async fn crowd(
    server: &Server,
    paths: &[(Track, Rc<str>)],
    sent: Sent,
    players: usize,
    plan: Plan,
) -> Result<Seen, Error> {
    const WARM_UP: Duration = Duration::from_secs(2);
    let world = Rc::new(World::default());
    let mut tasks = JoinSet::new();
    for index in 0..players {
        for (track, path) in paths {
            let lists = Connection::open(server.http, index).await?;
            let media = if plan.media { Some(Connection::open(server.http, index).await?) } else { None };
            let follower = Follower { world: world.clone(), path: path.clone(), track: *track, lists, media };
            tasks.spawn_local(follower.run());
        }
    }
    tokio::time::sleep(WARM_UP).await;
    world.measuring.set(true);
    let own = process::own_cpu();
    let load = cost(server, plan.span).await;
    let own_load = (process::own_cpu() - own).as_secs_f64() / plan.span.as_secs_f64();
    world.measuring.set(false);
    world.over.set(true);
    let (mut errors, mut first) = (0, None);
    while let Some(ended) = tasks.join_next().await {
        if let Ok(Err(error)) = ended {
            errors += 1;
            first.get_or_insert(error.to_string());
        }
    }
    match first {
        Some(first) => Err(Error::Errors { what: "simulated players", count: errors, first }),
        None => Ok(world.seen(&sent, plan.span, load, own_load)),
    }
}

fn rows(players: usize, idle: f64, lists: &Seen, all: &Seen) -> Vec<Row> {
    let each = |load: f64| load * 1e6 / players as f64;
    let row = |what: &str, unit: &str, ours: f64| {
        Row::new("viewers", format!("{players} low-latency players: {what}"), unit, ours)
    };
    let answers = (all.playlists + all.parts) as f64 / all.span.as_secs_f64();
    let detail = format!(
        "server at {:.0} % of a core ({:.1} % before the first player); {answers:.0} answers a second, {:.2} Gbit/s, no \
         errors; {:.1} µs per answer; clients at {:.0} % of a core",
        all.load * 100.0,
        idle * 100.0,
        all.bytes as f64 * 8.0 / 1e9 / all.span.as_secs_f64(),
        (all.load - idle) * 1e6 / answers.max(1.0),
        all.own_load * 100.0,
    );
    vec![
        row("server CPU per viewer-second, playlists", "µs", each(lists.load - idle)),
        row("server CPU per viewer-second, media", "µs", each(all.load - lists.load)),
        row("server CPU per viewer-second, all", "µs", each(all.load - idle)).detail(detail),
        row("last sample written → part received, p50", "ms", all.times.ms(50.0)),
        row("last sample written → part received, p95", "ms", all.times.ms(95.0)),
    ]
}

/// What all players share: they are one thread.
#[derive(Default)]
pub(super) struct World {
    measuring: Cell<bool>,
    over: Cell<bool>,
    playlists: Cell<u64>,
    bytes: Cell<u64>,
    remembered: RefCell<Vec<(Vec<u8>, Rc<Media>)>>,
    parts: RefCell<Parts>,
}

/// Each part's last frame, and when it arrived at each player.
#[derive(Default)]
struct Parts {
    numbers: HashMap<String, usize>,
    last_frames: Vec<Option<(Track, u32)>>,
    arrivals: Vec<(usize, Instant)>,
}

impl World {
    /// From now on what arrives counts.
    pub(super) fn measure(&self) {
        self.measuring.set(true);
    }

    /// From a part's last sample to its arrival, of what arrived since the last time.
    pub(super) fn take_times(&self, sent: &Sent) -> Vec<Duration> {
        let mut parts = self.parts.borrow_mut();
        let arrivals = std::mem::take(&mut parts.arrivals);
        let times = arrivals.into_iter().filter_map(|(number, at)| {
            let (track, frame) = parts.last_frames.get(number).copied().flatten()?;
            Some(at.saturating_duration_since(sent.at(track, frame)?))
        });
        times.collect()
    }

    fn seen(&self, sent: &Sent, span: Duration, load: f64, own_load: f64) -> Seen {
        let parts = self.parts.borrow();
        let times = parts.arrivals.iter().filter_map(|(number, at)| {
            let (track, frame) = parts.last_frames.get(*number).copied().flatten()?;
            Some(at.saturating_duration_since(sent.at(track, frame)?))
        });
        let (playlists, bytes) = (self.playlists.get(), self.bytes.get());
        let parts = parts.arrivals.len() as u64;
        Seen { load, own_load, span, playlists, parts, bytes, times: Spread::new(times.collect()) }
    }

    /// What a playlist says; parsed once for all who get the same bytes.
    fn media(&self, path: &str, answer: &Answer) -> Result<Rc<Media>, Error> {
        let mut remembered = self.remembered.borrow_mut();
        if let Some((_, media)) = remembered.iter().rev().find(|(body, _)| *body == answer.body) {
            return Ok(media.clone());
        }
        let media = Rc::new(playlist::media(path, &answer.text()?)?);
        if remembered.len() == REMEMBERED {
            remembered.remove(0);
        }
        remembered.push((answer.body.clone(), media.clone()));
        Ok(media)
    }

    fn count(&self, answer: &Answer) {
        self.bytes.set(self.bytes.get() + answer.length as u64);
    }
}

/// One player's hold on one rendition.
pub(super) struct Follower {
    pub(super) world: Rc<World>,
    pub(super) path: Rc<str>,
    pub(super) track: Track,
    pub(super) lists: Connection,
    pub(super) media: Option<Connection>,
}

impl Follower {
    pub(super) async fn run(self) -> Result<(), Error> {
        let Self { world, path, track, mut lists, mut media } = self;
        let mut known = world.media(&path, &lists.get(&path, Body::Keep).await?)?;
        if let (Some(connection), Some(map)) = (&mut media, &known.map) {
            connection.get(map, Body::Drop).await?;
        }
        // Starts at the live edge, with the newest part.
        let mut from = known.parts.last().map_or(known.next, |part| part.at);
        while !world.over.get() {
            let reload = reload(&world, &mut lists, &path, known.next);
            unbroken(&path, &known, from)?;
            let fetch = fetch(&world, media.as_mut(), track, &known, from);
            let (newer, ()) = tokio::try_join!(reload, fetch)?;
            from = known.next;
            known = newer;
        }
        Ok(())
    }
}

async fn reload(
    world: &World,
    lists: &mut Connection,
    path: &str,
    at: (u64, u64),
) -> Result<Rc<Media>, Error> {
    let path = format!("{path}?_HLS_msn={}&_HLS_part={}", at.0, at.1);
    let answer = lists.get(&path, Body::Keep).await?;
    if world.measuring.get() {
        world.playlists.set(world.playlists.get() + 1);
        world.count(&answer);
    }
    let media = world.media(&path, &answer)?;
    match media.parts.iter().any(|part| part.at == at) || media.next.0 > at.0 {
        true => Ok(media),
        false => {
            Err(Error::Unreadable { what: path, why: "it does not list the part that it was asked for" })
        }
    }
}

/// The part that follows the last one fetched must still be listed: the next of its segment, or the first of the next.
fn unbroken(path: &str, known: &Media, from: (u64, u64)) -> Result<(), Error> {
    match known.parts.iter().find(|part| part.at >= from) {
        Some(part) if part.at != from && part.at != (from.0 + 1, 0) => {
            Err(Error::Unreadable { what: path.to_owned(), why: "a part has gone before it was fetched" })
        }
        _ => Ok(()),
    }
}

/// Fetches every listed part from `from` on.
async fn fetch(
    world: &World,
    media: Option<&mut Connection>,
    track: Track,
    known: &Media,
    from: (u64, u64),
) -> Result<(), Error> {
    let Some(connection) = media else { return Ok(()) };
    for part in known.parts.iter().filter(|part| part.at >= from) {
        let (number, first) = world.number(&part.path);
        let answer = connection.get(&part.path, if first { Body::Keep } else { Body::Drop }).await?;
        if first {
            let last_frame = part::read(&answer.body)?.last_frame;
            world.parts.borrow_mut().last_frames[number] = Some((track, last_frame));
        }
        if world.measuring.get() {
            world.parts.borrow_mut().arrivals.push((number, answer.at));
            world.count(&answer);
        }
    }
    Ok(())
}

impl World {
    /// A part's number, and whether nobody had asked for it before.
    fn number(&self, path: &str) -> (usize, bool) {
        let mut parts = self.parts.borrow_mut();
        if let Some(number) = parts.numbers.get(path) {
            return (*number, false);
        }
        let number = parts.last_frames.len();
        parts.numbers.insert(path.to_owned(), number);
        parts.last_frames.push(None);
        (number, true)
    }
}
