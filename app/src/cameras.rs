//! Sources that are pulled over RTSP, as the operator's port shows and changes them.

use aqueduct_common::StreamName;
use aqueduct_ingest::Pulls;
use aqueduct_ingest::rtsp::pull::{PullConfig, PullPlan};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Deserialize;
use utoipa::OpenApi;

/// What is said where this node takes no streams in.
const NOT_HERE: &str = "this node takes no streams in: ask the origin\n";

/// The API's part that is about sources.
#[derive(OpenApi)]
#[openapi(paths(list, add, remove))]
pub struct Api;

/// A source, as it is added.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it only describes a body that the ingest stage reads")]
struct Source {
    /// The stream that it becomes: `app/name`.
    stream: String,
    /// What it is called among the stream's sources, `rtsp:NAME`, where the stream has several cameras.
    name: Option<String>,
    /// `rtsp://HOST[:554]/PATH` or `rtsps://…`, with a user name and a password or without.
    url: String,
    /// User name, where the URL has none.
    user: Option<String>,
    /// Password, where the URL has none.
    password: Option<String>,
    /// How media travels.
    #[schema(nullable = false)]
    transport: Option<Transport>,
    /// When it is pulled.
    #[schema(nullable = false)]
    start: Option<Start>,
}

/// How media travels.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it only describes a word that the ingest stage reads")]
enum Transport {
    /// Within the connection; in packets of their own where the source refuses that. The default.
    Auto,
    /// Within the connection.
    Tcp,
    /// In packets of their own.
    Udp,
}

/// When a source is pulled.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "it only describes a word that the ingest stage reads")]
enum Start {
    /// At all times. The default.
    Always,
    /// While somebody watches.
    OnWatch,
}

/// The routes below `/api/v1/rtsp`. Who may ask is for the router that takes them in.
pub fn routes(pulls: Option<Pulls>) -> Router {
    Router::new()
        .route("/api/v1/rtsp", get(list).post(add))
        .route("/api/v1/rtsp/{app}/{name}", delete(remove))
        .with_state(pulls)
}

#[utoipa::path(get, path = "/api/v1/rtsp", responses(
    (status = 200, description = "Every source and what it is doing, without paths and passwords", body = [serde_json::Value]),
    (status = 404, description = "This node takes no streams in")))]
async fn list(State(pulls): State<Option<Pulls>>) -> Response {
    match pulls {
        Some(pulls) => Json(pulls.list()).into_response(),
        None => (StatusCode::NOT_FOUND, NOT_HERE).into_response(),
    }
}

#[utoipa::path(post, path = "/api/v1/rtsp", request_body = Source, responses(
    (status = 201, description = "It is pulled, until it is removed or the process ends"),
    (status = 400, description = "It cannot be pulled; the text names the field"),
    (status = 403, description = "Asked by a page of another site"),
    (status = 409, description = "Its stream has a source of this name, or there are too many"),
    (status = 415, description = "No JSON, by its Content-Type"),
    (status = 422, description = "A field that is missing, unknown or of another kind; the text names it")))]
async fn add(State(pulls): State<Option<Pulls>>, body: Result<Json<PullConfig>, JsonRejection>) -> Response {
    let Some(pulls) = pulls else { return (StatusCode::NOT_FOUND, NOT_HERE).into_response() };
    let config = match body {
        Ok(Json(config)) => config,
        Err(error) => return (error.status(), format!("{}\n", error.body_text())).into_response(),
    };
    let plan = match PullPlan::try_from(&config) {
        Ok(plan) => plan,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let stream = plan.stream.clone();
    match pulls.add(plan) {
        Ok(()) => {
            tracing::info!(%stream, "a source was added");
            (StatusCode::CREATED, "it is pulled until it is removed or the process ends\n").into_response()
        }
        Err(error) => (StatusCode::CONFLICT, format!("{error}\n")).into_response(),
    }
}

/// Which of a stream's cameras.
#[derive(Deserialize)]
struct Which {
    /// Its name among the stream's sources, `rtsp:NAME`; all of them without one.
    source: Option<String>,
}

#[utoipa::path(delete, path = "/api/v1/rtsp/{app}/{name}", params(("app" = String, Path), ("name" = String, Path),
    ("source" = Option<String>, Query, description = "One of the stream's cameras, rtsp:NAME; all of them without it")), responses(
    (status = 204, description = "It is not pulled any more; its stream ends after the grace time"),
    (status = 403, description = "Asked by a page of another site"),
    (status = 404, description = "No source for this stream")))]
async fn remove(
    State(pulls): State<Option<Pulls>>,
    Path((app, name)): Path<(String, String)>,
    Query(which): Query<Which>,
) -> Response {
    let stream = format!("{app}/{name}").parse::<StreamName>();
    match (pulls, stream) {
        (Some(pulls), Ok(stream)) if pulls.remove(&stream, which.source.as_deref()) => {
            tracing::info!(%stream, "a source was removed");
            StatusCode::NO_CONTENT.into_response()
        }
        _ => (StatusCode::NOT_FOUND, "no source for this stream; see /api/v1/rtsp\n").into_response(),
    }
}
