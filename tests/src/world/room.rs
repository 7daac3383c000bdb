//! How much of this machine a test takes.
//!
//! Tests wait most of their time, so they run side by side; what measures a player or fills every core is given the
//! whole machine meanwhile, or it would measure its neighbours.

use std::io::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::now;

/// Shares that there are: two halves and a quarter, as each of them waits now and then.
const SHARES: u32 = 5;
/// One for all tests of a process.
static FLOOR: LazyLock<watch::Sender<Floor>> = LazyLock::new(|| watch::Sender::new(Floor::default()));

/// How much of the machine is wanted. Who wants it alone comes last: it is emptied once then, and not for each of them.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Size {
    Half,
    Quarter,
    Whole,
}

impl Size {
    fn shares(self) -> u32 {
        match self {
            Self::Half => 2,
            Self::Quarter => 1,
            Self::Whole => SHARES,
        }
    }
}

/// What is taken of the machine, and who waits.
#[derive(Default)]
struct Floor {
    taken: u32,
    waiting: [u32; 3],
}

impl Floor {
    fn has_room(&self, size: Size) -> bool {
        let fits = |size: Size| self.taken + size.shares() <= SHARES;
        let waits = |size: Size| self.waiting[size as usize] > 0;
        let is_turn = match size {
            Size::Half => true,
            // Fills what a half leaves.
            Size::Quarter => !(waits(Size::Half) && fits(Size::Half)),
            Size::Whole => !waits(Size::Half) && !waits(Size::Quarter),
        };
        is_turn && fits(size)
    }

    /// Takes room, where there is some.
    fn take(&mut self, size: Size) -> bool {
        let taken = self.has_room(size);
        if taken {
            self.waiting[size as usize] -= 1;
            self.taken += size.shares();
        }
        taken
    }
}

/// Room on this machine, until it is dropped.
pub struct Room {
    name: String,
    size: Size,
    asked: Instant,
    waited: Duration,
}

/// A quarter: pushes of what is coded already, and readers that do not decode.
pub async fn quarter() -> Room {
    take(Size::Quarter).await
}

/// Half: one thing that encodes or decodes.
pub async fn half() -> Room {
    take(Size::Half).await
}

/// All of it: what measures time, and what fills the machine.
pub async fn whole() -> Room {
    take(Size::Whole).await
}

async fn take(size: Size) -> Room {
    let asked = now();
    FLOOR.send_modify(|floor| floor.waiting[size as usize] += 1);
    let mut floor = FLOOR.subscribe();
    while !FLOOR.send_if_modified(|floor| floor.take(size)) {
        // The sender is static: it is never gone.
        let _ = floor.wait_for(|floor| floor.has_room(size)).await;
    }
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    Room { name, size, asked, waited: now() - asked }
}

impl Drop for Room {
    /// Says how long it took, past the test's captured output: a slow suite is explained by its own log.
    fn drop(&mut self) {
        FLOOR.send_modify(|floor| floor.taken -= self.size.shares());
        let took = (now() - self.asked).saturating_sub(self.waited);
        let (name, waited) = (&self.name, self.waited);
        let _ = writeln!(std::io::stderr(), "{name} took {took:.1?}, and waited {waited:.1?} for room");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_all_of_it_waits_for_the_others() {
        let mut floor = Floor { taken: 0, waiting: [3, 2, 1] };
        assert!(!floor.take(Size::Whole) && !floor.take(Size::Quarter), "a half comes first");
        assert!(floor.take(Size::Half) && floor.take(Size::Half));
        assert!(!floor.take(Size::Half) && floor.take(Size::Quarter), "a quarter fills what is left");
        floor.taken -= Size::Half.shares();
        assert!(!floor.take(Size::Quarter) && floor.take(Size::Half));
        floor.taken = 0;
        assert!(!floor.take(Size::Whole) && floor.take(Size::Quarter), "nobody else waits");
        assert!(!floor.take(Size::Whole), "it is not empty");
        floor.taken = 0;
        assert!(floor.take(Size::Whole));
        assert_eq!((floor.taken, floor.waiting), (SHARES, [0; 3]));
    }
}
