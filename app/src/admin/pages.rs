//! The dashboard and the doctor on the operator's port.

use std::net::SocketAddr;

use aqueduct_edge::Pages as _;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::Desk;
use super::gate::wrong;
use crate::pages::Embedded;

/// The page or file at an address; the dashboard, which is one page, has all addresses without a file's ending.
pub(super) async fn page(uri: Uri) -> Response {
    let path = uri.path();
    if path.starts_with("/api/") {
        return wrong(StatusCode::NOT_FOUND, "there is nothing here; see /api/v1/openapi.json");
    }
    let found = match path {
        _ if path.starts_with("/doctor/") => Embedded.find(path),
        _ if path.starts_with("/assets/")
            || path.rsplit('/').next().is_some_and(|file| file.contains('.')) =>
        {
            Embedded.find(path)
        }
        _ => Embedded.find("/dashboard.html"),
    };
    let Some(page) = found else { return (StatusCode::NOT_FOUND, "no such page\n").into_response() };
    let cache = if page.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(page.content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
    ];
    (headers, page.body).into_response()
}

#[utoipa::path(get, path = "/doctor/{app}/{name}/status.json", params(("app" = String, Path), ("name" = String, Path)), responses(
    (status = 200, description = "What the streamer should know", body = crate::doctor::Status),
    (status = 401, description = "Wrong or no stream key"), (status = 429, description = "Too many wrong ones")))]
pub(super) async fn doctor_status(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path((app, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let answered = desk.admin.doctor.status(&app, &name, &headers, peer.ip()).await;
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], answered.body).into_response()
}
