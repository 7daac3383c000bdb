//! Where objects arrive: by subscription into their stream's [`Receiver`], and from there to viewers and on to others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use aqueduct_common::StreamName;
use aqueduct_common::object::{ObjectKind, Publish as _};
use bytes::Bytes;

use super::hub::{Hub, wall_micros};
use super::receive::{Receiver, Step};
use super::tally::Tally;
use super::wants::{Due, Wants};
use super::window::Word;
use super::wire::{Frame, Head, Ranges};
use crate::store::Store;

/// Where objects arrive.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) store: Store,
    pub(super) hub: Hub,
    pub(super) wants: Wants,
    pub(super) tally: Tally,
    streams: RwLock<HashMap<u32, Arc<Inflow>>>,
}

/// One stream that is taken.
#[derive(Debug)]
pub(super) struct Inflow {
    pub(super) name: StreamName,
    receiver: Mutex<Receiver>,
    /// The node that it is taken from, as its place plus 1; 0 for none.
    leader: AtomicUsize,
}

impl Intake {
    pub(super) fn new(store: Store, hub: Hub, wants: Wants) -> Self {
        Self { store, hub, wants, tally: Tally::default(), streams: RwLock::default() }
    }

    /// Begins to take a stream under this number.
    pub(super) fn begin(&self, sub: u32, name: StreamName) -> Arc<Inflow> {
        let inflow = Arc::new(Inflow { name, receiver: Mutex::default(), leader: AtomicUsize::new(0) });
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams.insert(sub, inflow.clone());
        inflow
    }

    /// Takes it no more.
    pub(super) fn stop(&self, sub: u32) {
        self.streams.write().unwrap_or_else(PoisonError::into_inner).remove(&sub);
    }

    fn find(&self, sub: u32) -> Option<Arc<Inflow>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).get(&sub).cloned()
    }

    /// An object came whole from the node at this place.
    pub(super) fn object(&self, place: usize, head: &Head, body: Bytes) {
        let Some(inflow) = self.find(head.sub) else {
            self.tally.strays.fetch_add(1, Relaxed);
            return;
        };
        self.tally.received_objects.fetch_add(1, Relaxed);
        self.tally.received_bytes.fetch_add(body.len() as u64, Relaxed);
        let leading = inflow.is_led_by(place);
        self.with(&inflow, |receiver| receiver.object(head, body, leading));
    }

    /// A frame about a stream came from the node at this place.
    pub(super) fn frame(&self, place: usize, sub: u32, frame: &Frame) {
        let Some(inflow) = self.find(sub) else { return };
        let leading = inflow.is_led_by(place);
        self.with(&inflow, |receiver| receiver.frame(frame, leading));
    }

    /// Changes a stream's state, and carries out what follows, in order.
    pub(super) fn with(&self, inflow: &Inflow, change: impl FnOnce(&mut Receiver) -> Vec<Step>) {
        let mut receiver = inflow.receiver();
        let steps = change(&mut receiver);
        let now = wall_micros();
        let shown: Vec<String> =
            steps.into_iter().filter_map(|step| self.carry_out(&inflow.name, step, now)).collect();
        let counts = receiver.counts();
        drop(receiver);
        // Whoever is told may look at the receiver.
        shown.iter().for_each(|line| self.wants.settle(&inflow.name, line, Due::Here));
        self.tally.doubled.fetch_add(counts.doubled, Relaxed);
        self.tally.gone.fetch_add(counts.gone, Relaxed);
        self.tally.strays.fetch_add(counts.strays + counts.refused, Relaxed);
    }

    /// Answers the line whose list is shown with it.
    fn carry_out(&self, name: &StreamName, step: Step, now: i64) -> Option<String> {
        self.hub.relay(name, &step);
        let mut here = None;
        match &step {
            Step::Item { item, .. } if item.kind == ObjectKind::Part && !item.history => {
                // Another machine's clock may be ahead of this one's.
                let lag = now.saturating_sub(item.created).max(0);
                self.tally.lag(lag.cast_unsigned());
            }
            Step::Show { line, listed } if !matches!(listed.word, Word::Closed { .. }) => {
                here = Some(line.clone());
            }
            Step::Forget { line } => {
                if let Some(stream) = self.store.find(name.as_str()) {
                    stream.withdraw(line);
                }
            }
            _ => {}
        }
        for update in step.updates() {
            self.store.publish(name, update);
        }
        here
    }
}

impl Inflow {
    /// Whether it is taken from the node at this place.
    fn is_led_by(&self, place: usize) -> bool {
        self.leader.load(Relaxed) == place + 1
    }

    /// It is taken from this node from now on.
    pub(super) fn lead(&self, place: Option<usize>) {
        self.leader.store(place.map_or(0, |place| place + 1), Relaxed);
    }

    /// Wants a line: what to ask for.
    pub(super) fn want(&self, line: &str) -> (u64, Ranges) {
        self.receiver().want(line)
    }

    pub(super) fn epoch(&self) -> Option<u64> {
        self.receiver().epoch()
    }

    pub(super) fn is_shown(&self, line: &str) -> bool {
        self.receiver().is_shown(line)
    }

    fn receiver(&self) -> MutexGuard<'_, Receiver> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
