//! What analytics costs the media path: 100,000 events a second on the bus, of 500 streams and 10,000 viewers that are not
//! there, and one stream that is. Its publish latency stands beside the same server's without those events.
//!
//! The events come from inside the server (`serve --plant events@RATE`): no client could ask so often.

use std::time::Duration;

use super::{MEGABITS, Setting, lag, runtime};
use crate::clock;
use crate::error::{Error, doing};
use crate::http1::{Body, Connection};
use crate::publisher::Publisher;
use crate::report::Row;
use crate::server::Server;
use crate::source::{Source, Track};
use crate::spread::Spread;

/// Events a second.
const RATE: u32 = 100_000;
/// How long a scrape may take with 500 streams (QOE-36), in milliseconds.
const SCRAPE_MS: f64 = 200.0;
const MIB: f64 = 1_048_576.0;

/// Measures.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    runtime()?.block_on(measure(setting))
}

async fn measure(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let without = look(setting, &["serve"]).await?;
    let plant = format!("events@{RATE}");
    let with = look(setting, &["serve", "--plant", &plant]).await?;
    let peer = "without them";
    let lag = |percent: f64| {
        let what = format!("part fetched with {RATE} events a second, p{percent}");
        Row::new("health", what, "ms", with.lag.ms(percent)).peer(peer, without.lag.ms(percent))
    };
    let lost = format!(
        "{:.0} of stages and {:.0} of viewers' reports in {:.0} s",
        with.lost.0, with.lost.1, with.seconds
    );
    let share = (with.lost.0 + with.lost.1) / (f64::from(RATE) * with.seconds) * 100.0;
    let grown = (with.memory.1 - with.memory.0) / MIB;
    Ok(vec![
        lag(50.0),
        lag(95.0),
        lag(99.0),
        Row::new("health", "events dropped", "%", share).detail(lost),
        Row::new("health", "CPU for them", "cores", with.cores - without.cores),
        Row::new("health", "memory grown meanwhile", "MiB", grown).detail(format!(
            "{:.1} MiB in all at its end, {:.1} MiB without events",
            with.memory.1 / MIB,
            without.memory.1 / MIB
        )),
        Row::new("health", "a scrape of /metrics with 500 streams, p95", "ms", with.scrapes.ms(95.0))
            .budget(SCRAPE_MS)
            .detail(format!("{} scrapes of {} bytes", with.scrapes.len(), with.scraped)),
    ])
}

/// What was seen of one server.
struct Look {
    lag: Spread,
    lost: (f64, f64),
    seconds: f64,
    cores: f64,
    /// At the beginning and the end.
    memory: (f64, f64),
    scrapes: Spread,
    scraped: usize,
}

async fn look(setting: &Setting<'_>, role: &[&str]) -> Result<Look, Error> {
    let count = setting.size(300, 25);
    let mut server = Server::start_as(setting.server, None, role, &[]).await?;
    let publisher = Publisher::start(&[server.rtmp], "lag", Source::new(MEGABITS))?;
    let renditions = server.live("lag").await?;
    // Sessions, labels and the first minute's records are made once.
    tokio::time::sleep(setting.size(Duration::from_secs(15), Duration::from_secs(3))).await;
    let (cpu, begun) = (server.program.cpu(), clock::now());
    let before = (server.program.memory().resident as f64, lost(&server).await?);
    let sent = publisher.sent();
    let followed = lag::follow(&server, &renditions.video, Track::Video, &sent, count).await?;
    let span = clock::now().saturating_duration_since(begun).as_secs_f64();
    let cores = (server.program.cpu() - cpu).as_secs_f64() / span;
    let after = lost(&server).await?;
    let memory = (before.0, server.program.memory().resident as f64);
    let (mut scrapes, mut scraped) = (Vec::new(), 0);
    let mut connection = Connection::open(server.admin, 0).await?;
    for _ in 0..setting.size(50, 5) {
        let asked = clock::now();
        let answer = connection.get("/metrics", Body::Keep).await?;
        scrapes.push(answer.at.saturating_duration_since(asked));
        scraped = answer.length;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    publisher.finish()?;
    Ok(Look {
        lag: followed.parts,
        lost: (after.0 - before.1.0, after.1 - before.1.1),
        seconds: span,
        cores,
        memory,
        scrapes: Spread::new(scrapes),
        scraped,
    })
}

/// Events and reports that were dropped since the server's start.
async fn lost(server: &Server) -> Result<(f64, f64), Error> {
    let mut connection = Connection::open(server.admin, 0).await?;
    let answer = connection.get("/api/v1/overview", Body::Keep).await?;
    let overview: serde_json::Value = serde_json::from_str(&answer.text()?)
        .map_err(|error| doing("read /api/v1/overview")(error.into()))?;
    let number = |key: &str| overview["lost"][key].as_f64().unwrap_or(0.0);
    Ok((number("events"), number("reports")))
}
