//! Codecs beyond H.264 and AAC, by Enhanced RTMP, and H.264 in its enhanced and multitrack forms.

use std::time::Duration;

use aqueduct_tests::publisher::clip::Clip;
use aqueduct_tests::publisher::script::{Script, Wrapping};
use aqueduct_tests::world::{Drawing, Server, decode, probe, room};
use aqueduct_tests::{Failure, Outcome};

const START: Duration = Duration::from_secs(15);

struct Case<'a> {
    name: &'a str,
    drawing: Drawing<'a>,
    wrapping: Wrapping,
    /// Beginnings of the CODECS that the multivariant playlist has to name.
    codecs: [&'a str; 2],
    /// What ffprobe calls them.
    probed: [&'a str; 2],
}

const HEVC: &[&str] = &[
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-tag:v",
    "hvc1",
    "-x265-params",
    "keyint=25:min-keyint=25:scenecut=0:open-gop=0:bframes=2:log-level=error",
];
const AV1: &[&str] = &["-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-row-mt", "1"];
const VP9: &[&str] = &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"];
const OPUS: &[&str] = &["-c:a", "libopus", "-b:a", "64k"];
const SECONDS: u32 = 12;

fn cases() -> Vec<Case<'static>> {
    let drawing = |name, video| Drawing { name, video, seconds: SECONDS, ..Drawing::default() };
    let case = |name, drawing, wrapping, codecs, probed| Case { name, drawing, wrapping, codecs, probed };
    vec![
        case(
            "hevc",
            drawing("hevc.mp4", HEVC),
            Wrapping::Enhanced,
            ["hvc1.1.6.L", "mp4a.40.2"],
            ["hevc", "aac"],
        ),
        case("av1", drawing("av1.mp4", AV1), Wrapping::Enhanced, ["av01.0.", "mp4a.40.2"], ["av1", "aac"]),
        case(
            "vp9",
            Drawing { audio: OPUS, ..drawing("vp9-opus.mp4", VP9) },
            Wrapping::Enhanced,
            ["vp09.00.", "opus"],
            ["vp9", "opus"],
        ),
        case("avc", Drawing::default(), Wrapping::Enhanced, ["avc1.", "mp4a.40.2"], ["h264", "aac"]),
        case("multi", Drawing::default(), Wrapping::Multitrack, ["avc1.", "mp4a.40.2"], ["h264", "aac"]),
    ]
}

async fn plays(server: &Server, case: &Case<'_>) -> Outcome {
    let clip = Clip::open(&case.drawing.path()?)?;
    let _push = server.publish(case.name, Script::play(&clip, 24_000, case.wrapping));
    let index = server.playable(case.name, START).await?;
    if !case.codecs.iter().all(|codec| index.contains(codec)) {
        return Err(format!("{:?} are not in\n{index}", case.codecs).into());
    }
    let url = server.playlist(case.name);
    let (_, decoded, tracks) =
        tokio::try_join!(server.conforms(case.name, 8), decode(&url, 5), probe(&url, "codec_name"))?;
    if !(115..=135).contains(&decoded.frames) || !case.probed.iter().all(|codec| tracks.contains(codec)) {
        return Err(format!("{decoded:?} of {tracks}").into());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_codec_conforms_and_decodes() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&[]).await?;
    let cases = cases();
    let runs = cases.iter().map(|case| async {
        plays(&server, case).await.map_err(|error| Failure::from(format!("{}: {error}", case.name)))
    });
    let failures: Vec<_> = aqueduct_tests::all(runs)
        .await
        .into_iter()
        .filter_map(|result| Some(result.err()?.to_string()))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}
