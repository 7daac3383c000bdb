//! An origin, a ladder, two edges and hundreds of players for as long as it is told: what grows?
//!
//! Four synthetic streams and the bundled clip, which gets a ladder, are pushed to the origin. Players follow picture and sound of
//! the synthetic ones at both edges, as in [`super::viewers`]; one that meets an error counts it and begins anew. Memory, file
//! descriptors and threads of every process, and the players' latency, are read at even steps. What they did in the first quarter
//! is warming up; a straight line through the rest says what an hour would add.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};

use super::viewers::{Follower, World};
use super::{MEGABITS, Setting, push_clip, runtime};
use crate::clock;
use crate::error::Error;
use crate::http1::Connection;
use crate::publisher::{Publisher, Sent};
use crate::report::Row;
use crate::scratch::{Scratch, free_address};
use crate::server::Server;
use crate::source::{Source, Track};
use crate::spread::Spread;

/// Synthetic streams.
const STREAMS: usize = 4;
/// Readings of a run.
const READINGS: u32 = 60;
/// Seconds from which on a run is held to a budget.
const SAYS_SOMETHING: u64 = 600;
/// Before a player that met an error begins anew.
const AGAIN: Duration = Duration::from_secs(1);
const HOUR: f64 = 3_600.0;
const MIB: f64 = 1_048_576.0;

/// How long, and for how many.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Seconds.
    pub seconds: u64,
    /// Players at both edges together.
    pub players: usize,
}

/// The nodes.
struct Nodes {
    origin: Server,
    edges: [Server; 2],
}

/// One reading of one process.
#[derive(Clone, Copy, Default)]
struct Reading {
    resident: f64,
    files: f64,
    threads: f64,
}

/// One reading of everything.
struct Step {
    /// Seconds since the beginning.
    at: f64,
    nodes: [Reading; 3],
    latency: Spread,
}

/// Runs it.
///
/// # Errors
/// When something cannot be started, or a player met an error.
pub fn run(setting: &Setting<'_>, length: Length) -> Result<Vec<Row>, Error> {
    LocalSet::new().block_on(&runtime()?, soak(setting, length))
}

async fn soak(setting: &Setting<'_>, length: Length) -> Result<Vec<Row>, Error> {
    let scratch = Scratch::new("soak")?;
    let mut nodes = Nodes::start(setting).await?;
    let clip = format!("rtmp://{}/live/clip", nodes.origin.rtmp);
    let mut push = push_clip(setting.clip, &[clip], &scratch, "clip")?;
    nodes.origin.ladder("clip", 2).await?;
    let names: Vec<String> = (0..STREAMS).map(|stream| format!("soak{stream}")).collect();
    let publish = |name: &String| Publisher::start(&[nodes.origin.rtmp], name, Source::new(MEGABITS));
    let publishers = names.iter().map(publish).collect::<Result<Vec<_>, _>>()?;
    let crowd = Crowd::come(&mut nodes, &names, &publishers, length.players).await?;
    let step = Duration::from_secs(length.seconds) / READINGS;
    let (begin, mut steps) = (clock::now(), Vec::new());
    for _ in 0..READINGS {
        tokio::time::sleep(step).await;
        push.check()?;
        nodes.check()?;
        steps.push(Step { at: begin.elapsed().as_secs_f64(), nodes: nodes.read(), latency: crowd.latency() });
        say(&steps, crowd.errors.get());
    }
    let rows = rows(&steps[steps.len() / 4..], length);
    let (errors, first) = (crowd.errors.get(), crowd.first.borrow().clone());
    drop(crowd);
    publishers.into_iter().try_for_each(Publisher::finish)?;
    match first {
        Some(first) => Err(Error::Errors { what: "players of the soak", count: errors, first }),
        None => Ok(rows),
    }
}

/// One line for each reading, so that whoever waits sees it go on.
fn say(steps: &[Step], errors: usize) {
    let Some(Step { at, nodes, latency }) = steps.last() else { return };
    let each: Vec<String> = nodes
        .iter()
        .map(|node| {
            format!("{:.1} MiB {:.0} fds {:.0} threads", node.resident / MIB, node.files, node.threads)
        })
        .collect();
    eprintln!(
        "{at:6.0} s  {}  latency p50 {:.0} ms, p95 {:.0} ms of {} parts, {errors} errors",
        each.join(" | "),
        latency.ms(50.0),
        latency.ms(95.0),
        latency.len()
    );
}

impl Nodes {
    async fn start(setting: &Setting<'_>) -> Result<Self, Error> {
        let relay = free_address()?.to_string();
        // Only the clip can be decoded; it is pushed first and is the one stream that gets rungs.
        let settings = [
            ("relay.listen", &*relay),
            ("transcode.mode", "auto"),
            ("transcode.max_streams", "1"),
            ("transcode.passthrough", "always"),
            ("transcode.ladder", "[{height=180}]"),
        ];
        let origin = Server::start_as(setting.server, None, &["origin"], &settings).await?;
        let from = format!("--origin={relay}");
        let role = ["edge", &from];
        let edge = || Server::start_as(setting.server, None, &role, &[]);
        Ok(Self { origin, edges: [edge().await?, edge().await?] })
    }

    fn all(&self) -> [&Server; 3] {
        let [one, other] = &self.edges;
        [&self.origin, one, other]
    }

    fn check(&mut self) -> Result<(), Error> {
        self.origin.program.check()?;
        self.edges.iter_mut().try_for_each(|edge| edge.program.check())
    }

