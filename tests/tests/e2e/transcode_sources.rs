//! Whatever the source is, it becomes a ladder that keeps the rules, is aligned, and decodes.

use std::path::PathBuf;
use std::time::Duration;

use aqueduct_tests::check::live::{self, Options};
use aqueduct_tests::publisher::Script;
use aqueduct_tests::publisher::clip::{Clip, made};
use aqueduct_tests::publisher::script::Wrapping;
use aqueduct_tests::world::ladder::{aligned, brightness, sounds};
use aqueduct_tests::world::watch::watch;
use aqueduct_tests::world::{Drawing, Push, Server, Setting, room};
use aqueduct_tests::{Failure, Outcome};
use tokio::sync::Semaphore;
use tokio::time::sleep;

const START: Duration = Duration::from_secs(30);
/// Seconds that each is followed.
const SPAN: u64 = 8;
/// Streams at once.
const ABREAST: usize = 2;
/// The least effort: what is made of each source is looked at here, and not how much a machine carries.
const SETTINGS: [Setting<'_>; 3] =
    [("transcode.mode", "auto"), ("transcode.max_streams", "16"), ("transcode.preset", "ultrafast")];

/// A source, and what it has to become.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// What is drawn: size, then frames a second.
    picture: Option<(&'static str, &'static str)>,
    /// Filters behind it.
    filter: &'static str,
    /// The encoder of pictures and its options.
    video: &'static [&'static str],
    /// The encoder of sound; none for a silent source.
    audio: &'static [&'static str],
    /// Pixels down of each rendition, from top to bottom.
    becomes: &'static [u64],
    /// The source is the top one.
    passes: bool,
}

