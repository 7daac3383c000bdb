//! What a node feeds others with: each stream's window, and word that it changed.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime};

use aqueduct_common::StreamName;
use aqueduct_common::object::{Object, Publish, Update};
use tokio::sync::watch;

use super::receive::Step;
use super::window::Window;
use super::wire::is_name;
use crate::store::Store;

/// Names that nodes wait for and that are not on air. Viewers choose them: they never stand in a publisher's way.
const MAX_AWAITED: usize = 16_384;

/// Streams to feed other nodes with. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    names: RwLock<Names>,
    /// Grows with each stream that begins.
    begun: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Names {
    /// What is or was on air; as many as there are publishers.
    streams: HashMap<StreamName, Arc<Channel>>,
    /// What somebody waits for.
    awaited: HashMap<StreamName, Arc<Channel>>,
}

/// One stream of a hub.
#[derive(Debug)]
pub struct Channel {
    window: Mutex<Option<Window>>,
    changed: watch::Sender<u64>,
    /// When what has ended goes.
    until: Mutex<Option<Instant>>,
    /// Which of the hub's beginnings its last one was.
    life: AtomicU64,
}

impl Hub {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A stream to be fed with, whether it is on air or not; `None` when too many are waited for already.
    pub fn channel(&self, stream: &StreamName) -> Option<Arc<Channel>> {
        if let Some(channel) = self.find(stream) {
            return Some(channel);
        }
        let mut names = self.names_mut();
        let Names { streams, awaited } = &mut *names;
        if let Some(channel) = streams.get(stream).or_else(|| awaited.get(stream)) {
            return Some(channel.clone());
        }
        if awaited.len() >= MAX_AWAITED {
            return None;
        }
        Some(awaited.entry(stream.clone()).or_insert_with(Channel::new).clone())
    }

    /// A stream that is made or taken here: whoever waited for it gets it.
    fn own(&self, stream: &StreamName) -> Arc<Channel> {
        if let Some(channel) = self.find(stream) {
            return channel;
        }
        let mut names = self.names_mut();
        let Names { streams, awaited } = &mut *names;
        let waited = awaited.remove(stream);
        streams.entry(stream.clone()).or_insert_with(|| waited.unwrap_or_else(Channel::new)).clone()
    }

    /// Streams on air.
    pub fn on_air(&self) -> Vec<StreamName> {
        self.lives().into_iter().map(|(name, _)| name).collect()
    }

    /// Streams on air, with a number that is another one whenever a stream begins anew.
    pub(super) fn lives(&self) -> Vec<(StreamName, u64)> {
        let names = self.names();
        let on_air = |channel: &Channel| channel.window().as_ref().is_some_and(|one| one.ended().is_none());
        let on_air = names.streams.iter().filter(|(_, channel)| on_air(channel));
        on_air.map(|(name, channel)| (name.clone(), channel.life.load(Relaxed))).collect()
    }

    /// Changes whenever a stream begins.
    pub fn begun(&self) -> watch::Receiver<u64> {
        self.shared.begun.subscribe()
    }

    /// Takes what came from another node, as it is numbered there.
    pub fn relay(&self, stream: &StreamName, step: &Step) {
        let channel = self.own(stream);
        let begins = matches!(step, Step::Turn { .. });
        channel.change(|window| {
            if let Step::Turn { epoch } = step {
                *window = Some(Window::relayed(*epoch));
            }
            let Some(window) = window else { return };
            match step {
                Step::Turn { .. } => {}
                Step::Item { line, seq, item } => window.insert(line, *seq, item.clone()),
                Step::Show { line, listed } => window.show(line, listed.clone()),
                Step::Retire { line, seqs, .. } => window.retire(line, seqs),
                Step::Forget { line } => window.forget(line),
                Step::End { linger } => window.end(*linger),
            }
        });
        if begins {
            self.begins(&channel);
        }
    }

    /// Lines that the node which this stream is taken from has: they can be wanted here, whether they are taken yet or
    /// not.
    pub(super) fn offer(&self, stream: &StreamName, lines: &BTreeSet<String>) {
        let Some(channel) = self.find(stream) else { return };
        let news = channel.window().as_mut().is_some_and(|window| window.offer(lines));
        if news {
            channel.changed.send_modify(|count| *count += 1);
        }
    }

    /// Lets go of streams that ended long enough ago and of names that nobody asks for. Called about once a second.
    pub fn sweep(&self, now: Instant) {
        let mut names = self.names_mut();
        let Names { streams, awaited } = &mut *names;
        streams.values().for_each(|channel| channel.expire(now));
        let over = |_: &StreamName, channel: &mut Arc<Channel>| channel.window().is_none();
        // Who is subscribed is told when it comes back: what was on air waits whatever the number is.
        awaited.extend(streams.extract_if(over));
        // Who watches it holds a receiver; who is about to holds the channel.
        awaited.retain(|_, channel| channel.changed.receiver_count() > 0 || Arc::strong_count(channel) > 1);
    }

    fn begins(&self, channel: &Channel) {
        self.shared.begun.send_modify(|count| {
            *count += 1;
            channel.life.store(*count, Relaxed);
        });
    }

    fn names(&self) -> RwLockReadGuard<'_, Names> {
        self.shared.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn names_mut(&self) -> RwLockWriteGuard<'_, Names> {
        self.shared.names.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream that is not taken any more.
    pub(super) fn forget(&self, stream: &StreamName) {
        if let Some(channel) = self.find(stream) {
            channel.change(|window| *window = None);
        }
    }

