//! `linkproxy LISTEN FAR`: a worse network between a player and an edge, or between two machines.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::linkproxy::{Link, Shape};
use clap::Parser;

/// Carries TCP (or UDP) from LISTEN to FAR with the delay, jitter, loss and rate that are asked for.
#[derive(Parser)]
#[command(name = "linkproxy", version)]
struct Arguments {
    /// Where to listen: 127.0.0.1:9000
    listen: SocketAddr,
    /// Where to carry it: 127.0.0.1:8080
    far: SocketAddr,
    /// Carry UDP instead of TCP.
    #[arg(long)]
    udp: bool,
    /// Delay in each direction, in milliseconds.
    #[arg(long, default_value_t = 0)]
    delay: u64,
    /// Up to this many milliseconds more, anew for each piece.
    #[arg(long, default_value_t = 0)]
    jitter: u64,
    /// Datagrams lost, in percent (UDP only).
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Kilobits a second in each direction, of all connections together.
    #[arg(long)]
    rate: Option<u64>,
    /// Where randomness begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> Outcome {
    let arguments = Arguments::parse();
    let shape = Shape {
        delay: Duration::from_millis(arguments.delay),
        jitter: Duration::from_millis(arguments.jitter),
        loss_millionths: (arguments.loss.clamp(0.0, 100.0) * 10_000.0) as u32,
        rate: arguments.rate.map(|kilobits| kilobits * 125),
        seed: arguments.seed,
    };
    let link = if arguments.udp {
        Link::udp(arguments.listen, arguments.far, shape).await?
    } else {
        Link::tcp(arguments.listen, arguments.far, shape).await?
    };
    println!("linkproxy {} -> {}", link.address, arguments.far);
    tokio::signal::ctrl_c().await?;
    Ok(())
}
