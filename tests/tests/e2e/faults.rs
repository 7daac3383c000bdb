//! What real encoders show of their faults, without a ladder and without a viewer: black, frozen and silent media, and
//! all that QOE 4 wants advice for. Each is planted before a whole board as well, in `analytics/tests/faults.rs`, where the
//! seconds until it is told are exact.

use std::collections::BTreeMap;
use std::time::Duration;

use aqueduct_tests::fetch::Client;
use aqueduct_tests::publisher::Style;
use aqueduct_tests::publisher::clip::Clip;
use aqueduct_tests::publisher::script::{Script, Wrapping};
use aqueduct_tests::world::ladder::span;
use aqueduct_tests::world::{Drawing, Push, Server, room};
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

/// The pushes of [`each_fault_of_an_encoder_is_told_and_health_is_left_alone`]: a name, what comes of it in ffmpeg's words
/// behind the sources, and the advice that it is given.
const FAULTS: [(&str, &str, &[&str], &str); 4] = [
    ("slow", "testsrc2=size=320x180:rate=8", &["-g", "8"], "low-frame-rate"),
    ("keyframes", "testsrc2=size=320x180:rate=30", &["-g", "300"], "keyframe-interval"),
    // What an encoder sends when its scene empties, and what one sends whose uplink shrinks.
    (
        "collapse",
        "testsrc2=size=320x180:rate=25,noise=alls=80:allf=t:enable='lt(t,36)'",
        &["-g", "25", "-crf", "26"],
        "bitrate-collapse",
    ),
    ("gaps", "testsrc2=size=320x180:rate=30,select='gte(mod(n,90),9)'", &["-g", "30"], "missing-frames"),
];

/// What no ffmpeg sends.
const OFFSET: (&str, &str) = ("offset", "audio-offset");

fn push_faulty(server: &Server, name: &str, picture: &str, more: &[&str]) -> Outcome<Push> {
    let sources = ["-re", "-f", "lavfi", "-i", picture, "-re", "-f", "lavfi", "-i"];
    let sound = ["sine=frequency=440:sample_rate=48000", "-fps_mode", "passthrough"];
    let video = ["-c:v", "libx264", "-preset", "superfast", "-tune", "zerolatency", "-threads", "1"];
    let plain = ["-sc_threshold", "0", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "96k"];
    Push::start(&server.rtmp_url(name), &[&sources[..], &sound, &video, &plain, more].concat())
}

/// `SPAN_SECONDS=600` watches the stream that is well for ten minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_an_encoder_is_told_and_health_is_left_alone() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&[OFF]).await?;
    let (begun, lasts) = (now(), Duration::from_secs(span(30)));
    let pushes: Outcome<Vec<Push>> =
        FAULTS.iter().map(|(name, picture, more, _)| push_faulty(&server, name, picture, more)).collect();
    let _pushes = pushes?;
    // ffmpeg keeps its tracks in step whatever their stamps are; this publisher sends sound 200 ms before its picture.
    let clip = Clip::open(&Drawing::default().path()?)?;
    let script = || Script::play(&clip, 120_000 + lasts.as_millis() as i64, Wrapping::Legacy);
    let _offset = server.publish_in(OFFSET.0, script().audio_ahead(200), Style::default());
    // Nor does it encode, so that it is well on a crowded machine too.
    let _well = server.publish_in("well", script(), Style::default());
    let faults = || FAULTS.iter().map(|(name, .., advice)| (*name, *advice)).chain([OFFSET]);
    let (mut seen, mut well): (BTreeMap<&str, u64>, Vec<String>) = (BTreeMap::new(), Vec::new());
    while seen.len() < faults().count() || now() - begun < lasts {
        for (name, advice) in faults() {
            if !seen.contains_key(name) && told(&server, name).await?.0.iter().any(|one| one == advice) {
                seen.insert(name, (now() - begun).as_secs());
            }
        }
        well.extend(told(&server, "well").await?.0);
        assert_eq!(well, [] as [&str; 0], "nothing is wrong with this one\n{}", server.log());
        if now() - begun >= SOON + lasts {
            let mut told_so = Vec::new();
            for (name, _) in faults() {
                told_so.push((name, told(&server, name).await?));
            }
            return Err(format!("not told of all: {seen:?}, {told_so:?}\n{}", server.log()).into());
        }
        sleep(Duration::from_millis(250)).await;
    }
    println!("seconds from the push to the advice (the bitrate falls after 36): {seen:?}");
    Ok(())
}
