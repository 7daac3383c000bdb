//! Who may watch what, at this moment: the keys, the list of who was cut off, and what was verified of late.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aqueduct_common::Secret;
use bytes::Bytes;
use ring::digest;
use tokio::sync::watch;

use super::carry::Shown;
use super::claims::{Grant, Identity, Policy};
use super::config::{Plan, Shared};
use super::denied::Denied;
use super::fresh::Fresh;
use super::key::{self, JwksError, Key, KeySet};
use super::network::Network;
use super::revoked::{Revoked, RevokedError};
use super::seen::Seen;
use super::source::{ReadError, Reader, Source};
use super::ticket::{Form, Jwt, Ticket};
use super::{jws, signed};

/// Longest key set, in bytes.
const MAX_JWKS: usize = 256 * 1_024;
/// Longest revocation list, in bytes.
const MAX_REVOKED: usize = 16 * 1_024 * 1_024;
/// What is not loaded yet is tried again after so long at the latest.
const SOON: Duration = Duration::from_secs(2);
/// How long a verified token need not be verified again, in seconds (AUTH-28).
const VERIFIED_FOR: u64 = 60;
/// Shares of the verified tokens, so that threads seldom wait for each other.
const SHARES: usize = 16;
/// Half of the tokens in one share: 200,000 in all (AUTH-28).
const HALF: usize = 6_250;
/// A session is under way when its token was used within so many seconds (AUTH-14).
const UNDER_WAY: u64 = 30;

type Digest = [u8; 32];

/// What decides about viewers. Requests ask [`Access::admit`]; [`Access::keep`] is the task that looks at the sources.
pub struct Access {
    plan: Plan,
    keys: RwLock<Keys>,
    /// Counts the sets of keys, so that nothing that an old one verified outlives it.
    turn: AtomicU64,
    verified: [Mutex<Seen<Digest, Verified>>; SHARES],
    /// When a token that has a `hard_exp` was last used from a network.
    under_way: Mutex<Seen<(Digest, Network), u64>>,
    /// `None`: it was not read yet.
    revoked: watch::Sender<Option<Arc<Revoked>>>,
    /// How old what was read of `jwks` and of `revoked` is.
    fresh: [Mutex<Fresh>; 2],
}

struct Keys {
    set: Arc<KeySet>,
    turn: u64,
    /// The key set of `edge.access.jwks` is in it.
    whole: bool,
}

#[derive(Clone)]
struct Verified {
    grant: Arc<Grant>,
    turn: u64,
    until: u64,
}

/// A request that may go on.
#[derive(Clone, Default, Debug)]
pub struct Pass {
    protected: bool,
    identity: Option<Arc<Identity>>,
}

/// Whether what is being sent may go on.
#[derive(Debug)]
pub struct Leave {
    identity: Arc<Identity>,
    lists: watch::Receiver<Option<Arc<Revoked>>>,
}

impl Leave {
    /// The viewer was cut off (AUTH-18). Costs next to nothing while the list stays the same.
    pub fn is_withdrawn(&mut self) -> bool {
        let changed = self.lists.has_changed().unwrap_or(false);
        changed && self.lists.borrow_and_update().as_ref().is_some_and(|list| list.names(&self.identity))
    }
}

/// Why an edge cannot start to check tokens.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read.
    #[error("edge.access.{key}: {source_name} {error}")]
    Read {
        /// The key below `edge.access`.
        key: &'static str,
        /// The file.
        source_name: String,
        /// Why.
        error: ReadError,
    },
    /// The key set is of no use.
    #[error("edge.access.jwks: {0}: {1}")]
    Jwks(String, JwksError),
    /// The list is of no use.
    #[error("edge.access.revoked: {0}: {1}")]
    Revoked(String, RevokedError),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Pass {
    /// What is served is for this viewer, and for no cache that others share.
    pub fn is_protected(&self) -> bool {
        self.protected
    }
}

impl Access {
    /// Reads the files of the plan. What comes from a URL comes later: [`Access::keep`] asks for it.
    pub fn open(plan: Plan) -> Result<Self, AccessError> {
        let access = Self {
            keys: RwLock::new(Keys {
                set: Arc::new(KeySet::new(plan.shared_keys())),
                turn: 0,
                whole: plan.jwks.is_none(),
            }),
            turn: AtomicU64::new(0),
            verified: std::array::from_fn(|_| Mutex::new(Seen::new(HALF))),
            under_way: Mutex::new(Seen::new(SHARES * HALF)),
            revoked: watch::Sender::new(plan.revoked.is_none().then(Arc::default)),
            fresh: [(); 2].map(|()| Mutex::new(Fresh::new(now()))),
            plan,
        };
        if let Some(source) = &access.plan.jwks
            && let Some(bytes) = read_now("jwks", source)?
        {
            access.take_jwks(source, &bytes).map_err(|error| AccessError::Jwks(source.to_string(), error))?;
        }
        if let Some(source) = &access.plan.revoked
            && let Some(bytes) = read_now("revoked", source)?
        {
            access.take_revoked(&bytes).map_err(|error| AccessError::Revoked(source.to_string(), error))?;
        }
        Ok(access)
    }

