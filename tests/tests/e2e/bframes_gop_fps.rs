//! What encoders are set to: B-frames, short and long GOPs, every usual frame rate, and none at all.

use std::time::Duration;

use aqueduct_tests::world::{Drawing, Push, Server, decode, room};
use aqueduct_tests::{Failure, Outcome};
use tokio::sync::Semaphore;

/// Streams that are pushed, followed and decoded at once.
const ABREAST: usize = 5;

/// A stream that has to play.
struct Case<'a> {
    name: &'a str,
    drawing: Drawing<'a>,
    /// How long its first segment may take to be there.
    start: u64,
    /// Frames that six seconds hold.
    frames: std::ops::RangeInclusive<u64>,
}

fn case<'a>(name: &'a str, rate: &'a str, gop: u32, frames: u64) -> Case<'a> {
    let drawing = Drawing { name, rate, gop, ..Drawing::default() };
    Case { name: name.trim_end_matches(".mp4"), drawing, start: 15, frames: frames - 4..=frames + 4 }
}

const B_FRAMES: &[&str] = &["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-b_strategy", "0"];
/// A third of the frames are missing, and the rest come up to 25 ms late.
const VARIABLE: &[&str] = &[
    "-vf",
    "select='gt(random(1),0.33)',settb=1/1000,setpts='PTS+25*random(2)'",
    "-vsync",
    "vfr",
    "-enc_time_base",
    "1/1000",
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-force_key_frames",
    "expr:gte(t,n_forced*2)",
];

fn cases() -> Vec<Case<'static>> {
    let b_frames = case("b-frames.mp4", "25", 50, 150);
    let variable = case("variable.mp4", "25", 1_000, 100);
    let long = case("gop-8s.mp4", "25", 200, 150);
    vec![
        Case { drawing: Drawing { seconds: 45, ..long.drawing }, start: 25, ..long },
        Case { drawing: Drawing { video: B_FRAMES, ..b_frames.drawing }, ..b_frames },
        case("gop-2s.mp4", "25", 50, 150),
        Case { drawing: Drawing { video: VARIABLE, ..variable.drawing }, frames: 85..=115, ..variable },
        case("fps-24.mp4", "24", 24, 144),
        case("fps-25.mp4", "25", 25, 150),
        case("fps-29-97.mp4", "30000/1001", 30, 180),
        case("fps-50.mp4", "50", 50, 300),
        case("fps-60.mp4", "60", 60, 360),
    ]
}

async fn plays(server: &Server, case: &Case<'_>) -> Outcome {
    let push = Push::file(&server.rtmp_url(case.name), &case.drawing.path()?)?;
    server.playable(case.name, Duration::from_secs(case.start)).await?;
    let url = server.playlist(case.name);
    let (_, decoded) = tokio::try_join!(server.conforms(case.name, 10), decode(&url, 6))?;
    push.kill().await?;
    if case.frames.contains(&decoded.frames) {
        return Ok(());
    }
    Err(format!("{} frames in six seconds, not {:?}", decoded.frames, case.frames).into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_setting_of_an_encoder_conforms_and_decodes() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&[]).await?;
    let (abreast, mut failures) = (Semaphore::new(ABREAST), Vec::new());
    let cases = cases();
    let runs = cases.iter().map(|case| async {
        let _place = abreast.acquire().await?;
        plays(&server, case).await.map_err(|error| Failure::from(format!("{}: {error}", case.name)))
    });
    for result in aqueduct_tests::all(runs).await {
        failures.extend(result.err().map(|error| error.to_string()));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}
