//! The operator's pages and the ingest doctor before a real stream, in a real browser.

use std::process::Stdio;
use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::fetch::Client;
use aqueduct_tests::world::{Push, Server, room, workspace};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const START: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(90);

/// Somebody who looks at the pages.
struct Operator {
    _script: Child,
    seen: Lines<BufReader<ChildStdout>>,
}

impl Operator {
    fn start(arguments: &[&str]) -> Outcome<Self> {
        let mut script = Command::new("node")
            .arg(workspace().join("tests/browser/operate.mjs"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = script.stdout.take().ok_or("the script has no output")?;
        Ok(Self { _script: script, seen: BufReader::new(stdout).lines() })
    }

    /// What it sees next, which has to be this.
    async fn sees(&mut self, step: &str) -> Outcome<Value> {
        let line = timeout(PATIENCE, self.seen.next_line()).await.map_err(|_| format!("never {step}"))??;
        let line = line.ok_or(format!("it gave up before it saw {step}"))?;
        let seen: Value = serde_json::from_str(&line)?;
        assert_eq!(seen["step"], step, "{seen:#}");
        Ok(seen)
    }
}

/// A picture of 30 frames a second with a keyframe every so many.
fn push(server: &Server, gop: u32) -> Outcome<Push> {
    Push::drawn(&server.rtmp_url("show"), "640x360", "30", gop, &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_seen_live_and_its_doctor_says_what_to_set_until_it_is_set() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&[("transcode.mode", "off")]).await?;
    let bad = push(&server, 300)?;
    server.playable("show", START).await?;
    let admin = format!("http://{}", server.admin_address());
    let doctor = format!("http://{}", server.http_address());
    let arguments = ["--admin", &admin, "--stream", "live/show", "--doctor", &doctor];
    let mut operator = Operator::start(&arguments)?;

    let listed = operator.sees("listed").await?;
    assert_eq!(listed["picture"], 320, "{listed:#}");
    let charted = operator.sees("charted").await?;
    for chart in ["Frames a second", "Part published after", "Viewers"] {
        let figure = charted["figures"][chart].as_str().unwrap_or_default();
        assert!(figure.starts_with(|first: char| first.is_ascii_digit()), "{chart}: {charted:#}");
    }
    assert!(charted["events"].as_array().is_some_and(|events| !events.is_empty()), "{charted:#}");

    let advised = operator.sees("advised").await?;
    assert!(advised["text"].as_str().is_some_and(|text| text.contains("10.0 s")), "{advised:#}");
    assert_eq!(advised["wider"], 0, "it fits into a dock of OBS, 300 pixels wide");
    bad.kill().await?;
    let _good = push(&server, 30)?;
    let cured = operator.sees("cured").await?;
    // A machine that is too busy for the test's encoder gets other advice; this one is gone.
    assert!(!cured["left"].to_string().contains("eyframe"), "{cured:#}");
    Ok(())
}

#[tokio::test]
async fn pictures_are_made_beside_a_ladder_too_and_never_when_switched_off() -> Outcome {
    let _room = room::half().await;
    let picture =
        |server: &Server| format!("http://{}/api/v1/streams/live/show/thumbnail", server.admin_address());
    let server = Server::start(&[("transcode.mode", "auto")]).await?;
    let _push = push(&server, 30)?;
    server.playable("show", START).await?;
    let mut answer = Client::new().get(&picture(&server)).await?;
    while answer.status == 503 {
        answer = Client::new().get(&picture(&server)).await?;
    }
    assert_eq!((answer.status.as_u16(), answer.body.get(..2)), (200, Some(&[0xff, 0xd8][..])));

    let blind = Server::start(&[("transcode.mode", "off"), ("transcode.thumbnails", "off")]).await?;
    let _push = push(&blind, 30)?;
    blind.playable("show", START).await?;
    let answer = Client::new().get(&picture(&blind)).await?;
    assert!(answer.status == 404 && answer.text()?.contains("transcode.thumbnails"), "{answer:?}");
    Ok(())
}
