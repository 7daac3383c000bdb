//! The operator's port: health, metrics and the API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aqueduct_analytics::{Board, StreamView};
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

/// What the operator's port shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Streams and metrics.
    pub board: Board,
    /// Every listener is open and no stop was asked for.
    pub ready: Arc<AtomicBool>,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Aqueduct", description = "What each stream is doing, and the node's health."),
    paths(healthz, readyz, metrics, streams, stream)
)]
struct Api;

/// Serves until `stop`.
pub async fn run(admin: Admin, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
    let local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let mut routes = Router::new()
        .route("/", get(index))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/streams", get(streams))
        .route("/api/v1/streams/{app}/{name}", get(stream))
        .route("/api/v1/openapi.json", get(|| async { Json(Api::openapi()) }))
        .with_state(admin);
    if local {
        routes = routes.layer(middleware::from_fn(only_local_names));
    }
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// On loopback, refuses names that are not this machine's, so that a web page cannot reach this port through a
/// name of its own that it points at 127.0.0.1 (DNS rebinding).
async fn only_local_names(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => "localhost",
        Ok(_) => host,
        Err(_) => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    if matches!(name, "localhost" | "127.0.0.1" | "[::1]" | "") {
        return next.run(request).await;
    }
    let text = "this port answers only to localhost; set admin.listen to reach it by another name\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

async fn index() -> &'static str {
    "Aqueduct\n\n/api/v1/streams      what each stream is doing\n/api/v1/openapi.json the API\n\
     /metrics             Prometheus\n/healthz             alive\n/readyz              ready for publishers and viewers\n"
}

#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "The process is alive")))]
async fn healthz() -> &'static str {
    "ok\n"
}

#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, description = "Publishers and viewers may come"),
    (status = 503, description = "Starting or stopping")))]
async fn readyz(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or stopping\n")
    }
}

#[utoipa::path(get, path = "/metrics", responses((status = 200, description = "OpenMetrics text")))]
async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPEN_METRICS)], admin.board.metrics())
}

#[utoipa::path(get, path = "/api/v1/streams", responses((status = 200, description = "Every stream", body = [StreamView])))]
async fn streams(State(admin): State<Admin>) -> Json<Vec<StreamView>> {
    Json(admin.board.streams())
}

#[utoipa::path(get, path = "/api/v1/streams/{app}/{name}", params(("app" = String, Path), ("name" = String, Path)), responses(
    (status = 200, description = "One stream", body = StreamView),
    (status = 404, description = "No such stream in the last five minutes")))]
async fn stream(State(admin): State<Admin>, Path((app, name)): Path<(String, String)>) -> Response {
    let wanted = format!("{app}/{name}");
    match admin.board.streams().into_iter().find(|view| view.name.as_str() == wanted) {
        Some(view) => Json(view).into_response(),
        None => {
            let text = format!("no stream {wanted} in the last five minutes; see /api/v1/streams\n");
            (StatusCode::NOT_FOUND, text).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_describes_every_route() {
        let text = Api::openapi().to_json().unwrap();
        for path in ["/healthz", "/readyz", "/metrics", "/api/v1/streams", "/api/v1/streams/{app}/{name}"] {
            assert!(text.contains(&format!("{path:?}")), "{path}");
        }
        assert!(text.contains("StreamView"));
    }
}
