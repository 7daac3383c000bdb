//! A worker's process: started, fed, read, killed, reaped. Decides nothing.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use aqueduct_common::StreamName;
use aqueduct_common::event::WorkerLoss;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::supervise::Pulse;
use crate::protocol::{Encoded, FromWorker, Reader};

/// Messages on their way to a worker. The throttle keeps it at half a second of media; this bounds what a worker that
/// reads nothing can hold until it counts as a hang.
const INPUT: usize = 4_096;
/// Messages of a worker that wait for the host. The worker waits when it is full.
const OUTPUT: usize = 512;
/// Bytes that are read at once.
const READ: usize = 64 * 1024;
/// How long a worker that is not needed any more may take to end by itself, and one that closed its output to exit.
const GRACE: Duration = Duration::from_secs(1);
/// Lines of a worker's standard error that are logged in [`LOG_SPAN`]; the rest is counted.
const LOG_LINES: u32 = 10;
const LOG_SPAN: Duration = Duration::from_secs(10);
/// Longest part of a line that is logged.
const LOG_WIDTH: usize = 300;

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
}

/// Environment that a worker needs: where libraries and drivers are. Nothing of the server's own settings.
pub(crate) const ENVIRONMENT: [&str; 9] = [
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

/// What is heard of a worker.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are messages, and a box for each costs more than the room"
)]
pub enum Heard {
    /// It said something.
    Message(FromWorker),
    /// It is gone, and reaped. Nothing follows.
    Gone(WorkerLoss, String),
}

/// A worker that runs. Dropping it kills the process.
#[derive(Debug)]
pub struct Process {
    input: mpsc::Sender<Encoded>,
    output: mpsc::Receiver<Heard>,
    kill: CancellationToken,
    kill_on_drop: Option<tokio_util::sync::DropGuard>,
    /// The process's number.
    pub pid: Option<u32>,
}

impl Process {
    /// Starts a worker of this stream; with `devices` its cage leaves GPUs open.
    ///
    /// # Errors
    /// What the system says.
    pub fn spawn(launch: &Launch, stream: &StreamName, devices: bool) -> std::io::Result<Self> {
        let mut command = Command::new(&launch.program);
        command.args(&launch.arguments).env_clear();
        command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        if devices {
            command.env(crate::worker::cage::DEVICES, "1");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A terminal's Ctrl-C is for the server, which ends its workers in its own order.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn()?;
        let missing = || std::io::Error::other("a pipe of the worker is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let (input, fed) = mpsc::channel(INPUT);
        let (said, output) = mpsc::channel(OUTPUT);
        let kill = CancellationToken::new();
        let pid = child.id();
        tokio::spawn(attend(
            Attended { child, stdin, stdout, stderr, fed, said, kill: kill.clone() },
            stream.clone(),
        ));
        let kill_on_drop = Some(kill.clone().drop_guard());
        Ok(Self { input, output, kill, kill_on_drop, pid })
    }

    /// Hands a message over. `false` when it does not fit any more.
    pub fn tell(&self, message: Encoded) -> bool {
        !matches!(self.input.try_send(message), Err(mpsc::error::TrySendError::Full(_)))
    }

    /// What it says, in order; `None` after [`Heard::Gone`].
    pub async fn hear(&mut self) -> Option<Heard> {
        self.output.recv().await
    }

    /// What it has said already.
    pub fn try_hear(&mut self) -> Option<Heard> {
        self.output.try_recv().ok()
    }

    /// What its threads do at this moment; known on Linux.
    pub fn pulse(&self) -> Pulse {
        let Some(threads) = self.pid.and_then(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok())
        else {
            return Pulse::Unknown;
        };
        let stat = |thread: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(thread.ok()?.path().join("stat")).ok()
        };
        pulse(threads.filter_map(stat).filter_map(|stat| state(&stat)))
    }

    /// Its input ends: it gives what it still has, and exits.
    pub fn end_input(&mut self) {
        self.input = mpsc::channel(1).0;
    }

    /// It is not needed any more: its input ends, and it is killed when it stays.
    pub fn dismiss(mut self) {
        let guard = self.kill_on_drop.take();
        tokio::spawn(async move {
            time::sleep(GRACE).await;
            drop(guard);
        });
    }

    /// Kills it.
    pub fn kill(self) {
        self.kill.cancel();
    }
}

struct Attended {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
    fed: mpsc::Receiver<Encoded>,
    said: mpsc::Sender<Heard>,
    kill: CancellationToken,
}

/// Moves bytes until the worker is gone, and reaps it.
async fn attend(attended: Attended, stream: StreamName) {
    let Attended { mut child, stdin, stdout, stderr, fed, said, kill } = attended;
    let mut beside = JoinSet::new();
    beside.spawn(write(stdin, fed));
    beside.spawn(log(stderr, stream));
    let wrong = tokio::select! {
        () = kill.cancelled() => None,
        wrong = read(stdout, &said) => wrong,
    };
    if wrong.is_some() || kill.is_cancelled() {
        let _ = child.start_kill();
    }
    let status = match time::timeout(GRACE, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            let _ = child.start_kill();
            child.wait().await
        }
    };
    let (cause, detail) = match (wrong, status) {
        (Some(error), _) => (WorkerLoss::Protocol, format!("it broke the protocol: {error}")),
        (None, Ok(status)) => cause(status),
        (None, Err(error)) => (WorkerLoss::Exit(-1), format!("its end could not be read: {error}")),
    };
    let _ = said.send(Heard::Gone(cause, detail)).await;
}

