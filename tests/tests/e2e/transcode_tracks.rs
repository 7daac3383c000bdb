//! Enhanced RTMP multitrack video (OBS): a further track is a rendition as it is where its keyframes lie where the first
//! one's do; where they do not, or do so no more, the rung is encoded, and the streamer hears why.

use std::time::Duration;

use aqueduct_tests::publisher::Script;
use aqueduct_tests::publisher::clip::{Clip, made};
use aqueduct_tests::publisher::script::{Tag, Wrapping};
use aqueduct_tests::world::ladder::{aligned, brightness};
use aqueduct_tests::world::watch::{Rendition, watch};
use aqueduct_tests::world::{Server, room};
use aqueduct_tests::{Outcome, now};
use tokio::time::sleep;

const START: Duration = Duration::from_secs(20);
/// How long the server is given to make another ladder.
const PATIENCE: Duration = Duration::from_secs(30);
const LADDER: &str = "[{height=180,bitrate=150000},{height=120,bitrate=60000}]";

/// A clip of twenty seconds at 30 frames a second, with a keyframe at its start, at `first`, and each second from there on.
fn clip(size: &str, first: &str, bitrate: &str) -> Outcome<Clip> {
    let (picture, keys) =
        (format!("testsrc2=size={size}:rate=30"), format!("expr:gte(t,n_forced-1+{first})"));
    let sound = "sine=frequency=440:sample_rate=48000";
    let mut arguments = vec!["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", sound, "-t", "20"];
    arguments.extend([
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-profile:v",
        "high",
    ]);
    arguments.extend(["-g", "600", "-keyint_min", "1", "-sc_threshold", "0", "-pix_fmt", "yuv420p"]);
    arguments.extend(["-forced-idr", "1", "-force_key_frames", &keys, "-b:v", bitrate]);
    arguments.extend(["-c:a", "aac", "-ac", "2"]);
    Clip::open(&made(&format!("track-{size}-{first}.mp4"), &arguments)?)
}

/// Two tracks of pictures, for so many milliseconds; the further one is another clip from `changes` on.
fn tracks(first: &Clip, further: [&Clip; 2], millis: i64, changes: i64) -> Script {
    let [before, after] =
        further.map(|further| Script::play(first, millis, Wrapping::Enhanced).beside(&[further], &[]));
    // A multitrack message of pictures: packet type 6.
    let is_further = |tag: &Tag| tag.kind == 9 && tag.body.first().is_some_and(|first| first & 0x8f == 0x86);
    let mut tags = before.tags;
    tags.retain(|tag| !is_further(tag) || tag.at < changes);
    tags.extend(after.tags.into_iter().filter(|tag| is_further(tag) && tag.at >= changes));
    let headers = tags.iter().take_while(|tag| tag.at == 0 && tag.timestamp == 0).count();
    tags[headers..].sort_by_key(|tag| tag.at);
    Script { tags }
}

async fn server() -> Outcome<Server> {
    Server::start(&[("transcode.mode", "auto"), ("transcode.ladder", LADDER)]).await
}

/// Lines of what is encoded.
async fn encoded(server: &Server) -> Outcome<Vec<u64>> {
    let told = server.told("show").await?;
    let renditions = told["transcode"]["renditions"].as_array().cloned().unwrap_or_default();
    Ok(renditions.iter().filter_map(|rendition| rendition["size"][1].as_u64()).collect())
}

async fn is_whole(seen: &[Rendition], log: &str) -> Outcome {
    assert!(aligned(seen)? >= 3, "too little was compared\n{log}");
    for rendition in seen.iter().filter(|rendition| rendition.is_video()) {
        brightness(rendition).await?;
    }
    Ok(())
}

fn heights(seen: &[Rendition]) -> Vec<u64> {
    let mut heights: Vec<u64> = seen.iter().filter(|one| one.is_video()).map(Rendition::height).collect();
    heights.sort_unstable_by(|one, other| other.cmp(one));
    heights
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_track_whose_keyframes_agree_is_a_rendition_and_only_the_missing_rung_is_encoded() -> Outcome
{
    let _room = room::half().await;
    let (first, further) = (clip("640x360", "1", "900k")?, clip("320x180", "1", "250k")?);
    let server = server().await?;
    let _push = server.publish("show", tracks(&first, [&further, &further], 30_000, 30_000));
    server.names("show", "x120,", START).await?;
    let seen = watch(&server.playlist("show"), Duration::from_secs(8)).await?;
    assert_eq!(heights(&seen), [360, 180, 120], "{}", server.log());
    assert_eq!(encoded(&server).await?, [120], "{}", server.log());
    is_whole(&seen, &server.log()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_track_with_other_keyframes_is_encoded_instead_and_that_is_said() -> Outcome {
    let _room = room::half().await;
    let (first, shifted) = (clip("640x360", "1", "900k")?, clip("320x180", "0.5", "250k")?);
    let server = server().await?;
    let _push = server.publish("show", tracks(&first, [&shifted, &shifted], 30_000, 30_000));
    server.names("show", "x120,", START).await?;
    let seen = watch(&server.playlist("show"), Duration::from_secs(8)).await?;
    assert_eq!(heights(&seen), [360, 180, 120], "{}", server.log());
    assert_eq!(encoded(&server).await?, [180, 120], "{}", server.log());
    let told = server.told("show").await?.to_string();
    assert!(told.contains("keyframes"), "{told}");
    is_whole(&seen, &server.log()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_track_whose_keyframes_move_away_is_replaced_by_a_rung() -> Outcome {
    let _room = room::half().await;
    let first = clip("640x360", "1", "900k")?;
    let (good, shifted) = (clip("320x180", "1", "250k")?, clip("320x180", "0.5", "250k")?);
    let server = server().await?;
    let _push = server.publish("show", tracks(&first, [&good, &shifted], 90_000, 12_000));
    server.names("show", "x120,", START).await?;
    assert_eq!(encoded(&server).await?, [120], "{}", server.log());
    let deadline = now() + PATIENCE;
    while encoded(&server).await? != [180, 120] {
        assert!(now() < deadline, "nothing was done about it\n{}", server.log());
        sleep(Duration::from_millis(200)).await;
    }
    server.names("show", "x180,", START).await?;
    let seen = watch(&server.playlist("show"), Duration::from_secs(8)).await?;
    is_whole(&seen, &server.log()).await?;
    let told = server.told("show").await?;
    let reasons = told["transcode"]["reasons"].to_string();
    assert!(reasons.contains("video track"), "{told:#}");
    Ok(())
}
