//! `aqueduct`: configuration, wiring, drain. Each stage lives in its own crate; `wire` joins them.
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    reason = "a binary has no outside; `pub` here says what a module offers the others"
)]

mod access;
mod admin;
mod banner;
mod ca;
mod cameras;
mod certificate;
mod cli;
mod client;
mod config;
mod dashboard;
mod demo;
mod doctor;
mod hardware;
mod hooks;
mod keys;
mod logging;
mod manual;
mod nodes;
mod observe;
mod otlp;
mod pages;
mod plant;
mod relay;
mod renew;
mod token;
mod top;
mod transport;
mod wire;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use aqueduct_edge::Listen;
use clap::Parser as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cli::{Cli, Command, Demo, Key, Settings};
use crate::config::Plan;

/// Where `aqueduct origin` feeds edges.
const RELAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 4443);

/// What ended the program before its time, by exit code.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 1: something that was asked for could not be done.
    Failed(String),
    /// Exit code 2: bad usage or configuration.
    Usage(String),
}

impl Failure {
    /// Something could not be done.
    #[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
    pub fn failed(error: impl ToString) -> Self {
        Self::Failed(error.to_string())
    }

    /// Bad usage or configuration.
    #[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
    pub fn usage(error: impl ToString) -> Self {
        Self::Usage(error.to_string())
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::Worker) {
        // Before anything else is set up: a worker has no runtime, no log and no keys.
        return aqueduct_transcode::worker::run();
    }
    if matches!(cli.command, Command::PushWorker) {
        return aqueduct_transcode::push::worker::run();
    }
    if let Command::PullWorker { network, files } = &cli.command {
        return aqueduct_transcode::pull::worker::run(*network, files);
    }
    if matches!(cli.command, Command::Snapshots) {
        return aqueduct_transcode::snapshot::run();
    }
    leave_no_memory_behind();
    // ring is the one crypto provider; without this, two enabled ones would make rustls refuse to choose.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (code, text) = match run(cli) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(text)) => (1, text),
        Err(Failure::Usage(text)) => (2, text),
    };
    eprintln!("aqueduct: {text}");
    ExitCode::from(code)
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(settings) => runtime()?.block_on(serve(&settings, None, None)),
        Command::Origin(settings) => runtime()?.block_on(serve(&settings, None, Some(RELAY))),
        Command::Edge(edge) => runtime()?.block_on(serve_edge(&edge.settings())),
        Command::Demo(demo) => runtime()?.block_on(run_demo(demo)),
        Command::Check { file } => check(&file),
        Command::Hardware { json, settings } => runtime()?.block_on(hardware::print(&plan(&settings)?, json)),
        Command::Probe { backend, device, from } => {
            aqueduct_transcode::hardware::probe::run(backend, &device, from, &mut std::io::stdout())
                .map_err(Failure::failed)
        }
        Command::Config => {
            print!("{}", config::DEFAULT_FILE);
            Ok(())
        }
        Command::Completions { shell } => manual::completions(shell, &mut std::io::stdout()),
        Command::Man { folder: None } => manual::page(&mut std::io::stdout()),
        Command::Man { folder: Some(folder) } => manual::pages(&folder),
        Command::Key(Key::New { stream, settings }) => keys::new(&stream, &plan(&settings)?),
        Command::Key(Key::Hash) => keys::hash(),
        Command::Ca(command) => ca::run(command, since_1970()),
        Command::Top(top) => runtime()?.block_on(top::run(top)),
        Command::Token(token) => token::run(&token, since_1970()),
        Command::Worker | Command::PushWorker | Command::PullWorker { .. } | Command::Snapshots => Ok(()),
    }
}

/// The wall clock, which certificates are judged by.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
fn since_1970() -> std::time::Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::failed)
}

fn plan(settings: &Settings) -> Result<Plan, Failure> {
    config::load(settings).map_err(Failure::usage)
}

/// The file alone, without the environment, and the certificate it names.
fn check(file: &std::path::Path) -> Result<(), Failure> {
    let plan = config::load_file(file).map_err(Failure::usage)?;
    certificate::check(&plan.tls).map_err(Failure::usage)?;
    for absent in relay::check(&plan.relay).map_err(Failure::usage)? {
        eprintln!("{}: not on this machine; the server that runs with this needs it", absent.display());
    }
    println!("{}: good", file.display());
    Ok(())
}

