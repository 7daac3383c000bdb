//! Where each CPU-second goes: profiles of a server under load, as flame graphs.
//!
//! `perf` takes samples of the server and its children while the load of another measurement runs; the pictures are
//! drawn by inferno. The rows say how much of each profile is the kernel's.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use inferno::collapse::Collapse as _;
use inferno::collapse::perf::{Folder, Options as Folding};
use inferno::flamegraph::{self, Options};

use super::{MEGABITS, Setting, ladder, push_clip, runtime, viewers, wait};
use crate::error::{Error, doing};
use crate::publisher::Publisher;
use crate::report::Row;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::source::Source;

/// Samples a second of each thread that runs: no whole fraction of anything that is paced.
const HERTZ: &str = "197";
/// Frames narrower than this share of the picture, in percent, are left out of it.
const NARROWEST: f64 = 0.3;
/// Streams that are pushed for the profile of ingest, and players for that of delivery.
const STREAMS: usize = 10;
const PLAYERS: usize = 500;

/// Takes all profiles, and writes `flame-NAME.svg` into `dir`.
pub fn run(setting: &Setting<'_>, dir: &Path) -> Result<Vec<Row>, Error> {
    fs::create_dir_all(dir).map_err(doing(format!("make {}", dir.display())))?;
    let scratch = Scratch::new("flame")?;
    let recording = |name| Recording { name, scratch: &scratch, dir, span: setting.size(10, 2) };
    Ok(vec![
        runtime()?.block_on(ingest(setting, &recording("ingest")))?,
        runtime()?.block_on(rungs(setting, &recording("ladder"), &scratch))?,
        delivery(setting, &recording("delivery"))?,
    ])
}

/// One profile that is taken.
struct Recording<'a> {
    name: &'static str,
    scratch: &'a Scratch,
    dir: &'a Path,
    /// Seconds.
    span: u64,
}

async fn ingest(setting: &Setting<'_>, recording: &Recording<'_>) -> Result<Row, Error> {
    let mut server = Server::start(setting.server, None).await?;
    let mut publishers = Vec::new();
    for index in 0..STREAMS {
        publishers.push(Publisher::start(&[server.rtmp], &format!("s{index}"), Source::new(MEGABITS))?);
    }
    for index in 0..STREAMS {
        server.live(&format!("s{index}")).await?;
    }
    wait(setting.size(Duration::from_secs(20), Duration::ZERO), &mut []).await?;
    let row = recording.take(&server, &format!("{STREAMS} streams of 3 Mbit/s, passthrough")).await?;
    publishers.into_iter().try_for_each(Publisher::finish)?;
    Ok(row)
}

async fn rungs(setting: &Setting<'_>, recording: &Recording<'_>, scratch: &Scratch) -> Result<Row, Error> {
    let film = ladder::film(setting.clip, scratch, setting.size(60, 25))?;
    let rungs = ladder::written(&[(480, 1_200_000), (360, 700_000)]);
    let settings = [
        ("transcode.mode", "auto"),
        ("transcode.ladder", rungs.as_str()),
        ("transcode.passthrough", "always"),
        ("transcode.preset", ladder::PRESET),
        ("transcode.cpu_percent", "100"),
    ];
    let mut server = Server::start_with(setting.server, None, &settings).await?;
    wait(Duration::from_secs(3), &mut []).await?;
    let url = format!("rtmp://{}/live/ladder", server.rtmp);
    let mut pushes = [push_clip(&film, &[url], scratch, "push")?];
    server.ladder("ladder", 3).await?;
    wait(Duration::from_secs(5), &mut pushes).await?;
    recording.take(&server, "720p30 passing, and 480 and 360 lines made of it").await
}

fn delivery(setting: &Setting<'_>, recording: &Recording<'_>) -> Result<Row, Error> {
    let players = setting.size(PLAYERS, 50);
    // Players warm up before perf begins, and play until it has ended.
    let span = Duration::from_secs(recording.span + 4);
    let what = format!("{players} low-latency players of one stream, HTTP/1.1");
    viewers::during(setting, players, span, async |server| {
        tokio::time::sleep(Duration::from_secs(3)).await;
        recording.take(server, &what).await
    })
}

impl Recording<'_> {
    async fn take(&self, server: &Server, what: &str) -> Result<Row, Error> {
        let data = self.scratch.path().join(self.name);
        let pids = server.program.pids().iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        let mut record = Command::new("perf");
        record
            .args(["record", "-q", "-F", HERTZ, "--call-graph", "dwarf,16384", "-p", &pids, "-o"])
            .arg(&data);
        record.args(["--", "sleep", &self.span.to_string()]);
        // perf waits; the clients, which are this thread, go on.
        let recorded = tokio::task::spawn_blocking(move || output(&mut record)).await;
        recorded.map_err(|error| doing("wait for perf")(std::io::Error::other(error)))??;
        self.draw(&data, what)
    }

    fn draw(&self, data: &Path, what: &str) -> Result<Row, Error> {
        let mut script = Command::new("perf");
        // Names of inlined functions would take addr2line minutes.
        let samples = output(script.args(["script", "--no-inline", "-i"]).arg(data))?;
        let mut folding = Folding::default();
        folding.annotate_kernel = true;
        let mut stacks = Vec::new();
        let failed = |error| doing("read what perf printed")(error);
        Folder::from(folding).collapse(samples.as_slice(), &mut stacks).map_err(failed)?;
        let text = String::from_utf8_lossy(&stacks).into_owned();
        let file = self.dir.join(format!("flame-{}.svg", self.name));
        picture(&text, what, &file)?;
        let all = count(&text, |_| true);
        let kernel = count(&text, |stack| stack.ends_with("_[k]"));
        let share = kernel as f64 * 100.0 / all.max(1) as f64;
        Ok(Row::new("flame", format!("{what}: the kernel's share"), "% of its CPU time", share)
            .detail(format!("{all} samples, {}", file.display())))
    }
}

fn picture(stacks: &str, title: &str, file: &Path) -> Result<(), Error> {
    let mut options = Options::default();
    options.title = title.to_owned();
    options.min_width = NARROWEST;
    options.deterministic = true;
    let mut write = || {
        let out = File::create(file)?;
        flamegraph::from_reader(&mut options, BufReader::new(stacks.as_bytes()), out)
    };
    write().map_err(doing(format!("draw {}", file.display())))
}

/// Samples whose stack is one of these; each line is a stack and how often it was seen.
fn count(stacks: &str, is: impl Fn(&str) -> bool) -> u64 {
    let lines = stacks.lines().filter_map(|line| line.rsplit_once(' '));
    lines.filter(|(stack, _)| is(stack)).filter_map(|(_, seen)| seen.parse::<u64>().ok()).sum()
}

fn output(command: &mut Command) -> Result<Vec<u8>, Error> {
    let output = command.output().map_err(|error| Error::Missing {
        program: "perf".into(),
        error,
        hint: "install it: apt-get install linux-perf",
    })?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(Error::Ended {
            program: "perf".into(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_become_a_picture_and_a_share() {
        let scratch = Scratch::new("flame").unwrap();
        let stacks = "aqueduct;main;serve;writev_[k] 3\naqueduct;main;parse 1\n";
        assert_eq!((count(stacks, |_| true), count(stacks, |stack| stack.ends_with("_[k]"))), (4, 3));
        let file = scratch.path().join("flame.svg");
        picture(stacks, "a title", &file).unwrap();
        let svg = fs::read_to_string(file).unwrap();
        assert!(svg.contains("a title") && svg.contains("writev"), "{svg}");
    }
}