    fn find(&self, stream: &StreamName) -> Option<Arc<Channel>> {
        self.names().streams.get(stream).cloned()
    }
}

impl Publish for Hub {
    fn withdraw(&self, stream: &StreamName) {
        self.forget(stream);
    }

    fn publish(&self, stream: &StreamName, update: Update) {
        let begins = matches!(update, Update::Publish(_) | Update::Sleep { .. });
        let path = match &update {
            Update::Publish(Object { path, .. }) | Update::Sleep { path, .. } => path.as_str(),
            Update::Retire { .. } | Update::End { .. } => "",
        };
        if !is_name(path) {
            return tracing::error!(%stream, path, "not relayed: nodes take shorter names, of plain characters");
        }
        let channel = if begins { Some(self.own(stream)) } else { self.find(stream) };
        let Some(channel) = channel else { return };
        let (micros, mut began) = (wall_micros(), false);
        channel.change(|window| {
            // What has ended does not go on: its numbers are not continued.
            if begins && window.as_ref().is_none_or(|window| window.ended().is_some()) {
                *window = Some(Window::new(epoch(micros)));
                began = true;
            }
            if let Some(window) = window {
                window.apply(update, micros);
            }
        });
        if began {
            self.begins(&channel);
        }
    }
}

impl Channel {
    fn new() -> Arc<Self> {
        let (window, until, life) = (Mutex::default(), Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { window, changed: watch::Sender::new(0), until, life })
    }

    /// The window as it is.
    pub fn window(&self) -> MutexGuard<'_, Option<Window>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of changes from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Option<Window>)) {
        change(&mut self.window());
        self.changed.send_modify(|count| *count += 1);
    }

    fn expire(&self, now: Instant) {
        let linger: Option<Duration> = self.window().as_ref().and_then(Window::ended);
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        match (linger, *until) {
            (None, _) => *until = None,
            (Some(linger), None) => *until = now.checked_add(linger),
            (Some(_), Some(end)) if end <= now => {
                *until = None;
                self.change(|window| *window = None);
            }
            (Some(_), Some(_)) => {}
        }
    }
}

/// Publishes to viewers of this node, and to the nodes that it feeds.
#[derive(Clone, Debug)]
pub struct Tee {
    /// For its viewers.
    pub store: Store,
    /// For other nodes.
    pub hub: Hub,
}

impl Publish for Tee {
    fn withdraw(&self, stream: &StreamName) {
        self.hub.withdraw(stream);
        self.store.withdraw(stream);
    }

    fn publish(&self, stream: &StreamName, update: Update) {
        self.store.publish(stream, update.clone());
        self.hub.publish(stream, update);
    }
}

/// A number for what begins now: greater than all before, and another one than any other node's.
fn epoch(micros: i64) -> u64 {
    micros.max(0).cast_unsigned() << 12 | RandomState::new().build_hasher().finish() & 0xfff
}

#[expect(clippy::disallowed_methods, reason = "when an object was published is told where it is published")]
pub(crate) fn wall_micros() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use aqueduct_common::object::{ContentType, ObjectKind, ObjectPath};

    use super::*;

    fn publish(hub: &Hub, stream: &StreamName, path: &str) {
        let (path, kind) = (ObjectPath::new(path), ObjectKind::Multivariant);
        let object =
            Object { path, kind, content_type: ContentType::Hls, body: vec!["#".into()], playlist: None };
        hub.publish(stream, Update::Publish(object));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn names_that_are_waited_for_keep_no_publisher_out() {
        let (hub, begin) = (Hub::new(), Instant::now());
        let name = |number: usize| -> StreamName { format!("live/n{number}").parse().unwrap() };
        let waiting: Vec<_> = (0..MAX_AWAITED).map(|number| hub.channel(&name(number)).unwrap()).collect();
        assert!(hub.channel(&name(MAX_AWAITED)).is_none(), "names are bounded");
        let show: StreamName = "live/show".parse().unwrap();
        publish(&hub, &show, "index.m3u8");
        publish(&hub, &name(1), "index.m3u8");
        assert!(hub.channel(&show).unwrap().window().is_some());
        assert!(waiting[1].window().is_some(), "who waited for it has it");
        // Once it has ended it is waited for again, and begins anew for whoever stayed.
        let before = hub.lives();
        assert_eq!(before.len(), 2);
        hub.publish(&name(1), Update::End { linger: Duration::ZERO });
        hub.sweep(begin);
        hub.sweep(begin);
        assert!(waiting[1].window().is_none());
        publish(&hub, &name(1), "index.m3u8");
        assert!(waiting[1].window().is_some());
        let life = |lives: &[(StreamName, u64)]| lives.iter().find(|(one, _)| *one == name(1)).unwrap().1;
        assert!(life(&hub.lives()) > life(&before));
        drop(waiting);
        hub.sweep(begin);
        assert!(hub.channel(&name(MAX_AWAITED)).is_some(), "names that nobody waits for are let go");
    }

    #[test]
    fn what_no_node_could_ask_for_is_not_relayed() {
        let (hub, show) = (Hub::new(), "live/show".parse().unwrap());
        publish(&hub, &show, "a b/index.m3u8");
        assert_eq!(hub.on_air(), []);
    }
}
