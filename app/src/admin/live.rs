//! Server-sent events: what changed in the last second, made once for all who watch.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aqueduct_analytics::nodes::NodeView;
use aqueduct_analytics::series::COLUMNS;
use aqueduct_analytics::{Board, Happening, Overview, ROW, StreamRow, StreamView, Told};
use aqueduct_common::StreamName;
use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::Desk;
use super::gate::wrong;
use crate::access::Role;

/// Who may watch at a time.
const PLACES: usize = 64;
/// Messages that one who reads slowly may be behind; then it is let go.
const BEHIND: usize = 256;

/// A message: its event's name, and its JSON.
type Message = (&'static str, Arc<str>);

/// Everybody who watches.
#[derive(Clone, Debug)]
pub(super) struct Live {
    clients: Arc<Mutex<Vec<Client>>>,
    board: Board,
}

#[derive(Debug)]
struct Client {
    stream: Option<StreamName>,
    out: mpsc::Sender<Message>,
    /// It has had the whole list.
    settled: bool,
}

/// Which stream's seconds are wanted besides.
#[derive(Deserialize)]
pub(super) struct Wish {
    stream: Option<String>,
}

#[utoipa::path(get, path = "/api/v1/live", params(("stream" = Option<String>, Query, description = "app/name: its seconds as well")),
    responses((status = 200, description = "Server-sent events; see docs/api.md"), (status = 503, description = "All places are taken")))]
