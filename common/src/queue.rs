//! The queue between stages: bounded, drops to the next sync sample when it is full, and counts what it dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::feed::{Break, ClockMap, Feed, Sample};
use crate::track::{TrackId, TrackSet};

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is in the queue.
    Queued,
    /// The queue was full or is still skipping to the next sync sample.
    Dropped,
    /// Nobody is downstream any more.
    Closed,
}

/// The publishing end of a stream's feed. Live never waits: when the queue is full, samples are dropped up to the
/// next sync sample of the reference track, and the receiver is told of the [`Break::Overflow`].
///
/// Track sets, words on single tracks and clock maps are never lost: the newest of each is held back and sent first.
#[derive(Debug)]
pub struct FeedSender {
    queue: mpsc::Sender<Feed>,
    reference: Option<TrackId>,
    tracks: Option<Arc<TrackSet>>,
    clock: Option<ClockMap>,
    pending_break: Option<Break>,
    /// The newest word on each track that has not gone out yet.
    notes: Vec<Feed>,
    skipping: bool,
    dropped: Arc<AtomicU64>,
}

/// The receiving end of a stream's feed.
#[derive(Debug)]
pub struct FeedReceiver {
    queue: mpsc::Receiver<Feed>,
    dropped: Arc<AtomicU64>,
    watcher: Option<Watcher>,
}

/// Sees each message as it is received.
struct Watcher(Box<dyn FnMut(&Feed) + Send + Sync>);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

/// A feed that holds at most `capacity` messages.
pub fn feed(capacity: usize) -> (FeedSender, FeedReceiver) {
    let (sender, receiver) = mpsc::channel(capacity);
    let dropped = Arc::new(AtomicU64::new(0));
    let sender = FeedSender {
        queue: sender,
        reference: None,
        tracks: None,
        clock: None,
        pending_break: None,
        notes: Vec::new(),
        skipping: false,
        dropped: dropped.clone(),
    };
    (sender, FeedReceiver { queue: receiver, dropped, watcher: None })
}

impl FeedSender {
    /// Sends one message, or drops it by the policy above.
    pub fn send(&mut self, message: Feed) -> Sent {
        if self.queue.is_closed() {
            return Sent::Closed;
        }
        match message {
            Feed::Tracks(tracks) => {
                self.reference = tracks.reference().map(|track| track.id);
                self.tracks = Some(tracks);
                self.notes.clear();
                self.flush()
            }
            Feed::Clock(clock) => {
                self.clock = Some(clock);
                self.flush()
            }
            Feed::Discontinuity(reason) => {
                self.pending_break = Some(reason);
                self.flush()
            }
            Feed::Changed(_) | Feed::Lost(..) | Feed::Returns(..) => {
                self.note(message);
                self.flush()
            }
            Feed::Sample(sample) => self.send_sample(sample),
        }
    }

    /// Keeps one word on a track's parameters and one on whether it comes; an older one has become untrue. A new track
    /// set overrides all.
    fn note(&mut self, message: Feed) {
        let about = |feed: &Feed| match feed {
            Feed::Changed(track) => (0, track.id),
            Feed::Lost(track, _) | Feed::Returns(track, _) => (1, *track),
            _ => (2, TrackId::VIDEO),
        };
        self.notes.retain(|kept| about(kept) != about(&message));
        self.notes.push(message);
    }

    /// Samples dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Nobody is downstream any more.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Resolves when nobody is downstream any more.
    pub async fn closed(&self) {
        self.queue.closed().await;
    }

    fn send_sample(&mut self, sample: Sample) -> Sent {
        let resumes = sample.sync && self.reference.is_none_or(|id| id == sample.track);
        if self.skipping && !resumes {
            return self.drop_one();
        }
        // A message of each kind may have to go ahead of the sample.
        if self.queue.capacity() < 4 + self.notes.len() {
            self.skipping = true;
            return self.drop_one();
        }
        if self.skipping {
            self.skipping = false;
            self.pending_break.get_or_insert(Break::Overflow);
        }
        self.flush();
        match self.queue.try_send(Feed::Sample(sample)) {
            Ok(()) => Sent::Queued,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.skipping = true;
                self.drop_one()
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Sent::Closed,
        }
    }

    /// Sends what is held back, in the order the receiver expects: tracks, break, words on single tracks, clock.
    fn flush(&mut self) -> Sent {
        if let Some(tracks) = self.tracks.take()
            && let Err(error) = self.queue.try_send(Feed::Tracks(tracks.clone()))
        {
            self.tracks = Some(tracks);
            return self.held(&error);
        }
        if let Some(reason) = self.pending_break.take()
            && let Err(error) = self.queue.try_send(Feed::Discontinuity(reason))
        {
            self.pending_break = Some(reason);
            return self.held(&error);
        }
        while !self.notes.is_empty() {
            let note = self.notes.remove(0);
            if let Err(error) = self.queue.try_send(note.clone()) {
                self.notes.insert(0, note);
                return self.held(&error);
            }
        }
        if let Some(clock) = self.clock.take()
            && let Err(error) = self.queue.try_send(Feed::Clock(clock))
        {
            self.clock = Some(clock);
            return self.held(&error);
        }
        Sent::Queued
    }

    fn held(&mut self, error: &mpsc::error::TrySendError<Feed>) -> Sent {
        match error {
            // Held back, not lost; samples must not overtake it.
            mpsc::error::TrySendError::Full(_) => {
                self.skipping = true;
                Sent::Queued
            }
            mpsc::error::TrySendError::Closed(_) => Sent::Closed,
        }
    }

    fn drop_one(&self) -> Sent {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        Sent::Dropped
    }
}

impl FeedReceiver {
    /// The next message; `None` when the stream has ended.
    pub async fn recv(&mut self) -> Option<Feed> {
        let message = self.queue.recv().await;
        self.seen(message)
    }

    /// The next message if one is there already.
    pub fn try_recv(&mut self) -> Option<Feed> {
        let message = self.queue.try_recv().ok();
        self.seen(message)
    }

    /// Shows each message to `watcher` as it is received. It must be quick; it is dropped with this end.
    pub fn watch(&mut self, watcher: impl FnMut(&Feed) + Send + Sync + 'static) {
        self.watcher = Some(Watcher(Box::new(watcher)));
    }

    fn seen(&mut self, message: Option<Feed>) -> Option<Feed> {
        if let (Some(Watcher(watcher)), Some(message)) = (&mut self.watcher, &message) {
            watcher(message);
        }
        message
    }

    /// Samples that the sender dropped because this end was slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
