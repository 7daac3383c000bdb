//! A real NATS server with JetStream, on a port and in a directory of its own.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::free_port;
use crate::{Outcome, now};

/// How long a start may take, on a machine that is busy.
const START: Duration = Duration::from_secs(20);

/// A running NATS server. Dropped, it is killed and its directory removed.
pub struct Nats {
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Nats {
    /// Starts it and waits until it greets.
    ///
    /// # Errors
    ///
    /// When it is not installed or does not start.
    pub async fn start() -> Outcome<Self> {
        let port = free_port()?;
        // It waits for the disk at every word that it keeps, and a suite that compiles beside it keeps the disk busy.
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let dir = folder.join(format!("aqueduct-nats-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let spawned = Command::new("nats-server")
            .args(["-js", "-sd", &dir.display().to_string(), "-a", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let child =
            spawned.map_err(|error| format!("nats-server: {error}; `scripts/setup.sh test` installs it"))?;
        let nats = Self { child, port, dir };
        nats.greets().await?;
        Ok(nats)
    }

    /// What nodes are given as `cluster.nats`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills it.
    ///
    /// # Errors
    ///
    /// When it cannot be killed.
    pub async fn kill(&mut self) -> Outcome {
        Ok(self.child.kill().await?)
    }

    async fn greets(&self) -> Outcome {
        let deadline = now() + START;
        loop {
            let mut greeting = [0; 4];
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)).await
                && stream.read_exact(&mut greeting).await.is_ok()
                && &greeting == b"INFO"
            {
                return Ok(());
            }
            if now() > deadline {
                return Err("nats-server does not greet".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
