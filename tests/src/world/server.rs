//! The server under test: the real binary, on ports of its own, with a data directory of its own.

mod ask;
mod program;
mod publishing;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::free_port;
use crate::fetch::Client;
use crate::publisher::Target;
use crate::{Outcome, now};
pub use program::{binary, run_program};
pub use publishing::Publishing;

/// How long a start may take, on a machine that is busy.
const START: Duration = Duration::from_secs(20);
/// How many lines of the server's log are kept.
const LOG_LINES: usize = 5_000;

/// `--set key=value`.
pub type Setting<'a> = (&'a str, &'a str);

/// Settings whose values were made, as a server takes them.
pub fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<Setting<'a>> {
    settings.iter().map(|(key, value)| (*key, value.as_str())).collect()
}

/// A running server. Dropped, it is killed and its data directory removed.
pub struct Server {
    child: Child,
    data: Arc<Data>,
    log: Arc<Mutex<Vec<String>>>,
    launch: Launch,
    rtmp: u16,
    http: SocketAddr,
    https: u16,
    admin: u16,
}

/// How it was started, for another start.
#[derive(Clone)]
struct Launch {
    settings: Vec<(String, String)>,
    flags: Vec<String>,
    core: Option<u32>,
}

/// A data directory that goes when nobody needs it any more.
struct Data(PathBuf);

