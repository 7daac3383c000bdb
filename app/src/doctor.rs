//! The ingest doctor: what a streamer is told of their own stream, for its key.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_analytics::health::{HealthState, HealthView};
use aqueduct_analytics::series::SeriesView;
use aqueduct_analytics::{Advised, Board, StreamView};
use aqueduct_common::StreamName;
use aqueduct_edge::{Answered, Answering, Service};
use aqueduct_ingest::KeyRing;
use aqueduct_ingest::keys::Credentials;
use axum::http::{HeaderMap, header};
use serde::Serialize;

use crate::access::Guard;

/// What a wrong key waits for (AUTH-4).
const SLOWLY: Duration = Duration::from_millis(400);
/// Seconds that are shown.
const LAST: usize = 60;
/// Columns that are shown.
const COLUMNS: [&str; 5] = ["bitrate", "fps", "keyframe_interval", "av_skew", "rtt"];

/// What a streamer is told.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Status {
    /// The stream.
    name: String,
    /// Now, in milliseconds since 1970.
    at: i64,
    /// How it is, and why.
    health: HealthView,
    /// That in one sentence.
    headline: String,
    /// What to change.
    advice: Vec<Advised>,
    /// How it is pushed.
    #[schema(value_type = Option<String>)]
    protocol: Option<aqueduct_common::event::Protocol>,
    /// What the encoder calls itself.
    encoder: String,
    /// RFC 6381 codec strings.
    codecs: Vec<String>,
    /// Viewers of the last 30 s.
    viewers: u32,
    /// One number for how it is to its viewers.
    score: Option<u32>,
    /// Since when it plays.
    live_since: Option<i64>,
    /// The last minute.
    series: SeriesView,
}

/// Answers streamers.
pub struct Doctor {
    board: Board,
    /// `None` on a node that takes no publishers.
    keys: Option<Arc<KeyRing>>,
    guard: Guard,
}

impl Doctor {
    /// Tells of the streams on this board, by these keys.
    pub fn new(board: Board, keys: Option<Arc<KeyRing>>) -> Self {
        Self { board, keys, guard: Guard::default() }
    }

    /// What is told of a stream to who shows its key. The same answer whether the stream exists or not, without it.
    pub async fn status(&self, app: &str, name: &str, headers: &HeaderMap, peer: IpAddr) -> Answered {
        let begun = now();
        if self.guard.is_shut(peer, begun) {
            return refused(429, "too many wrong keys came from this address: try again in five minutes");
        }
        match self.stream(app, name, headers, peer) {
            Some(stream) => json(200, &self.tell(&stream)),
            None => {
                self.guard.failed(peer, begun);
                tokio::time::sleep(SLOWLY).await;
                refused(401, "this needs the stream's key: put #key=KEY behind the page's address")
            }
        }
    }

    /// The stream that is asked for, if the key is one that may publish it.
    fn stream(&self, app: &str, name: &str, headers: &HeaderMap, peer: IpAddr) -> Option<StreamName> {
        let wanted: StreamName = format!("{app}/{name}").parse().ok()?;
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key = shown
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::trim)
            .filter(|key| !key.is_empty());
        // What is pasted may be what OBS has: NAME?key=SECRET.
        let key = key.map(|key| key.rsplit_once("key=").map_or(key, |(_, key)| key));
        let keys = self.keys.as_ref()?;
        let plain =
            |key: &str| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
        let publish = match key {
            Some(key) if plain(key) => format!("{}?key={key}", wanted.name()),
            Some(_) => return None,
            None => wanted.name().to_owned(),
        };
        // A proxy on this machine is no publisher on this machine.
        let forwarded = headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
        let loopback = peer.to_canonical().is_loopback() && !forwarded;
        let allowed = keys.check(&Credentials::new(None, wanted.app(), &publish), loopback);
        allowed.ok().filter(|allowed| *allowed == wanted)
    }

    fn tell(&self, stream: &StreamName) -> Status {
        let at = self.board.overview().at;
        let none = || SeriesView {
            name: stream.to_string(),
            start: at / 1_000,
            step: 1,
            count: 0,
            columns: Default::default(),
        };
        let series = self.board.series(stream, LAST, &COLUMNS).unwrap_or_else(none);
        let view = self.board.stream(stream);
        let headline = headline(view.as_ref());
        match view {
            Some(view) => Status {
                name: stream.to_string(),
                at,
                headline,
                health: view.health,
                advice: view.advice,
                protocol: view.protocol,
                encoder: view.encoder,
                codecs: view.ingest.codecs,
                viewers: view.viewers,
                score: view.score.map(|score| score.value),
                live_since: view.live_since,
                series,
            },
            None => Status {
                name: stream.to_string(),
                at,
                headline,
                health: HealthView::default(),
                advice: Vec::new(),
                protocol: None,
                encoder: String::new(),
                codecs: Vec::new(),
                viewers: 0,
                score: None,
                live_since: None,
                series,
            },
        }
    }
}

