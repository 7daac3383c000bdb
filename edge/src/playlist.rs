//! When a media playlist answers a request, and which of its versions may be seen. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use aqueduct_common::object::{ObjectPath, PlaylistInfo, Version};

use crate::entry::Entry;
use crate::route::At;

/// Versions that may wait for their media. When there are more, the oldest is given up: a later one stands for it.
const MAX_STAGED: usize = 64;

/// What a playlist of a certain version says to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It answers it.
    Ready,
    /// A later version will.
    Wait,
    /// No version that is due soon will (LLHLS-22).
    TooFarAhead,
}

/// Whether a playlist answers a request now (LLHLS-20, -21, -22).
pub fn decide(list: &PlaylistInfo, at: At) -> Verdict {
    if list.ended {
        return Verdict::Ready;
    }
    let Version { msn: newest, part: newest_part, complete } = list.version;
    let (msn, part, ready) = match at {
        At::Now => return Verdict::Ready,
        At::Segment(msn) => (msn, 0, newest > msn || (newest == msn && complete)),
        At::Part(msn, part) => (msn, part, (newest, u64::from(newest_part)) >= (msn, part)),
    };
    if ready {
        return Verdict::Ready;
    }
    // Two beyond the last complete segment; the open one is one beyond it.
    let last_msn = newest.saturating_add(if complete { 2 } else { 1 });
    // In a segment of which nothing is listed, parts count from its beginning.
    let listed = if msn == newest { u64::from(newest_part) } else { 0 };
    if msn > last_msn || part > listed + u64::from(list.ahead.parts) {
        return Verdict::TooFarAhead;
    }
    Verdict::Wait
}

/// Whether `next` may follow `last` as what is seen of a playlist: versions only grow, and nothing follows the end.
pub(crate) fn follows(last: &PlaylistInfo, next: &PlaylistInfo) -> bool {
    next.version >= last.version && (next.ended || !last.ended)
}

/// Versions of one playlist that list media which are not here yet, oldest first. At the origin it is always empty,
/// since media are published before the playlist that lists them.
#[derive(Debug, Default)]
pub(crate) struct Staged(VecDeque<Arc<Entry>>);

impl Staged {
    /// Puts a version in its place.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>) {
        let version = |entry: &Entry| entry.list().map(|list| (list.version, list.ended));
        let at = self.0.partition_point(|staged| version(staged) < version(&entry));
        match self.0.get_mut(at) {
            Some(same) if version(same) == version(&entry) => *same = entry,
            _ => self.0.insert(at, entry),
        }
        if self.0.len() > MAX_STAGED {
            self.0.pop_front();
        }
    }

    /// What the versions wait for.
    pub(crate) fn needs(&self) -> impl Iterator<Item = ObjectPath> {
        self.0.iter().filter_map(|entry| entry.list()?.needs.clone())
    }

    /// Takes the newest version all of whose media, and those of every version before it, are here.
    pub(crate) fn release(&mut self, is_here: impl Fn(&str) -> bool) -> Option<Arc<Entry>> {
        let needed = |entry: &Entry| entry.list().and_then(|list| list.needs.clone());
        let mut newest = None;
        while let Some(front) = self.0.front()
            && needed(front).is_none_or(|path| is_here(path.as_str()))
        {
            newest = self.0.pop_front();
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aqueduct_common::object::Ahead;
    use proptest::prelude::*;

    use super::*;

    fn list(msn: u64, part: u32, complete: bool) -> PlaylistInfo {
        PlaylistInfo {
            version: Version { msn, part, complete },
            delta: None,
            hint: None,
            ahead: Ahead { parts: 30, hold: Duration::from_secs(8) },
            target_duration: Duration::from_secs(1),
            ended: false,
            needs: None,
            demand: None,
        }
    }

    #[test]
    fn requests_are_ready_held_or_too_far_by_the_version_alone() {
        use Verdict::{Ready, TooFarAhead, Wait};
        let open = list(10, 3, false);
        let closed = list(10, 4, true);
        for (list, at, verdict) in [
            (&open, At::Now, Ready),
            // LLHLS-20: a part, or anything after it.
            (&open, At::Part(10, 3), Ready),
            (&open, At::Part(10, 0), Ready),
            (&open, At::Part(9, 99), Ready),
            (&open, At::Part(10, 4), Wait),
            (&open, At::Part(11, 0), Wait),
            // LLHLS-20: a segment is there when it is complete.
            (&open, At::Segment(9), Ready),
            (&open, At::Segment(10), Wait),
            (&closed, At::Segment(10), Ready),
            (&closed, At::Segment(11), Wait),
            // A part beyond the last of a complete segment waits for the next segment's first.
            (&closed, At::Part(10, 5), Wait),
            // LLHLS-21: older than the window.
            (&open, At::Segment(0), Ready),
            // LLHLS-22: two beyond the last complete segment, and no further.
            (&open, At::Segment(11), Wait),
            (&open, At::Segment(12), TooFarAhead),
            (&closed, At::Segment(12), Wait),
            (&closed, At::Segment(13), TooFarAhead),
            (&open, At::Part(12, 0), TooFarAhead),
            (&open, At::Part(10, 33), Wait),
            (&open, At::Part(10, 34), TooFarAhead),
            (&open, At::Part(11, 30), Wait),
            (&open, At::Part(11, 31), TooFarAhead),
            (&open, At::Part(1 << 53, 1 << 53), TooFarAhead),
            (&open, At::Part(10, 1 << 53), TooFarAhead),
        ] {
            assert_eq!(decide(list, at), verdict, "{:?} {at:?}", list.version);
        }
        let ended = PlaylistInfo { ended: true, ..list(10, 4, true) };
        assert_eq!(decide(&ended, At::Segment(999)), Ready);
        assert_eq!(decide(&list(u64::MAX, u32::MAX, true), At::Part(1 << 53, 0)), Ready);
    }

    proptest! {
        /// LLHLS-20 as a property: what a version answers, every later version answers too.
        #[test]
        fn an_answered_request_stays_answered(
            msn in 1u64..20, part in 0u32..6, complete: bool, later in (0u64..3, 0u32..6, any::<bool>()),
            asked in (0u64..25, proptest::option::of(0u64..8)),
        ) {
            let at = match asked { (msn, None) => At::Segment(msn), (msn, Some(part)) => At::Part(msn, part) };
            let now = list(msn, part, complete);
            let then = list(msn + later.0, later.1, later.2);
            // A complete segment gets no more parts.
            prop_assume!(follows(&now, &then) && !(complete && later.0 == 0 && later.1 > part));
            if decide(&now, at) == Verdict::Ready {
                prop_assert_eq!(decide(&then, at), Verdict::Ready);
            }
        }
    }
}
