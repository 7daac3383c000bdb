//! Cost against the number of streams, viewers, edges and renditions: what the plots of docs/performance.md are drawn from.
//!
//! Each figure is the CPU time of the process that carries the load, as a share of one core.

use std::time::Duration;

use super::{MEGABITS, Setting, ladder, push_clip, runtime, viewers, wait};
use crate::error::Error;
use crate::http1::{Body, Connection};
use crate::process::Program;
use crate::publisher::Publisher;
use crate::report::Row;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::source::Source;

/// Heights and average bit rates, the dearest last: each count of renditions takes so many from the front.
const RUNGS: [(u32, u32); 4] = [(234, 400_000), (360, 700_000), (480, 1_200_000), (540, 1_800_000)];

/// Measures.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let mut rows = runtime()?.block_on(streams(setting))?;
    rows.extend(runtime()?.block_on(edges(setting))?);
    rows.extend(runtime()?.block_on(renditions(setting))?);
    // Last: it keeps this process to the cores that do not serve.
    rows.extend(viewers(setting)?);
    Ok(rows)
}

/// CPU time of a program over a span, as a share of one core in percent.
async fn share(program: impl Fn() -> Duration, span: Duration, pushes: &mut [Program]) -> Result<f64, Error> {
    let before = program();
    wait(span, pushes).await?;
    Ok((program() - before).as_secs_f64() / span.as_secs_f64() * 100.0)
}

fn point(over: &'static str, what: &str, count: usize, percent: f64) -> Row {
    let noun = if count == 1 { over.trim_end_matches('s') } else { over };
    Row::new("scale", format!("{count} {noun}: {what}"), "% of a core", percent).point(over, what, count)
}

/// Passthrough, nobody watches.
async fn streams(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let counts = setting.size(&[1, 2, 5, 10, 20, 40][..], &[1, 2][..]);
    let span = setting.size(Duration::from_secs(15), Duration::from_secs(2));
    let mut server = Server::start(setting.server, None).await?;
    let (mut publishers, mut rows) = (Vec::new(), Vec::new());
    for count in counts {
        for index in publishers.len()..*count {
            publishers.push(Publisher::start(&[server.rtmp], &format!("s{index}"), Source::new(MEGABITS))?);
        }
        for index in 0..*count {
            server.live(&format!("s{index}")).await?;
        }
        // Until the windows are full, as they are ever after.
        wait(setting.size(Duration::from_secs(20), Duration::ZERO), &mut []).await?;
        let percent = share(|| server.program.cpu(), span, &mut []).await?;
        rows.push(point("streams", "3 Mbit/s, passthrough", *count, percent));
    }
    publishers.into_iter().try_for_each(Publisher::finish)?;
    Ok(rows)
}

/// One stream, sent on to edges: what the origin takes, and what each edge.
async fn edges(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let counts = setting.size(&[1, 2, 4, 8, 16, 24][..], &[1, 2][..]);
    let span = setting.size(Duration::from_secs(10), Duration::from_secs(2));
    let relay = super::relay::free_udp()?.to_string();
    let origin = Server::start_as(setting.server, None, &["origin"], &[("relay.listen", &relay)]).await?;
    let publisher = Publisher::start(&[origin.rtmp], "edges", Source::new(MEGABITS))?;
    let (mut edges, mut rows) = (Vec::<Server>::new(), Vec::new());
    let alone = share(|| origin.program.cpu(), span, &mut []).await?;
    rows.push(point("edges", "the origin of one stream", 0, alone));
    for count in counts {
        while edges.len() < *count {
            let from = format!("--origin={relay}");
            edges.push(Server::start_as(setting.server, None, &["edge", &from], &[]).await?);
        }
        for edge in &mut edges {
            watch(edge, "edges").await?;
        }
        wait(Duration::from_secs(2), &mut []).await?;
        let all = || edges.iter().map(|edge| edge.program.cpu()).sum::<Duration>();
        let before = all();
        let percent = share(|| origin.program.cpu(), span, &mut []).await?;
        let each = (all() - before).as_secs_f64() / span.as_secs_f64() * 100.0 / edges.len() as f64;
        rows.push(point("edges", "the origin of one stream", *count, percent));
        rows.push(point("edges", "each edge, without viewers", *count, each));
    }
    publisher.finish()?;
    Ok(rows)
}

/// An edge takes a rendition with the first request for it.
async fn watch(edge: &mut Server, name: &str) -> Result<(), Error> {
    let renditions = edge.live(name).await?;
    let mut connection = Connection::open(edge.http, 0).await?;
    for path in [Some(renditions.video), renditions.audio].into_iter().flatten() {
        connection.get(&path, Body::Drop).await?;
    }
    Ok(())
}

/// The film in 720p30, the source passing as the top rendition, and more and more rungs below it.
async fn renditions(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let scratch = Scratch::new("scale")?;
    let film = ladder::film(setting.clip, &scratch, setting.size(60, 25))?;
    let mut rows = Vec::new();
    for count in setting.size(&[0, 1, 2, 3, 4][..], &[0, 1][..]) {
        let percent = rungs(setting, &scratch, &film, &RUNGS[..*count]).await?;
        rows.push(point("renditions", "720p30 and what is made of it", count + 1, percent));
    }
    Ok(rows)
}

async fn rungs(
    setting: &Setting<'_>,
    scratch: &Scratch,
    film: &std::path::Path,
    rungs: &[(u32, u32)],
) -> Result<f64, Error> {
    let span = setting.size(Duration::from_secs(15), Duration::from_secs(3));
    let from_the_top = rungs.iter().rev().copied().collect::<Vec<_>>();
    let ladder = ladder::written(&from_the_top);
    let mode = if rungs.is_empty() { "off" } else { "auto" };
    let settings = [
        ("transcode.mode", mode),
        ("transcode.ladder", ladder.as_str()),
        ("transcode.passthrough", "always"),
        ("transcode.preset", ladder::PRESET),
        ("transcode.cpu_percent", "100"),
    ];
    let mut server = Server::start_with(setting.server, None, &settings).await?;
    // Until backends have been probed.
    wait(Duration::from_secs(3), &mut []).await?;
    let url = format!("rtmp://{}/live/scale", server.rtmp);
    let mut pushes = [push_clip(film, &[url], scratch, "push")?];
    server.ladder("scale", rungs.len() + 1).await?;
    wait(Duration::from_secs(5), &mut pushes).await?;
    let percent = share(|| server.program.cpu(), span, &mut pushes).await?;
    if !rungs.is_empty() {
        ladder::undiminished(&server).await?;
    }
    Ok(percent)
}

/// Players over plain HTTP, who take playlists and media of one stream, on one core.
fn viewers(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let counts = setting.size(&[100, 250, 500, 1_000, 1_500][..], &[20, 50][..]);
    let mut rows = Vec::new();
    for (count, cost) in counts.iter().zip(viewers::sweep(setting, counts)?) {
        rows.push(point("viewers", "one stream over HTTP/1.1", *count, cost.percent));
        let what = format!("{count} viewers: part written → received, p95");
        rows.push(Row::new("scale", what, "ms", cost.p95_ms).point(
            "viewers",
            "part written → received, p95",
            *count,
        ));
    }
    Ok(rows)
}
