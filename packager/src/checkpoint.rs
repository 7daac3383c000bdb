//! What survives a restart, so that a stream's URLs go on and no name is ever used twice (LLHLS-13, TL-29).
//!
//! One small file per live stream, replaced by rename at the end of each segment. A stream that has ended leaves
//! none. Without a directory nothing survives, but epochs still only grow while the process lives.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_common::{StreamName, WallTime};
use serde::{Deserialize, Serialize};

/// Parts that may have been published since the newest checkpoint: more than a segment's, many times.
const PARTS_AHEAD: u64 = 1_000;

/// Segments that may have been published since the newest checkpoint, beside one for each second.
const SEGMENTS_AHEAD: u64 = 2;

/// File of the newest epoch's number. No stream's file is named so: names do not begin with a dot.
const EPOCH: &str = ".epoch";

/// How far a stream has come. Numbers are those that come next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The epoch's number.
    pub epoch: u64,
    /// Media sequence number.
    pub next_msn: u64,
    /// Part number, the highest of all renditions.
    pub next_part: u64,
    /// Discontinuities so far.
    pub era: u64,
    /// EXT-X-TARGETDURATION, in seconds.
    pub target_duration: u32,
    /// PART-TARGET, in milliseconds.
    pub part_target: u32,
    /// When it was taken, in microseconds since 1970.
    pub wall_micros: i64,
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
    /// The newest epoch that was given out.
    epoch: AtomicU64,
}

impl Checkpoints {
    /// Keeps them in `dir`, which is made when it is needed; in memory only without one.
    pub fn new(dir: Option<PathBuf>) -> Self {
        Self { shared: Arc::new(Shared { dir, epoch: AtomicU64::new(0) }) }
    }

    /// Where a stream begins that is published at `now`: a checkpoint not older than `within` is resumed.
    ///
    /// Reads and writes files: not for an async thread. A file that can't be read or written is logged, and the
    /// stream begins anew.
    pub fn origin(&self, stream: &StreamName, now: WallTime, within: Duration) -> Origin {
        let found = self.read(stream);
        let resumed = found.and_then(|checkpoint| checkpoint.resume(now, within));
        Origin { fresh: self.next_epoch(found.map_or(0, |checkpoint| checkpoint.epoch), now), resumed }
    }

    /// Keeps a checkpoint in place of the one before. Writes a file: not for an async thread.
    pub fn keep(&self, stream: &StreamName, checkpoint: &Checkpoint) -> io::Result<()> {
        let Some(path) = self.path(stream) else { return Ok(()) };
        replace(&path, &serde_json::to_vec(checkpoint)?)
    }

    /// The stream has ended: nothing is to be resumed. Removes a file: not for an async thread.
    pub fn forget(&self, stream: &StreamName) -> io::Result<()> {
        let Some(path) = self.path(stream) else { return Ok(()) };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn read(&self, stream: &StreamName) -> Option<Checkpoint> {
        let text = std::fs::read(self.path(stream)?).ok()?;
        serde_json::from_slice(&text)
            .inspect_err(
                |error| tracing::warn!(%stream, %error, "checkpoint unreadable: the stream begins anew"),
            )
            .ok()
    }

    /// A number above all that were given out, in this process and before it: wall seconds, or one more.
    fn next_epoch(&self, known: u64, now: WallTime) -> u64 {
        let kept = self.shared.dir.as_deref().and_then(|dir| read_number(&dir.join(EPOCH))).unwrap_or(0);
        let seconds = (now.micros / 1_000_000).max(1).cast_unsigned();
        let least = seconds.max(known + 1).max(kept + 1);
        let taken = self
            .shared
            .epoch
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(least.max(last + 1)));
        let epoch = least.max(taken.unwrap_or(0) + 1);
        if let Some(dir) = &self.shared.dir
            && let Err(error) = replace(&dir.join(EPOCH), epoch.to_string().as_bytes())
        {
            tracing::warn!(%error, "epoch not kept: set data_dir to a directory that can be written");
        }
        epoch
    }

    /// Both halves of a name are safe as a file's.
    fn path(&self, stream: &StreamName) -> Option<PathBuf> {
        let dir = self.shared.dir.as_ref()?;
        Some(dir.join(stream.app()).join(format!("{}.json", stream.name())))
    }
}

impl Checkpoint {
    /// Itself, moved beyond every number that may have been used since; `None` when it is too old.
    fn resume(mut self, now: WallTime, within: Duration) -> Option<Self> {
        let elapsed = now.micros - self.wall_micros;
        if elapsed < 0 || i128::from(elapsed) > i128::try_from(within.as_micros()).ok()? {
            return None;
        }
        self.next_msn += SEGMENTS_AHEAD + elapsed.cast_unsigned() / 1_000_000;
        self.next_part += PARTS_AHEAD;
        Some(self)
    }
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
    use super::*;

    const NOW: WallTime = WallTime { micros: 1_763_634_000_000_000 };
    const WITHIN: Duration = Duration::from_secs(30);

    fn show() -> StreamName {
        "live/show".parse().unwrap()
    }

    fn checkpoint(epoch: u64) -> Checkpoint {
        Checkpoint {
            epoch,
            next_msn: 100,
            next_part: 500,
            era: 3,
            target_duration: 1,
            part_target: 214,
            wall_micros: NOW.micros,
        }
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
        assert_eq!([fresh(&memory), fresh(&memory)], [1_763_634_000, 1_763_634_001]);

        let dir = scratch("epochs");
        let before = fresh(&Checkpoints::new(Some(dir.clone())));
        let after = Checkpoints::new(Some(dir.clone()));
        assert!(fresh(&after) > before, "the clock stood still");
        // A clock that goes back does not bring an old epoch back.
        assert!(after.origin(&show(), NOW.offset(-3_600_000_000), WITHIN).fresh > before);
        let _ = std::fs::remove_dir_all(&dir);
    }

    #[test]
    fn numbers_move_beyond_all_that_may_have_been_used() {
        let resumed = checkpoint(9).resume(NOW.offset(7_900_000), WITHIN).unwrap();
        assert_eq!((resumed.next_msn, resumed.next_part, resumed.era), (109, 1_500, 3));
        assert_eq!(checkpoint(9).resume(NOW.offset(30_000_001), WITHIN), None, "too old");
        assert_eq!(checkpoint(9).resume(NOW.offset(-1), WITHIN), None, "from the future");
    }

    #[test]
    fn a_checkpoint_is_kept_until_the_stream_ends_and_a_broken_one_is_passed_over() {
        let dir = scratch("kept");
        let checkpoints = Checkpoints::new(Some(dir.clone()));
        checkpoints.keep(&show(), &checkpoint(2_000_000_000)).unwrap();
        let origin = checkpoints.origin(&show(), NOW.offset(1_000_000), WITHIN);
        assert_eq!(origin.resumed.map(|resumed| resumed.epoch), Some(2_000_000_000));
        assert_eq!(origin.fresh, 2_000_000_001, "above the one that is known");
        std::fs::write(dir.join("live/show.json"), b"{\"epoch\":").unwrap();
        assert_eq!(checkpoints.origin(&show(), NOW, WITHIN).resumed, None);
        checkpoints.forget(&show()).unwrap();
        checkpoints.forget(&show()).unwrap();
        assert!(!dir.join("live/show.json").exists());
        let _ = std::fs::remove_dir_all(&dir);
    }
}
