//! What the operator's pages need beside the API of `admin`: a small picture of what a stream shows, and where to push.

use std::collections::BTreeMap;
use std::sync::Arc;

use aqueduct_common::StreamName;
use aqueduct_transcode::snapshot::{Look, Snapshots};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::wire::Addresses;

/// Ports by the scheme that reaches them.
type Ports = Arc<BTreeMap<&'static str, u16>>;

/// The routes. Who may ask is for the router that takes them in.
pub fn routes(snapshots: Snapshots, addresses: &Addresses) -> Router {
    let listening = addresses.ingest.iter().chain(&addresses.edge);
    let ports: Ports = Arc::new(listening.map(|(scheme, address)| (*scheme, address.port())).collect());
    let pictures =
        Router::new().route("/api/v1/streams/{app}/{name}/thumbnail", get(thumbnail)).with_state(snapshots);
    Router::new().route("/api/v1/ports", get(listens)).with_state(ports).merge(pictures)
}

/// Where this node listens for publishers and viewers.
#[utoipa::path(get, path = "/api/v1/ports", responses(
    (status = 200, description = "Ports by scheme: `rtmp`, `rtmps`, `http`, `https`", body = BTreeMap<String, u16>)))]
pub async fn listens(State(ports): State<Ports>) -> Json<BTreeMap<&'static str, u16>> {
    Json((*ports).clone())
}

/// The newest picture, made anew while somebody asks. The first one is waited for.
#[utoipa::path(get, path = "/api/v1/streams/{app}/{name}/thumbnail",
    params(("app" = String, Path), ("name" = String, Path)), responses(
    (status = 200, description = "A JPEG, no side longer than 320 pixels", content_type = "image/jpeg", body = Vec<u8>),
    (status = 304, description = "The picture that `If-None-Match` names is still the newest"),
    (status = 404, description = "No picture of this stream is made here"),
    (status = 503, description = "The first picture is on its way")))]
pub async fn thumbnail(
    State(snapshots): State<Snapshots>,
    Path((app, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let stream = format!("{app}/{name}").parse::<StreamName>().ok();
    let look = match &stream {
        Some(stream) => snapshots.look(stream).await,
        None => Look::Never,
    };
    let found = match look {
        Look::Here(found) => found,
        Look::Coming => {
            let error = Json(json!({ "error": "the first picture is on its way: ask again in a moment" }));
            return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "2")], error).into_response();
        }
        Look::Never => {
            let error = "no picture of this stream is made here: it is not on air at this node, its video cannot be \
                         decoded, or transcode.thumbnails is off";
            return (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response();
        }
    };
    let tag = format!("\"{}\"", found.number);
    let unchanged =
        headers.get(header::IF_NONE_MATCH).is_some_and(|asked| asked.as_bytes() == tag.as_bytes());
    let mut kept = HeaderMap::new();
    kept.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    kept.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    if unchanged {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    kept.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    (kept, found.jpeg).into_response()
}
