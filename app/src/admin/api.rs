//! `/api/v1`, as docs/api.md shows it.

use std::time::Duration;

use aqueduct_analytics::board::AlertsView;
use aqueduct_analytics::nodes::NodeView;
use aqueduct_analytics::series::{COLUMNS, SeriesView};
use aqueduct_analytics::store::{Export, Table, read};
use aqueduct_analytics::viewers::SessionView;
use aqueduct_analytics::{Happening, Overview, StreamView};
use aqueduct_common::StreamName;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::OpenApi;

use super::gate::{self, wrong};
use super::{Desk, live, pages};

/// Sessions of one answer.
const MOST_SESSIONS: usize = 1_000;
/// What an export covers when nobody says.
const DAY: Duration = Duration::from_secs(86_400);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Aqueduct",
        description = "What each stream is doing, what viewers live through, and the nodes' health."
    ),
    paths(
        super::healthz,
        super::readyz,
        super::metrics,
        overview,
        streams,
        stream,
        series,
        happened_to,
        happened,
        sessions,
        nodes,
        drain_node,
        drain,
        alerts,
        history,
        live::connect,
        gate::who,
        gate::log_in,
        gate::log_out,
        pages::doctor_status,
        crate::dashboard::listens,
        crate::dashboard::thumbnail
    )
)]
pub(super) struct Api;

/// The whole API, with the part that is about cameras.
fn whole() -> utoipa::openapi::OpenApi {
    let mut api = Api::openapi();
    api.merge(crate::cameras::Api::openapi());
    api
}

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/api/v1/overview", get(overview))
        .route("/api/v1/streams", get(streams))
        .route("/api/v1/streams/{app}/{name}", get(stream))
        .route("/api/v1/streams/{app}/{name}/series", get(series))
        .route("/api/v1/streams/{app}/{name}/events", get(happened_to))
        .route("/api/v1/streams/{app}/{name}/sessions", get(sessions))
        .route("/api/v1/events", get(happened))
        .route("/api/v1/nodes", get(nodes))
        .route("/api/v1/nodes/{node}/drain", post(drain_node))
        .route("/api/v1/alerts", get(alerts))
        .route("/api/v1/history/{table}", get(history))
        .route("/api/v1/openapi.json", get(|| async { Json(whole()) }))
}

#[utoipa::path(get, path = "/api/v1/overview", responses((status = 200, description = "Everything in a few figures", body = Overview)))]
async fn overview(State(desk): State<Desk>) -> Json<Overview> {
    Json(desk.admin.board.overview())
}

#[utoipa::path(get, path = "/api/v1/streams", responses((status = 200, description = "Every stream", body = [StreamView])))]
async fn streams(State(desk): State<Desk>) -> Json<Vec<StreamView>> {
    Json(desk.admin.board.streams())
}

fn unknown(app: &str, name: &str) -> Response {
    wrong(
        StatusCode::NOT_FOUND,
        format!("no stream {app}/{name} in the last five minutes; see /api/v1/streams"),
    )
}

/// What is asked of one stream.
fn of<T: Serialize>((app, name): (String, String), ask: impl FnOnce(&StreamName) -> Option<T>) -> Response {
    let stream = format!("{app}/{name}").parse::<StreamName>().ok();
    let found = stream.and_then(|stream| ask(&stream));
    found.map_or_else(|| unknown(&app, &name), |found| Json(found).into_response())
}

#[utoipa::path(get, path = "/api/v1/streams/{app}/{name}", params(("app" = String, Path), ("name" = String, Path)), responses(
    (status = 200, description = "One stream", body = StreamView),
    (status = 404, description = "No such stream in the last five minutes")))]
async fn stream(State(desk): State<Desk>, Path(path): Path<(String, String)>) -> Response {
    of(path, |stream| desk.admin.board.stream(stream))
}

/// How much of it.
#[derive(Deserialize)]
struct Last {
    last: Option<usize>,
}

