//! Objects: what is said about the bytes that the edge serves.

use std::time::Duration;

use aqueduct_common::object::{Ahead, ContentType, PlaylistInfo};
use aqueduct_common::{Object, ObjectKind, ObjectPath, TrackId, TrackKind, Update};
use bytes::Bytes;

use crate::names;
use crate::playlist::snapshot::{Control, Report};
use crate::playlist::{media, multivariant};
use crate::window::Window;

/// How long a request may be held: as long as stock players wait (LLHLS-23).
const HOLD: Duration = Duration::from_secs(8);

/// An init segment, a part or a segment.
pub fn media(kind: ObjectKind, track: TrackKind, path: ObjectPath, body: Vec<Bytes>) -> Object {
    let content_type = match track {
        TrackKind::Video => ContentType::VideoMp4,
        TrackKind::Audio => ContentType::AudioMp4,
    };
    Object { path, kind, content_type, body, playlist: None }
}

/// A media playlist as its window stands.
pub fn playlist(
    directory: &names::Directory,
    track: TrackId,
    window: &Window,
    control: &Control,
    reports: &[Report],
    ended: bool,
) -> Object {
    let snapshot = window.snapshot(control, reports, ended);
    Object {
        path: directory.path(names::PLAYLIST),
        kind: ObjectKind::Playlist,
        content_type: ContentType::Hls,
        body: vec![Bytes::from(media::render(&snapshot))],
        playlist: Some(PlaylistInfo {
            version: window.version(),
            delta: media::render_delta(&snapshot).map(Bytes::from),
            hint: (!ended).then(|| directory.path(&window.hint())),
            ahead: ahead(control),
            target_duration: Duration::from_secs(control.target_duration.into()),
            ended,
            needs: window.newest_file().map(|file| directory.path(&file)),
            demand: (track >= TrackId::FIRST_ENCODED).then_some(track.0),
        }),
    }
}

/// A rendition sleeps: requests for its playlist are demand, and are held until it is back.
pub fn sleep(directory: &names::Directory, track: TrackId) -> Update {
    Update::Sleep { path: directory.path(names::PLAYLIST), demand: track.0, hold: HOLD }
}

/// The multivariant playlist.
pub fn multivariant(ladder: &multivariant::Ladder) -> Object {
    Object {
        path: ObjectPath::new(names::MULTIVARIANT),
        kind: ObjectKind::Multivariant,
        content_type: ContentType::Hls,
        body: vec![Bytes::from(multivariant::render(ladder))],
        playlist: None,
    }
}

/// Twice as far as three seconds of parts reach (LLHLS-22).
fn ahead(control: &Control) -> Ahead {
    Ahead { parts: 2 * 3_000_u32.div_ceil(control.part_target.max(1)), hold: HOLD }
}
