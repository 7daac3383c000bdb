//! What survives a restart, so that a stream's URLs go on and no name is ever used twice (LLHLS-13, TL-29).
//!
//! One small file per live stream, replaced by rename at the end of each segment. A stream that has ended leaves
//! none. Without a directory nothing survives, but epochs still only grow while the process lives.

mod record;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_common::{StreamName, WallTime};

use record::newer;
pub use record::{Checkpoint, Directories, Kept};

/// Bits of an epoch's number below its second. They are any at first, so that two nodes that begin one stream in the same
/// second do not share its URLs. With them a number is exact as a JSON number, too, for centuries.
const APART_BITS: u32 = 20;

/// File of the newest epoch's number. No stream's file is named so: names do not begin with a dot.
const EPOCH: &str = ".epoch";

/// Other nodes that may go on with this node's streams, and whose streams this one may go on with.
pub trait Elsewhere: Send + Sync + std::fmt::Debug {
    /// Whoever goes on with the stream is to know this. Never blocks.
    fn tell(&self, stream: &StreamName, checkpoint: &str);

    /// What the node said last that had the stream before, and how long ago that was taken at most. The nodes' clocks need
    /// not agree.
    fn heard(&self, stream: &StreamName) -> Option<(String, Duration)>;
}

/// Where a stream begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// A new epoch's number.
    pub fresh: u64,
    /// What a restart cut short, with its numbers moved beyond all that may have been used.
    pub resumed: Option<Checkpoint>,
}

/// Keeps the checkpoints of all streams.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: Option<PathBuf>,
    elsewhere: Option<Arc<dyn Elsewhere>>,
    /// What tells this process's epochs from those of other nodes.
    apart: u64,
    given: Mutex<Given>,
}

/// What this process knows without reading files.
#[derive(Debug, Default)]
struct Given {
    /// The newest epoch that was given out.
    epoch: u64,
    /// The newest epoch of each stream that has ended, until its file is gone.
    ended: HashMap<StreamName, u64>,
    /// Runs of each stream that are not over.
    running: HashMap<StreamName, usize>,
}

/// A stream is being packaged, until this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    checkpoints: Checkpoints,
    stream: StreamName,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut given = self.checkpoints.given();
        let left = given.running.get_mut(&self.stream).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            given.running.remove(&self.stream);
        }
    }
}

impl Checkpoints {
    /// Keeps them in `dir`, which is made when it is needed; in memory only without one.
    pub fn new(dir: Option<PathBuf>) -> Self {
        let apart = any_number() >> (u64::BITS - APART_BITS);
        Self { shared: Arc::new(Shared { dir, elsewhere: None, apart, given: Mutex::default() }) }
    }

    /// The same, shared with other nodes that get the same push.
    pub fn shared(dir: Option<PathBuf>, elsewhere: Arc<dyn Elsewhere>) -> Self {
        let apart = any_number() >> (u64::BITS - APART_BITS);
        Self { shared: Arc::new(Shared { dir, elsewhere: Some(elsewhere), apart, given: Mutex::default() }) }
    }

    /// Where a stream begins that is published at `now`: a checkpoint not older than `within` is resumed.
    ///
    /// Reads and writes files: not for an async thread. A file that can't be read or written is logged, and the
    /// stream begins anew.
    pub fn origin(&self, stream: &StreamName, now: WallTime, within: Duration) -> Origin {
        let found = newer(self.read(stream), self.heard(stream, now));
        let (ended, others) = {
            let given = self.given();
            (given.ended.get(stream).copied(), given.running.get(stream).is_some_and(|count| *count > 1))
        };
        // What another run in this process still has, or has ended, is not cut short.
        let resumed = found
            .filter(|_| !others)
            .filter(|checkpoint| ended.is_none_or(|ended| ended < checkpoint.epoch))
            .and_then(|checkpoint| checkpoint.resume(now, within));
        Origin { fresh: self.next_epoch(found.map_or(0, |checkpoint| checkpoint.epoch), now), resumed }
    }

