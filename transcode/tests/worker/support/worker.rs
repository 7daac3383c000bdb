//! A worker in this process, on pipes.

use std::io::{Read as _, Write as _};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use aqueduct_common::{Track, TrackId};
use aqueduct_transcode::protocol::{
    Fallback, Frame, FromWorker, Job, Reader, Report, ToWorker, VERSION, encode,
};
use aqueduct_transcode::worker::{WorkerError, serve};

/// Longest time that a test waits for a message.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running worker.
pub struct Worker {
    input: Option<std::io::PipeWriter>,
    pub messages: Receiver<FromWorker>,
    thread: JoinHandle<Result<(), WorkerError>>,
}

/// All that a worker said.
#[derive(Default)]
pub struct Said {
    pub tracks: Vec<Track>,
    pub frames: Vec<Frame>,
    pub fallbacks: Vec<Fallback>,
    pub reports: Vec<Report>,
    pub troubles: Vec<String>,
    pub echoes: usize,
}

impl Worker {
    pub fn start(job: &Job) -> Self {
        let (from_test, input) = std::io::pipe().unwrap();
        let (mut output, to_test) = std::io::pipe().unwrap();
        let thread = std::thread::spawn(move || serve(from_test, to_test));
        #[expect(clippy::disallowed_methods, reason = "a test holds all that the worker says")]
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut reader = Reader::<FromWorker>::default();
            let mut chunk = vec![0; 1 << 16];
            while let Ok(length @ 1..) = output.read(&mut chunk) {
                reader.push(&chunk[..length]);
                while let Some(message) = reader.poll() {
                    if sender.send(message.unwrap()).is_err() {
                        return;
                    }
                }
            }
        });
        let mut worker = Self { input: Some(input), messages, thread };
        assert!(matches!(worker.next(), FromWorker::Ready { version: VERSION }));
        worker.send(&ToWorker::Job(job.clone()));
        worker
    }

    pub fn send(&mut self, message: &ToWorker) {
        let encoded = encode(message).unwrap();
        let input = self.input.as_mut().unwrap();
        // A worker that has ended is seen by what it said.
        let _ = input.write_all(&encoded.head).and_then(|()| input.write_all(&encoded.payload));
    }

    pub fn next(&mut self) -> FromWorker {
        self.messages.recv_timeout(PATIENCE).expect("the worker says nothing more")
    }

    /// The next frame; tracks and the rest are passed over.
    pub fn frame(&mut self) -> Frame {
        loop {
            if let FromWorker::Frame(frame) = self.next() {
                return frame;
            }
        }
    }

    /// Says the end, and gathers what is left.
    pub fn end(mut self) -> (Said, Result<(), WorkerError>) {
        self.send(&ToWorker::End);
        self.gather()
    }

    /// Closes the input and gathers what is left.
    pub fn gather(mut self) -> (Said, Result<(), WorkerError>) {
        self.input = None;
        let mut said = Said::default();
        loop {
            match self.messages.recv_timeout(PATIENCE) {
                Ok(message) => said.add(message),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("the worker hangs: {error}"),
            }
        }
        (said, self.thread.join().unwrap())
    }
}

/// Runs a whole job: all frames, then the end. The worker has to end well.
pub fn transcode(job: &Job, track: &Track, frames: &[Frame]) -> Said {
    let mut worker = Worker::start(job);
    worker.send(&ToWorker::Source(vec![track.clone()]));
    for frame in frames {
        worker.send(&ToWorker::Frame(frame.clone()));
    }
    let (said, outcome) = worker.end();
    outcome.unwrap();
    said
}

impl Said {
    pub fn add(&mut self, message: FromWorker) {
        match message {
            FromWorker::Ready { .. } => panic!("ready twice"),
            FromWorker::Track(track) => self.tracks.push(track),
            FromWorker::Frame(frame) => self.frames.push(frame),
            FromWorker::Fallback(fallback) => self.fallbacks.push(fallback),
            FromWorker::Echo => self.echoes += 1,
            FromWorker::Report(report) => self.reports.push(report),
            FromWorker::Trouble(words) => self.troubles.push(words),
        }
    }

    /// Frames of one rendition.
    pub fn of(&self, track: u8) -> Vec<&Frame> {
        self.frames.iter().filter(|frame| frame.track == TrackId(track)).collect()
    }

    /// The only parameters of one rendition.
    pub fn track(&self, track: u8) -> &Track {
        let mut tracks = self.tracks.iter().filter(|known| known.id == TrackId(track));
        let first = tracks.next().expect("no parameters");
        assert!(tracks.next().is_none(), "parameters changed");
        first
    }
}
