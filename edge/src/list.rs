//! One media playlist: the version that may be seen, and those who wait for the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use aqueduct_common::object::{ObjectPath, PlaylistInfo};
use tokio::sync::watch;

use crate::audience::Audience;
use crate::entry::Entry;
use crate::playlist::{Staged, Verdict, decide, follows};
use crate::route::At;
use crate::stream::Answer;
use crate::wait::Waiter;

/// A playlist.
#[derive(Debug)]
pub(crate) struct List {
    /// The newest version that may be seen; `None` until its first one's media are here, and while it sleeps.
    pub(crate) current: watch::Sender<Option<Arc<Entry>>>,
    pub(crate) staged: Staged,
    pub(crate) hinted: Option<ObjectPath>,
    /// Who asks for it, where its publisher wants to know.
    audience: Option<Arc<Audience>>,
    /// It sleeps while there is no version: how long a request is held.
    hold: Option<Duration>,
    /// Somebody asked for it since this was last looked at.
    asked: AtomicBool,
}

/// A version to be shown to those who wait for it, once no lock is held.
#[derive(Debug)]
pub(crate) struct Wake {
    pub(crate) sender: watch::Sender<Option<Arc<Entry>>>,
    pub(crate) entry: Arc<Entry>,
}

impl List {
    pub(crate) fn new() -> Self {
        Self {
            current: watch::Sender::new(None),
            staged: Staged::default(),
            hinted: None,
            audience: None,
            hold: None,
            asked: AtomicBool::new(false),
        }
    }

    /// What a version of it says to a request.
    pub(crate) fn read(&self, at: At) -> Answer {
        if !self.asked.load(Relaxed) {
            self.asked.store(true, Relaxed);
        }
        let current = self.current.borrow();
        let Some(entry) = current.as_ref() else { return self.wait_asleep() };
        let Some(info) = entry.list() else { return Answer::Ready(entry.clone()) };
        match decide(info, at) {
            Verdict::Ready => Answer::Ready(entry.clone()),
            Verdict::TooFarAhead => Answer::TooFarAhead,
            Verdict::Wait => Answer::Wait(Waiter::list(
                self.current.subscribe(),
                at,
                info.ahead.hold,
                self.audience.clone(),
            )),
        }
    }

    /// Whether somebody asked for it since the last time, or waits for it.
    pub(crate) fn take_asked(&self) -> bool {
        self.asked.swap(false, Relaxed) || self.current.receiver_count() > 0
    }

    /// Target duration of the version that can be seen, unless that is its last.
    pub(crate) fn target_duration(&self) -> Option<Duration> {
        let current = self.current.borrow();
        let info = current.as_deref().and_then(Entry::list)?;
        (!info.ended).then_some(info.target_duration)
    }

    fn wait_asleep(&self) -> Answer {
        let Some(hold) = self.hold else { return Answer::NotFound };
        Answer::Wait(Waiter::asleep(self.current.subscribe(), hold, self.audience.clone()))
    }

    /// Who asks for it, where this version's publisher wants to know. Nobody counts who asks for what has ended.
    pub(crate) fn audience_of(&mut self, info: &PlaylistInfo) -> Option<Arc<Audience>> {
        self.count_as(info.demand.filter(|_| !info.ended));
        self.audience.clone()
    }

    fn count_as(&mut self, demand: Option<u8>) {
        if self.audience.as_ref().map(|audience| audience.demand()) != demand {
            self.audience = demand.map(|demand| Arc::new(Audience::new(demand)));
        }
    }

    /// Withdraws its versions until one comes; answers the one that could be seen.
    pub(crate) fn sleep(&mut self, demand: u8, hold: Duration) -> Option<Arc<Entry>> {
        self.count_as(Some(demand));
        self.hold = Some(hold);
        self.staged = Staged::default();
        self.current.send_replace(None)
    }

    /// It sleeps.
    pub(crate) fn is_asleep(&self) -> bool {
        self.hold.is_some() && self.current.borrow().is_none()
    }

    /// It has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.current.borrow().as_deref().and_then(Entry::list).is_some_and(|info| info.ended)
    }

    /// Brings the count of those who ask forward; what is to be told of it.
    pub(crate) fn turn(&self, seconds: u64) -> Option<(u8, u32)> {
        let audience = self.audience.as_ref()?;
        let viewers = audience.turn(seconds, self.current.receiver_count() > 0)?;
        Some((audience.demand(), viewers))
    }
}

impl Wake {
    /// Shows the version, unless a later one was shown meanwhile.
    pub(crate) fn send(self) {
        let Self { sender, entry } = self;
        sender.send_if_modified(|seen| {
            let later = match (seen.as_deref().and_then(Entry::list), entry.list()) {
                (Some(seen), Some(list)) => follows(seen, list),
                _ => true,
            };
            if later {
                *seen = Some(entry);
            }
            later
        });
    }
}
