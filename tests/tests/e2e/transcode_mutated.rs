//! A stream whose H.264 is damaged beside one that is good: the good one's renditions never pause.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::publisher::Script;
use aqueduct_tests::publisher::clip::Clip;
use aqueduct_tests::publisher::script::{Tag, Wrapping};
use aqueduct_tests::random::Random;
use aqueduct_tests::world::ladder::{aligned, brightness, span};
use aqueduct_tests::world::watch::watch;
use aqueduct_tests::world::{Drawing, Push, Server, room};
use tokio::time::sleep;

const START: Duration = Duration::from_secs(20);
/// Parts come every 0.2 s; the rest is for a machine that other tests share.
const UNDISTURBED: Duration = Duration::from_millis(1_500);
/// One NAL unit in so many millionths is damaged.
const DAMAGED: u32 = 10_000;
/// Before it, the stream is whole, so that its ladder is begun.
const WHOLE: i64 = 3_000;

/// Flips some bits in 1 % of the NAL units of coded frames, but not in their lengths.
fn damage(tag: &mut Tag, random: &mut Random) {
    if tag.kind != 9 || tag.body.get(1) != Some(&1) || tag.at < WHOLE {
        return;
    }
    let mut at = 5;
    while let Some(length) = tag.body.get(at..at + 4) {
        let length = length.iter().fold(0, |all, byte| all << 8 | usize::from(*byte));
        let (first, end) = (at + 4, (at + 4 + length).min(tag.body.len()));
        if random.chance(DAMAGED) && end > first {
            for _ in 0..=random.below(8) {
                let byte = first + random.below((end - first) as u64) as usize;
                tag.body[byte] ^= 1 << random.below(8);
            }
        }
        at = first + length;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_streams_leave_a_good_one_alone() -> Outcome {
    let _room = room::whole().await;
    let server = Server::start(&[
        ("transcode.mode", "auto"),
        ("transcode.ladder", "[{height=180,bitrate=120000},{height=120,bitrate=60000}]"),
    ])
    .await?;
    let seconds = span(15);
    let good = Drawing { name: "mutated-good.mp4", size: "480x270", ..Drawing::default() };
    let path = good.path()?;
    let path = path.to_string_lossy();
    let _push =
        Push::start(&server.rtmp_url("good"), &["-re", "-stream_loop", "-1", "-i", &path, "-c", "copy"])?;
    server.names("good", "x120,", START).await?;

    let clip = Clip::open(&Drawing::default().path()?)?;
    let mut script = Script::play(&clip, (seconds as i64 + 10) * 1_000, Wrapping::Legacy);
    let mut random = Random::new(0xda3a6e);
    script.tags.iter_mut().for_each(|tag| damage(tag, &mut random));
    // Three at once, each a little later than the other, to be damaged in other places of the good one's time.
    let mut damaged = Vec::new();
    for index in 0..3 {
        damaged.push(server.publish(&format!("damaged{index}"), script.clone()));
        sleep(Duration::from_millis(300)).await;
    }
    let seen = watch(&server.playlist("good"), Duration::from_secs(seconds)).await?;
    let log = server.log();
    for rendition in &seen {
        let first = rendition.parts.first().map(|part| part.at).ok_or("a rendition lists nothing")?;
        let (pause, gaps) = (rendition.longest_pause(first), rendition.parts.iter().filter(|part| part.gap));
        // What a rendition lacks at its own beginning is not the damaged streams' doing.
        assert_eq!(gaps.filter(|part| part.at > first).count(), 0, "{}\n{log}", rendition.entry.url);
        assert!(pause <= UNDISTURBED, "{}: {pause:?}\n{log}", rendition.entry.url);
        if rendition.is_video() {
            brightness(rendition).await?;
        }
    }
    aligned(&seen)?;
    // The damage was met, and each damaged stream was still made into rungs at the end.
    for index in 0..3 {
        let index = server.names(&format!("damaged{index}"), "x120,", Duration::from_secs(2)).await?;
        assert!(index.contains("x180,"), "{index}");
    }
    let repeated = server.metric("aqueduct_transcode_frames_total", "state=\"repeated\"").await?;
    let told = server.told("damaged0").await?;
    println!("{repeated} frames were repeated; damaged0 lost workers: {}", told["transcode"]["losses"]);
    assert_eq!(server.told("good").await?["transcode"]["losses"], serde_json::json!({}), "{log}");
    Ok(())
}
