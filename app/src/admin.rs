//! The operator's port: health, metrics, the API and the dashboard.

mod api;
mod gate;
mod live;
mod pages;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aqueduct_analytics::Board;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::doctor::Doctor;
use crate::transport::Remote;
use live::Live;

/// What the operator's port shows.
#[derive(Clone)]
pub struct Admin {
    /// Streams, viewers, nodes and alerts.
    pub board: Board,
    /// Every listener is open and no stop was asked for.
    pub ready: Arc<AtomicBool>,
    /// Cancelled, it drains and ends the process.
    pub drain: CancellationToken,
    /// Who may in.
    pub access: Arc<Access>,
    /// `/metrics` asks for a token, too.
    pub protect_metrics: bool,
    /// What a streamer is told.
    pub doctor: Arc<Doctor>,
    /// This node's name.
    pub node: Arc<str>,
    /// Asks other nodes to drain, where there is a cluster.
    pub remote: Option<Remote>,
    /// What the pages need beside: pictures of streams, and where to push.
    pub beside: Router,
}

/// The same, with what is sent to those who watch.
#[derive(Clone)]
struct Desk {
    admin: Admin,
    live: Live,
}

/// Serves until `stop`.
pub async fn run(admin: Admin, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
    let local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let beside = admin.beside.clone().with_state(());
    let live = Live::start(&admin.board, stop.clone());
    let desk = Desk { admin, live };
    let mut routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .merge(api::routes())
        .route("/api/v1/live", get(live::connect))
        .route("/api/v1/session", get(gate::who).post(gate::log_in).delete(gate::log_out))
        .route("/api/v1/drain", post(api::drain))
        .route("/doctor/{app}/{name}/status.json", get(pages::doctor_status))
        .merge(beside)
        .fallback(get(pages::page))
        .layer(middleware::from_fn_with_state(desk.clone(), gate::pass))
        .with_state(desk);
    if local {
        routes = routes.layer(middleware::from_fn(gate::only_local_names));
    }
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await
}

#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "The process is alive")))]
async fn healthz() -> &'static str {
    "ok\n"
}

#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, description = "Publishers and viewers may come"),
    (status = 503, description = "Starting or stopping")))]
async fn readyz(State(desk): State<Desk>) -> (StatusCode, &'static str) {
    if desk.admin.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or stopping\n")
    }
}

#[utoipa::path(get, path = "/metrics", responses((status = 200, description = "OpenMetrics text")))]
async fn metrics(State(desk): State<Desk>) -> impl IntoResponse {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPEN_METRICS)], desk.admin.board.metrics())
}
