//! What is pulled, as the operator says it, and the checked form of it.

use aqueduct_common::{Secret, SourceName, StreamName};
use serde::{Deserialize, Serialize};
use url::Url;

/// What a camera is called among a stream's sources: alone, or before a name of its own.
const KIND: &str = "rtsp";

/// One source that is pulled.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullConfig {
    /// The stream that it becomes: `app/name`.
    pub stream: String,
    /// What it is called among the stream's sources, where the stream has several: `rtsp:NAME` in `sources` of the
    /// stream's section. Without a name it is `rtsp`.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it is: `rtsp://HOST[:554]/PATH`, or `rtsps://`. A user name and a password may stand before the host.
    pub url: String,
    /// User name, where the URL has none.
    #[serde(default)]
    pub user: String,
    /// Password, where the URL has none.
    #[serde(default)]
    pub password: String,
    /// How media comes.
    #[serde(default)]
    pub transport: Transport,
    /// When it is pulled.
    #[serde(default)]
    pub start: Start,
}

impl std::fmt::Debug for PullConfig {
    /// Without what may be secret: a password may stand in the URL.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PullConfig")
            .field("stream", &self.stream)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How media comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Within the RTSP connection (RTSP-3).
    Tcp,
    /// In packets of their own.
    Udp,
    /// Within the connection; in packets of their own where the source refuses that.
    #[default]
    Auto,
}

/// When a source is pulled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// All the time.
    #[default]
    Always,
    /// While somebody watches, and a minute longer.
    OnWatch,
}

/// Why a source cannot be pulled. The text begins with the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// Its stream's name cannot be used.
    #[error("stream: {0}")]
    Stream(#[from] aqueduct_common::name::NameError),
    /// It cannot be called that.
    #[error("name: 1 to 64 letters, digits, '_', '-' or '.'")]
    Name,
    /// The URL is none. It is not shown, since a password may stand in it.
    #[error(
        "url: this is not rtsp://HOST/PATH or rtsps://HOST/PATH; what other servers send is for [[ingest.pull]]"
    )]
    Url,
    /// A password without a user name.
    #[error("user: is missing beside the password")]
    NoUser,
}

/// A checked source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PullPlan {
    /// The stream that it becomes.
    pub stream: StreamName,
    /// What it is called among the stream's sources.
    pub source: SourceName,
    /// How media comes.
    pub transport: Transport,
    /// When it is pulled.
    pub start: Start,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    /// Path and query, which may hold secrets.
    pub(super) path: Secret,
    pub(super) user: String,
    pub(super) password: Secret,
}

impl PullPlan {
    /// Host and port, which are all of the URL that is ever shown.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl TryFrom<&PullConfig> for PullPlan {
    type Error = PullError;

    fn try_from(config: &PullConfig) -> Result<Self, PullError> {
        let stream = config.stream.parse()?;
        let source = match &config.name {
            None => KIND.parse(),
            Some(name) => format!("{KIND}:{name}").parse(),
        };
        let source = source.map_err(|_| PullError::Name)?;
        let url = Url::parse(config.url.trim()).map_err(|_| PullError::Url)?;
        let tls = match url.scheme() {
            "rtsp" => false,
            "rtsps" => true,
            _ => return Err(PullError::Url),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(PullError::Url)?.to_owned();
        let port = url.port().unwrap_or(if tls { 322 } else { 554 });
        // What stands in the URL is written with escapes.
        let in_url = |text: &str| crate::keys::decode(text);
        let user = if url.username().is_empty() { config.user.clone() } else { in_url(url.username()) };
        let password = url.password().map_or_else(|| config.password.clone(), in_url);
        if user.is_empty() && !password.is_empty() {
            return Err(PullError::NoUser);
        }
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let (path, password) = (Secret::new(path), Secret::new(password));
        Ok(Self {
            stream,
            source,
            transport: config.transport,
            start: config.start,
            host,
            port,
            tls,
            path,
            user,
            password,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(url: &str) -> Result<PullPlan, PullError> {
        let (stream, user, password) = ("live/door".to_owned(), "u".to_owned(), "p".to_owned());
        let (transport, start) = Default::default();
        let (name, url) = (None, url.to_owned());
        PullPlan::try_from(&PullConfig { stream, name, url, user, password, transport, start })
    }

    #[test]
    fn a_camera_may_have_a_name_of_its_own() {
        let named = |name: Option<&str>| {
            let (user, password) = Default::default();
            let (transport, start) = Default::default();
            let (stream, url) = ("live/door".to_owned(), "rtsp://h/x".to_owned());
            let name = name.map(str::to_owned);
            PullPlan::try_from(&PullConfig { stream, name, url, user, password, transport, start })
        };
        assert_eq!(named(None).unwrap().source.as_str(), "rtsp");
        assert_eq!(named(Some("north-2")).unwrap().source.as_str(), "rtsp:north-2");
        assert_eq!(named(Some("the north")), Err(PullError::Name));
    }

    #[test]
    fn a_url_is_taken_apart_and_its_own_credentials_win() {
        let door = plan("rtsp://admin:p%40ss%2Fword@10.0.0.5/cam?channel=1").unwrap();
        assert_eq!((door.host.as_str(), door.port, door.tls), ("10.0.0.5", 554, false));
        assert_eq!(door.path.expose(), "/cam?channel=1");
        assert_eq!((door.user.as_str(), door.password.expose().as_str()), ("admin", "p@ss/word"));
        let other = plan("rtsps://[2001:db8::1]:7441/x").unwrap();
        assert_eq!((other.place().as_str(), other.tls), ("[2001:db8::1]:7441", true));
        assert_eq!((other.user.as_str(), other.password.expose().as_str()), ("u", "p"));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let secret = "hunter2";
        let config = PullConfig {
            stream: "live/x".into(),
            name: None,
            url: format!("rtsp://a:{secret}@h/{secret}?token={secret}"),
            user: String::new(),
            password: secret.into(),
            transport: Transport::Auto,
            start: Start::Always,
        };
        let plan = PullPlan::try_from(&config).unwrap();
        assert!(!format!("{config:?} {plan:?} {}", plan.place()).contains(secret));
        let wrong = PullConfig { url: format!("http://a:{secret}@h/"), ..config };
        assert!(!PullPlan::try_from(&wrong).unwrap_err().to_string().contains(secret));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["", "cam", "http://h/x", "rtsp:///x", "rtsp://"] {
            assert_eq!(plan(url), Err(PullError::Url), "{url}");
        }
    }
}
