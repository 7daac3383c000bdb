//! How much of this machine a test takes.
//!
//! Tests wait most of their time, so they run side by side; what measures a player or fills every core is given the
//! whole machine meanwhile, or it would measure its neighbours.

use std::io::Write as _;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::now;

/// Shares that there are.
const SHARES: u32 = 4;
/// Of each, who asks first is served first: who wants the whole machine is not overtaken for ever.
static ROOM: Semaphore = Semaphore::const_new(SHARES as usize);

/// Room on this machine, until it is dropped.
pub struct Room {
    name: String,
    asked: Instant,
    waited: Duration,
    _permit: Option<SemaphorePermit<'static>>,
}

/// A quarter: pushes of what is coded already, and readers that do not decode.
pub async fn quarter() -> Room {
    take(1).await
}

/// Half: one thing that encodes or decodes.
pub async fn half() -> Room {
    take(SHARES / 2).await
}

/// All of it: what measures time, and what fills the machine.
pub async fn whole() -> Room {
    take(SHARES).await
}

async fn take(shares: u32) -> Room {
    let asked = now();
    let permit = ROOM.acquire_many(shares).await.ok();
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    Room { name, asked, waited: now() - asked, _permit: permit }
}

impl Drop for Room {
    /// Says how long it took, past the test's captured output: a slow suite is explained by its own log.
    fn drop(&mut self) {
        let took = (now() - self.asked).saturating_sub(self.waited);
        let (name, waited) = (&self.name, self.waited);
        let _ = writeln!(std::io::stderr(), "{name} took {took:.1?}, and waited {waited:.1?} for room");
    }
}