/// How it is, in one sentence.
fn headline(view: Option<&StreamView>) -> String {
    let Some(view) = view else { return "Not on air: press Start Streaming.".into() };
    let why = view.health.reasons.first().map(|reason| reason.text.clone());
    match view.health.state {
        HealthState::Offline | HealthState::Ended => "Not on air: press Start Streaming.".into(),
        HealthState::Starting => "Starting: the first picture is on its way.".into(),
        HealthState::Reconnecting => {
            "The connection to your encoder is lost; viewers wait for it to come back.".into()
        }
        HealthState::Stalled => why.unwrap_or_else(|| "Nothing comes from your encoder.".into()),
        HealthState::Degraded => why.unwrap_or_else(|| "It plays, and not as well as it should.".into()),
        HealthState::Live if view.advice.is_empty() => "All is well.".into(),
        HealthState::Live if view.advice.iter().all(|advised| advised.advice.is_hint()) => {
            "It plays well; see whether this is meant.".into()
        }
        HealthState::Live => "It plays well; there is something to improve.".into(),
    }
}

fn json<T: Serialize>(status: u16, value: &T) -> Answered {
    Answered { status, body: serde_json::to_vec(value).unwrap_or_default().into() }
}

fn refused(status: u16, error: &str) -> Answered {
    json(status, &serde_json::json!({ "error": error }))
}

impl Service for Doctor {
    fn answer<'a>(&'a self, path: &'a str, headers: &'a HeaderMap, peer: IpAddr) -> Option<Answering<'a>> {
        let (app, name) = path.strip_prefix("/doctor/")?.strip_suffix("/status.json")?.split_once('/')?;
        Some(Box::pin(self.status(app, name, headers, peer)))
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use aqueduct_ingest::keys::KeyEntry;

    use super::*;

    fn doctor() -> Doctor {
        let keys = [KeyEntry::new("live/show".parse().unwrap(), "show-secret-0123456789")];
        Doctor::new(Board::default(), Some(Arc::new(KeyRing::new(&keys, &[]).unwrap())))
    }

    async fn ask(doctor: &Doctor, path: &str, key: Option<&str>) -> (u16, String) {
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            headers.insert(header::AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
        }
        let peer = "203.0.113.9".parse().unwrap();
        let answered = doctor.answer(path, &headers, peer).unwrap().await;
        (answered.status, String::from_utf8(answered.body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_streamer_sees_their_own_stream_and_no_other() {
        let doctor = doctor();
        let own = "/doctor/live/show/status.json";
        for key in ["show-secret-0123456789", "show?key=show-secret-0123456789"] {
            let (status, text) = ask(&doctor, own, Some(key)).await;
            assert!(status == 200 && text.contains("Not on air"), "{status} {text}");
            assert!(!text.contains("secret"));
        }
        let other = ask(&doctor, "/doctor/live/other/status.json", Some("show-secret-0123456789")).await;
        let wrong = ask(&doctor, own, Some("wrong")).await;
        assert_eq!((other.0, &other), (401, &wrong));
        assert_eq!(ask(&doctor, own, None).await, wrong);
        for _ in 0..7 {
            ask(&doctor, own, Some("a&key=b")).await;
        }
        assert_eq!(ask(&doctor, own, Some("show-secret-0123456789")).await.0, 429);
        assert!(doctor.answer("/doctor/live/show", &HeaderMap::new(), "::1".parse().unwrap()).is_none());
    }
}
