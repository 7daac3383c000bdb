//! Frame-exact alignment: whatever the source drops and repeats, each segment of each rung begins with an IDR at the
//! same instant, each frame lies at the same time, and each shows the same picture.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::publisher::Script;
use aqueduct_tests::publisher::clip::{Clip, made};
use aqueduct_tests::publisher::script::Wrapping;
use aqueduct_tests::random::Random;
use aqueduct_tests::world::ladder::{aligned, brightness, span};
use aqueduct_tests::world::watch::{Rendition, watch};
use aqueduct_tests::world::{Push, Server, room};

const START: Duration = Duration::from_secs(20);
/// How far apart two renditions may show the brightness of one picture; neighbours in time differ by 60 and more.
const SAME: i32 = 12;

/// Each picture is of one brightness: of eleven that are 20 apart, with four or seven steps from one to the next.
const GREY: &str = "color=black:size=640x360:rate=30,format=yuv420p,\
                    geq=lum='16+20*mod(N*7,11)':cb=128:cr=128:interpolation=nearest";

/// Rungs that a source of some 400 kbit/s still has bits for.
const LADDER: &str = "[{height=270,bitrate=150000},{height=180,bitrate=100000},{height=120,bitrate=60000}]";

fn ladder() -> [(&'static str, &'static str); 2] {
    [("transcode.mode", "auto"), ("transcode.ladder", LADDER)]
}

/// The encoder and the sound of what is pushed; a keyframe every second of frame times.
fn encoder() -> [&'static str; 24] {
    [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-profile:v",
        "high",
        "-g",
        "300",
        "-keyint_min",
        "1",
        "-forced-idr",
        "1",
        "-force_key_frames",
        "expr:gte(t,n_forced)",
        "-sc_threshold",
        "0",
        "-b:v",
        "600k",
        "-c:a",
        "aac",
        "-ac",
        "2",
    ]
}

/// Frames of all renditions show the same pictures in the same order. A worker that the machine left behind shows a
/// picture again in the place of one that it was not given: so often (`dropped`), and no oftener, may a rung repeat itself.
async fn same_pictures(seen: &[Rendition], dropped: usize) -> Outcome {
    // What all of them have whole, from the first such segment on.
    let video = || seen.iter().filter(|rendition| rendition.is_video());
    let first = video().filter_map(|rendition| rendition.segments.keys().next()).max().copied();
    let last = video().filter_map(|rendition| rendition.segments.keys().next_back()).min().copied();
    let (first, last) = first.zip(last).ok_or("nothing was seen")?;
    let mut shown = Vec::new();
    for rendition in video() {
        let mut part = rendition.clone();
        part.segments.retain(|msn, _| (first..=last).contains(msn));
        shown.push((rendition.height(), brightness(&part).await?));
    }
    let (_, top) = shown.first().ok_or("nothing was decoded")?;
    for (height, pictures) in &shown {
        assert_eq!(pictures.len(), top.len(), "pictures of {height} lines");
        let apart = |(one, other): (&u8, &u8)| (i32::from(*one) - i32::from(*other)).abs();
        let wrong: Vec<_> = (0..top.len()).filter(|at| apart((&pictures[*at], &top[*at])) > SAME).collect();
        let repeats = |at: &usize| *at > 0 && apart((&pictures[*at], &pictures[at - 1])) <= SAME;
        assert!(
            wrong.len() <= dropped && wrong.iter().all(repeats),
            "{height} lines shows other pictures at {wrong:?}, and {dropped} frames were dropped before the worker: \
             {pictures:?} beside {top:?}"
        );
    }
    // The pictures tell one moment from the next: a test that could not fail would show one grey.
    let changes = top.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) > 40).count();
    assert!(changes * 10 > top.len() * 8, "{changes} changes in {} pictures", top.len());
    Ok(())
}

async fn stays_aligned(name: &str, server: &Server, seconds: u64) -> Outcome<Vec<Rendition>> {
    server.names(name, "RESOLUTION=480x270", START).await?;
    let seen = watch(&server.playlist(name), Duration::from_secs(seconds)).await?;
    let failed = async |error| -> Outcome<usize> {
        let (list, log) = (server.media_playlist(name).await?, server.log());
        Err(format!("{error}\n{list}\n{log}").into())
    };
    let compared = match aligned(&seen) {
        Ok(compared) => compared,
        Err(error) => failed(error).await?,
    };
    assert!(compared as u64 >= seconds - 4, "only {compared} segments in {seconds} s\n{}", server.log());
    let video = seen.iter().filter(|rendition| rendition.is_video()).count();
    assert_eq!(video, 4, "{}", server.log());
    assert_eq!(server.metric("aqueduct_transcode_worker_losses_total", "").await?, 0.0);
    Ok(seen)
}

/// An encoder that leaves frames out (1 in 20) and repeats others (1 in 20), as capture does on a busy machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_an_encoder_drops_and_repeats_keep_the_rungs_aligned() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&ladder()).await?;
    // A repeat takes the place of the picture that was dropped: the time goes on, the picture does not.
    let faults = format!("{GREY},select='gt(random(1),0.05)',fps=30,select='gt(random(2),0.05)'");
    let mut arguments = vec!["-re", "-f", "lavfi", "-i", &faults];
    arguments.extend(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-fps_mode", "vfr"]);
    arguments.extend(encoder());
    let _push = Push::start(&server.rtmp_url("drops"), &arguments)?;
    let seen = stays_aligned("drops", &server, span(14)).await?;
    let dropped = server.metric("aqueduct_transcode_frames_total", "dropped").await?;
    same_pictures(&seen, dropped as usize).await
}

/// Frames that are lost and doubled on their way from the encoder: decoders miss them, timelines do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_lost_and_doubled_on_the_way_keep_the_rungs_aligned() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&ladder()).await?;
    let mut arguments = vec!["-f", "lavfi", "-i", GREY];
    arguments.extend(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
    arguments.extend(encoder());
    arguments.extend(["-t", "20"]);
    let clip = Clip::open(&made("grey.mp4", &arguments)?)?;
    let seconds = span(14);
    let mut script = Script::play(&clip, (seconds as i64 + 30) * 1_000, Wrapping::Legacy);
    let mut random = Random::new(9);
    // A frame that is no keyframe: FLV's frame type 2 in the high nibble, coded frames in the second byte.
    let plain = |body: &[u8]| body.first().is_some_and(|first| first >> 4 == 2) && body.get(1) == Some(&1);
    let mut tags = Vec::new();
    for tag in script.tags {
        if tag.kind == 9 && plain(&tag.body) {
            if random.chance(20_000) {
                continue;
            }
            if random.chance(20_000) {
                tags.push(tag.clone());
            }
        }
        tags.push(tag);
    }
    script = Script { tags };
    let _push = server.publish("losses", script);
    stays_aligned("losses", &server, seconds).await.map(|_| ())
}
