//! An edge with one part, one segment and one playlist that never change, to be measured with an HTTP load generator:
//! `cargo run --release -p aqueduct-edge --example still -- 127.0.0.1:8080 2`, then ask for
//! `/live/still/part.m4s` (75 000 bytes), `/live/still/segment.m4s` (five parts) or `/live/still/media.m3u8`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::event::EventSender;
use aqueduct_common::object::{
    Ahead, ContentType, Object, ObjectKind, ObjectPath, PlaylistInfo, Publish, Update, Version,
};
use aqueduct_edge::{Config, Listen, NoPages, Plan, Server, Store};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

/// Pieces of a part, as a packager that does not copy payloads leaves them: boxes, then one per frame.
const PIECES: usize = 12;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut config = Config::default();
    config.http.listen = arguments.next().as_deref().unwrap_or("127.0.0.1:8080").parse()?;
    config.https.listen = Listen::Off;
    let threads = arguments.next().as_deref().unwrap_or("2").parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let store = Store::new();
        fill(&store)?;
        let events = EventSender::detached();
        let server = Server::bind(Plan::try_from(config)?, store, Arc::new(NoPages), None, events, None)?;
        server.run(CancellationToken::new(), Duration::ZERO).await;
        Ok(())
    })
}

fn fill(store: &Store) -> Result<(), Box<dyn Error>> {
    let name = "live/still".parse()?;
    let part = Bytes::from(vec![0x5a; 75_000]);
    let pieces =
        (0..PIECES).map(|n| part.slice(n * part.len() / PIECES..(n + 1) * part.len() / PIECES)).collect();
    let list: String = (0..40).map(|n| format!("#EXT-X-PART:DURATION=0.2,URI=\"p{n}.m4s\"\n")).collect();
    let info = PlaylistInfo {
        version: Version { msn: 10, part: 0, complete: false },
        delta: None,
        hint: None,
        ahead: Ahead { parts: 30, hold: Duration::from_secs(8) },
        target_duration: Duration::from_secs(1),
        ended: false,
        needs: None,
        demand: None,
    };
    for (path, kind, body, playlist) in [
        ("part.m4s", ObjectKind::Part, vec![part.clone()], None),
        ("pieces.m4s", ObjectKind::Part, pieces, None),
        ("segment.m4s", ObjectKind::Segment, vec![part; 5], None),
        ("media.m3u8", ObjectKind::Playlist, vec![list.into()], Some(info)),
    ] {
        let content_type = if playlist.is_some() { ContentType::Hls } else { ContentType::VideoMp4 };
        let object = Object { path: ObjectPath::new(path), kind, content_type, body, playlist };
        store.publish(&name, Update::Publish(object));
    }
    Ok(())
}
