//! What only a real encoder shows of its faults: black, frozen and silent media, without a ladder and without a viewer.
//! The others are planted before a whole board in `analytics/tests/faults.rs`.

use std::time::Duration;

use aqueduct_tests::fetch::Client;
use aqueduct_tests::world::{Push, Server, room};
use aqueduct_tests::{Outcome, now};
use serde_json::Value;
use tokio::time::sleep;

const OFF: (&str, &str) = ("transcode.mode", "off");
/// A machine that is busy with other tests may take so long for what takes twelve seconds.
const SOON: Duration = Duration::from_secs(60);

/// Pushes a drawn picture and sound as OBS codes them.
fn push(server: &Server, name: &str, picture: &str, sound: &str) -> Outcome<Push> {
    let url = server.rtmp_url(name);
    let sources = ["-re", "-f", "lavfi", "-i", picture, "-re", "-f", "lavfi", "-i", sound];
    let video =
        ["-c:v", "libx264", "-preset", "superfast", "-threads", "1", "-pix_fmt", "yuv420p", "-g", "50"];
    let rate = ["-b:v", "800k", "-maxrate", "800k", "-bufsize", "800k"];
    Push::start(&url, &[&sources[..], &video, &rate, &["-c:a", "aac", "-b:a", "128k"]].concat())
}

/// The kinds of advice that a stream is given, and its state.
async fn told(server: &Server, name: &str) -> Outcome<(Vec<String>, String)> {
    let address = server.admin(&format!("/api/v1/streams/live/{name}"));
    let view: Value = serde_json::from_str(&Client::new().get(&address).await?.text()?)?;
    let advice = view["advice"].as_array().into_iter().flatten();
    let mut advice: Vec<String> = advice.filter_map(|one| one["advice"].as_str().map(Into::into)).collect();
    advice.sort();
    Ok((advice, view["health"]["state"].as_str().unwrap_or_default().to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn black_frozen_and_silent_are_told_apart_from_what_is_well() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&[OFF]).await?;
    let tone = "sine=frequency=440:sample_rate=48000";
    let picture = "testsrc2=size=640x360:rate=25";
    let _well = push(&server, "well", picture, tone)?;
    let _black = push(&server, "black", "color=black:size=640x360:rate=25", tone)?;
    let _muted = push(&server, "muted", picture, "anullsrc=sample_rate=48000")?;
    let slide = "testsrc2=size=640x360:rate=25,loop=loop=-1:size=1,setpts=N/25/TB";
    let _slide = push(&server, "slide", slide, tone)?;
    let expected = [
        ("well", vec![]),
        ("black", vec!["black-picture"]),
        ("muted", vec!["silence"]),
        ("slide", vec!["frozen-picture"]),
    ];
    let deadline = now() + SOON;
    loop {
        let mut seen = Vec::new();
        for (name, _) in &expected {
            seen.push(told(&server, name).await?);
        }
        let all = expected.iter().zip(&seen).all(|((_, advice), (told, _))| advice == told);
        // A slide with sound is as it should be.
        if all && seen[0].1 == "live" && seen[3].1 == "live" {
            return Ok(());
        }
        if now() >= deadline {
            return Err(format!("not told so: {seen:?}\n{}", server.log()).into());
        }
        sleep(Duration::from_millis(250)).await;
    }
}