pub(super) async fn connect(
    State(desk): State<Desk>,
    Query(wish): Query<Wish>,
    role: Option<Extension<Role>>,
) -> Response {
    let stream = match wish.stream.map(|name| name.parse::<StreamName>()) {
        Some(Err(error)) => return wrong(StatusCode::BAD_REQUEST, error.to_string()),
        Some(Ok(name)) => Some(name),
        None => None,
    };
    let role = role.map_or(Role::Viewer, |Extension(role)| role);
    let Some(receiver) = desk.live.enter(stream, role, &desk.admin.node) else {
        return wrong(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("all {PLACES} places are taken: close a page elsewhere"),
        );
    };
    let events = stream::unfold(receiver, |mut receiver| async {
        let (name, data) = receiver.recv().await?;
        let event = Event::default().event(name).data(&*data);
        Some((Ok::<_, Infallible>(event), receiver))
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    let mut response = Sse::new(events).keep_alive(alive).into_response();
    // nginx would gather what should be there at once.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    response
}

impl Live {
    /// Begins to watch the board.
    pub(super) fn start(board: &Board, stop: CancellationToken) -> Self {
        let live = Self { clients: Arc::default(), board: board.clone() };
        let mut telling = Telling::new(live.clone());
        let mut told = board.listen();
        tokio::spawn(async move {
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    _ = seconds.tick() => telling.second(),
                    heard = told.recv() => match heard {
                        Ok(Told::Happened(happening)) => telling.happened(&happening),
                        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => break,
                    },
                }
            }
            // Who is let go here does not hold up the stop.
            telling.live.lock().clear();
        });
        live
    }

    fn enter(&self, stream: Option<StreamName>, role: Role, node: &str) -> Option<mpsc::Receiver<Message>> {
        let (out, receiver) = mpsc::channel(BEHIND);
        let mut clients = self.lock();
        clients.retain(|client| !client.out.is_closed());
        if clients.len() >= PLACES {
            return None;
        }
        let at = self.board.overview().at;
        let hello = json!({ "at": at, "node": node, "role": role, "columns": ROW, "series": COLUMNS });
        // There is room: nothing has been sent yet.
        let _ = out.try_send(("hello", hello.to_string().into()));
        clients.push(Client { stream, out, settled: false });
        Some(receiver)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was told last.
struct Telling {
    live: Live,
    rows: HashMap<StreamName, StreamRow>,
    overview: String,
    nodes: String,
    alerts: String,
    views: HashMap<StreamName, (i64, String)>,
}

#[derive(Serialize)]
struct Second {
    at: i64,
    values: Vec<Option<f32>>,
}

#[derive(Serialize)]
struct Rows<'a> {
    at: i64,
    all: bool,
    rows: Vec<&'a StreamRow>,
    gone: Vec<&'a StreamName>,
}

impl Telling {
    fn new(live: Live) -> Self {
        let (rows, views) = Default::default();
        Self { live, rows, overview: String::new(), nodes: String::new(), alerts: String::new(), views }
    }

    fn happened(&mut self, happening: &Happening) {
        let message: Message = ("event", text(happening).into());
        self.send(|client| client.settled.then(|| vec![message.clone()]));
    }

    /// Tells what is another than a second ago, and everything to those who are new.
    fn second(&mut self) {
        if self.live.lock().is_empty() {
            self.rows.clear();
            self.views.clear();
            return;
        }
        let board = self.live.board.clone();
        let overview = board.overview();
        let at = overview.at;
        let now: HashMap<StreamName, StreamRow> =
            board.rows().into_iter().map(|row| (row.0.clone(), row)).collect();
        let changed: Vec<&StreamRow> =
            now.values().filter(|row| self.rows.get(&row.0) != Some(row)).collect();
        let gone: Vec<&StreamName> = self.rows.keys().filter(|name| !now.contains_key(*name)).collect();
        let mut news: Vec<Message> = Vec::new();
        if !changed.is_empty() || !gone.is_empty() {
            news.push(("streams", text(&Rows { at, all: false, rows: changed, gone }).into()));
        }
        let mut all: Vec<Message> = Vec::new();
        let mut rows: Vec<&StreamRow> = now.values().collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        all.push(("streams", text(&Rows { at, all: true, rows, gone: Vec::new() }).into()));
        let alerts = json!({ "active": board.alerts().active }).to_string();
        let nodes = board.nodes();
        let still = text(&nodes.iter().map(|node| NodeView { seen: 0, ..node.clone() }).collect::<Vec<_>>());
        let told = [
            ("overview", text(&overview), timeless(&overview), &mut self.overview),
            ("nodes", text(&nodes), still, &mut self.nodes),
            ("alerts", alerts.clone(), alerts, &mut self.alerts),
        ];
        for (name, is, matters, was) in told {
            let message: Message = (name, is.into());
            all.push(message.clone());
            if matters != *was {
                news.push(message);
                *was = matters;
            }
        }
        self.rows = now;
        let watched = self.watched(&board);
        self.send(|client| {
            let mut messages =
                if std::mem::replace(&mut client.settled, true) { news.clone() } else { all.clone() };
            if let Some((second, view)) = client.stream.as_ref().and_then(|stream| watched.get(stream)) {
                messages.extend(second.clone());
                messages.extend(view.clone());
            }
            Some(messages)
        });
    }

    /// The newest second of every stream that somebody watches, and its object where that is another than it was.
    fn watched(&mut self, board: &Board) -> HashMap<StreamName, (Option<Message>, Option<Message>)> {
        let wanted: Vec<(StreamName, bool)> = {
            let clients = self.live.lock();
            clients.iter().filter_map(|client| Some((client.stream.clone()?, client.settled))).collect()
        };
        self.views.retain(|stream, _| wanted.iter().any(|(name, _)| name == stream));
        let mut watched = HashMap::new();
        for (stream, settled) in wanted {
            let newest = board.newest(&stream);
            let (last, known) = self.views.entry(stream.clone()).or_default();
            let second = newest.filter(|(at, _)| at != last || !settled);
            let second = second.map(|(at, values)| {
                *last = at;
                ("second", text(&Second { at, values }).into())
            });
            let view = board.stream(&stream).map(|view| text::<StreamView>(&view));
            let view = view.filter(|view| view != known || !settled);
            let view = view.map(|view| {
                known.clone_from(&view);
                ("stream", view.into())
            });
            let slot = watched.entry(stream).or_insert((None, None));
            *slot = (second.or(slot.0.take()), view.or(slot.1.take()));
        }
        watched
    }

    /// Sends each what is for it. Who is too far behind, or has gone, has its place taken away.
    fn send(&self, mut messages: impl FnMut(&mut Client) -> Option<Vec<Message>>) {
        self.live.lock().retain_mut(|client| {
            let messages = messages(client).unwrap_or_default();
            messages.into_iter().all(|message| client.out.try_send(message).is_ok())
                && !client.out.is_closed()
        });
    }
}

/// What of it is not the time.
fn timeless(overview: &Overview) -> String {
    text(&Overview { at: 0, uptime: 0, ..overview.clone() })
}

fn text<T: Serialize + ?Sized>(value: &T) -> String {
    // Numbers, texts and lists: nothing here can fail to be written.
    serde_json::to_string(value).unwrap_or_default()
}
