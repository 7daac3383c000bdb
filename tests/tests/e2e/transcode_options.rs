//! Sound that is brought to a loudness with its picture untouched, and sounds in several languages, which are one group.

use std::time::Duration;

use aqueduct_tests::publisher::Script;
use aqueduct_tests::publisher::clip::Clip;
use aqueduct_tests::publisher::script::Wrapping;
use aqueduct_tests::world::ladder::{aligned, brightness, sounds};
use aqueduct_tests::world::watch::{Rendition, watch};
use aqueduct_tests::world::{Drawing, Push, Server, room};
use aqueduct_tests::{Outcome, now};
use tokio::time::sleep;

const START: Duration = Duration::from_secs(20);
/// A gain rises by 0.3 dB a second, from the third second on (AVP-7).
const LOUDER: Duration = Duration::from_secs(30);

/// Every rendition decodes, and those with pictures are aligned.
async fn is_whole(seen: &[Rendition]) -> Outcome {
    for rendition in seen {
        match rendition.is_video() {
            true => brightness(rendition).await.map(|_| ())?,
            false => sounds(rendition).await?,
        }
    }
    if seen.iter().filter(|rendition| rendition.is_video()).count() > 1 && aligned(seen)? < 3 {
        return Err("too few segments were compared".into());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_is_brought_to_a_loudness_and_the_picture_is_left_alone() -> Outcome {
    let _room = room::half().await;
    // No rung is above the source: there is nothing to encode but the sound.
    let server = Server::start(&[
        ("transcode.mode", "auto"),
        ("transcode.ladder", "[{height=1080}]"),
        ("transcode.audio.loudness", "-14"),
    ])
    .await?;
    let _push = Push::file(&server.rtmp_url("show"), &Drawing::default().path()?)?;
    server.playable("show", START).await?;
    let url = server.playlist("show");
    let (report, seen) = tokio::try_join!(server.conforms("show", 7), watch(&url, Duration::from_secs(7)))?;
    let told = server.told("show").await?;
    let made = told["transcode"]["renditions"].as_array().cloned().unwrap_or_default();
    let pictures = seen.iter().filter(|rendition| rendition.is_video()).count();
    assert_eq!((made.len(), pictures, seen.len()), (1, 1, 2), "{told:#}\n{report}");
    assert_eq!(told["transcode"]["passthrough"], true, "{told:#}");
    is_whole(&seen).await?;
    let deadline = now() + LOUDER;
    while server.metric("aqueduct_transcode_sound_gain_db", "").await? < 0.5 {
        assert!(now() < deadline, "a quiet tone was not turned up\n{}", server.log());
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sounds_of_several_languages_are_one_group() -> Outcome {
    let _room = room::half().await;
    let clip = Clip::open(&Drawing::default().path()?)?;
    let script = Script::play(&clip, 30_000, Wrapping::Enhanced).beside(&[], &[&clip]);
    let server =
        Server::start(&[("transcode.mode", "auto"), ("transcode.ladder", "[{height=120,bitrate=90000}]")])
            .await?;
    let _push = server.publish("show", script.in_languages(&["en", "pt-BR"]));
    let index = server.names("show", "LANGUAGE=\"pt-BR\"", START).await?;
    let of = |text: &str| index.lines().find(|line| line.contains(text)).map(str::to_owned);
    let (english, other) = (of("LANGUAGE=\"en\""), of("LANGUAGE=\"pt-BR\""));
    let group = |line: &Option<String>| {
        let rest = line.as_deref()?.split_once("GROUP-ID=\"")?.1;
        Some(rest.split_once('"')?.0.to_owned())
    };
    assert!(group(&english).is_some() && group(&english) == group(&other), "{index}");
    assert!(english.is_some_and(|line| line.contains("DEFAULT=YES")), "{index}");
    server.names("show", "x120,", START).await?;
    let url = server.playlist("show");
    let (_, seen) = tokio::try_join!(server.conforms("show", 7), watch(&url, Duration::from_secs(7)))?;
    assert_eq!(seen.iter().filter(|rendition| !rendition.is_video()).count(), 2, "{index}");
    is_whole(&seen).await
}
