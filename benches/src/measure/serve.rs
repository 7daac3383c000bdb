//! CPU per part and per playlist request, beside nginx serving the same bytes as static files, in turns.
//!
//! Both servers have one and the same core, the load generator another; what counts is the CPU time of the server's
//! process divided by the answers. HTTP/3 stands alone: Debian's nginx (1.22) does not speak it. Ours goes on packaging the stream meanwhile, and that is not taken off.

use std::time::Duration;

use super::{MEGABITS, Setting, runtime};
use crate::error::Error;
use crate::h2::{self, Load, Trust};
use crate::h3;
use crate::http1::Connection;
use crate::nginx::{self, Nginx};
use crate::process::Program;
use crate::publisher::Publisher;
use crate::report::Row;
use crate::server::{Server, load};
use crate::source::Source;
use crate::spread::median;
use crate::{machine, wrk};

/// Measures.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let core = machine::split();
    runtime()?.block_on(measure(setting, core))
}

async fn measure(setting: &Setting<'_>, core: Option<usize>) -> Result<Vec<Row>, Error> {
    let mut server = Server::start(setting.server, core).await?;
    let publisher = Publisher::start(&[server.rtmp], "serve", Source::new(MEGABITS))?;
    let path = server.live("serve").await?.video;
    // A window's worth of segments makes the playlist as long as it gets.
    tokio::time::sleep(setting.size(Duration::from_secs(10), Duration::ZERO)).await;
    let certificate = server.certificate();
    let trust = Trust::read(&certificate.0)?;
    let (mut h1, mut h2) = (Nginx::files(core, None)?, Nginx::files(core, Some(&certificate))?);
    h1.ready().await?;
    h2.ready().await?;
    let bench = Bench { server, path, trust, pairs: setting.size(5, 1), seconds: setting.size(2, 1) };
    let mut rows = Vec::new();
    for what in [What::Part, What::Playlist] {
        rows.push(bench.compare(what, Protocol::Http1, &h1).await?);
        rows.push(bench.compare(what, Protocol::Http2, &h2).await?);
        rows.push(bench.alone(what).await?);
    }
    publisher.finish()?;
    Ok(rows)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Part,
    Playlist,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protocol {
    /// Load by wrk.
    Http1,
    /// Over TLS, load by hyper: wrk does not speak HTTP/2.
    Http2,
    /// Load by h3 on quinn.
    Http3,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Playlist => "playlist",
        }
    }
}

struct Bench {
    server: Server,
    path: String,
    trust: Trust,
    pairs: usize,
    seconds: u64,
}

impl Bench {
    async fn compare(&self, what: What, protocol: Protocol, peer: &Nginx) -> Result<Row, Error> {
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let file = if what == What::Part { nginx::PART } else { nginx::PLAYLIST };
        let own = if protocol == Protocol::Http1 { self.server.http } else { self.server.https };
        let mut bytes = 0;
        for _ in 0..self.pairs {
            let path = self.newest(what).await?;
            let answer = Connection::open(self.server.http, 0).await?.get_plain(&path).await?;
            bytes = answer.length;
            peer.put(file, &answer.body)?;
            let our = self.cost(&self.server.program, protocol, own, &path).await?;
            let their = self.cost(&peer.program, protocol, peer.address, &format!("/{file}")).await?;
            ours.push(our);
            theirs.push(their);
            ratios.push(our / their);
        }
        let name = what.name();
        let (version, tool) = match protocol {
            Protocol::Http1 => ("HTTP/1.1", "wrk, 32 connections"),
            _ => ("HTTP/2 with TLS", "4 connections of 8 streams"),
        };
        let what = format!("{name} request ({:.1} kB, {version}), server CPU", bytes as f64 / 1e3);
        let detail = format!(
            "medians of {} pairs of {} s, {tool}; ratios {}; {:.0} requests per CPU-second",
            self.pairs,
            self.seconds,
            ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(" "),
            1e6 / median(&ours)
        );
        Ok(Row::new("serve", what, "µs", median(&ours)).peer("nginx", median(&theirs)).detail(detail))
    }

    /// HTTP/3, which no peer here speaks: what it costs beside our own HTTP/2 is in the rows above.
    async fn alone(&self, what: What) -> Result<Row, Error> {
        let (mut costs, mut bytes) = (Vec::new(), 0);
        for _ in 0..self.pairs {
            let path = self.newest(what).await?;
            bytes = Connection::open(self.server.http, 0).await?.get_plain(&path).await?.length;
            costs.push(self.cost(&self.server.program, Protocol::Http3, self.server.https, &path).await?);
        }
        let name = what.name();
        let text = format!("{name} request ({:.1} kB, HTTP/3), server CPU", bytes as f64 / 1e3);
        let detail = format!(
            "median of {} times {} s, 4 connections of 8 streams; {:.0} requests per CPU-second; nginx 1.22 has no HTTP/3",
            self.pairs,
            self.seconds,
            1e6 / median(&costs)
        );
        Ok(Row::new("serve", text, "µs", median(&costs)).detail(detail))
    }

    /// The path of what is asked for: the newest part stays fetchable for longer than a pair takes.
    async fn newest(&self, what: What) -> Result<String, Error> {
        if what == What::Playlist {
            return Ok(self.path.clone());
        }
        let media = load(&mut Connection::open(self.server.http, 0).await?, &self.path).await?;
        let newest = media.parts.last().map(|part| part.path.clone());
        newest.ok_or(Error::Unreadable { what: self.path.clone(), why: "it lists no part" })
    }

    /// Microseconds of a program's CPU per answer.
    async fn cost(
        &self,
        program: &Program,
        protocol: Protocol,
        address: std::net::SocketAddr,
        path: &str,
    ) -> Result<f64, Error> {
        let before = program.cpu();
        let answers = match protocol {
            Protocol::Http1 => wrk::load(address, path, self.seconds).await?,
            Protocol::Http2 => h2::load(self.load(address, path)).await?,
            Protocol::Http3 => h3::load(self.load(address, path)).await?,
        };
        Ok((program.cpu() - before).as_secs_f64() * 1e6 / answers as f64)
    }

    fn load<'a>(&self, address: std::net::SocketAddr, path: &'a str) -> Load<'a> {
        Load { address, path, span: Duration::from_secs(self.seconds), trust: self.trust.clone() }
    }
}