    /// Keeps a checkpoint in place of the one before. Writes a file: not for an async thread.
    pub fn keep(&self, stream: &StreamName, checkpoint: &Checkpoint) -> io::Result<()> {
        let text = serde_json::to_string(checkpoint)?;
        if let Some(elsewhere) = &self.shared.elsewhere {
            elsewhere.tell(stream, &text);
        }
        let Some(path) = self.path(stream) else { return Ok(()) };
        replace(&path, text.as_bytes())
    }

    /// The stream's playlists have ended: from here on no run goes on with this epoch, though its file may not be
    /// [forgotten](Self::forget) yet. Writes no file.
    pub fn end(&self, stream: &StreamName, epoch: u64) {
        let mut given = self.given();
        let ended = given.ended.entry(stream.clone()).or_default();
        *ended = epoch.max(*ended);
    }

    /// A run begins. Before the last one of the same stream is over, its epoch is not resumed.
    pub(crate) fn running(&self, stream: &StreamName) -> Running {
        *self.given().running.entry(stream.clone()).or_default() += 1;
        Running { checkpoints: self.clone(), stream: stream.clone() }
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.shared.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream has ended: nothing is to be resumed. Removes a file: not for an async thread.
    pub fn forget(&self, stream: &StreamName) -> io::Result<()> {
        if let Some(elsewhere) = &self.shared.elsewhere {
            elsewhere.tell(stream, "");
        }
        let Some(path) = self.path(stream) else { return Ok(()) };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.given().ended.remove(stream);
        Ok(())
    }

    /// Where another node left the stream, by this node's clock.
    fn heard(&self, stream: &StreamName, now: WallTime) -> Option<Checkpoint> {
        let (text, ago) = self.shared.elsewhere.as_ref()?.heard(stream)?;
        let checkpoint: Checkpoint = serde_json::from_str(&text).ok().filter(Checkpoint::is_sane)?;
        let ago = i64::try_from(ago.as_micros()).ok()?;
        let wall_micros = now.offset(-ago).micros;
        let ahead = wall_micros.saturating_sub(checkpoint.wall_micros);
        Some(Checkpoint {
            wall_micros,
            next_micros: checkpoint.next_micros.saturating_add(ahead),
            ..checkpoint
        })
    }

    fn read(&self, stream: &StreamName) -> Option<Checkpoint> {
        let text = std::fs::read(self.path(stream)?).ok()?;
        serde_json::from_slice(&text)
            .inspect_err(
                |error| tracing::warn!(%stream, %error, "checkpoint unreadable: the stream begins anew"),
            )
            .ok()
            .filter(Checkpoint::is_sane)
    }

    /// A number above all that were given out, in this process and before it: wall seconds and this process's own bits, or
    /// one more.
    ///
    /// One at a time: what is read is what the one before wrote.
    fn next_epoch(&self, known: u64, now: WallTime) -> u64 {
        let mut given = self.given();
        let kept = self.shared.dir.as_deref().and_then(|dir| read_number(&dir.join(EPOCH))).unwrap_or(0);
        let seconds = (now.micros / 1_000_000).max(1).cast_unsigned();
        let newest = known.max(kept).max(given.epoch);
        let own = seconds << APART_BITS | self.shared.apart;
        given.epoch = own.max(newest.saturating_add(1));
        if let Some(dir) = &self.shared.dir
            && let Err(error) = replace(&dir.join(EPOCH), given.epoch.to_string().as_bytes())
        {
            tracing::warn!(%error, "epoch not kept: set data_dir to a directory that can be written");
        }
        given.epoch
    }

    /// Both halves of a name are safe as a file's.
    fn path(&self, stream: &StreamName) -> Option<PathBuf> {
        let dir = self.shared.dir.as_ref()?;
        Some(dir.join(stream.app()).join(format!("{}.json", stream.name())))
    }
}

/// Different in every process, and every time.
fn any_number() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    RandomState::new().build_hasher().finish()
}

