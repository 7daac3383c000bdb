//! CPU seconds per stream-minute of ingest and packaging, beside nginx-rtmp on the same pushes at the same time.
//!
//! Every push goes to both servers at once, the same bytes to each. nginx-rtmp writes TS segments of a second to
//! files; ours writes fragmented MP4 in parts of 200 ms to memory. Nobody watches either.

use std::time::Duration;

use super::{MEGABITS, Setting, push_clip, runtime, wait};
use crate::error::Error;
use crate::nginx::Nginx;
use crate::process::Program;
use crate::publisher::Publisher;
use crate::report::Row;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::source::Source;

/// The budget for a passthrough stream of 3 Mbit/s, in CPU seconds per stream-minute.
const BUDGET: f64 = 0.3;
const COUNTS: [usize; 2] = [1, 10];

/// Measures.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    runtime()?.block_on(measure(setting))
}

async fn measure(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for push in setting.size(&[Push::Synthetic, Push::Clip][..], &[Push::Synthetic][..]) {
        rows.extend(push.measure(setting).await?);
    }
    Ok(rows)
}

/// What is pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Push {
    /// 3 Mbit/s at 30 fps with a keyframe every second, in RTMP chunks of 4096 bytes as OBS sends.
    Synthetic,
    /// The clip, by ffmpeg.
    Clip,
}

impl Push {
    async fn measure(self, setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
        let span = setting.size(Duration::from_secs(30), Duration::from_secs(4));
        let scratch = Scratch::new("ffmpeg")?;
        let (mut pairs, mut publishers, mut pushes) = (Vec::new(), Vec::new(), Vec::new());
        for count in COUNTS {
            let (mut ours, mut nginx) = (Server::start(setting.server, None).await?, Nginx::rtmp()?);
            nginx.ready().await?;
            for index in 0..count {
                let name = format!("s{index}");
                if self == Self::Synthetic {
                    let to = [ours.rtmp, nginx.address];
                    publishers.push(Publisher::start(&to, &name, Source::new(MEGABITS))?);
                } else {
                    let urls =
                        [ours.rtmp, nginx.address].map(|address| format!("rtmp://{address}/live/{name}"));
                    pushes.push(push_clip(setting.clip, &urls, &scratch, &format!("{count}-{index}"))?);
                }
            }
            for index in 0..count {
                ours.live(&format!("s{index}")).await?;
            }
            pairs.push((count, ours, nginx));
        }
        // Until the window is full and memory is used again instead of taken anew, as it is ever after.
        wait(setting.size(Duration::from_secs(20), Duration::ZERO), &mut pushes).await?;
        let read = |pairs: &[(usize, Server, Nginx)]| -> Vec<(Duration, Duration)> {
            pairs.iter().map(|(_, ours, nginx)| (ours.program.cpu(), nginx.program.cpu())).collect()
        };
        let before = read(&pairs);
        wait(span, &mut pushes).await?;
        let after = read(&pairs);
        publishers.into_iter().try_for_each(Publisher::finish)?;
        pushes.iter_mut().try_for_each(Program::check)?;
        let mut rows = Vec::new();
        for ((count, _, nginx), (before, after)) in pairs.iter().zip(before.iter().zip(&after)) {
            wrote_hls(nginx)?;
            let each = |spent: Duration| spent.as_secs_f64() / (span.as_secs_f64() / 60.0) / *count as f64;
            rows.extend(self.rows(*count, each(after.0 - before.0), each(after.1 - before.1), span));
        }
        Ok(rows)
    }

    fn rows(self, count: usize, ours: f64, nginx: f64, span: Duration) -> Vec<Row> {
        let what = match self {
            Self::Synthetic => "3 Mbit/s",
            Self::Clip => "the clip (1.6 Mbit/s)",
        };
        let plural = if count == 1 { "" } else { "s" };
        let what = format!("{what}, {count} stream{plural}: CPU-s per stream-minute");
        let row = Row::new("ingest", what, "s", ours);
        let beside = row.clone().peer("nginx-rtmp", nginx).detail(format!("over {} s", span.as_secs()));
        if self == Self::Synthetic { vec![row.budget(BUDGET), beside] } else { vec![beside] }
    }
}

/// The peer must have done its part of the work.
fn wrote_hls(nginx: &Nginx) -> Result<(), Error> {
    let files = std::fs::read_dir(nginx.www()).into_iter().flatten().flatten();
    match files.filter(|file| file.path().extension().is_some_and(|kind| kind == "ts")).count() {
        0 => Err(Error::Unreadable { what: "nginx-rtmp's output".into(), why: "it wrote no TS segments" }),
        _ => Ok(()),
    }
}