    fn read(&self) -> [Reading; 3] {
        self.all().map(|node| {
            let count = |what: &str| {
                let folder = format!("/proc/{}/{what}", node.program.pid());
                std::fs::read_dir(folder).map_or(0.0, |entries| entries.count() as f64)
            };
            let resident = node.program.memory().resident as f64;
            Reading { resident, files: count("fd"), threads: count("task") }
        })
    }
}

/// All players. They go when this is dropped.
struct Crowd {
    /// Those of one stream at one edge share what they know, and when its frames were sent.
    worlds: Vec<(Rc<World>, Sent)>,
    errors: Rc<Cell<usize>>,
    first: Rc<RefCell<Option<String>>>,
    _tasks: JoinSet<()>,
}

impl Crowd {
    async fn come(
        nodes: &mut Nodes,
        names: &[String],
        publishers: &[Publisher],
        players: usize,
    ) -> Result<Self, Error> {
        let (mut worlds, mut tasks) = (Vec::new(), JoinSet::new());
        let (errors, first) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None)));
        for edge in &mut nodes.edges {
            for (name, publisher) in names.iter().zip(publishers) {
                let renditions = edge.live(name).await?;
                let world = Rc::new(World::default());
                world.measure();
                worlds.push((world.clone(), publisher.sent()));
                let tracks = [(Track::Video, Some(renditions.video)), (Track::Audio, renditions.audio)];
                for (track, path) in tracks.into_iter().filter_map(|(track, path)| Some((track, path?))) {
                    for index in 0..players.div_ceil(2 * STREAMS) {
                        let seat = Seat {
                            world: world.clone(),
                            http: edge.http,
                            path: path.as_str().into(),
                            track,
                            index,
                        };
                        tasks.spawn_local(seat.watch(errors.clone(), first.clone()));
                    }
                }
            }
        }
        Ok(Self { worlds, errors, first, _tasks: tasks })
    }

    /// Of the parts that came since the last time.
    fn latency(&self) -> Spread {
        Spread::new(self.worlds.iter().flat_map(|(world, sent)| world.take_times(sent)).collect())
    }
}

/// Where one player's hold on one rendition is.
struct Seat {
    world: Rc<World>,
    http: std::net::SocketAddr,
    path: Rc<str>,
    track: Track,
    index: usize,
}

impl Seat {
    async fn watch(self, errors: Rc<Cell<usize>>, first: Rc<RefCell<Option<String>>>) {
        loop {
            if let Err(error) = self.follow().await {
                errors.set(errors.get() + 1);
                first.borrow_mut().get_or_insert(error.to_string());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn follow(&self) -> Result<(), Error> {
        let lists = Connection::open(self.http, self.index).await?;
        let media = Some(Connection::open(self.http, self.index).await?);
        let (world, path) = (self.world.clone(), self.path.clone());
        Follower { world, path, track: self.track, lists, media }.run().await
    }
}

fn rows(steps: &[Step], length: Length) -> Vec<Row> {
    let row = |what: String, unit: &'static str, ours: f64| Row::new("soak", what, unit, ours);
    let mut rows = Vec::new();
    for (index, name) in ["origin with its worker", "edge 1", "edge 2"].into_iter().enumerate() {
        let line = |of: &dyn Fn(&Reading) -> f64| {
            Line::through(&steps.iter().map(|step| (step.at, of(&step.nodes[index]))).collect::<Vec<_>>())
        };
        let memory = line(&|reading| reading.resident / MIB);
        let files = line(&|reading| reading.files);
        let threads = line(&|reading| reading.threads);
        let detail = format!(
            "{:.1} MiB in the middle; file descriptors {:.0}, {:+.1} an hour; threads {:.0}, {:+.1} an hour",
            memory.mean, files.mean, files.hour, threads.mean, threads.hour
        );
        let grows = row(format!("{name}: memory grows an hour"), "MiB", memory.hour).detail(detail);
        // Flat is what stays within a twentieth of itself; a few minutes say nothing of an hour.
        let budget = (memory.mean / 20.0).max(1.0);
        rows.push(if length.seconds >= SAYS_SOMETHING { grows.budget(budget) } else { grows });
    }
    let latency = |percent: f64| {
        Line::through(&steps.iter().map(|step| (step.at, step.latency.ms(percent))).collect::<Vec<_>>())
    };
    let (middle, late) = (latency(50.0), latency(95.0));
    let detail = format!(
        "p95 {:.0} ms, {:+.1} an hour; {} players for {} s, the last three quarters of it",
        late.mean, late.hour, length.players, length.seconds
    );
    rows.push(
        row("players: last sample written → part received, p50".into(), "ms", middle.mean).detail(detail),
    );
    rows.push(row("players: that grows an hour".into(), "ms", middle.hour));
    rows
}

/// A straight line through readings, by least squares.
struct Line {
    mean: f64,
    /// What it rises in an hour.
    hour: f64,
}

impl Line {
    fn through(points: &[(f64, f64)]) -> Self {
        let count = points.len().max(1) as f64;
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (middle, height) = (mean(&|point| point.0), mean(&|point| point.1));
        let along = mean(&|point| (point.0 - middle).powi(2));
        let rise = mean(&|point| (point.0 - middle) * (point.1 - height));
        Self { mean: height, hour: if along > 0.0 { rise / along * HOUR } else { 0.0 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_its_middle_and_what_an_hour_adds() {
        let points: Vec<_> =
            (0..10).map(|index| (f64::from(index) * 60.0, 50.0 + f64::from(index))).collect();
        let line = Line::through(&points);
        assert!(
            (line.mean - 54.5).abs() < 1e-9 && (line.hour - 60.0).abs() < 1e-9,
            "{} {}",
            line.mean,
            line.hour
        );
        assert!(Line::through(&[(1.0, 2.0)]).hour.abs() < 1e-9);
    }
}