fn read_number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Writes beside the file and renames: a reader finds the old or the new one, whole.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let beside = path.with_extension("new");
    std::fs::write(&beside, content)?;
    std::fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::record::SEGMENTS_AHEAD;
    use super::record::tests::{NOW, WITHIN, checkpoint};
    use super::*;

    fn show() -> StreamName {
        "live/show".parse().unwrap()
    }

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("aqueduct-checkpoint-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn epochs_only_grow_within_a_second_and_over_a_restart() {
        let memory = Checkpoints::new(None);
        let fresh = |checkpoints: &Checkpoints| checkpoints.origin(&show(), NOW, WITHIN).fresh;
        let first = fresh(&memory);
        assert_eq!((first >> APART_BITS, fresh(&memory)), (1_763_634_000, first + 1));
        let later = memory.origin(&show(), NOW.offset(1_000_000), WITHIN).fresh;
        assert_eq!(later >> APART_BITS, 1_763_634_001);

        let dir = scratch("epochs");
        let before = fresh(&Checkpoints::new(Some(dir.clone())));
        let after = Checkpoints::new(Some(dir.clone()));
        assert!(fresh(&after) > before, "the clock stood still");
        // A clock that goes back does not bring an old epoch back.
        assert!(after.origin(&show(), NOW.offset(-3_600_000_000), WITHIN).fresh > before);
        let _ = std::fs::remove_dir_all(&dir);
    }

    #[test]
    fn nodes_that_begin_a_stream_in_the_same_second_do_not_share_its_epoch() {
        // Two of a thousand nodes may meet by chance, but not many.
        let fresh = |_| Checkpoints::new(None).origin(&show(), NOW, WITHIN).fresh;
        let epochs: std::collections::HashSet<u64> = (0..1_000).map(fresh).collect();
        assert!(epochs.len() > 990, "{} epochs of 1,000 nodes", epochs.len());
        assert!(epochs.iter().all(|epoch| *epoch < 1 << 53 && epoch >> APART_BITS == 1_763_634_000));
    }

    #[test]
    fn streams_that_begin_together_get_an_epoch_each_and_the_newest_is_kept() {
        let dir = scratch("together");
        let checkpoints = Checkpoints::new(Some(dir.clone()));
        let barrier = std::sync::Barrier::new(8);
        let mut epochs: Vec<u64> = std::thread::scope(|scope| {
            let begin = |index: usize| {
                let (checkpoints, barrier) = (&checkpoints, &barrier);
                scope.spawn(move || {
                    let name: StreamName = format!("live/show{index}").parse().unwrap();
                    barrier.wait();
                    let mut newest = 0;
                    for _ in 0..20 {
                        let fresh = checkpoints.origin(&name, NOW, WITHIN).fresh;
                        // Whoever reads the file after this one began finds this one or a newer.
                        let kept = read_number(&checkpoints.shared.dir.as_deref().unwrap().join(EPOCH));
                        assert!(kept.is_some_and(|kept| kept >= fresh), "{kept:?} after {fresh}");
                        newest = fresh;
                    }
                    newest
                })
            };
            let running: Vec<_> = (0..8).map(begin).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        epochs.sort_unstable();
        epochs.dedup();
        assert_eq!(epochs.len(), 8);
        assert_eq!(read_number(&dir.join(EPOCH)), epochs.last().copied());
        let _ = std::fs::remove_dir_all(&dir);
    }

    #[test]
    fn an_epoch_that_has_ended_is_not_resumed_though_its_file_is_still_there() {
        let dir = scratch("ended");
        let checkpoints = Checkpoints::new(Some(dir.clone()));
        checkpoints.keep(&show(), &checkpoint(7)).unwrap();
        checkpoints.end(&show(), 7);
        assert_eq!(checkpoints.origin(&show(), NOW, WITHIN).resumed, None);
        checkpoints.keep(&show(), &checkpoint(8)).unwrap();
        assert!(checkpoints.origin(&show(), NOW, WITHIN).resumed.is_some(), "another has begun since");
        let _ = std::fs::remove_dir_all(&dir);
    }

    #[test]
    fn a_run_does_not_resume_what_the_one_before_is_still_ending() {
        let dir = scratch("running");
        let checkpoints = Checkpoints::new(Some(dir.clone()));
        let before = checkpoints.running(&show());
        checkpoints.keep(&show(), &checkpoint(7)).unwrap();
        let now = checkpoints.running(&show());
        assert_eq!(checkpoints.origin(&show(), NOW, WITHIN).resumed, None);
        drop((before, now));
        let _again = checkpoints.running(&show());
        assert!(checkpoints.origin(&show(), NOW, WITHIN).resumed.is_some(), "it was dropped, not ended");
        let _ = std::fs::remove_dir_all(&dir);
    }

    #[test]
    fn a_checkpoint_is_kept_until_the_stream_ends_and_a_broken_one_is_passed_over() {
        let dir = scratch("kept");
        let checkpoints = Checkpoints::new(Some(dir.clone()));
        checkpoints.keep(&show(), &checkpoint(1 << 52)).unwrap();
        let origin = checkpoints.origin(&show(), NOW.offset(1_000_000), WITHIN);
        assert_eq!(origin.resumed.map(|resumed| resumed.epoch), Some(1 << 52));
        assert_eq!(origin.fresh, (1 << 52) + 1, "above the one that is known");
        std::fs::write(dir.join("live/show.json"), b"{\"epoch\":").unwrap();
        assert_eq!(checkpoints.origin(&show(), NOW, WITHIN).resumed, None);
        checkpoints.forget(&show()).unwrap();
        checkpoints.forget(&show()).unwrap();
        assert!(!dir.join("live/show.json").exists());
        let _ = std::fs::remove_dir_all(&dir);
    }

    /// Another node, which said its last so long ago.
    #[derive(Debug, Default)]
    struct Others(Mutex<HashMap<StreamName, String>>, Duration);

    impl Elsewhere for Others {
        fn tell(&self, stream: &StreamName, checkpoint: &str) {
            self.0.lock().unwrap().insert(stream.clone(), checkpoint.to_owned());
        }

        fn heard(&self, stream: &StreamName) -> Option<(String, Duration)> {
            Some((self.0.lock().unwrap().get(stream).cloned()?, self.1))
        }
    }

    #[test]
    fn another_node_goes_on_where_one_left_and_not_where_it_ended() {
        let others = Arc::new(Others(Mutex::default(), Duration::from_secs(4)));
        let node = || Checkpoints::shared(None, others.clone());
        let (one, two) = (node(), node());
        assert_eq!(two.origin(&show(), NOW, WITHIN).resumed, None);
        one.keep(&show(), &checkpoint(7)).unwrap();
        // Whatever the clocks say, the numbers are beyond all that were used, and not far.
        for apart in [-1_000_000_000, 0, 1_000_000_000] {
            let resumed = two.origin(&show(), NOW.offset(apart), WITHIN).resumed.unwrap();
            assert_eq!((resumed.epoch, resumed.next_msn), (7, checkpoint(7).next_msn + SEGMENTS_AHEAD + 4));
            assert!(resumed.next_part > checkpoint(7).next_part && resumed.era > checkpoint(7).era);
        }
        assert_eq!(two.origin(&show(), NOW, Duration::from_secs(3)).resumed, None);
        // The one that took over has come further, and the first one comes back.
        two.keep(&show(), &Checkpoint { next_msn: 500, ..checkpoint(7) }).unwrap();
        assert!(one.origin(&show(), NOW, WITHIN).resumed.unwrap().next_msn > 500);
        two.forget(&show()).unwrap();
        assert_eq!(one.origin(&show(), NOW, WITHIN).resumed, None);
        // What another node says is not to be trusted with more than numbers.
        for text in ["", "{}", "[]", "\u{0}"] {
            others.tell(&show(), text);
            assert_eq!(one.origin(&show(), NOW, WITHIN).resumed, None);
        }
        // Nor with numbers that no stream reaches.
        one.keep(&show(), &Checkpoint { next_msn: u64::MAX, era: u64::MAX, ..checkpoint(7) }).unwrap();
        assert_eq!(two.origin(&show(), NOW, WITHIN).resumed, None);
    }
}
