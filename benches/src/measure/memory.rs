//! Memory per passthrough stream at 1, 10 and 30 streams, beside twice the bytes of its window and 4 MiB.
//!
//! ffmpeg pushes a clip without encoding; three servers run at once, one for each count. A stream's memory is what the
//! server grew by since before the first push, divided by the streams.

use std::time::Duration;

use super::{Setting, push_clip, runtime, wait};
use crate::error::Error;
use crate::http1::{Body, Connection};
use crate::process::{Memory, Program};
use crate::report::Row;
use crate::scratch::Scratch;
use crate::server::{Server, load};

/// Until the window and what is kept behind it are full: 8 s of window and 10 s behind it, with segments of one GOP
/// (5.3 s) that may stand out at both ends.
const FULL: Duration = Duration::from_secs(35);
const MIB: f64 = 1_048_576.0;

/// Measures.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    runtime()?.block_on(measure(setting))
}

async fn measure(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let counts = setting.size(&[1, 10, 30][..], &[1, 3][..]);
    let scratch = Scratch::new("ffmpeg")?;
    let (mut servers, mut pushes) = (Vec::new(), Vec::new());
    for count in counts {
        let server = Server::start(setting.server, None).await?;
        let idle = server.program.memory();
        for index in 0..*count {
            let url = format!("rtmp://{}/live/{}", server.rtmp, name(index));
            pushes.push(push_clip(setting.clip, &[url], &scratch, &format!("{count}-{index}"))?);
        }
        servers.push((*count, server, idle));
    }
    for (count, server, _) in &mut servers {
        for index in 0..*count {
            server.live(&name(index)).await?;
        }
    }
    wait(setting.size(FULL, Duration::from_secs(4)), &mut pushes).await?;
    // The window grows and shrinks with the segment that is open: one GOP long is looked at, in seconds.
    let looks = setting.size(6, 2);
    let mut sums = vec![(Memory::default(), 0); servers.len()];
    for _ in 0..looks {
        for ((_, server, _), (memory, window)) in servers.iter_mut().zip(&mut sums) {
            *memory = memory.plus(server.program.memory());
            *window += window_bytes(server).await?;
        }
        wait(Duration::from_secs(1), &mut pushes).await?;
    }
    let mut rows = Vec::new();
    for ((count, _, idle), (memory, window)) in servers.iter().zip(sums) {
        rows.push(row(*count, *idle, memory.divided(looks), window / looks as usize));
    }
    let idle = servers.first().map_or(0, |(_, _, idle)| idle.resident) as f64 / MIB;
    rows.push(Row::new("memory", "the server before its first stream", "MiB", idle));
    pushes.iter_mut().try_for_each(Program::check)?;
    Ok(rows)
}

fn name(index: usize) -> String {
    format!("s{index}")
}

/// Bytes of everything that the first stream's playlists list.
async fn window_bytes(server: &mut Server) -> Result<usize, Error> {
    let renditions = server.live(&name(0)).await?;
    let mut connection = Connection::open(server.http, 0).await?;
    let mut bytes = 0;
    for path in [Some(renditions.video), renditions.audio].into_iter().flatten() {
        let media = load(&mut connection, &path).await?;
        let open = media.parts.iter().filter(|part| part.at.0 == media.next.0).map(|part| &part.path);
        for path in media.segments.iter().chain(open) {
            bytes += connection.get(path, Body::Drop).await?.length;
        }
    }
    Ok(bytes)
}

fn row(count: usize, idle: Memory, full: Memory, window: usize) -> Row {
    let each = |full: u64, idle: u64| full.saturating_sub(idle) as f64 / MIB / count as f64;
    let window = window as f64 / MIB;
    let plural = if count == 1 { "" } else { "s" };
    Row::new(
        "memory",
        format!("RSS per stream at {count} stream{plural}"),
        "MiB",
        each(full.resident, idle.resident),
    )
    .budget(2.0 * window + 4.0)
    .detail(format!(
        "window {window:.2} MiB; server {:.1} MiB in all; {:.2} MiB per stream without the program's own pages",
        full.resident as f64 / MIB,
        each(full.anonymous, idle.anonymous)
    ))
}
