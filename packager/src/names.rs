//! Names of objects: relative, with the epoch, never with a viewer, and never used twice (LLHLS-15).

use std::fmt;

use aqueduct_common::{ObjectPath, TrackKind};

/// The multivariant playlist's name, the only one that outlives an epoch.
pub const MULTIVARIANT: &str = "index.m3u8";

/// A media playlist's name within its rendition.
pub const PLAYLIST: &str = "media.m3u8";

/// One life of a stream's URLs: a number that only grows, in lower-case base 36.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = Vec::new();
        let mut rest = self.0;
        loop {
            digits.push(char::from_digit((rest % 36) as u32, 36).unwrap_or('0'));
            rest /= 36;
            if rest == 0 {
                break;
            }
        }
        digits.iter().rev().try_for_each(|digit| write!(f, "{digit}"))
    }
}

/// A rendition's directory: `v0`, `a0`, ….
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    epoch: Epoch,
    count: u32,
    name: String,
}

impl Directory {
    /// The `count`th directory of a kind within an epoch, from 0.
    pub fn new(epoch: Epoch, kind: TrackKind, count: u32) -> Self {
        let letter = match kind {
            TrackKind::Video => 'v',
            TrackKind::Audio => 'a',
        };
        Self { epoch, count, name: format!("{letter}{count}") }
    }

    /// Its number among those of its kind.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Path of a file in it, from the stream's own.
    pub fn path(&self, file: &str) -> ObjectPath {
        ObjectPath::new(format!("{}/{}/{file}", self.epoch, self.name))
    }

    /// URI of its playlist, seen from the multivariant playlist.
    pub fn from_multivariant(&self) -> String {
        format!("{}/{}/{PLAYLIST}", self.epoch, self.name)
    }

    /// URI of its playlist, seen from another rendition's.
    pub fn from_sibling(&self) -> String {
        format!("../{}/{PLAYLIST}", self.name)
    }
}

/// File name of a part, by the rendition's running counter.
pub fn part(number: u64) -> String {
    format!("p{number}.m4s")
}

/// File name of a segment.
pub fn segment(msn: u64) -> String {
    format!("s{msn}.m4s")
}

/// File name of an init segment, by its content and the number of the first part that needs it: another
/// configuration is another name (CMAF-4), and so is one that comes back after its file has gone.
pub fn init(content: &[u8], first_part: u64) -> String {
    // FNV-1a, 64 bits: names differ where contents do, and no secret hangs on it.
    let hash = content.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("init-{hash:016x}-{first_part}.mp4")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_base_36_and_paths_relative() {
        assert_eq!(Epoch(0).to_string(), "0");
        assert_eq!(Epoch(35 * 36 + 10).to_string(), "za");
        let directory = Directory::new(Epoch(1_763_634_000), TrackKind::Video, 0);
        assert_eq!(directory.path(&part(7)).as_str(), "t60spc/v0/p7.m4s");
        assert_eq!(directory.from_multivariant(), "t60spc/v0/media.m3u8");
        assert_eq!(directory.from_sibling(), "../v0/media.m3u8");
        assert_eq!(init(b"a", 1), "init-af63dc4c8601ec8c-1.mp4");
        assert_ne!(init(b"a", 1), init(b"b", 1));
        assert_ne!(init(b"a", 1), init(b"a", 9));
    }
}