/// Serves until a signal, then drains. A demo's push runs beside it.
/// Edges are fed where `relay.listen` says, or at `relay` where it says nothing.
async fn serve(settings: &Settings, demo: Option<&Demo>, relay: Option<SocketAddr>) -> Result<(), Failure> {
    let plan = plan(settings)?;
    logging::start(settings).map_err(Failure::usage)?;
    raise_file_limit();
    let mut signals = Signals::new()?;
    let (ring, shown) = keys::ring(&plan)?;
    let relay = plan.relay.listen.map_or(relay, Listen::address);
    let planted = settings.plant.as_ref();
    let running = Box::pin(wire::start_origin(&plan, ring, planted, relay)).await.map_err(Failure::failed)?;
    print!("{}", banner::text(&running.addresses, Some(&shown)));
    tracing::info!(addresses = ?running.addresses, "started");

    let stop_demo = CancellationToken::new();
    let ended = tokio::select! {
        () = signals.recv() => Ok(()),
        () = running.asked_to_leave() => Ok(()),
        ended = push_demo(demo, &running.addresses, &stop_demo) => ended,
    };
    stop_demo.cancel();
    drain(running, &plan, &mut signals).await;
    ended
}

/// Serves what others feed this node with, until a signal, then drains.
async fn serve_edge(settings: &Settings) -> Result<(), Failure> {
    let plan = plan(settings)?;
    if plan.relay.origins.is_empty() && !plan.cluster.is_shared() {
        let text =
            "relay.origins is empty: say who feeds this edge, for example --origin origin.example:4443";
        return Err(Failure::usage(text));
    }
    logging::start(settings).map_err(Failure::usage)?;
    raise_file_limit();
    let mut signals = Signals::new()?;
    let (origins, list) = watch::channel(plan.relay.origins.clone());
    let relay = plan.relay.listen.and_then(Listen::address);
    let running = Box::pin(wire::start_edge(&plan, list, relay)).await.map_err(Failure::failed)?;
    print!("{}", banner::text(&running.addresses, None));
    tracing::info!(addresses = ?running.addresses, "started");
    tokio::select! { () = signals.recv() => {}, () = running.asked_to_leave() => {} }
    drain(running, &plan, &mut signals).await;
    drop(origins);
    Ok(())
}

/// Pushes what the demo shows; never ends without a demo.
async fn push_demo(
    demo: Option<&Demo>,
    addresses: &wire::Addresses,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let Some(demo) = demo else { return std::future::pending().await };
    let host = local(addresses.ingest.first());
    let clock = async {
        let target = format!("rtmp://{host}/live/show");
        demo::push(&target, demo_options(demo), stop.clone()).await
    };
    let clip = async {
        let Some(file) = &demo.clip else { return std::future::pending().await };
        let target = format!("rtmp://{host}/live/clip");
        demo::push_clip(&target, file, stop.clone()).await
    };
    tokio::select! { ended = clock => ended, ended = clip => ended }.map_err(Failure::failed)
}

/// Every viewer's connection needs a file descriptor, and the usual soft limit of 1024 is far below what serves.
fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "file descriptors"),
        Err(error) => tracing::warn!(%error, "the limit of file descriptors stays as it is"),
    }
}

/// A crash leaves no file with keys and passwords in it. The hard limit stays, so that an operator who hunts a crash may
/// raise it again (`prlimit --core=unlimited --pid PID`).
fn leave_no_memory_behind() {
    let hard = rlimit::Resource::CORE.get().map_or(0, |(_, hard)| hard);
    let _ = rlimit::Resource::CORE.set(0, hard);
}

async fn drain(running: wire::Running, plan: &Plan, signals: &mut Signals) {
    tracing::info!(deadline = ?plan.deadline, "stopping; a second signal ends at once");
    if std::io::stderr().is_terminal() {
        eprintln!("stopping; press Ctrl-C again to end at once");
    }
    tokio::select! {
        whole = running.drain(plan.deadline) => match whole {
            true => tracing::info!("stopped"),
            false => tracing::warn!("the deadline passed; what was left was cut off"),
        },
        () = signals.recv() => tracing::warn!("second signal: ended at once"),
    }
}

async fn run_demo(demo: Demo) -> Result<(), Failure> {
    let Some(target) = &demo.push_only else { return serve(&demo.settings, Some(&demo), None).await };
    logging::start(&demo.settings).map_err(Failure::usage)?;
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    let pushing = demo::push(target, demo_options(&demo), stop.clone());
    tokio::pin!(pushing);
    tokio::select! {
        ended = &mut pushing => return ended.map_err(Failure::failed),
        () = signals.recv() => stop.cancel(),
    }
    pushing.await.map_err(Failure::failed)
}

fn demo_options(demo: &Demo) -> demo::DemoOptions {
    demo::DemoOptions { width: demo.width, height: demo.height, fps: demo.fps, ..Default::default() }
}

/// An address of ours as a client on this machine reaches it.
fn local(port: Option<&(&'static str, std::net::SocketAddr)>) -> String {
    match port {
        Some((_, address)) if !address.ip().is_unspecified() => address.to_string(),
        Some((_, address)) => format!("127.0.0.1:{}", address.port()),
        None => "127.0.0.1:1935".into(),
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::failed);
        Ok(Self { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
