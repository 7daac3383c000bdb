//! What the processes of all workers have in common: how they are started, logged and reaped.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use aqueduct_common::StreamName;
use aqueduct_common::event::WorkerLoss;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time;

use crate::protocol::Encoded;

/// How long a worker that is not needed any more may take to end by itself, and one that closed its output to exit.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// Lines of a worker's standard error that are logged in [`LOG_SPAN`]; the rest is counted.
const LOG_LINES: u32 = 10;
const LOG_SPAN: Duration = Duration::from_secs(10);
/// Longest part of a line that is logged.
const LOG_WIDTH: usize = 300;

/// Environment that a worker needs: where libraries and drivers are. Nothing of the server's own settings.
const ENVIRONMENT: [&str; 9] = [
    "LD_LIBRARY_PATH",
    "LIBVA_DRIVER_NAME",
    "LIBVA_DRIVERS_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "RUST_BACKTRACE",
    "LLVM_PROFILE_FILE",
    "ASAN_OPTIONS",
];

/// How workers are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Launch {
    /// This very program with its hidden subcommand, whatever has become of its file since it was started.
    ///
    /// # Errors
    /// Where the system does not say which program this is.
    pub fn this_program() -> std::io::Result<Self> {
        let itself = PathBuf::from("/proc/self/exe");
        let program = if cfg!(target_os = "linux") { itself } else { std::env::current_exe()? };
        Ok(Self { program, arguments: vec!["worker".into()] })
    }

    /// A command that starts one, with pipes, in a process group of its own. What is added to it is its caller's.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear();
        command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A terminal's Ctrl-C is for the server, which ends its workers in its own order.
        command.process_group(0).kill_on_drop(true);
        command
    }
}

/// A worker that was started, and its pipes.
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

impl Started {
    /// Starts what [`Launch::command`] made.
    pub(crate) fn from(mut command: Command) -> std::io::Result<Self> {
        let mut child = command.spawn()?;
        let missing = || std::io::Error::other("a pipe of the worker is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        Ok(Self { child, stdin, stdout, stderr })
    }
}

/// Feeds the worker until its food ends, then closes its input. A broken pipe ends it as well: its exit says why.
pub(crate) async fn write(mut stdin: ChildStdin, mut fed: mpsc::Receiver<Encoded>) {
    while let Some(message) = fed.recv().await {
        if stdin.write_all_buf(&mut message.into_buf()).await.is_err() {
            return;
        }
    }
}

/// Waits until it has ended; one that stays is killed.
pub(crate) async fn reap(child: &mut Child) -> std::io::Result<ExitStatus> {
    match time::timeout(GRACE, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            let _ = child.start_kill();
            child.wait().await
        }
    }
}

/// Logs what the worker writes to its standard error: libav's words, a panic's. Never more than a few lines at once.
pub(crate) async fn log(stderr: ChildStderr, stream: StreamName) {
    let mut lines = BufReader::new(stderr.take(u64::MAX)).split(b'\n');
    let (mut logged, mut left_out) = (0, 0);
    let mut span = Box::pin(time::sleep(LOG_SPAN));
    loop {
        tokio::select! {
            () = &mut span => {
                if left_out > 0 {
                    tracing::warn!(%stream, lines = left_out, "a worker wrote more than was logged");
                }
                (logged, left_out) = (0, 0);
                span.set(time::sleep(LOG_SPAN));
            }
            line = lines.next_segment() => {
                let Ok(Some(line)) = line else { return };
                if logged < LOG_LINES {
                    logged += 1;
                    let line = String::from_utf8_lossy(&line[..line.len().min(LOG_WIDTH)]).into_owned();
                    tracing::warn!(%stream, line, "worker");
                } else {
                    left_out += 1;
                }
            }
        }
    }
}

/// How it ended, and in words.
pub(crate) fn cause(status: ExitStatus) -> (WorkerLoss, String) {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => (WorkerLoss::Exit(code), format!("it exited with code {code}")),
        (None, Some(signal)) => {
            let name = match signal {
                4 => " (illegal instruction)",
                6 => " (abort)",
                7 => " (bus error)",
                8 => " (arithmetic)",
                9 => " (kill: by an operator, or for want of memory)",
                11 => " (segmentation fault)",
                15 => " (terminate)",
                31 => " (forbidden system call)",
                _ => "",
            };
            (WorkerLoss::Signal(signal), format!("signal {signal}{name} ended it"))
        }
        (None, None) => (WorkerLoss::Exit(-1), "it ended in no known way".into()),
    }
}
