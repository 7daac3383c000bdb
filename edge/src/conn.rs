//! What is known of one connection while it is open.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use tokio::sync::Notify;

use crate::allowance::Allowance;
use crate::pace::Reading;
use crate::tally::{Protocol, Shed, Sheet, Tally};

/// One connection's accounts. They are read once a second by the sweep, which decides whether it stays.
#[derive(Debug)]
pub(crate) struct Conn {
    peer: IpAddr,
    /// Of its address, shared with all connections from there.
    allowance: Arc<Allowance>,
    tally: Arc<Tally>,
    sheet: usize,
    framed: AtomicBool,
    requests: AtomicU64,
    answering: AtomicU32,
    held: AtomicU32,
    sending: AtomicU32,
    moved: AtomicU64,
    cleared: AtomicU32,
    partial: AtomicBool,
    order: AtomicU8,
    ordered: Notify,
}

/// What a connection's task is told from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Answer what was asked, then close.
    Finish,
    /// Close at once.
    Drop,
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Conn>);

/// A request that is held. It is let go when this is dropped.
#[derive(Debug)]
pub(crate) struct Held(Arc<Conn>);

/// A body on its way. It has gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Sending(Arc<Conn>);

impl Conn {
    pub(crate) fn new(peer: IpAddr, tally: &Arc<Tally>, allowance: Arc<Allowance>) -> Self {
        Self {
            peer,
            allowance,
            sheet: tally.assign(),
            tally: tally.clone(),
            framed: AtomicBool::default(),
            requests: AtomicU64::default(),
            answering: AtomicU32::default(),
            held: AtomicU32::default(),
            sending: AtomicU32::default(),
            moved: AtomicU64::default(),
            cleared: AtomicU32::default(),
            partial: AtomicBool::default(),
            order: AtomicU8::new(0),
            ordered: Notify::new(),
        }
    }

    /// Whose it is: hashed, or compared with the network that a token is bound to.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// One more request is within what its address may ask.
    pub(crate) fn may_ask(&self) -> bool {
        self.allowance.take()
    }

    /// Where its requests are counted.
    pub(crate) fn sheet(&self) -> &Sheet {
        self.tally.sheet(self.sheet)
    }

    /// Bytes came in.
    pub(crate) fn heard(&self) {
        if !self.partial.load(Relaxed) {
            self.partial.store(true, Relaxed);
        }
    }

    /// A whole request came.
    pub(crate) fn begin(self: &Arc<Self>, protocol: Protocol) -> Answering {
        if protocol != Protocol::Http1 {
            self.framed.store(true, Relaxed);
        }
        self.partial.store(false, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        self.answering.fetch_add(1, Relaxed);
        Answering(self.clone())
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Bytes of bodies that it took so far.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// Drops it for this reason.
    pub(crate) fn shed(&self, reason: Shed) {
        self.tally.shed(reason);
        self.order(Order::Drop);
    }

    /// It was dropped, or is about to be.
    pub(crate) fn is_dropped(&self) -> bool {
        self.order.load(Relaxed) > Order::Finish as u8 + 1
    }

    /// Holds a request, unless too many are held already (EDGE-36).
    pub(crate) fn hold(self: &Arc<Self>, most: u32) -> Option<Held> {
        if self.held.fetch_add(1, Relaxed) >= most {
            self.held.fetch_sub(1, Relaxed);
            return None;
        }
        self.tally.hold(true);
        Some(Held(self.clone()))
    }

    /// A body is about to go.
    pub(crate) fn send(self: &Arc<Self>) -> Sending {
        self.sending.fetch_add(1, Relaxed);
        Sending(self.clone())
    }

    pub(crate) fn reading(&self) -> Reading {
        Reading {
            requests: self.requests.load(Relaxed),
            busy: self.answering.load(Relaxed) > 0,
            sending: self.sending.load(Relaxed) > 0,
            moved: self.moved.load(Relaxed),
            cleared: self.cleared.load(Relaxed),
            partial: self.partial.load(Relaxed) && !self.framed.load(Relaxed),
        }
    }

    /// Tells its task what to do. A stronger order replaces a weaker one.
    pub(crate) fn order(&self, order: Order) {
        self.order.fetch_max(order as u8 + 1, Relaxed);
        self.ordered.notify_one();
    }

    /// Resolves when there is an order.
    pub(crate) async fn ordered(&self) -> Order {
        self.ordered.notified().await;
        if self.is_dropped() { Order::Drop } else { Order::Finish }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Relaxed);
        self.0.tally.hold(false);
    }
}

impl Sending {
    /// The connection took bytes of it.
    pub(crate) fn moved(&self, bytes: usize) {
        self.0.moved.fetch_add(bytes as u64, Relaxed);
        self.0.sheet().sent(bytes);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if self.0.sending.fetch_sub(1, Relaxed) == 1 {
            self.0.cleared.fetch_add(1, Relaxed);
        }
    }
}