impl Drop for Data {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Server {
    /// Starts `aqueduct serve` and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it does not build, start, or become ready; its log is in the text.
    pub async fn start(settings: &[Setting<'_>]) -> Outcome<Self> {
        Self::start_in(Arc::new(fresh_data()?), settings, &[], None).await
    }

    /// The same, all of it on one core of this machine: it and its workers take that for the whole machine.
    ///
    /// # Errors
    ///
    /// As for a start; and where `taskset` is missing.
    pub async fn start_on_core(core: u32, settings: &[Setting<'_>]) -> Outcome<Self> {
        Self::start_in(Arc::new(fresh_data()?), settings, &[], Some(core)).await
    }

    /// The same with a fault for the workers to act out, such as `abort@60`, and with transcoding on.
    ///
    /// # Errors
    ///
    /// As for a start.
    pub async fn planted(fault: &str, settings: &[Setting<'_>]) -> Outcome<Self> {
        let settings: Vec<_> = [("transcode.mode", "auto")].iter().chain(settings).copied().collect();
        Self::start_in(Arc::new(fresh_data()?), &settings, &["--plant", fault], None).await
    }

    /// Starts `aqueduct origin`, which feeds edges at this UDP port of the loopback interface.
    ///
    /// # Errors
    ///
    /// As for a start.
    pub async fn origin(relay: u16, settings: &[Setting<'_>]) -> Outcome<Self> {
        let listen = format!("127.0.0.1:{relay}");
        let settings: Vec<_> = [("relay.listen", &*listen)].iter().chain(settings).copied().collect();
        Self::start_in(Arc::new(fresh_data()?), &settings, &["origin"], None).await
    }

    /// Starts `aqueduct edge`, fed by these nodes of the loopback interface.
    ///
    /// # Errors
    ///
    /// As for a start.
    pub async fn edge(origins: &[SocketAddr], settings: &[Setting<'_>]) -> Outcome<Self> {
        let origins: Vec<String> = origins.iter().map(|origin| format!("--origin={origin}")).collect();
        let flags: Vec<&str> = ["edge"].into_iter().chain(origins.iter().map(String::as_str)).collect();
        Self::start_in(Arc::new(fresh_data()?), settings, &flags, None).await
    }

    /// Kills an origin (`kill -9`) and starts it again over the same data directory, feeding edges at the same port.
    ///
    /// # Errors
    ///
    /// As for a start.
    pub async fn restart_origin(mut self, relay: u16, settings: &[Setting<'_>]) -> Outcome<Self> {
        self.signal("KILL").await?;
        self.ended(Duration::from_secs(20)).await?;
        let listen = format!("127.0.0.1:{relay}");
        let settings: Vec<_> = settings.iter().copied().chain([("relay.listen", &*listen)]).collect();
        Self::start_in(Arc::clone(&self.data), &settings, &["origin"], None).await
    }

    /// Kills it (`kill -9`) and waits until it is gone. Its data directory stays for [`again`](Self::again).
    ///
    /// # Errors
    ///
    /// When it is gone already.
    pub async fn kill(&mut self) -> Outcome {
        self.signal("KILL").await?;
        self.ended(Duration::from_secs(20)).await?;
        Ok(())
    }

    /// Starts one that has ended once more: the same role, settings and data directory, and the same ports where the
    /// settings say which.
    ///
    /// # Errors
    ///
    /// As for a start.
    pub async fn again(&self) -> Outcome<Self> {
        let Launch { settings, flags, core } = &self.launch;
        let settings: Vec<_> = settings.iter().map(|(key, value)| (&**key, &**value)).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Self::start_in(Arc::clone(&self.data), &settings, &flags, *core).await
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn exited(&mut self) -> Outcome<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The same with a log that says all it can.
    ///
    /// # Errors
    ///
    /// As for a start.
    pub async fn talkative(settings: &[Setting<'_>]) -> Outcome<Self> {
        Self::start_in(Arc::new(fresh_data()?), settings, &["--log", "trace"], None).await
    }

    /// The same, with these settings in a file, as an operator keeps them; what `settings` say stands over it.
    ///
    /// # Errors
    ///
    /// As for a start.
    pub async fn configured(file: &str, settings: &[Setting<'_>]) -> Outcome<Self> {
        let data = Arc::new(fresh_data()?);
        let path = data.0.join("aqueduct.toml");
        std::fs::write(&path, file)?;
        let flags = ["--log", "trace", "--config", &path.to_string_lossy()];
        Self::start_in(data, settings, &flags, None).await
    }

    async fn start_in(
        data: Arc<Data>,
        settings: &[Setting<'_>],
        flags: &[&str],
        core: Option<u32>,
    ) -> Outcome<Self> {
        // Another process may take a free port before the server does.
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::attempt(Arc::clone(&data), settings, flags, core).await {
                Err(error) if attempts < 3 && error.to_string().contains("in use") => {}
                result => return result,
            }
        }
    }

    async fn attempt(
        data: Arc<Data>,
        settings: &[Setting<'_>],
        flags: &[&str],
        core: Option<u32>,
    ) -> Outcome<Self> {
        // A test may want it at another address, with a port that it has chosen.
        let chosen = |name: &str| settings.iter().find(|(key, _)| *key == name)?.1.parse::<SocketAddr>().ok();
        let port = |name: &str| chosen(name).map_or_else(free_port, |address| Ok(address.port()));
        let (rtmp, https, admin) =
            (port("ingest.rtmp.listen")?, port("edge.https.listen")?, port("admin.listen")?);
        let http = match chosen("edge.http.listen") {
            Some(address) => address,
            None => SocketAddr::from(([127, 0, 0, 1], free_port()?)),
        };
        let program = binary().await?;
        let mut command = match core {
            Some(core) => super::busy::on_core(core, &program),
            None => Command::new(program),
        };
        // Settings of whoever runs the tests are not the tests'.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AQUEDUCT_"))
        {
            command.env_remove(name);
        }
        let owned = |setting: &Setting<'_>| (setting.0.to_owned(), setting.1.to_owned());
        let launch = Launch {
            settings: settings.iter().map(owned).collect(),
            flags: flags.iter().map(ToString::to_string).collect(),
            core,
        };
        let (role, flags) = match flags {
            [role @ ("origin" | "edge"), flags @ ..] => (*role, flags),
            flags => ("serve", flags),
        };
        command.arg(role).args(["--log-format", "human"]).args(flags);
        let set = |command: &mut Command, key: &str, value: &str| {
            command.args(["--set", &format!("{key}={value}")]);
        };
        set(&mut command, "ingest.rtmp.listen", &format!("127.0.0.1:{rtmp}"));
        set(&mut command, "edge.http.listen", &http.to_string());
        set(&mut command, "edge.https.listen", &format!("127.0.0.1:{https}"));
        set(&mut command, "admin.listen", &format!("127.0.0.1:{admin}"));
        set(&mut command, "data_dir", &data.0.display().to_string());
        // What is not about ladders is about the source's own renditions.
        set(&mut command, "transcode.mode", "off");
        for (key, value) in settings {
            set(&mut command, key, value);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let log = Arc::new(Mutex::new(Vec::new()));
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(collect(stdout, Arc::clone(&log)));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(collect(stderr, Arc::clone(&log)));
        }
        let mut server = Self { child, data, log, launch, rtmp, http, https, admin };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&mut self) -> Outcome {
        let (client, deadline) = (Client::new(), now() + START);
        let url = self.admin("/readyz");
        while now() < deadline {
            if client.get(&url).await.is_ok_and(|answer| answer.status.is_success()) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                // Its last words may still be on their way.
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Err(format!("aqueduct ended at its start ({status}):\n{}", self.log()).into());
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        Err(format!("aqueduct is not ready after {START:?}:\n{}", self.log()).into())
    }

    /// Where to publish a stream.
    pub fn target(&self, name: &str) -> Target {
        Target::live(self.rtmp_address(), name)
    }

    /// `host:port` of RTMP.
    pub fn rtmp_address(&self) -> String {
        format!("127.0.0.1:{}", self.rtmp)
    }

    /// `host:port` of HTTP.
    pub fn http_address(&self) -> String {
        self.http.to_string()
    }

    /// `host:port` of the admin pages.
    pub fn admin_address(&self) -> String {
        format!("127.0.0.1:{}", self.admin)
    }

    /// What ffmpeg or OBS would be given.
    pub fn rtmp_url(&self, name: &str) -> String {
        format!("rtmp://127.0.0.1:{}/live/{name}", self.rtmp)
    }

    /// The multivariant playlist of a stream.
    pub fn playlist(&self, name: &str) -> String {
        format!("http://{}/live/{name}/index.m3u8", self.http)
    }

    /// The same over TLS.
    pub fn secure_playlist(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/live/{name}/index.m3u8", self.https)
    }

    /// Where HTTPS and HTTP/3 are served: `HOST:PORT`.
    pub fn https_address(&self) -> String {
        format!("127.0.0.1:{}", self.https)
    }

    /// The certificate that it made for development.
    pub fn certificate(&self) -> PathBuf {
        self.data.0.join("tls/development-cert.pem")
    }

    /// The player page of a stream.
    pub fn watch_page(&self, name: &str) -> String {
        format!("http://{}/watch/live/{name}", self.http)
    }

    /// A URL of the admin port.
    pub fn admin(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin)
    }

    /// Everything that the server has written so far.
    pub fn log(&self) -> String {
        self.log.lock().map(|lines| lines.join("\n")).unwrap_or_default()
    }

    /// The process.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Process ids of its workers that encode.
    pub fn workers(&self) -> Vec<u32> {
        self.workers_of("worker")
    }

    /// Process ids of its workers that were started with this subcommand.
    pub fn workers_of(&self, subcommand: &str) -> Vec<u32> {
        let threads = self.pid().and_then(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok());
        let listed = threads.into_iter().flatten().flatten();
        let children =
            listed.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        let children: Vec<u32> = children
            .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        let is_worker = |pid: &u32| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command.split(|byte| *byte == 0).nth(1) == Some(subcommand.as_bytes())
        };
        children.into_iter().filter(is_worker).collect()
    }

    /// Asks the server to stop, as systemd does (SIGTERM).
    ///
    /// # Errors
    ///
    /// When it is gone already.
    pub async fn terminate(&self) -> Outcome {
        self.signal("TERM").await
    }

    async fn signal(&self, signal: &str) -> Outcome {
        let pid = self.pid().ok_or("the server has ended already")?;
        super::signal(pid, signal).await
    }

    /// Waits until the process has ended; its exit code.
    ///
    /// # Errors
    ///
    /// When it has not within `patience`.
    pub async fn ended(&mut self, patience: Duration) -> Outcome<Option<i32>> {
        let status = tokio::time::timeout(patience, self.child.wait())
            .await
            .map_err(|_| format!("the server has not ended within {patience:?}"))??;
        Ok(status.code())
    }

    /// Stops this server and starts another one over the same data directory, on other ports.
    ///
    /// # Errors
    ///
    /// As for a start.
    pub async fn restart(mut self, kill: bool, settings: &[Setting<'_>]) -> Outcome<Self> {
        self.signal(if kill { "KILL" } else { "TERM" }).await?;
        self.ended(Duration::from_secs(20)).await?;
        Self::start_in(Arc::clone(&self.data), settings, &[], None).await
    }
}

fn fresh_data() -> Outcome<Data> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("aqueduct-test-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&path)?;
    Ok(Data(path))
}

async fn collect(stream: impl AsyncRead + Unpin, log: Arc<Mutex<Vec<String>>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(mut log) = log.lock()
            // However long it is, how it broke is told.
            && (log.len() < LOG_LINES || line.contains("panicked"))
        {
            log.push(line);
        }
    }
}