/// Feeds the worker until its food ends, then closes its input. A broken pipe ends it as well: its exit says why.
async fn write(mut stdin: ChildStdin, mut fed: mpsc::Receiver<Encoded>) {
    while let Some(message) = fed.recv().await {
        if stdin.write_all_buf(&mut message.into_buf()).await.is_err() {
            return;
        }
    }
}

/// Hears the worker to its end. Returns what was wrong, where it broke the protocol.
async fn read(mut stdout: ChildStdout, said: &mpsc::Sender<Heard>) -> Option<crate::protocol::ProtocolError> {
    let mut reader = Reader::<FromWorker>::default();
    loop {
        reader.buffer().reserve(READ);
        match stdout.read_buf(reader.buffer()).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        while let Some(message) = reader.poll() {
            match message {
                // Nobody listens any more: what is read is let go, so that the worker can end by itself.
                Ok(message) => drop(said.send(Heard::Message(message)).await),
                Err(error) => return Some(error),
            }
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

/// The state of a thread, by its line in `/proc`: number, name in brackets, state.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

fn pulse(states: impl Iterator<Item = char>) -> Pulse {
    let of = |state| match state {
        'T' | 't' => Pulse::Stopped,
        'R' | 'D' => Pulse::Busy,
        'S' | 'I' => Pulse::Idle,
        _ => Pulse::Unknown,
    };
    let rank = |pulse: &Pulse| match pulse {
        Pulse::Unknown => 0,
        Pulse::Idle => 1,
        Pulse::Busy => 2,
        Pulse::Stopped => 3,
    };
    states.map(of).max_by_key(rank).unwrap_or(Pulse::Unknown)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_known_by_its_state_whatever_its_name() {
        assert_eq!(state("41 (rung-16) S 1 41 41 0"), Some('S'));
        assert_eq!(state("41 (a) R (b)) D 1"), Some('D'));
        assert_eq!((state("41 (x"), state("")), (None, None));
        assert_eq!(pulse("SSRS".chars()), Pulse::Busy);
        assert_eq!(pulse("SSTT".chars()), Pulse::Stopped);
        assert_eq!(pulse("SSI".chars()), Pulse::Idle);
        assert_eq!((pulse("ZX".chars()), pulse("".chars())), (Pulse::Unknown, Pulse::Unknown));
    }
}
