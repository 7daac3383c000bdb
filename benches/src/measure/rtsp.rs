//! Cameras that are pulled: how long a frame takes to be fetchable, beside the same over RTMP in the same run, and what
//! a camera costs at 1, 10 and 30 of them.

use std::time::Duration;

use super::lag::{follow, rows};
use super::{MEGABITS, Setting, runtime, wait};
use crate::camera::Camera;
use crate::error::Error;
use crate::publisher::Publisher;
use crate::report::Row;
use crate::server::Server;
use crate::source::{Source, Track};

/// Measures.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    runtime()?.block_on(async {
        let mut rows = latency(setting).await?;
        for count in setting.size(&[1, 10, 30][..], &[1, 3][..]) {
            rows.push(cost(setting, *count).await?);
        }
        Ok(rows)
    })
}

/// One server, fed with the same pictures by a camera and by a publisher.
async fn latency(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let count = setting.size(300, 15);
    let cameras = [Camera::start(Source::new(MEGABITS))?];
    let mut server = pulling(setting, &cameras).await?;
    let publisher = Publisher::start(&[server.rtmp], "pushed", Source::new(MEGABITS))?;
    let (pulled, pushed) = (server.live("cam0").await?, server.live("pushed").await?);
    let (of_camera, of_publisher) = (cameras[0].sent(), publisher.sent());
    let (pulled, pushed) = tokio::try_join!(
        follow(&server, &pulled.video, Track::Video, &of_camera, count),
        follow(&server, &pushed.video, Track::Video, &of_publisher, count)
    )?;
    publisher.finish()?;
    Ok([rows("rtsp", "a camera's video", &pulled), rows("rtsp", "the same over RTMP", &pushed)].concat())
}

/// CPU seconds per camera-minute.
async fn cost(setting: &Setting<'_>, count: usize) -> Result<Row, Error> {
    let span = setting.size(Duration::from_secs(30), Duration::from_secs(4));
    let cameras = (0..count).map(|_| Camera::start(Source::new(MEGABITS))).collect::<Result<Vec<_>, _>>()?;
    let mut server = pulling(setting, &cameras).await?;
    for index in 0..count {
        server.live(&format!("cam{index}")).await?;
    }
    // Until the window is full, as it is ever after.
    wait(setting.size(Duration::from_secs(20), Duration::ZERO), &mut []).await?;
    let before = server.program.cpu();
    wait(span, &mut []).await?;
    let spent = server.program.cpu() - before;
    let each = spent.as_secs_f64() / (span.as_secs_f64() / 60.0) / count as f64;
    let plural = if count == 1 { "" } else { "s" };
    let what = format!("3 Mbit/s over TCP, {count} camera{plural}: CPU-s per camera-minute");
    Ok(Row::new("rtsp", what, "s", each).detail(format!("over {} s", span.as_secs())))
}

async fn pulling(setting: &Setting<'_>, cameras: &[Camera]) -> Result<Server, Error> {
    let pulled = Camera::pulled(cameras, "cam");
    Server::start_with(setting.server, None, &[("ingest.rtsp", &pulled)]).await
}
