//! Part complete at the origin → fetchable at an edge.
//!
//! One client holds the request for the part that the playlist hints at, at the origin; another holds the same one at the
//! edge. What lies between the ends of their answers is what the relay takes. The link between origin and edge is loopback,
//! or a proxy in user space with 20 ms of delay in each direction and datagrams lost at random.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;

use super::{MEGABITS, Setting, runtime};
use crate::error::{Error, doing};
use crate::http1::{Body, Connection};
use crate::process::Program;
use crate::publisher::Publisher;
use crate::report::Row;
use crate::scratch::Scratch;
use crate::server::{Server, load, reload};
use crate::source::Source;
use crate::spread::Spread;

/// Delay in each direction of the proxied links, in milliseconds.
const DELAY_MS: u64 = 20;

/// One way between the two, and its budget for the 95th percentile in milliseconds.
struct Way {
    name: &'static str,
    /// Datagrams lost in percent; `None` is loopback.
    loss: Option<u32>,
    budget: Option<f64>,
}

const WAYS: [Way; 4] = [
    Way { name: "loopback", loss: None, budget: Some(5.0) },
    Way { name: "40 ms RTT", loss: Some(0), budget: None },
    Way { name: "40 ms RTT, 1 % loss", loss: Some(1), budget: Some(100.0) },
    Way { name: "40 ms RTT, 3 % loss", loss: Some(3), budget: None },
];

/// Measures.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for way in WAYS {
        rows.extend(runtime()?.block_on(measure(setting, &way))?);
    }
    Ok(rows)
}

async fn measure(setting: &Setting<'_>, way: &Way) -> Result<Vec<Row>, Error> {
    let count = setting.size(200, 15);
    let scratch = Scratch::new("relay")?;
    let (relay, proxied) = (free_udp()?, free_udp()?);
    let listen = relay.to_string();
    let origin = Server::start_as(setting.server, None, &["origin"], &[("relay.listen", &listen)]).await?;
    let link = way.loss.map(|loss| link(setting, proxied, relay, loss, &scratch)).transpose()?;
    let way_in = if link.is_some() { proxied } else { relay };
    let from = format!("--origin={way_in}");
    let mut edge = Server::start_as(setting.server, None, &["edge", &from], &[]).await?;
    let publisher = Publisher::start(&[origin.rtmp], "relay", Source::new(MEGABITS))?;
    let path = edge.live("relay").await?.video;
    let lags = follow(&origin, &edge, &path, count).await?;
    publisher.finish()?;
    drop(link);
    let row = |percent: f64| {
        let what = format!("{}: part complete at the origin → fetched at the edge, p{percent}", way.name);
        Row::new("relay", what, "ms", lags.ms(percent))
    };
    let detail = format!("{} parts, worst {:.1} ms", lags.len(), lags.ms(100.0));
    let p95 = row(95.0).detail(detail);
    let p95 = match way.budget {
        Some(budget) => p95.budget(budget),
        None => p95,
    };
    Ok(vec![row(50.0), p95, row(99.0)])
}

async fn follow(origin: &Server, edge: &Server, path: &str, count: usize) -> Result<Spread, Error> {
    let mut list = Connection::open(origin.http, 0).await?;
    let (mut here, mut there) =
        (Connection::open(origin.http, 0).await?, Connection::open(edge.http, 0).await?);
    let mut at_edge = Connection::open(edge.http, 0).await?;
    let mut media = load(&mut list, path).await?;
    // The edge takes the rendition with the first request for it.
    load(&mut at_edge, path).await?;
    let mut lags = Vec::new();
    while lags.len() < count {
        // The edge hints at a part as soon as it shows the version before.
        let (next, _) = reload(&mut at_edge, path, before(media.next)).await?;
        let Some(hint) = next.hint.clone() else {
            return Err(Error::Unreadable { what: path.into(), why: "it hints at no part" });
        };
        let (first, second, later) = tokio::try_join!(
            here.get(&hint, Body::Drop),
            there.get(&hint, Body::Drop),
            reload(&mut list, path, next.next),
        )?;
        lags.push(second.at.saturating_duration_since(first.at));
        media = later.0;
    }
    Ok(Spread::new(lags))
}

/// The part before this one, as far as a request may name it.
fn before((msn, part): (u64, u64)) -> (u64, u64) {
    (msn, part.saturating_sub(1))
}

fn link(
    setting: &Setting<'_>,
    near: SocketAddr,
    far: SocketAddr,
    loss: u32,
    scratch: &Scratch,
) -> Result<Program, Error> {
    let program: PathBuf = setting.server.with_file_name("linkproxy");
    let mut command = Command::new(program);
    command.args([near.to_string(), far.to_string(), "--udp".into()]);
    command.args(["--delay", &DELAY_MS.to_string(), "--loss", &loss.to_string()]);
    Program::start(
        command,
        &scratch.path().join("link"),
        "build it first: cargo build --release -p aqueduct-tests",
    )
}

/// A UDP port of the loopback interface that was free a moment ago.
pub(super) fn free_udp() -> Result<SocketAddr, Error> {
    UdpSocket::bind(("127.0.0.1", 0))
        .and_then(|socket| socket.local_addr())
        .map_err(doing("find a free UDP port"))
}