#[utoipa::path(get, path = "/api/v1/streams/{app}/{name}/series",
    params(("app" = String, Path), ("name" = String, Path), ("last" = Option<usize>, Query, description = "Seconds, 900 at most")),
    responses((status = 200, description = "The last seconds, by column", body = SeriesView), (status = 404, description = "No such stream"),
        (status = 400, description = "A parameter that is none; the text names it")))]
async fn series(
    State(desk): State<Desk>,
    Path(path): Path<(String, String)>,
    Query(last): Query<Last>,
) -> Response {
    of(path, |stream| desk.admin.board.series(stream, last.last.unwrap_or(900), &COLUMNS))
}

#[utoipa::path(get, path = "/api/v1/streams/{app}/{name}/events", params(("app" = String, Path), ("name" = String, Path)),
    responses((status = 200, description = "What happened to it, newest last", body = [Happening]), (status = 404, description = "No such stream")))]
async fn happened_to(State(desk): State<Desk>, Path(path): Path<(String, String)>) -> Response {
    of(path, |stream| desk.admin.board.happened_to(stream))
}

#[utoipa::path(get, path = "/api/v1/events", responses((status = 200, description = "What happened, newest last", body = [Happening])))]
async fn happened(State(desk): State<Desk>) -> Json<Vec<Happening>> {
    Json(desk.admin.board.happened())
}

/// Some sessions of a stream.
#[derive(Serialize, utoipa::ToSchema)]
struct Sessions {
    /// How many there are.
    total: usize,
    /// Those heard last.
    sessions: Vec<SessionView>,
}

/// How many of them.
#[derive(Deserialize)]
struct Limit {
    limit: Option<usize>,
}

#[utoipa::path(get, path = "/api/v1/streams/{app}/{name}/sessions",
    params(("app" = String, Path), ("name" = String, Path), ("limit" = Option<usize>, Query, description = "1000 at most")),
    responses((status = 200, description = "Viewers' sessions, those heard last first", body = Sessions), (status = 404, description = "No such stream"),
        (status = 400, description = "A parameter that is none; the text names it")))]
async fn sessions(
    State(desk): State<Desk>,
    Path(path): Path<(String, String)>,
    Query(limit): Query<Limit>,
) -> Response {
    let limit = limit.limit.unwrap_or(100).min(MOST_SESSIONS);
    of(path, |stream| {
        let (total, sessions) = desk.admin.board.sessions(stream, limit);
        (total > 0 || desk.admin.board.stream(stream).is_some()).then_some(Sessions { total, sessions })
    })
}

#[utoipa::path(get, path = "/api/v1/nodes", responses((status = 200, description = "All nodes, this one first", body = [NodeView])))]
async fn nodes(State(desk): State<Desk>) -> Json<Vec<NodeView>> {
    Json(desk.admin.board.nodes())
}

#[utoipa::path(post, path = "/api/v1/nodes/{node}/drain", params(("node" = String, Path)), responses(
    (status = 202, description = "It leaves in order"), (status = 404, description = "No such node, or one that cannot be asked from here")))]
async fn drain_node(State(desk): State<Desk>, Path(node): Path<String>) -> Response {
    if *node == *desk.admin.node {
        return drain(State(desk)).await;
    }
    let known = desk.admin.board.nodes().into_iter().any(|one| one.node == node && one.drain.is_some());
    if known && desk.admin.remote.as_ref().is_some_and(|remote| remote.drain(&node)) {
        return (StatusCode::ACCEPTED, "asked; it leaves in order\n").into_response();
    }
    wrong(StatusCode::NOT_FOUND, format!("{node} cannot be drained from here: ask its own operator's port"))
}

#[utoipa::path(post, path = "/api/v1/drain", responses(
    (status = 202, description = "As a SIGTERM: viewers are sent to other edges, streams to a standby, then it ends"),
    (status = 403, description = "Asked by a page of another site, or by a viewer")))]
pub(super) async fn drain(State(desk): State<Desk>) -> Response {
    tracing::info!("a drain was asked for");
    desk.admin.ready.store(false, std::sync::atomic::Ordering::Release);
    desk.admin.drain.cancel();
    (StatusCode::ACCEPTED, "draining; the process ends when it is done\n").into_response()
}

