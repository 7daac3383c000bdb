//! `aqueduct top` on a terminal: it shows a node, and gives the terminal back when it is left.

use std::process::Stdio;
use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::world::{Drawing, Push, Server, binary, room};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A machine that is busy with other tests may take so long for what takes a second.
const SOON: Duration = Duration::from_secs(30);
/// What enters and leaves the screen of its own.
const ENTERED: &str = "\u{1b}[?1049h";
const LEFT: &str = "\u{1b}[?1049l";

/// Runs it on a terminal of 120 columns that `script` (util-linux) makes.
async fn top(server: &Server, more: &str) -> Outcome<Child> {
    let program = binary().await?;
    let line = format!("stty cols 120 rows 30; {} top --admin {}{more}", program.display(), server.admin(""));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm-256color").kill_on_drop(true);
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
}

/// Reads the screen's bytes until all of these have been on it; everything so far.
async fn until(child: &mut Child, texts: &[&str]) -> Outcome<String> {
    let stdout = child.stdout.as_mut().ok_or("no output")?;
    let (mut seen, mut piece) = (Vec::new(), [0; 4_096]);
    let read = async {
        loop {
            let length = stdout.read(&mut piece).await?;
            seen.extend_from_slice(&piece[..length]);
            let text = String::from_utf8_lossy(&seen);
            if length == 0 || texts.iter().all(|wanted| text.contains(wanted)) {
                return Outcome::Ok(());
            }
        }
    };
    let in_time = timeout(SOON, read).await;
    let text = String::from_utf8_lossy(&seen).into_owned();
    in_time.map_err(|_| format!("{texts:?} are not all on\n{text}"))??;
    match texts.iter().find(|wanted| !text.contains(**wanted)) {
        Some(missing) => Err(format!("it ended without {missing:?}:\n{text}").into()),
        None => Ok(text),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_shows_a_stream_and_gives_the_terminal_back() -> Outcome {
    let _room = room::quarter().await;
    let server = Server::start(&[("transcode.mode", "off")]).await?;
    let _push = Push::file(&server.rtmp_url("show"), &Drawing::default().path()?)?;
    server.playable("show", SOON).await?;
    let mut child = top(&server, "").await?;
    until(&mut child, &[ENTERED, "live/show", "latency", "uplink"]).await?;
    let stdin = child.stdin.as_mut().ok_or("no input")?;
    stdin.write_all(b"\tq").await?;
    until(&mut child, &[LEFT]).await?;
    let status = timeout(SOON, child.wait()).await.map_err(|_| "it does not end")??;
    assert!(status.success(), "{status}");
    // What is wrong is said in words, before the screen is taken.
    let mut child = top(&server, "/nothing-is-here").await?;
    let said = until(&mut child, &["without a path"]).await?;
    assert!(!said.contains(ENTERED), "{said}");
    let status = timeout(SOON, child.wait()).await.map_err(|_| "it does not end")??;
    assert_eq!(status.code(), Some(1));
    Ok(())
}
