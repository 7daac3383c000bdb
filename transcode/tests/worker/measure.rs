//! Figures beside the ffmpeg program's, in one run. They take time and an idle machine, so that they run when asked:
//! `cargo test -p aqueduct-transcode --release --test worker -- --ignored --nocapture measure`.

use std::time::{Duration, Instant};

use aqueduct_transcode::protocol::{Rung, ToWorker};

use crate::support::clip::{self, Clip, Scratch, ffmpeg};
use crate::support::job::{aligned, rung};
use crate::support::look;
use crate::support::worker::{Said, Worker, transcode};

const SECONDS: u32 = 10;

fn ladder() -> Vec<Rung> {
    vec![rung(16, 1_280, 720, 2_800_000), rung(17, 854, 480, 1_200_000), rung(18, 640, 360, 700_000)]
}

/// Real footage as 720p30 with a GOP of 2 s.
fn source(scratch: &Scratch) -> (Clip, String) {
    let path = scratch.file("source.flv").to_str().unwrap().to_owned();
    let seconds = SECONDS.to_string();
    let footage = clip::footage();
    ffmpeg(&[
        "-v",
        "error",
        "-stream_loop",
        "-1",
        "-i",
        footage.to_str().unwrap(),
        "-t",
        &seconds,
        "-an",
        "-vf",
        "fps=30",
        "-c:v",
        "libx264",
        "-preset",
        "fast",
        "-b:v",
        "5M",
        "-bf",
        "0",
        "-g",
        "60",
        "-sc_threshold",
        "0",
        "-colorspace",
        "bt709",
        "-color_primaries",
        "bt709",
        "-color_trc",
        "bt709",
        "-f",
        "flv",
        &path,
    ]);
    (clip::read_flv(&std::fs::read(&path).unwrap(), 30), path)
}

