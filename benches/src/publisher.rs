//! Pushes synthetic streams in real time and remembers when each frame was handed to the kernel.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::clock;
use crate::error::{Error, doing};
use crate::rtmp;
use crate::source::{Source, Track};

/// A stream that is being pushed; ends with this value.
#[derive(Debug)]
pub struct Publisher {
    sent: Sent,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// When each frame was written, by number.
#[derive(Clone, Default, Debug)]
pub struct Sent {
    video: Arc<Mutex<Vec<Instant>>>,
    audio: Arc<Mutex<Vec<Instant>>>,
}

impl Sent {
    /// The instant before the write that handed over the frame's last byte: every later figure includes that write.
    pub fn at(&self, track: Track, index: u32) -> Option<Instant> {
        self.of(track).lock().unwrap_or_else(PoisonError::into_inner).get(index as usize).copied()
    }

    /// Forgets all: frames are counted from none again.
    pub fn restart(&self) {
        for track in [Track::Video, Track::Audio] {
            self.of(track).lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Notes that the next frame of a track is about to be written.
    pub fn note(&self, track: Track) {
        self.of(track).lock().unwrap_or_else(PoisonError::into_inner).push(clock::now());
    }

    fn of(&self, track: Track) -> &Mutex<Vec<Instant>> {
        match track {
            Track::Video => &self.video,
            Track::Audio => &self.audio,
        }
    }
}

impl Publisher {
    /// Publishes `live/NAME` to every address at once, the same bytes to each.
    pub fn start(addresses: &[SocketAddr], name: &str, source: Source) -> Result<Self, Error> {
        let sockets =
            addresses.iter().map(|address| rtmp::publish(*address, name)).collect::<Result<Vec<_>, _>>()?;
        for socket in &sockets {
            drain(socket)?;
        }
        let (sent, stop) = (Sent::default(), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (sent, stop) = (sent.clone(), stop.clone());
            move || push(sockets, source, &sent, &stop)
        });
        Ok(Self { sent, stop, thread: Some(thread) })
    }

    /// When each frame was written.
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }

    /// Stops; an error if the server ended the stream before.
    pub fn finish(mut self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Ok(()),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes in whatever the server says, so that its socket never fills.
fn drain(socket: &TcpStream) -> Result<(), Error> {
    let reader = socket.set_read_timeout(None).and_then(|()| socket.try_clone());
    let mut reader = reader.map_err(doing("prepare the RTMP socket"))?;
    thread::spawn(move || {
        let mut waste = [0; 4_096];
        while matches!(reader.read(&mut waste), Ok(1..)) {}
    });
    Ok(())
}

fn push(
    mut sockets: Vec<TcpStream>,
    mut source: Source,
    sent: &Sent,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let mut out = source.headers();
    let begin = clock::now();
    let result = loop {
        if let Err(error) = sockets.iter_mut().try_for_each(|socket| socket.write_all(&out)) {
            break Err(doing("push frames (the server closed the stream)")(error));
        }
        if stop.load(Ordering::Relaxed) {
            break Ok(());
        }
        out.clear();
        let frame = source.next(&mut out);
        thread::sleep((begin + frame.due()).saturating_duration_since(clock::now()));
        sent.note(frame.track);
    };
    for socket in &sockets {
        // Ends the thread that drains it; a socket that is closed already needs no more.
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }
    result
}
