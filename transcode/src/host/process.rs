//! A transcode's worker as a process: fed, read, looked at, killed. Decides nothing.

use aqueduct_common::StreamName;
use aqueduct_common::event::WorkerLoss;
use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStdout;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::launch::{GRACE, Launch, Started, cause, log, reap, write};
use super::supervise::Pulse;
use crate::protocol::{Encoded, FromWorker, Reader};

/// Messages on their way to a worker. The throttle keeps it at half a second of media; this bounds what a worker that
/// reads nothing can hold until it counts as a hang.
const INPUT: usize = 4_096;
/// Messages of a worker that wait for the host. The worker waits when it is full.
const OUTPUT: usize = 512;
/// Bytes that are read at once.
const READ: usize = 64 * 1024;
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
        let mut command = launch.command();
        if devices {
            command.env(crate::worker::cage::DEVICES, "1");
        }
        let started = Started::from(command)?;
        let (input, fed) = mpsc::channel(INPUT);
        let (said, output) = mpsc::channel(OUTPUT);
        let kill = CancellationToken::new();
        let pid = started.child.id();
        tokio::spawn(attend(started, fed, said, kill.clone(), stream.clone()));
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

/// Moves bytes until the worker is gone, and reaps it.
async fn attend(
    started: Started,
    fed: mpsc::Receiver<Encoded>,
    said: mpsc::Sender<Heard>,
    kill: CancellationToken,
    stream: StreamName,
) {
    let Started { mut child, stdin, stdout, stderr } = started;
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
    let status = reap(&mut child).await;
    let (cause, detail) = match (wrong, status) {
        (Some(error), _) => (WorkerLoss::Protocol, format!("it broke the protocol: {error}")),
        (None, Ok(status)) => cause(status),
        (None, Err(error)) => (WorkerLoss::Exit(-1), format!("its end could not be read: {error}")),
    };
    let _ = said.send(Heard::Gone(cause, detail)).await;
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