    /// Whether this stream needs a token.
    pub fn protects(&self, stream: &str) -> bool {
        self.plan.protects(stream)
    }

    /// Lets a request to a protected stream on, or says why not. `now` in Unix seconds.
    pub fn admit(
        &self,
        stream: &str,
        shown: Option<&Shown<'_>>,
        peer: IpAddr,
        now: u64,
    ) -> Result<Pass, Denied> {
        let shown = shown.ok_or(Denied::Missing)?;
        let ticket = Ticket::new(&shown.text).ok_or(Denied::Malformed)?;
        match ticket.read()? {
            Form::Signed(signed) => {
                let (keys, _) = self.keys();
                signed::check(&signed, shown.prefix.as_deref(), &keys, stream, peer, now)?;
                Ok(Pass { protected: true, identity: None })
            }
            Form::Jwt(jwt) => self.admit_token(ticket, &jwt, stream, peer, now),
        }
    }

    fn admit_token(
        &self,
        ticket: Ticket<'_>,
        jwt: &Jwt<'_>,
        stream: &str,
        peer: IpAddr,
        now: u64,
    ) -> Result<Pass, Denied> {
        let mut id = [0; 32];
        id.copy_from_slice(digest::digest(&digest::SHA256, ticket.expose().as_bytes()).as_ref());
        let grant = self.grant(id, jwt, now)?;
        let session = (id, Network::around(peer));
        let under_way = || lock(&self.under_way).find(&session).is_some_and(|last| now <= last + UNDER_WAY);
        grant.check(stream, peer, now, under_way)?;
        match &*self.revoked.borrow() {
            None => return Err(Denied::Unready),
            Some(list) if list.names(&grant.identity) => return Err(Denied::Revoked),
            Some(_) => {}
        }
        if grant.session_ends.is_some() {
            lock(&self.under_way).keep(session, now);
        }
        Ok(Pass { protected: true, identity: Some(grant.identity.clone()) })
    }

    /// What a token grants: from memory, or verified now (AUTH-28).
    fn grant(&self, id: Digest, jwt: &Jwt<'_>, now: u64) -> Result<Arc<Grant>, Denied> {
        let share = &self.verified[usize::from(id[0]) % SHARES];
        let known = lock(share).find(&id);
        let current = |known: &Verified| known.turn == self.turn.load(Ordering::Acquire) && now < known.until;
        if let Some(known) = known.filter(current) {
            return Ok(known.grant);
        }
        let (keys, turn) = self.keys();
        let policy = Policy { issuer: self.plan.issuer(), audience: self.plan.audience() };
        let verified = jws::verify(jwt, &keys)
            .and_then(|(claims, key)| Grant::read(&claims, key.streams().clone(), policy, now));
        let grant = Arc::new(verified.map_err(|denied| self.unless_unready(denied))?);
        lock(share).keep(id, Verified { grant: grant.clone(), turn, until: now + VERIFIED_FOR });
        Ok(grant)
    }

    /// An unknown key may be one that was not loaded yet.
    fn unless_unready(&self, denied: Denied) -> Denied {
        let whole = self.keys.read().unwrap_or_else(PoisonError::into_inner).whole;
        if denied == Denied::Key && !whole { Denied::Unready } else { denied }
    }

    fn keys(&self) -> (Arc<KeySet>, u64) {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        (keys.set.clone(), keys.turn)
    }

    /// Resolves when the holder of a pass is cut off (AUTH-15, AUTH-18).
    pub async fn withdrawn(&self, pass: &Pass) {
        let Some(identity) = &pass.identity else { return std::future::pending().await };
        let mut lists = self.revoked.subscribe();
        let named = |list: &Option<Arc<Revoked>>| list.as_ref().is_some_and(|list| list.names(identity));
        if lists.wait_for(named).await.is_err() {
            // The sender lives as long as this borrow does.
            std::future::pending::<()>().await;
        }
    }

    /// What a body that takes a while to send is watched by; `None` where nobody could be cut off.
    pub fn leave(&self, pass: &Pass) -> Option<Leave> {
        self.plan.revoked.as_ref()?;
        Some(Leave { identity: pass.identity.clone()?, lists: self.revoked.subscribe() })
    }

