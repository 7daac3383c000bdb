//! Joins sources that libavformat reads: the ingest asks for them, workers of the transcode stage take them apart.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use aqueduct_common::{Timescale, TrackKind};
use aqueduct_ingest::demux::{CodedFrame, Demuxed};
use aqueduct_ingest::pull::{self, Item, Opened, Opener, Origin, PullPlan, Wanted};
use aqueduct_transcode::pull::host::{Heard, PullLaunch, Worker};
use aqueduct_transcode::pull::protocol::{Hidden, Job, Pick, Source, VERSION};
use aqueduct_transcode::pull::tracks::{Frame, Pulled};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::config::Plan;

/// Items between a worker and who takes them; the worker waits when it is full.
const ITEMS: usize = 64;
/// Packets on their way to a worker; what does not fit is lost and counted.
const PACKETS: usize = 512;

/// Starts workers for sources.
#[derive(Debug)]
struct Workers {
    launch: PullLaunch,
    transcodes: bool,
}

/// What opens the sources of this plan.
///
/// # Errors
/// Where the system does not say which program this is.
pub(super) fn workers(plan: &Plan) -> io::Result<Arc<dyn Opener>> {
    Ok(Arc::new(Workers { launch: PullLaunch::this_program()?, transcodes: plan.transcode.enabled }))
}

impl Opener for Workers {
    fn open(&self, wanted: Wanted<'_>) -> io::Result<Opened> {
        let (stream, job, files) = match wanted {
            Wanted::Pull(plan) => (&plan.stream, job(plan), files(&plan.origin)),
            Wanted::Transport(stream) => (stream, transport(), Vec::new()),
        };
        let worker = self.launch.start(stream, &job, &files, self.transcodes)?;
        let (out, items) = mpsc::channel(ITEMS);
        let (bytes, fed) = match wanted {
            Wanted::Pull(_) => (None, None),
            Wanted::Transport(_) => {
                let (bytes, fed) = mpsc::channel(PACKETS);
                (Some(bytes), Some(fed))
            }
        };
        tokio::spawn(carry(worker, out, fed));
        Ok(Opened { items, bytes })
    }
}

/// Carries between a worker and who takes its source, until either is gone.
async fn carry(mut worker: Worker, out: mpsc::Sender<Item>, mut fed: Option<mpsc::Receiver<Bytes>>) {
    loop {
        tokio::select! {
            () = out.closed() => return,
            bytes = next(&mut fed) => match bytes {
                Some(bytes) => {
                    if !worker.feed(bytes) {
                        tracing::debug!(pid = worker.pid, "a worker has no room for its source's bytes");
                    }
                }
                None => {
                    fed = None;
                    worker.end_input();
                }
            },
            heard = worker.hear() => {
                let Some(heard) = heard else { return };
                if out.send(item(heard)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The next bytes for a worker, or that there are no more; never anything for one that is not fed.
async fn next(fed: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match fed {
        Some(fed) => fed.recv().await,
        None => std::future::pending().await,
    }
}

fn item(heard: Heard) -> Item {
    match heard {
        Heard::Item(Pulled::Config(track, config)) => Item::Demuxed(Demuxed::Config(track, config)),
        Heard::Item(Pulled::Frame(frame)) => Item::Demuxed(Demuxed::Frame(coded(frame))),
        Heard::Item(Pulled::Trouble(words)) => Item::Trouble(words),
        Heard::Item(Pulled::Faulty { bad, damaged }) => Item::Faulty { bad, damaged },
        Heard::Gone(words) => Item::Gone(words),
    }
}

/// A frame as the timeline takes it: milliseconds that wrap, and what is left of them.
fn coded(frame: Frame) -> CodedFrame {
    const MILLI: i64 = 1_000_000;
    /// Files begin a little below zero, which is no wrap.
    const ORIGIN: i64 = 10_000 * MILLI;
    let nanos = frame.nanos.saturating_add(ORIGIN);
    let flicks = i64::from(Timescale::FLICKS.hz());
    let nominal = match frame.kind {
        TrackKind::Audio => i64::from(frame.samples) * flicks / i64::from(frame.rate.max(1)),
        TrackKind::Video => 0,
    };
    let half = if frame.offset < 0 { -MILLI / 2 } else { MILLI / 2 };
    CodedFrame {
        track: frame.track,
        kind: frame.kind,
        timestamp: nanos.div_euclid(MILLI) as u32,
        nanos: nanos.rem_euclid(MILLI) as u32,
        cts: (frame.offset.saturating_add(half) / MILLI) as i32,
        sync: frame.sync,
        disposable: frame.disposable,
        samples: frame.samples,
        nominal,
        payload: frame.payload,
    }
}

fn transport() -> Job {
    let source = Source::Fed { format: "mpegts".into() };
    Job { version: VERSION, source, video: Pick::First, audio: Pick::First, silence: false }
}

fn job(plan: &PullPlan) -> Job {
    let name = |file: &PathBuf| file.display().to_string();
    let source = match &plan.origin {
        Origin::Url { url, protocols, options, paced, .. } => Source::Url {
            url: Hidden(url.expose().clone()),
            protocols: protocols.clone(),
            options: options
                .iter()
                .map(|(key, value)| (key.clone(), Hidden(value.expose().clone())))
                .collect(),
            paced: *paced,
        },
        Origin::Files(files) => Source::Files { names: files.iter().map(name).collect() },
        Origin::Still { file, size, fps } => Source::Still { name: name(file), size: *size, fps: *fps },
    };
    let (video, audio) = (pick(&plan.video), pick(&plan.audio));
    Job { version: VERSION, source, video, audio, silence: plan.silence }
}

fn pick(pick: &pull::Pick) -> Pick {
    match pick {
        pull::Pick::First => Pick::First,
        pull::Pick::None => Pick::None,
        pull::Pick::Number(number) => Pick::Number(*number),
        pull::Pick::Language(language) => Pick::Language(language.clone()),
    }
}

fn files(origin: &Origin) -> Vec<PathBuf> {
    match origin {
        Origin::Url { .. } => Vec::new(),
        Origin::Files(files) => files.clone(),
        Origin::Still { file, .. } => vec![file.clone()],
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::TrackId;

    use super::*;

    #[test]
    fn times_keep_their_nanoseconds_and_wrap_as_milliseconds() {
        let frame = |nanos, offset| Frame {
            track: TrackId::VIDEO,
            kind: TrackKind::Video,
            nanos,
            offset,
            sync: true,
            disposable: false,
            samples: 0,
            rate: 0,
            payload: Bytes::new(),
        };
        let times = |nanos, offset| {
            let coded = coded(frame(nanos, offset));
            (coded.timestamp, coded.nanos, coded.cts)
        };
        assert_eq!(times(33_366_667, 33_366_667), (10_033, 366_667, 33));
        assert_eq!(times(-1, -500_000), (9_999, 999_999, -1));
        assert_eq!(times((1 << 32) * 1_000_000, 0), (10_000, 0, 0));
    }
}