/// CPU time of this process so far: user and system, in seconds.
fn own_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// The same ladder by the ffmpeg program; gives its CPU seconds.
fn program(source: &str, scratch: &Scratch, cascade: bool) -> f64 {
    let graph = if cascade {
        "[0:v]split[a][x];[x]scale=854:480:flags=bicubic,split[b][y];[y]scale=640:360:flags=bicubic[c]"
    } else {
        "[0:v]split=3[a][x][y];[x]scale=854:480:flags=bicubic[b];[y]scale=640:360:flags=bicubic[c]"
    };
    let mut args: Vec<String> =
        ["-v", "info", "-benchmark", "-threads", "1", "-filter_complex_threads", "1", "-i", source]
            .map(str::to_owned)
            .into();
    args.extend(["-filter_complex", graph].map(str::to_owned));
    for (pad, rung) in ["[a]", "[b]", "[c]"].iter().zip(ladder()) {
        let file = scratch.file(&format!("cli{}.h264", rung.track.0));
        let params = "keyint=infinite:scenecut=0:open-gop=0:bframes=0:stitchable=1:nal-hrd=none:aud=0:\
                      force-cfr=1:sliced-threads=0:ipratio=1.3";
        let (bitrate, peak) = (rung.bitrate.to_string(), rung.peak.to_string());
        args.extend(
            [
                "-map",
                pad,
                "-c:v",
                "libx264",
                "-threads",
                "1",
                "-preset",
                "veryfast",
                "-tune",
                "zerolatency",
                "-profile:v",
                "high",
                "-aq-mode",
                "2",
                "-forced-idr",
                "1",
                "-force_key_frames",
                "expr:gte(t,n_forced*2)",
                "-x264-params",
                params,
                "-b:v",
                &bitrate,
                "-maxrate",
                &peak,
                "-bufsize",
                &peak,
                "-f",
                "h264",
                file.to_str().unwrap(),
            ]
            .map(str::to_owned),
        );
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let said = ffmpeg(&args);
    let line = said.lines().find(|line| line.contains("utime=")).unwrap();
    let time = |key: &str| -> f64 {
        let rest = line.split(key).nth(1).unwrap();
        rest.split('s').next().unwrap().parse().unwrap()
    };
    time("utime=") + time("stime=")
}

/// Luma PSNR against the source, scaled by the program.
fn psnr(stream: &str, source: &str, rung: &Rung) -> f64 {
    let graph = format!(
        "[0:v]settb=1/30,setpts=N[a];[1:v]settb=1/30,setpts=N,scale={}:{}:flags=bicubic[b];[a][b]psnr",
        rung.width, rung.height
    );
    let said = ffmpeg(&["-v", "info", "-i", stream, "-i", source, "-lavfi", &graph, "-f", "null", "-"]);
    let line = said.lines().find(|line| line.contains("PSNR y:")).unwrap();
    line.split("y:").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

fn write(said: &Said, id: u8, scratch: &Scratch) -> (String, usize) {
    let stream = look::annex_b(said.track(id), &said.of(id));
    let file = scratch.file(&format!("own{id}.h264"));
    std::fs::write(&file, &stream).unwrap();
    (file.to_str().unwrap().to_owned(), stream.len())
}

#[test]
#[ignore = "a measurement: needs an idle machine and an optimised build"]
fn measure_cpu_and_quality_beside_the_program() {
    let scratch = Scratch::new("measure");
    let (clip, path) = source(&scratch);
    for round in 1..=3 {
        let before = own_cpu();
        let start = Instant::now();
        let said = transcode(&aligned(ladder()), &clip.track, &clip.frames);
        let (own, wall) = (own_cpu() - before, start.elapsed());
        let plain = program(&path, &scratch, false);
        let cascade = program(&path, &scratch, true);
        println!(
            "round {round}: worker {own:.2} CPU-s ({:.2} s by the clock), program {plain:.2}, program in a cascade {cascade:.2}; ratio {:.3} and {:.3}",
            wall.as_secs_f64(),
            own / plain,
            own / cascade
        );
        let sum =
            |f: fn(&aqueduct_transcode::protocol::Report) -> u64| said.reports.iter().map(f).sum::<u64>();
        println!(
            "  decode {:.2} s, scale {:.2} s, encode {:.2} s",
            sum(|r| r.decode_micros) as f64 / 1e6,
            sum(|r| r.scale_micros) as f64 / 1e6,
            sum(|r| r.rungs.iter().map(|r| r.encode_micros).sum()) as f64 / 1e6
        );
        if round > 1 {
            continue;
        }
        for rung in ladder() {
            let (own, bytes) = write(&said, rung.track.0, &scratch);
            let program = scratch.file(&format!("cli{}.h264", rung.track.0)).to_str().unwrap().to_owned();
            let rate = |bytes: f64| bytes * 8.0 / 1e3 / f64::from(SECONDS);
            println!(
                "  {}p: worker {:.2} dB at {:.0} kbit/s, program {:.2} dB at {:.0} kbit/s",
                rung.height,
                psnr(&own, &path, &rung),
                rate(bytes as f64),
                psnr(&program, &path, &rung),
                rate(std::fs::metadata(&program).unwrap().len() as f64)
            );
        }
    }
}

#[test]
#[ignore = "a measurement: needs an idle machine and an optimised build"]
fn measure_latency_at_the_pace_of_a_live_source() {
    let scratch = Scratch::new("latency");
    let (clip, _) = source(&scratch);
    let mut worker = Worker::start(&aligned(ladder()));
    worker.send(&ToWorker::Source(vec![clip.track.clone()]));
    let mut taken = Vec::new();
    let begin = Instant::now();
    for (index, frame) in clip.frames.iter().enumerate() {
        let due = begin + Duration::from_micros(index as u64 * 33_333);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let start = Instant::now();
        worker.send(&ToWorker::Frame(frame.clone()));
        for _ in 0..3 {
            assert_eq!(worker.frame().dts, frame.dts);
        }
        taken.push(start.elapsed());
    }
    worker.end().1.unwrap();
    taken.sort_unstable();
    let at = |percent: usize| taken[(taken.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "frame in to last rung out: median {:.1} ms, p95 {:.1} ms, longest {:.1} ms",
        at(50),
        at(95),
        at(100)
    );
}
