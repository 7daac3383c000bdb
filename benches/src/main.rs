//! `aqueduct-bench`: measures the server from the outside, beside its budgets and beside peers in the same run.
//!
//! Each measurement starts the release binary (and the peers) itself on free loopback ports with a temporary data
//! directory, reads CPU and memory by process id, and ends what it started.
#![forbid(unsafe_code)]
#![expect(unreachable_pub, reason = "a program has no outside: pub marks what one module offers the others")]

mod camera;
mod clock;
mod command;
mod error;
mod h2;
mod h3;
mod http1;
mod machine;
mod marker;
mod measure;
mod nginx;
mod part;
mod playlist;
mod plot;
mod process;
mod publisher;
mod report;
mod rtmp;
mod scratch;
mod server;
mod source;
mod spread;
mod wrk;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::error::Error;
use crate::measure::Setting;
use crate::publisher::Publisher;
use crate::report::Report;
use crate::source::Source;

/// Measures the server from the outside, beside its budgets and beside peers in the same run.
#[derive(Debug, Parser)]
#[command(name = "aqueduct-bench", version, arg_required_else_help = true)]
struct Cli {
    /// A smoke run: seconds instead of minutes. Shows that everything works; its figures mean little.
    #[arg(long, global = true)]
    quick: bool,
    /// Where each figure is appended, one JSON object a line.
    #[arg(long, global = true, value_name = "FILE", default_value = "benches/out/latest.jsonl")]
    out: PathBuf,
    /// The server's binary.
    #[arg(long, global = true, value_name = "FILE", default_value = "target/release/aqueduct")]
    server: PathBuf,
    /// The clip that ffmpeg pushes, looped, without encoding.
    #[arg(long, global = true, value_name = "FILE", default_value = "tests/media/bigbuckbunny.mp4")]
    clip: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Last sample of a part written by the publisher → part fetched, and playlist that lists it received.
    Lag,
    /// One published part → 2,000 blocked players, on one core served.
    Herd,
    /// CPU per part and per playlist request, beside nginx serving the same bytes as static files.
    Serve,
    /// Memory per passthrough stream at 1, 10 and 30 streams.
    Memory,
    /// CPU seconds per stream-minute of ingest and packaging, beside nginx-rtmp on the same pushes.
    Ingest,
    /// CPU, memory, quality and added latency of a ladder, beside the ffmpeg program making the same one.
    Ladder,
    /// Cost and latency of 1,000 simulated low-latency players.
    Viewers,
    /// Part complete at the origin → fetchable at an edge, on loopback and over a link with delay and loss.
    Relay,
    /// Publish latency with 100,000 events a second on the bus beside the same without; drops, memory, a scrape's time.
    Health,
    /// An origin, a ladder, two edges and hundreds of players for an hour: what grows?
    Soak {
        /// For how long.
        #[arg(long, default_value_t = 3_600)]
        seconds: u64,
        /// Players, over both edges.
        #[arg(long, default_value_t = 500)]
        players: usize,
    },
    /// Frame written by a camera that is pulled over RTSP → part fetchable, beside RTMP; CPU per camera.
    Rtsp,
    /// CPU over the number of streams, edges, renditions and viewers: what `plot` draws.
    Scale,
    /// Profiles of ingest, a ladder and delivery, as flame graphs (needs perf).
    Flame {
        /// Where the pictures go.
        #[arg(long, value_name = "DIR", default_value = "docs/plots")]
        to: PathBuf,
    },
    /// Draw the plots of what `scale` has put into --out.
    Plot {
        /// Where the pictures go.
        #[arg(long, value_name = "DIR", default_value = "docs/plots")]
        to: PathBuf,
    },
    /// Only push synthetic streams live/s0, live/s1, … to an RTMP server: for a profile of it.
    Push {
        /// Its address.
        #[arg(long, default_value = "127.0.0.1:1935")]
        to: SocketAddr,
        /// How many streams.
        #[arg(long, default_value_t = 1)]
        streams: usize,
        /// For how long.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// Print the table of everything in --out.
    Table,
    /// Print what this machine is.
    Machine,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aqueduct-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Error> {
    match &cli.what {
        What::Table => {
            print!("{}", Report::read(&cli.out)?.table());
            return Ok(());
        }
        What::Machine => {
            println!("{}", machine::line());
            return Ok(());
        }
        What::Plot { to } => {
            for file in plot::draw(&Report::read(&cli.out)?, to)? {
                println!("{}", file.display());
            }
            return Ok(());
        }
        What::Push { to, streams, seconds } => return push(*to, *streams, *seconds),
        _ => {}
    }
    machine::say_if_busy();
    let setting = Setting { quick: cli.quick, server: &cli.server, clip: &cli.clip };
    let rows = match &cli.what {
        What::Lag => measure::lag::run(&setting)?,
        What::Herd => measure::herd::run(&setting)?,
        What::Serve => measure::serve::run(&setting)?,
        What::Memory => measure::memory::run(&setting)?,
        What::Ingest => measure::ingest::run(&setting)?,
        What::Ladder => measure::ladder::run(&setting)?,
        What::Viewers => measure::viewers::run(&setting)?,
        What::Relay => measure::relay::run(&setting)?,
        What::Health => measure::health::run(&setting)?,
        What::Soak { seconds, players } => {
            measure::soak::run(&setting, measure::soak::Length { seconds: *seconds, players: *players })?
        }
        What::Rtsp => measure::rtsp::run(&setting)?,
        What::Scale => measure::scale::run(&setting)?,
        What::Flame { to } => measure::flame::run(&setting, to)?,
        What::Push { .. } | What::Plot { .. } | What::Table | What::Machine => Vec::new(),
    };
    let report = Report::new(rows);
    report.append(&cli.out)?;
    print!("{}", report.table());
    Ok(())
}

fn push(to: SocketAddr, streams: usize, seconds: u64) -> Result<(), Error> {
    let start = |index| Publisher::start(&[to], &format!("s{index}"), Source::new(measure::MEGABITS));
    let publishers = (0..streams).map(start).collect::<Result<Vec<_>, _>>()?;
    std::thread::sleep(Duration::from_secs(seconds));
    publishers.into_iter().try_for_each(Publisher::finish)
}
