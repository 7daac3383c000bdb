//! The server under measurement.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock;
use crate::command;
use crate::error::Error;
use crate::http1::{Answer, Body, Connection};
use crate::playlist::{self, Media, Renditions, Variant};
use crate::process::Program;
use crate::scratch::{Scratch, free_address};

/// How long the server may take to start, and a stream to appear.
const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(20);

/// A running `aqueduct serve` on ports and data of its own.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub program: Program,
    /// Where to push.
    pub rtmp: SocketAddr,
    /// Where to watch.
    pub http: SocketAddr,
    /// Where to watch with TLS.
    pub https: SocketAddr,
    /// The operator's port.
    pub admin: SocketAddr,
    data: Scratch,
}

impl Server {
    /// Starts it, on one core where `core` names one, and waits until it is ready.
    pub async fn start(binary: &Path, core: Option<usize>) -> Result<Self, Error> {
        Self::start_with(binary, core, &[]).await
    }

    /// The same with settings over those of a measurement.
    pub async fn start_with(
        binary: &Path,
        core: Option<usize>,
        settings: &[(&str, &str)],
    ) -> Result<Self, Error> {
        Self::start_as(binary, core, &["serve"], settings).await
    }

    /// The same in another role: the subcommand with its flags.
    pub async fn start_as(
        binary: &Path,
        core: Option<usize>,
        role: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let data = Scratch::new("data")?;
        let (rtmp, http, https, admin) = (free_address()?, free_address()?, free_address()?, free_address()?);
        let mut command = command::on(core, binary);
        command.args(role).args(["--log", "warn"]);
        for (key, value) in [
            ("ingest.rtmp.listen", rtmp.to_string()),
            ("edge.http.listen", http.to_string()),
            ("edge.https.listen", https.to_string()),
            ("admin.listen", admin.to_string()),
            ("data_dir", data.path().display().to_string()),
            // One address here stands for a world of viewers.
            ("edge.limits.requests_per_second_per_ip", "1000000".to_owned()),
            ("transcode.mode", "off".to_owned()),
        ] {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        for (key, value) in settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let log = data.path().join("log");
        let program = Program::start(command, &log, "build it first: cargo build --release -p aqueduct")?;
        let mut server = Self { program, rtmp, http, https, admin, data };
        server
            .until("the server to be ready", async || {
                Ok(Connection::open(admin, 0).await?.get("/readyz", Body::Drop).await.ok())
            })
            .await?;
        Ok(server)
    }

    /// The certificate for development and its key, which the server has made.
    pub fn certificate(&self) -> (PathBuf, PathBuf) {
        let dir = self.data.path().join("tls");
        (dir.join("development-cert.pem"), dir.join("development-key.pem"))
    }

    /// Waits for `live/NAME` to be published.
    pub async fn live(&mut self, name: &str) -> Result<Renditions, Error> {
        let (http, path) = (self.http, format!("/live/{name}/index.m3u8"));
        self.until(&format!("{path} to be published"), async || {
            let answer = Connection::open(http, 0).await?.ask(&path, Body::Keep).await?;
            if answer.status != 200 {
                return Ok(None);
            }
            playlist::renditions(&path, &answer.text()?).map(Some)
        })
        .await
    }

    /// Waits for `live/NAME` to be published with so many variants that have pictures.
    pub async fn ladder(&mut self, name: &str, count: usize) -> Result<Vec<Variant>, Error> {
        let (http, path) = (self.http, format!("/live/{name}/index.m3u8"));
        self.until(&format!("{path} to name {count} variants"), async || {
            let answer = Connection::open(http, 0).await?.ask(&path, Body::Keep).await?;
            let variants = match answer.status {
                200 => playlist::variants(&path, &answer.text()?),
                _ => Vec::new(),
            };
            Ok((variants.len() == count).then_some(variants))
        })
        .await
    }

    /// Tries until there is an answer; connection errors mean not yet.
    async fn until<T>(
        &mut self,
        what: &str,
        attempt: impl AsyncFn() -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        let deadline = clock::now() + PATIENCE;
        loop {
            self.program.check()?;
            match attempt().await {
                Ok(Some(value)) => return Ok(value),
                Ok(None) | Err(Error::Io { .. }) if clock::now() < deadline => tokio::time::sleep(STEP).await,
                Ok(None) | Err(Error::Io { .. }) => {
                    let (seconds, log) = (PATIENCE.as_secs(), self.program.last_words());
                    return Err(Error::Overdue { what: what.to_owned(), seconds, log });
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A blocking playlist reload: the playlist that has the part `at` or a later one.
pub async fn reload(
    connection: &mut Connection,
    path: &str,
    at: (u64, u64),
) -> Result<(Media, Answer), Error> {
    let path = format!("{path}?_HLS_msn={}&_HLS_part={}", at.0, at.1);
    let answer = connection.get(&path, Body::Keep).await?;
    Ok((playlist::media(&path, &answer.text()?)?, answer))
}

/// The playlist as it is now.
pub async fn load(connection: &mut Connection, path: &str) -> Result<Media, Error> {
    let answer = connection.get(path, Body::Keep).await?;
    playlist::media(path, &answer.text()?)
}
