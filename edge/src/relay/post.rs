//! Brings one edge its objects: a task for each stream decides, and one for each object carries it.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_common::StreamName;
use aqueduct_common::object::ObjectKind;
use bytes::Bytes;
use quinn::Connection;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::feed::{Class, Feed, Message, Parcel, Room};
use super::hub::Channel;
use super::origin::Shared;
use super::wire::{Frame, Media, Ranges, What};

/// Objects of one stream that may be under way to one edge while they are live.
const LIVE: usize = 256;
/// KiB of history that may be under way to one edge: live always finds room beside them.
const HISTORY_KIB: usize = 1_024;
/// A live object that is not there after so long is given up, and tried again if it is still of use (EDGE-17).
const LATE: Duration = Duration::from_secs(8);
/// Error code of an object that was given up.
const GIVEN_UP: u32 = 1;

/// The way to one edge.
pub(super) struct Post {
    conn: Connection,
    outbox: mpsc::Sender<Frame>,
    /// Room for history, in KiB.
    history: Arc<Semaphore>,
    freed: Notify,
}

/// One stream of one edge.
pub(super) struct Subscription {
    sub: u32,
    stream: StreamName,
    channel: Arc<Channel>,
    feed: Mutex<Feed>,
    poke: Notify,
    /// Epoch and count that the edge was last told.
    told: Mutex<Option<(u64, u64)>>,
}

/// What became of an object.
struct Carried {
    class: Class,
    line: String,
    epoch: u64,
    /// The number of media that did not arrive.
    failed: Option<u64>,
}

impl Subscription {
    pub(super) fn new(sub: u32, stream: StreamName, channel: Arc<Channel>) -> Self {
        let (feed, told) = (Mutex::new(Feed::new(sub)), Mutex::default());
        Self { sub, stream, channel, feed, poke: Notify::new(), told }
    }

    pub(super) fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Its number, where the stream went on since this was last asked.
    pub(super) fn progress(&self) -> Option<u32> {
        let now = self.channel.window().as_ref().map(|window| (window.epoch(), window.count()))?;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        (told.replace(now) != Some(now)).then_some(self.sub)
    }

    pub(super) fn want(&self, line: &str, epoch: u64, have: &Ranges) -> bool {
        let window = self.channel.window();
        let wanted = self.feed().want(line, epoch, have, window.as_ref());
        drop(window);
        self.poke.notify_one();
        wanted
    }

    pub(super) fn unwant(&self, line: &str) {
        self.feed().unwant(line);
    }

    /// The line is wanted of those that feed this node.
    pub(super) fn touch(&self, shared: &Shared, line: &str) {
        if let Some(wants) = &shared.wants {
            // When too many are wanted, this one is not: the edge is told that there is none.
            let _ = if line.is_empty() {
                wants.stream(&self.stream, None)
            } else {
                wants.line(&self.stream, line, None)
            };
        }
    }

    pub(super) fn touch_all(&self, shared: &Shared) {
        if shared.wants.is_some() {
            let wanted: Vec<String> = self.feed().wanted().map(str::to_owned).collect();
            wanted.iter().for_each(|line| self.touch(shared, line));
        }
    }

    fn feed(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Post {
    pub(super) fn new(conn: Connection, outbox: mpsc::Sender<Frame>) -> Arc<Self> {
        let history = Arc::new(Semaphore::new(HISTORY_KIB));
        Arc::new(Self { conn, outbox, history, freed: Notify::new() })
    }

    pub(super) fn outbox(&self) -> &mpsc::Sender<Frame> {
        &self.outbox
    }

    /// Sends what the edge wants of one stream, until the connection is gone.
    pub(super) async fn feed(self: Arc<Self>, subscription: Arc<Subscription>, shared: Arc<Shared>) {
        let mut changes = subscription.channel.changes();
        let (mut carriers, mut live) = (JoinSet::new(), 0);
        loop {
            changes.mark_unchanged();
            let freed = self.freed.notified();
            loop {
                let room = Room { live: live < LIVE, history: self.history.available_permits() > 0 };
                let message = {
                    let window = subscription.channel.window();
                    subscription.feed().next(window.as_ref(), room)
                };
                match message {
                    None => break,
                    Some(Message::Frame(frame)) => {
                        if self.outbox.send(frame).await.is_err() {
                            return;
                        }
                    }
                    Some(Message::Object(parcel)) => {
                        live += usize::from(parcel.class == Class::Live);
                        let permit = self.permit(&parcel);
                        carriers.spawn(self.clone().carry(*parcel, permit, shared.clone()));
                    }
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = subscription.poke.notified() => {}
                () = freed => {}
                Some(carried) = carriers.join_next() => {
                    let Ok(Carried { class, line, epoch, failed }) = carried else { return };
                    live -= usize::from(class == Class::Live);
                    let mut feed = subscription.feed();
                    if class == Class::List {
                        feed.written(&line);
                    }
                    if let Some(seq) = failed {
                        feed.failed(&line, epoch, seq);
                    }
                }
                _ = self.conn.closed() => return,
            }
        }
    }

    fn permit(&self, parcel: &Parcel) -> Option<OwnedSemaphorePermit> {
        if parcel.class != Class::History {
            return None;
        }
        let kib = parcel.body.iter().map(Bytes::len).sum::<usize>() / 1_024 + 1;
        let kib = kib.min(self.history.available_permits()).max(1);
        self.history.clone().try_acquire_many_owned(kib as u32).ok()
    }

    async fn carry(
        self: Arc<Self>,
        parcel: Parcel,
        permit: Option<OwnedSemaphorePermit>,
        shared: Arc<Shared>,
    ) -> Carried {
        let (class, line, epoch) = (parcel.class, parcel.head.line.clone(), parcel.head.epoch);
        let seq = match &parcel.head.what {
            What::Media(Media { seq, .. }) => Some(*seq),
            What::List(_) | What::Index { .. } => None,
        };
        let init = matches!(&parcel.head.what, What::Media(Media { kind: ObjectKind::Init, .. }));
        let patience = if class == Class::Live && !init { LATE } else { 4 * LATE };
        let bytes: usize = parcel.body.iter().map(Bytes::len).sum();
        let arrived = self.send(parcel, patience).await;
        drop(permit);
        if class == Class::History {
            self.freed.notify_waiters();
        }
        if arrived {
            shared.tally.sent_objects.fetch_add(1, Relaxed);
            shared.tally.sent_bytes.fetch_add(bytes as u64, Relaxed);
        } else {
            shared.tally.failed.fetch_add(1, Relaxed);
        }
        Carried { class, line, epoch, failed: seq.filter(|_| !arrived) }
    }

    /// Answers whether it arrived; of a list's version, whether it is on its way.
    async fn send(&self, parcel: Parcel, patience: Duration) -> bool {
        // What no node can ask for by its name is not tried again.
        let Ok(head) = parcel.head.write() else { return true };
        let Ok(mut stream) = self.conn.open_uni().await else { return false };
        let _ = stream.set_priority(parcel.priority);
        let mut chunks = Vec::with_capacity(parcel.body.len() + 1);
        chunks.push(head);
        chunks.extend(parcel.body);
        let sent = async {
            if stream.write_all_chunks(&mut chunks).await.is_err() || stream.finish().is_err() {
                return false;
            }
            parcel.class == Class::List || matches!(stream.stopped().await, Ok(None))
        };
        match tokio::time::timeout(patience, sent).await {
            Ok(arrived) => arrived,
            Err(_) => {
                let _ = stream.reset(GIVEN_UP.into());
                false
            }
        }
    }
}
