//! `aqueduct-check URL`: follows a live LL-HLS stream and names every rule that it breaks.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use aqueduct_tests::check::live::{self, Options};
use clap::Parser;

/// Follows a live LL-HLS stream for a while and names every rule that it breaks.
///
/// Ends with 0 when no error was found, 1 when one was, 2 when the stream could not be followed. Warnings do not
/// change that.
#[derive(Parser)]
#[command(name = "aqueduct-check", version)]
struct Arguments {
    /// URL of the multivariant playlist: http://host:8080/live/NAME/index.m3u8
    url: String,
    /// How long to follow it, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How long to wait for the stream to be there, in seconds.
    #[arg(long, default_value_t = 15)]
    wait: u64,
    /// Speak HTTP/2 (by ALPN for https, by prior knowledge for http).
    #[arg(long)]
    http2: bool,
    /// Only follow: do not send requests that have to be refused.
    #[arg(long)]
    no_probes: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        span: Duration::from_secs(arguments.seconds),
        wait: Duration::from_secs(arguments.wait),
        http2: arguments.http2,
        probes: !arguments.no_probes,
    };
    let report = match live::check(&arguments.url, options).await {
        Ok(report) => report,
        Err(error) => {
            eprintln!("aqueduct-check: {error}");
            return ExitCode::from(2);
        }
    };
    match serde_json::to_string_pretty(&report) {
        Ok(json) if arguments.json => println!("{json}"),
        _ => println!("{report}"),
    }
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