    /// Looks at the keys and the list again and again, for as long as it is polled.
    pub async fn keep(&self) {
        let keys = async {
            let Some(source) = &self.plan.jwks else { return };
            let whole = || self.keys.read().unwrap_or_else(PoisonError::into_inner).whole;
            let take = |bytes: &[u8]| self.take_jwks(source, bytes).map_err(|error| error.to_string());
            let fresh = &self.fresh[0];
            follow(("jwks", source, fresh), self.plan.jwks_refresh, MAX_JWKS, whole, take).await;
        };
        let revoked = async {
            let Some(source) = &self.plan.revoked else { return };
            let whole = || self.revoked.borrow().is_some();
            let take = |bytes: &[u8]| self.take_revoked(bytes).map_err(|error| error.to_string());
            let fresh = &self.fresh[1];
            follow(("revoked", source, fresh), self.plan.revoked_refresh, MAX_REVOKED, whole, take).await;
        };
        tokio::join!(keys, revoked);
    }

    /// How long ago each source that there is was last read well: `jwks`, `revoked`. At first, since this was opened.
    pub fn ages(&self, now: Instant) -> Vec<(&'static str, Duration)> {
        let sources = [("jwks", &self.plan.jwks), ("revoked", &self.plan.revoked)];
        let aged = sources.iter().zip(&self.fresh).filter(|((_, source), _)| source.is_some());
        aged.map(|((key, _), fresh)| (*key, lock(fresh).age(now))).collect()
    }

    /// Puts a new key set in the place of the last one; a set that cannot be used changes nothing.
    fn take_jwks(&self, source: &Source, bytes: &[u8]) -> Result<(), JwksError> {
        let mut all = self.plan.shared_keys();
        let fetched = key::jwks(bytes, matches!(source, Source::File(_)))?;
        if let Some(twice) =
            fetched.iter().filter_map(Key::id).find(|id| all.iter().any(|key| key.id() == Some(id)))
        {
            return Err(JwksError::SameId(twice.to_owned()));
        }
        all.extend(fetched);
        tracing::info!(keys = all.len(), %source, "keys of viewers' tokens loaded");
        {
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            *keys = Keys { set: Arc::new(KeySet::new(all)), turn: keys.turn + 1, whole: true };
            self.turn.store(keys.turn, Ordering::Release);
        }
        for share in &self.verified {
            lock(share).clear();
        }
        Ok(())
    }

    fn take_revoked(&self, bytes: &[u8]) -> Result<(), RevokedError> {
        let list = Revoked::read(bytes)?;
        tracing::info!(names = list.len(), "list of revoked viewers loaded");
        self.revoked.send_replace(Some(Arc::new(list)));
        Ok(())
    }
}

impl Plan {
    fn shared_keys(&self) -> Vec<Key> {
        let key = |key: &Shared| {
            let secret: &Secret = &key.secret;
            Key::shared(&key.id, secret, key.streams.clone())
        };
        self.keys.iter().map(key).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes of a file; `None` for a URL.
fn read_now(key: &'static str, source: &Source) -> Result<Option<Bytes>, AccessError> {
    let Source::File(path) = source else { return Ok(None) };
    let error =
        |error| AccessError::Read { key, source_name: source.to_string(), error: ReadError::File(error) };
    std::fs::read(path).map(|bytes| Some(bytes.into())).map_err(error)
}

/// Reads a source every so often and hands on what is new. What is broken or cannot be read changes nothing: what was
/// read last stays in force.
async fn follow(
    (key, source, fresh): (&'static str, &Source, &Mutex<Fresh>),
    every: Duration,
    most: usize,
    whole: impl Fn() -> bool,
    take: impl Fn(&[u8]) -> Result<(), String>,
) {
    let mut reader = Reader::new(source, most);
    let mut last = None;
    if matches!(source, Source::File(_)) {
        tokio::time::sleep(every).await;
    }
    loop {
        let taken = match reader.read().await {
            Ok(Some(bytes)) if last.as_ref() != Some(&bytes) => take(&bytes).map(|()| last = Some(bytes)),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("it {error}")),
        };
        match &taken {
            Err(error) if lock(fresh).bad(now()) => {
                tracing::error!(%source, %error, "edge.access.{key} cannot be used; what was loaded before stays in force");
            }
            Ok(()) if lock(fresh).good(now()) => {
                tracing::info!(%source, "edge.access.{key} can be used again")
            }
            _ => {}
        }
        if taken.is_err() {
            reader.forget();
        }
        tokio::time::sleep(if whole() { every } else { every.min(SOON) }).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "how old what was read is, is measured where it is read")]
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
#[path = "access/tests.rs"]
mod tests;
