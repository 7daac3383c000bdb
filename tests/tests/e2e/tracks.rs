//! Streams of one track, and a track that comes late.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::publisher::clip::Clip;
use aqueduct_tests::publisher::script::{Script, Wrapping};
use aqueduct_tests::world::{Drawing, Server, decode, probe, room};

const START: Duration = Duration::from_secs(15);

fn script(seconds: i64) -> Outcome<Script> {
    Ok(Script::play(&Clip::open(&Drawing::default().path()?)?, seconds * 1_000, Wrapping::Legacy))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn video_only_conforms_and_decodes() -> Outcome {
    let _room = room::quarter().await;
    let server = Server::start(&[]).await?;
    let _push = server.publish("silent", script(25)?.video_only());
    let index = server.playable("silent", START).await?;
    assert!(!index.contains("TYPE=AUDIO") && !index.contains("mp4a"), "{index}");
    let url = server.playlist("silent");
    let (report, decoded) = tokio::try_join!(server.conforms("silent", 8), decode(&url, 5))?;
    assert_eq!(report.renditions, 1);
    assert!((120..=130).contains(&decoded.frames), "{decoded:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audio_only_conforms_and_decodes() -> Outcome {
    let _room = room::quarter().await;
    let server = Server::start(&[]).await?;
    let _push = server.publish("radio", script(25)?.audio_only());
    let index = server.playable("radio", START).await?;
    assert!(!index.contains("avc1"), "{index}");
    let url = server.playlist("radio");
    let (report, decoded, tracks) =
        tokio::try_join!(server.conforms("radio", 8), decode(&url, 5), probe(&url, "codec_name"))?;
    assert_eq!(report.renditions, 1);
    assert_eq!(tracks, "aac");
    assert!((4_800_000..=5_200_000).contains(&decoded.micros), "{decoded:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audio_two_seconds_late_conforms_and_decodes() -> Outcome {
    let _room = room::quarter().await;
    let server = Server::start(&[]).await?;
    let _push = server.publish("late", script(30)?.late_audio(2_000));
    server.playable("late", START).await?;
    // The first segment may be out before the sound is there.
    let index = server.names("late", "mp4a.40.2", START).await?;
    assert!(index.contains("avc1"), "{index}");
    let url = server.playlist("late");
    let (report, tracks) = tokio::try_join!(server.conforms("late", 8), probe(&url, "codec_name"))?;
    assert_eq!(report.renditions, 2);
    assert!(tracks.contains("h264") && tracks.contains("aac"), "{tracks}");
    decode(&url, 5).await?;
    Ok(())
}