const X264: &[&str] = &["-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "high", "-g", "25"];
const AAC: &[&str] = &["-c:a", "aac", "-ac", "2", "-b:a", "64k"];
const PLAIN: Case = Case {
    name: "plain",
    picture: Some(("640x360", "25")),
    filter: "null",
    video: X264,
    audio: AAC,
    becomes: &[360, 234],
    passes: true,
};

/// One keyframe a second at this rate, or as many as are said.
macro_rules! x264 {
    ($gop:literal $(, $more:literal)*) => {
        &["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-sc_threshold", "0", "-g", $gop,
          "-keyint_min", $gop $(, $more)*]
    };
}

fn cases() -> Vec<Case> {
    let rate = |name, rate, video| Case { name, picture: Some(("640x360", rate)), video, ..PLAIN };
    let left_out = |case: Case| Case { passes: false, ..case };
    vec![
        Case { name: "b-frames", video: x264!("25", "-bf", "2", "-b_strategy", "0"), ..PLAIN },
        Case { name: "gop-2s", video: x264!("50"), ..PLAIN },
        left_out(Case { name: "gop-8s", video: x264!("200"), ..PLAIN }),
        left_out(Case {
            name: "vfr",
            filter: "select='gt(random(1),0.33)',settb=1/1000,setpts='PTS+25*random(2)'",
            video: x264!("25", "-fps_mode", "vfr", "-enc_time_base", "1/1000"),
            ..PLAIN
        }),
        rate("24", "24", x264!("24")),
        rate("29-97", "30000/1001", x264!("30")),
        rate("50", "50", x264!("50")),
        rate("60", "60", x264!("60")),
        Case { name: "portrait", picture: Some(("360x640", "25")), becomes: &[640, 416], ..PLAIN },
        // Only without chroma subsampling can an encoder be given such a size.
        left_out(Case {
            name: "odd",
            picture: Some(("641x361", "25")),
            video: x264!("25", "-pix_fmt", "yuv444p"),
            ..PLAIN
        }),
        Case {
            name: "sar",
            picture: Some(("720x576", "25")),
            filter: "setsar=64/45",
            becomes: &[576, 360, 234],
            ..PLAIN
        },
        left_out(Case {
            name: "hevc-10",
            video: &[
                "-c:v",
                "libx265",
                "-preset",
                "ultrafast",
                "-pix_fmt",
                "yuv420p10le",
                "-tag:v",
                "hvc1",
                "-x265-params",
                "keyint=25:min-keyint=25:scenecut=0:open-gop=0:bframes=2:log-level=error",
            ],
            ..PLAIN
        }),
        Case {
            name: "interlaced",
            picture: Some(("720x576", "50")),
            filter: "tinterlace=interleave_top,fieldorder=tff",
            video: x264!("25", "-flags", "+ildct+ilme", "-x264opts", "tff=1"),
            becomes: &[576, 360, 234],
            ..PLAIN
        },
        Case { name: "sound", picture: None, becomes: &[], ..PLAIN },
        Case { name: "silent", audio: &[], ..PLAIN },
        Case { name: "mp3", audio: &["-c:a", "libmp3lame", "-ac", "2", "-b:a", "96k"], ..PLAIN },
    ]
}

impl Case {
    fn path(&self) -> Outcome<PathBuf> {
        let picture = self.picture.map(|(size, rate)| format!("testsrc2=size={size}:rate={rate}"));
        let mut arguments = Vec::new();
        if let Some(picture) = &picture {
            arguments.extend(["-f", "lavfi", "-i", picture]);
        }
        if !self.audio.is_empty() {
            arguments.extend(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
        }
        if picture.is_some() {
            arguments.extend(["-vf", self.filter]);
            arguments.extend_from_slice(self.video);
        }
        arguments.extend_from_slice(self.audio);
        arguments.extend(["-t", "40"]);
        made(&format!("source-{}.mp4", self.name), &arguments)
    }

    /// Pushes it: by ffmpeg, or by our own publisher where the FLV of ffmpeg 5 does not know the codec.
    async fn becomes_a_ladder(&self, server: &Server) -> Outcome {
        let (path, name) = (self.path()?, self.name);
        let (push, publishing) = match name {
            "hevc-10" => {
                let script = Script::play(&Clip::open(&path)?, 38_000, Wrapping::Enhanced);
                (None, Some(server.publish(name, script)))
            }
            _ => (Some(Push::file(&server.rtmp_url(name), &path)?), None),
        };
        match self.becomes.last() {
            Some(lowest) => server.names(name, &format!("x{lowest},"), START).await?,
            None => server.playable(name, START).await?,
        };
        let url = server.playlist(name);
        let (report, seen) =
            tokio::try_join!(server.conforms(name, SPAN), watch(&url, Duration::from_secs(SPAN)))?;
        drop((push, publishing));
        let mut heights: Vec<u64> =
            seen.iter().filter(|one| one.is_video()).map(|one| one.height()).collect();
        heights.sort_unstable_by(|one, other| other.cmp(one));
        let told = server.told(name).await?;
        let passes = told["transcode"]["passthrough"].as_bool().unwrap_or(false);
        if heights != self.becomes || (passes != self.passes && self.picture.is_some()) {
            return Err(format!("became {heights:?}, the source among them: {passes}\n{told:#}").into());
        }
        if heights.len() > 1 && (aligned(&seen)? as u64) < SPAN - 4 {
            return Err(format!("too few segments were compared\n{report}").into());
        }
        for rendition in &seen {
            match rendition.is_video() {
                true => brightness(rendition).await.map(|_| ())?,
                false => sounds(rendition).await?,
            }
        }
        let sound = seen.iter().filter(|one| !one.is_video()).count();
        if (sound == 0) != self.audio.is_empty() {
            return Err(format!("{sound} renditions of the sound").into());
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_source_becomes_a_ladder_that_conforms_and_decodes() -> Outcome {
    let _room = room::half().await;
    // Drawn before anything is timed.
    let mut cases = cases();
    // One alone: `ONLY=mp3`.
    if let Ok(only) = std::env::var("ONLY") {
        cases.retain(|case| case.name == only);
    }
    for case in &cases {
        case.path()?;
    }
    let server = Server::start(&SETTINGS).await?;
    let abreast = Semaphore::new(ABREAST);
    let runs = cases.iter().map(|case| async {
        let _place = abreast.acquire().await?;
        let result = Box::pin(case.becomes_a_ladder(&server)).await;
        result.map_err(|error| Failure::from(format!("{}: {error}", case.name)))
    });
    let mut failures = Vec::new();
    for result in aqueduct_tests::all(runs).await {
        failures.extend(result.err().map(|error| error.to_string()));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let lost = server.metric("aqueduct_transcode_worker_losses_total", "").await?;
    assert_eq!(lost, 0.0, "{}", server.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_size_at_the_return_of_a_source_is_another_ladder() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&SETTINGS).await?;
    let url = server.rtmp_url("size");
    let large = Drawing { name: "ladder-480.mp4", size: "854x480", ..Drawing::default() }.path()?;
    let push = Push::file(&url, &Case { name: "plain", ..PLAIN }.path()?)?;
    server.names("size", "x234,", START).await?;
    let options = Options { span: Duration::from_secs(16), ..Options::default() };
    let playlist = server.playlist("size");
    let (report, seen, _push) = tokio::try_join!(
        live::check(&playlist, options),
        watch(&playlist, Duration::from_secs(16)),
        async {
            sleep(Duration::from_secs(4)).await;
            push.kill().await?;
            sleep(Duration::from_secs(1)).await;
            Push::file(&url, &large)
        }
    )?;
    assert!(report.passed(), "{report}\n{}", server.log());
    aligned(&seen)?;
    for rendition in seen.iter().filter(|rendition| rendition.is_video()) {
        brightness(rendition).await?;
    }
    let index = server.playable("size", START).await?;
    assert!(index.contains("RESOLUTION=854x480") && index.contains("x360,"), "{index}\n{}", server.log());
    Ok(())
}
