//! `aqueduct-chaos`: faults by a seed, over real processes with players, and what must hold meanwhile.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aqueduct_tests::chaos::plan::Plan;
use aqueduct_tests::chaos::{Options, run};
use clap::Parser;

/// An origin, two edges, publishers and players on this machine, and faults by a seed: says what broke.
///
/// Ends with 0 when nothing did, 1 when something did, 2 when the world could not be set up. The same seed and length make
/// the same plan. SERVER_UNDER_TEST names the server's binary.
#[derive(Parser)]
#[command(name = "aqueduct-chaos", version)]
struct Arguments {
    /// What the plan is made from; a new one at each run where none is given.
    #[arg(long)]
    seed: Option<u64>,
    /// How long, in seconds.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Players of our own.
    #[arg(long, default_value_t = 24)]
    players: usize,
    /// A headless Chromium with hls.js beside them.
    #[arg(long)]
    browser: bool,
    /// Only print the plan.
    #[arg(long)]
    plan: bool,
}

#[expect(clippy::disallowed_methods, reason = "a seed that nobody chose")]
fn any_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos() as u64) % 1_000_000
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(any_seed);
    let length = Duration::from_secs(arguments.seconds);
    if arguments.plan {
        print!("{}", Plan::of(seed, length));
        return ExitCode::SUCCESS;
    }
    let Arguments { players, browser, .. } = arguments;
    match run(Options { seed, length, players, browser }).await {
        Ok(report) if report.passed() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("aqueduct-chaos: {error}\nagain: SEED={seed} SECONDS={} make chaos", length.as_secs());
            ExitCode::from(2)
        }
    }
}
