//! Who gets through to what: names, roles, pages of other sites, and logging in and out.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Desk;
use crate::access::{Role, Shown};

/// What holds a page's login.
const COOKIE: &str = "aqueduct_admin";
/// What a wrong password waits for, at least (AUTH-4).
const SLOWLY: Duration = Duration::from_millis(400);

/// What is wrong, for programs and people.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Wrong {
    /// What is wrong, and what to do.
    pub(super) error: String,
}

/// An error's answer.
pub(super) fn wrong(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(Wrong { error: error.into() })).into_response()
}

/// On loopback, refuses names that are not this machine's, so that a web page cannot reach this port through a
/// name of its own that it points at 127.0.0.1 (DNS rebinding).
pub(super) async fn only_local_names(request: Request, next: Next) -> Response {
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

/// What a path asks of who comes.
fn needs(path: &str, method: &Method, protect_metrics: bool) -> Option<Role> {
    match path {
        "/api/v1/session" => None,
        "/metrics" => protect_metrics.then_some(Role::Viewer),
        _ if !path.starts_with("/api/") => None,
        _ if method == Method::GET || method == Method::HEAD => Some(Role::Viewer),
        _ => Some(Role::Admin),
    }
}

/// Lets through who may. Pages and their files are no secret; what they show is.
pub(super) async fn pass(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let access = &desk.admin.access;
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && !is_own_page(request.headers()) {
        return wrong(StatusCode::FORBIDDEN, "a page of another site cannot ask for that");
    }
    let headers = request.headers();
    let shown = access.role(bearer(headers), cookie(headers), peer.ip(), now());
    if let Some(needed) = needs(request.uri().path(), request.method(), desk.admin.protect_metrics) {
        match shown {
            Shown::Known(role) if role >= needed => {}
            Shown::Known(_) => {
                return wrong(StatusCode::FORBIDDEN, "your role may read, and not change anything");
            }
            Shown::TooMany => return too_many(),
            Shown::Unknown => {
                let text = "log in at /api/v1/session, or send Authorization: Bearer TOKEN (admin.tokens)";
                return (StatusCode::UNAUTHORIZED, Json(serde_json::json!({ "error": text, "login": true })))
                    .into_response();
            }
        }
    }
    if let Shown::Known(role) = shown {
        request.extensions_mut().insert(role);
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn too_many() -> Response {
    wrong(
        StatusCode::TOO_MANY_REQUESTS,
        "too many wrong ones came from this address: try again in five minutes",
    )
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// Browsers say with every POST which site the page is of. Others say nothing.
fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let site = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    site.is_some_and(|(_, site)| Some(site) == text(header::HOST))
}

/// What a page logs in with.
#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct LogIn {
    /// The admin's password, or a token.
    password: String,
}

/// Who asks.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Who {
    /// What it may do.
    role: Role,
    /// This port asks for a login.
    login: bool,
}

#[utoipa::path(get, path = "/api/v1/session", responses(
    (status = 200, description = "Who asks", body = Who), (status = 401, description = "Nobody that is known")))]
pub(super) async fn who(State(desk): State<Desk>, role: Option<axum::Extension<Role>>) -> Response {
    let login = desk.admin.access.asks();
    match role {
        Some(axum::Extension(role)) => Json(Who { role, login }).into_response(),
        None => {
            (StatusCode::UNAUTHORIZED, Json(serde_json::json!({ "error": "log in first", "login": true })))
                .into_response()
        }
    }
}

#[utoipa::path(post, path = "/api/v1/session", request_body = LogIn, responses(
    (status = 200, description = "Logged in; the answer sets a cookie", body = Who),
    (status = 400, description = "No JSON"), (status = 401, description = "Wrong"),
    (status = 415, description = "No JSON, by its Content-Type"), (status = 422, description = "JSON without a password"),
    (status = 429, description = "Too many were wrong", body = Wrong)))]
pub(super) async fn log_in(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Json(shown): Json<LogIn>,
) -> Response {
    let access = desk.admin.access.clone();
    if !access.asks() {
        return Json(Who { role: Role::Admin, login: false }).into_response();
    }
    let from: IpAddr = peer.ip();
    let checking = access.clone();
    let begun = now();
    let checked = tokio::task::spawn_blocking(move || checking.check(&shown.password, from, begun)).await;
    match checked {
        Ok(Shown::Known(role)) => {
            let Some(cookie) = access.log_in(role, now()) else {
                return wrong(StatusCode::INTERNAL_SERVER_ERROR, "the system gives no random bytes");
            };
            let secure = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
            let secure = if secure { "; Secure" } else { "" };
            let cookie = format!(
                "{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200{secure}",
                cookie.expose()
            );
            ([(header::SET_COOKIE, cookie)], Json(Who { role, login: true })).into_response()
        }
        Ok(Shown::TooMany) => too_many(),
        Ok(Shown::Unknown) | Err(_) => {
            tokio::time::sleep(SLOWLY.saturating_sub(now().saturating_duration_since(begun))).await;
            tracing::warn!(network = %network(from), "a wrong password or token was shown at the operator's port");
            wrong(StatusCode::UNAUTHORIZED, "that password or token is not known")
        }
    }
}

#[utoipa::path(delete, path = "/api/v1/session", responses((status = 204, description = "Logged out")))]
pub(super) async fn log_out(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    if let Some(cookie) = cookie(&headers) {
        desk.admin.access.log_out(cookie);
    }
    let gone = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response()
}

/// An address as far as logs may have it (AUTH-25).
pub(crate) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let asked = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("localhost:8081"));
            origin.map(|origin| headers.insert(header::ORIGIN, HeaderValue::from_static(origin)));
            is_own_page(&headers)
        };
        assert!(asked(None) && asked(Some("http://localhost:8081")));
        for other in ["http://evil.example", "http://localhost", "null", "http://localhost:8081.evil.example"]
        {
            assert!(!asked(Some(other)), "{other}");
        }
    }

    #[test]
    fn reading_takes_a_viewer_and_changing_an_admin() {
        let of = |path, method| needs(path, &method, false);
        assert_eq!(of("/api/v1/streams", Method::GET), Some(Role::Viewer));
        assert_eq!(of("/api/v1/drain", Method::POST), Some(Role::Admin));
        assert_eq!(of("/api/v1/nodes/a/drain", Method::POST), Some(Role::Admin));
        for free in
            ["/", "/healthz", "/readyz", "/assets/a.js", "/doctor/live/show", "/metrics", "/api/v1/session"]
        {
            assert_eq!(of(free, Method::GET), None, "{free}");
        }
        assert_eq!(needs("/metrics", &Method::GET, true), Some(Role::Viewer));
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=b; aqueduct_admin=c0ffee; d=e"));
        assert_eq!(cookie(&headers), Some("c0ffee"));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        assert_eq!(bearer(&headers), Some("abc"));
    }
}