#[utoipa::path(get, path = "/api/v1/alerts", responses((status = 200, description = "Alerts and their rules", body = AlertsView)))]
async fn alerts(State(desk): State<Desk>) -> Json<AlertsView> {
    Json(desk.admin.board.alerts())
}

/// What of the history.
#[derive(Deserialize)]
struct Span {
    from: Option<i64>,
    until: Option<i64>,
    stream: Option<String>,
}

#[utoipa::path(get, path = "/api/v1/history/{table}",
    params(("table" = String, Path, description = "minutes, sessions or alerts, with .csv or .json"),
        ("from" = Option<i64>, Query, description = "Milliseconds since 1970"), ("until" = Option<i64>, Query), ("stream" = Option<String>, Query)),
    responses((status = 200, description = "Rows, 100 000 at most; X-Truncated: 1 says that there were more"),
        (status = 404, description = "No such table, or no history is kept"),
        (status = 400, description = "A parameter that is none; the text names it")))]
async fn history(State(desk): State<Desk>, Path(file): Path<String>, Query(span): Query<Span>) -> Response {
    let (name, form) = file.split_once('.').unwrap_or((&file, ""));
    let (Some(table), "csv" | "json") = (Table::named(name), form) else {
        return wrong(
            StatusCode::NOT_FOUND,
            "there are minutes, sessions and alerts, each as .csv and .json",
        );
    };
    let Some(store) = desk.admin.board.store() else {
        return wrong(StatusCode::NOT_FOUND, "no history is kept: set analytics.history to \"on\"");
    };
    let until = span.until.unwrap_or(i64::MAX);
    let from = span.from.unwrap_or_else(|| desk.admin.board.overview().at - DAY.as_millis() as i64);
    let stream = span.stream;
    let reading = move || read(store.path(), table, from, until, stream.as_deref());
    match tokio::task::spawn_blocking(reading).await {
        Ok(Ok(export)) if form == "csv" => {
            let truncated = if export.truncated { "1" } else { "0" };
            let disposition = format!("attachment; filename=\"{name}.csv\"");
            let headers = [
                (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
                (header::HeaderName::from_static("x-truncated"), truncated),
                (header::CONTENT_DISPOSITION, disposition.as_str()),
            ];
            (headers, export.csv()).into_response()
        }
        Ok(Ok(export)) => Json(columnar(&export)).into_response(),
        Ok(Err(error)) => {
            wrong(StatusCode::INTERNAL_SERVER_ERROR, format!("the history cannot be read: {error}"))
        }
        Err(_) => wrong(StatusCode::INTERNAL_SERVER_ERROR, "the history cannot be read"),
    }
}

/// Numbers as numbers, the rest as texts.
fn columnar(export: &Export) -> serde_json::Value {
    let value = |value: &Option<String>| match value {
        None => serde_json::Value::Null,
        Some(text) => text
            .parse::<serde_json::Number>()
            .map_or_else(|_| serde_json::Value::from(text.as_str()), serde_json::Value::Number),
    };
    let rows: Vec<Vec<serde_json::Value>> =
        export.rows.iter().map(|row| row.iter().map(value).collect()).collect();
    serde_json::json!({ "columns": export.columns, "rows": rows, "truncated": export.truncated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_describes_every_route() {
        let text = whole().to_json().unwrap();
        for path in [
            "/api/v1/drain",
            "/healthz",
            "/readyz",
            "/metrics",
            "/api/v1/overview",
            "/api/v1/streams",
            "/api/v1/streams/{app}/{name}",
            "/api/v1/streams/{app}/{name}/series",
            "/api/v1/streams/{app}/{name}/events",
            "/api/v1/streams/{app}/{name}/sessions",
            "/api/v1/events",
            "/api/v1/nodes",
            "/api/v1/nodes/{node}/drain",
            "/api/v1/alerts",
            "/api/v1/history/{table}",
            "/api/v1/live",
            "/api/v1/session",
            "/doctor/{app}/{name}/status.json",
        ] {
            assert!(text.contains(&format!("{path:?}")), "{path}");
        }
        assert!(text.contains("StreamView") && text.contains("HealthView"));
    }
}
