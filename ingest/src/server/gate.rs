//! What all connections share: who may come in, who may publish, where streams are asked for.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aqueduct_common::event::{EventSender, Protocol};
use aqueduct_common::source::SourceError;
use aqueduct_common::{Event, SourceName, StreamName};

use crate::config::Plan;
use crate::keys::{Credentials, KeyRefusal, KeyRing};
use crate::limits::{Admission, Backoff, Crowded};
use crate::rtmp;
use crate::stream::Streams;

/// How long every refused publish is kept waiting (AUTH-4).
pub(crate) const REFUSAL_DELAY: Duration = Duration::from_millis(300);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) session_limits: rtmp::Limits,
    pub(crate) bits_per_second: u64,
    pub(crate) streams: Streams,
    pub(crate) events: EventSender,
    keys: KeyRing,
    admission: Mutex<Admission>,
    backoff: Mutex<Backoff>,
    seeds: AtomicU64,
}

/// Why a publish is not let in. The display is what the streamer reads.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// For its key or name.
    #[error(transparent)]
    Key(#[from] KeyRefusal),
    /// Too many wrong keys came from its address.
    #[error("Too many wrong keys came from this address: wait five minutes.")]
    Backoff,
    /// What it says which source it is cannot be one.
    #[error("source= must be 1 to 64 letters, digits, '_', '-' or '.', such as source=backup.")]
    Source,
}

impl Denied {
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::Key(refusal) => refusal.label(),
            Self::Backoff => "limit_failures",
            Self::Source => "bad_source",
        }
    }
}

impl Gate {
    pub(crate) fn new(plan: &Plan, keys: KeyRing, streams: Streams, events: EventSender) -> Self {
        let limits = &plan.limits;
        let admission =
            Admission::new(limits.connections, limits.connections_per_network, limits.handshakes_per_second);
        Self {
            session_limits: plan.session_limits(),
            bits_per_second: u64::from(limits.megabits_per_second) * 1_000_000,
            streams,
            events,
            keys,
            admission: Mutex::new(admission),
            backoff: Mutex::default(),
            seeds: AtomicU64::new(1),
        }
    }

    /// Takes a connection in, or says why not.
    pub(crate) fn enter(
        self: &Arc<Self>,
        now: Instant,
        peer: SocketAddr,
        protocol: Protocol,
    ) -> Result<Slot, Crowded> {
        match lock(&self.admission).enter(now, peer.ip()) {
            Ok(()) => {
                self.events.send(Event::ConnectionOpened { protocol });
                Ok(Slot { gate: self.clone(), peer, protocol })
            }
            Err(crowded) => {
                self.events.send(Event::Refused { protocol, reason: crowded.label() });
                Err(crowded)
            }
        }
    }

    /// The stream that these credentials may publish from `address`.
    pub(crate) fn check(
        &self,
        now: Instant,
        address: IpAddr,
        credentials: &Credentials,
    ) -> Result<StreamName, Denied> {
        let loopback = address.to_canonical().is_loopback();
        // All that a local TLS proxy carries comes from loopback: one stranger must not shut the others out.
        if !loopback && lock(&self.backoff).refuses(now, address) {
            return Err(Denied::Backoff);
        }
        self.keys.check(credentials, loopback).map_err(|refusal| {
            if refusal.is_guess(credentials) {
                lock(&self.backoff).failed(now, address);
            }
            refusal.into()
        })
    }

    /// Which of the stream's sources the publisher is, where it or its key says so.
    pub(crate) fn source(&self, credentials: &Credentials) -> Result<Option<SourceName>, Denied> {
        self.keys.source(credentials).map_err(|SourceError| Denied::Source)
    }

    /// What stands for a name in the log.
    pub(crate) fn fingerprint(&self, credentials: &Credentials) -> String {
        self.keys.fingerprint(credentials)
    }

    /// A name for an RTSP session: nobody can guess it.
    pub(crate) fn session_id(&self) -> String {
        use ring::rand::SecureRandom;
        let mut bytes = [0; 8];
        // The connection itself is what a session is bound to, so that a name without chance in it harms nothing.
        let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
        format!("{:016x}", u64::from_ne_bytes(bytes) ^ self.seed())
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seeds.fetch_add(1, Ordering::Relaxed)
    }
}

/// A connection's place. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) gate: Arc<Gate>,
    pub(crate) peer: SocketAddr,
    pub(crate) protocol: Protocol,
}

impl Slot {
    /// Reports a refusal under a label of a fixed set.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.report(Event::Refused { protocol: self.protocol, reason });
    }

    pub(crate) fn report(&self, event: Event) {
        self.gate.events.send(event);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(peer = %self.peer, "a connection's task panicked; only this connection ends");
            self.refused("panic");
        }
        lock(&self.gate.admission).leave(self.peer.ip());
        self.gate.events.send(Event::ConnectionClosed { protocol: self.protocol });
    }
}

/// The data is plain counters: a panic elsewhere leaves them usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::clock;
    use super::*;
    use crate::Config;
    use crate::keys::KeyEntry;
    use aqueduct_common::event::{self, EventReceiver};
    use tokio::sync::mpsc;

    const KEY: &str = "show-key-0123456789";

    fn gate() -> (Arc<Gate>, EventReceiver) {
        let plan = Plan::try_from(Config::default()).unwrap();
        let (sender, events) = event::bus(100);
        let streams = Streams::start(plan.policy(), mpsc::channel(1).0, sender.clone());
        let keys = KeyRing::new(&[], &[KeyEntry::new("*".parse().unwrap(), KEY)]).unwrap();
        (Arc::new(Gate::new(&plan, keys, streams, sender)), events)
    }

    #[tokio::test]
    async fn guessing_shuts_an_address_out_but_never_this_machine() {
        let (gate, _events) = gate();
        let (now, _) = clock();
        let check = |address: &str, name: &str| {
            gate.check(now, address.parse().unwrap(), &Credentials::new(None, "live", name))
        };
        let right = format!("x?key={KEY}");
        for (address, last) in [("192.0.2.1", Err(Denied::Backoff)), ("127.0.0.1", Ok("live/x"))] {
            assert!(check(address, &right).is_ok());
            for _ in 0..Backoff::FAILURES {
                assert_eq!(check(address, "x?key=guess"), Err(KeyRefusal::Wrong.into()));
            }
            assert_eq!(check(address, &right).map(|stream| stream.to_string()), last.map(str::to_owned));
        }
        assert!(check("192.0.2.2", &right).is_ok());
        assert_eq!(check("192.0.2.2", "x"), Err(KeyRefusal::Missing.into()));
        assert!(check("::1", "x").is_ok() && check("::ffff:127.0.0.1", "x").is_ok());
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_connection_and_gives_the_place_back() {
        let (gate, mut events) = gate();
        let slot = gate.enter(clock().0, "192.0.2.1:5".parse().unwrap(), Protocol::Rtmp).unwrap();
        let task = tokio::spawn(async move {
            let _slot = slot;
            panic!("a defect");
        });
        assert!(task.await.unwrap_err().is_panic());
        let protocol = Protocol::Rtmp;
        let expected = [
            Event::ConnectionOpened { protocol },
            Event::Refused { protocol, reason: "panic" },
            Event::ConnectionClosed { protocol },
        ];
        for event in expected {
            assert_eq!(events.try_recv(), Some(event));
        }
    }
}
