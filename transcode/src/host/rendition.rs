//! One encoded rendition as the host sees it: which of its frames may go on to the packager (pure).
//!
//! The packager trusts the feed's contract, and a worker is not trusted: whatever a rendition's frames are, what comes
//! out here begins with a sync frame, has no hole and never goes back.

use std::sync::Arc;

use aqueduct_common::event::{Rendition as Described, RungState};
use aqueduct_common::{MediaTime, Sample, Timescale, Track, TrackId, TrackKind};

use crate::protocol::Frame;

/// Instants that differ by less are equal: a rounding of one scale to another.
const SAME: i64 = 705_600_000 / 20_000;

/// What became of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It goes on. `resumes`: it is the first after an absence.
    Sample {
        /// The frame.
        sample: Sample,
        /// It is the first after an absence, a break or the beginning.
        resumes: bool,
    },
    /// It is of an old era, or not wanted.
    Late,
    /// It does not follow the one before: the rendition is lost until its next sync frame.
    Hole,
}

/// Whether frames are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Yes,
    Shed,
    Asleep,
}

/// From where on frames count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Floor {
    /// The era has no sample yet: whatever comes is of an older one.
    Unknown,
    /// Presentation time in flicks.
    At(i64),
    /// Decode time in ticks of its track.
    Decode(i64),
}

/// One rendition.
#[derive(Debug)]
pub struct Rendition {
    /// How it is called and shown.
    pub described: Described,
    /// The source track that it is made of.
    pub source: TrackId,
    /// Video or audio.
    pub kind: TrackKind,
    /// Its parameters, once the worker has said them.
    pub announced: Option<Arc<Track>>,
    wanted: Wanted,
    floor: Floor,
    /// Decode time of the next frame; `None` waits for a sync frame.
    next: Option<i64>,
    /// Decode time at which all that went on ended: nothing ever goes on before it.
    end: i64,
    lost: bool,
    /// End of the newest frame that went on, in flicks of the presentation.
    reached: Option<i64>,
}

impl Rendition {
    /// A rendition that has not begun.
    pub const fn new(described: Described, source: TrackId, kind: TrackKind) -> Self {
        Self {
            described,
            source,
            kind,
            announced: None,
            wanted: Wanted::Yes,
            floor: Floor::Unknown,
            next: None,
            end: i64::MIN,
            lost: false,
            reached: None,
        }
    }

    /// Its track's number.
    pub const fn id(&self) -> TrackId {
        self.described.track
    }

    /// What it is doing.
    pub const fn state(&self) -> RungState {
        match self.wanted {
            Wanted::Shed => RungState::Shed,
            Wanted::Asleep => RungState::Asleep,
            Wanted::Yes if self.next.is_some() => RungState::Running,
            Wanted::Yes if self.lost => RungState::Lost,
            Wanted::Yes => RungState::Starting,
        }
    }

    /// Its frames are wanted.
    pub const fn is_wanted(&self) -> bool {
        matches!(self.wanted, Wanted::Yes)
    }

    /// Frames come.
    pub const fn is_running(&self) -> bool {
        self.is_wanted() && self.next.is_some()
    }

    /// End of the newest frame that went on since the last break, in flicks of the presentation.
    pub const fn reached(&self) -> Option<i64> {
        self.reached
    }

    /// The timeline breaks: what comes is of the old era until [`Rendition::begin`].
    pub const fn interrupt(&mut self) {
        self.floor = Floor::Unknown;
        self.next = None;
        self.reached = None;
    }

    /// The first sample of an era came on a source track; only the first one counts.
    pub fn begin(&mut self, source: TrackId, pts: MediaTime) {
        if source == self.source && self.floor == Floor::Unknown {
            self.floor = Floor::At(pts.as_flicks());
        }
    }

    /// Frames count only from this instant on, and begin with a sync frame.
    pub fn restart_at(&mut self, pts: MediaTime) {
        self.floor = Floor::At(pts.as_flicks());
        self.next = None;
    }

    /// Frames count only from this decode time on, in ticks of its track, and begin with a sync frame.
    pub const fn begin_at(&mut self, dts: i64) {
        self.floor = Floor::Decode(dts);
        self.next = None;
    }

    /// Its worker is gone. True when frames had come.
    pub const fn lose(&mut self) -> bool {
        let was = self.next.is_some();
        self.next = None;
        self.reached = None;
        self.lost = true;
        was
    }

    /// Frames are not wanted any more. True when they were.
    pub const fn stop(&mut self, shed: bool) -> bool {
        let was = self.is_wanted();
        self.wanted = if shed { Wanted::Shed } else { Wanted::Asleep };
        self.next = None;
        self.reached = None;
        was
    }

    /// Frames are wanted again, from the next sync frame on. True when they were not.
    pub const fn resume(&mut self) -> bool {
        let was = !self.is_wanted();
        self.wanted = Wanted::Yes;
        self.lost = false;
        was
    }

    /// Takes in a frame of it.
    pub fn take(&mut self, frame: Frame) -> Taken {
        let Some(scale) = self.announced.as_ref().map(|track| track.timescale) else { return Taken::Late };
        if !self.is_wanted() || frame.payload.is_empty() || self.is_before_floor(&frame, scale) {
            return Taken::Late;
        }
        match self.next {
            None if !frame.sync => return Taken::Late,
            _ if frame.dts < self.end => return Taken::Late,
            Some(next) if frame.dts > next => {
                self.lose();
                return Taken::Hole;
            }
            _ => {}
        }
        let resumes = self.next.is_none();
        self.end = frame.dts + i64::from(frame.duration);
        self.next = Some(self.end);
        self.lost = false;
        let end = MediaTime::new(frame.pts + i64::from(frame.duration), scale).as_flicks();
        self.reached = Some(self.reached.map_or(end, |reached| reached.max(end)));
        Taken::Sample { sample: frame.sample(scale), resumes }
    }

    fn is_before_floor(&self, frame: &Frame, scale: Timescale) -> bool {
        let floor = match self.floor {
            Floor::Unknown => return true,
            Floor::Decode(dts) => return frame.dts < dts,
            Floor::At(floor) => floor,
        };
        let slack = match self.kind {
            TrackKind::Video => SAME,
            // Encoded sound lies on a frame grid of its own, which need not begin where the source's does.
            TrackKind::Audio => MediaTime::new(i64::from(frame.duration), scale).as_flicks() / 2,
        };
        MediaTime::new(frame.pts, scale).as_flicks() + slack < floor
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::codec::OpusConfig;
    use aqueduct_common::track::Grid;
    use aqueduct_common::{CodecConfig, WallTime};
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn rendition() -> Rendition {
        let described = Described { track: TrackId(16), name: "720p".into(), size: None, bitrate: 1 };
        let mut rendition = Rendition::new(described, TrackId::VIDEO, TrackKind::Video);
        rendition.announced = Some(Arc::new(Track {
            id: TrackId(16),
            codec: CodecConfig::Opus(OpusConfig::parse_head(&Bytes::new()).unwrap()),
            timescale: Timescale::VIDEO,
            grid: Grid::Fixed(MediaTime::new(3_000, Timescale::VIDEO)),
            reorder_delay: 0,
            language: "und".into(),
            bandwidth: None,
        }));
        rendition
    }

    fn frame(index: i64, sync: bool) -> Frame {
        Frame {
            track: TrackId(16),
            dts: index * 3_000,
            pts: index * 3_000,
            duration: 3_000,
            sync,
            disposable: false,
            received: WallTime::default(),
            payload: Bytes::from_static(b"x"),
        }
    }

    fn at(index: i64) -> MediaTime {
        MediaTime::new(index * 3_000, Timescale::VIDEO)
    }

    fn is_taken(taken: &Taken) -> bool {
        matches!(taken, Taken::Sample { .. })
    }

    #[test]
    fn frames_of_an_old_era_are_late_and_the_new_one_begins_with_a_sync_frame() {
        let mut rendition = rendition();
        assert_eq!(rendition.take(frame(0, true)), Taken::Late, "the era has no sample yet");
        rendition.begin(TrackId::VIDEO, at(10));
        assert_eq!(rendition.take(frame(9, true)), Taken::Late);
        assert_eq!(rendition.take(frame(10, false)), Taken::Late);
        assert!(is_taken(&rendition.take(frame(10, true))));
        assert_eq!(rendition.state(), RungState::Running);
        rendition.interrupt();
        assert_eq!(rendition.take(frame(11, true)), Taken::Late);
        rendition.begin(TrackId::AUDIO, at(5));
        assert_eq!(
            rendition.take(frame(11, true)),
            Taken::Late,
            "another track's sample begins nothing here"
        );
        rendition.begin(TrackId::VIDEO, at(100));
        assert_eq!(rendition.take(frame(11, true)), Taken::Late);
        assert!(is_taken(&rendition.take(frame(100, true))));
    }

    #[test]
    fn a_hole_loses_it_until_the_next_sync_frame() {
        let mut rendition = rendition();
        rendition.begin(TrackId::VIDEO, at(0));
        assert!(is_taken(&rendition.take(frame(0, true))));
        assert_eq!(rendition.take(frame(2, false)), Taken::Hole);
        assert_eq!(rendition.state(), RungState::Lost);
        assert_eq!(rendition.take(frame(3, false)), Taken::Late);
        let taken = rendition.take(frame(4, true));
        assert!(matches!(taken, Taken::Sample { resumes: true, .. }));
    }

    #[test]
    fn a_shed_or_sleeping_one_gives_nothing_until_it_is_wanted() {
        let mut rendition = rendition();
        rendition.begin(TrackId::VIDEO, at(0));
        assert!(is_taken(&rendition.take(frame(0, true))));
        assert!(rendition.stop(true) && !rendition.stop(true));
        assert_eq!((rendition.take(frame(1, true)), rendition.state()), (Taken::Late, RungState::Shed));
        assert!(rendition.resume() && !rendition.resume());
        assert_eq!(rendition.take(frame(2, false)), Taken::Late);
        assert!(is_taken(&rendition.take(frame(3, true))));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Frame(i64, bool, bool),
        Interrupt,
        Begin(i64),
        Lose,
        Stop,
        Resume,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (-3i64..4, any::<bool>(), any::<bool>()).prop_map(|(off, sync, empty)| Step::Frame(off, sync, empty)),
            1 => Just(Step::Interrupt),
            2 => (0i64..20).prop_map(Step::Begin),
            1 => Just(Step::Lose),
            1 => Just(Step::Stop),
            1 => Just(Step::Resume),
        ];
        proptest::collection::vec(step, 0..120)
    }

    proptest! {
        /// The contract of a feed, whatever a worker sends: contiguous but for what was announced as an absence, after
        /// which a sync frame comes; never back in time.
        #[test]
        fn what_goes_on_keeps_the_contract(steps in steps()) {
            let mut rendition = rendition();
            let (mut end, mut contiguous, mut counter) = (i64::MIN, false, 0i64);
            for step in steps {
                match step {
                    Step::Frame(off, sync, empty) => {
                        counter += 1;
                        let mut frame = frame(counter + off.max(0) - 1, sync);
                        if empty { frame.payload = Bytes::new(); }
                        match rendition.take(frame) {
                            Taken::Sample { sample, resumes } => {
                                prop_assert_eq!(resumes, !contiguous);
                                prop_assert!(sample.dts.ticks >= end, "back in time");
                                prop_assert!(!contiguous || sample.dts.ticks == end, "a hole");
                                prop_assert!(contiguous || sample.sync, "begins without a sync frame");
                                prop_assert!(!sample.payload.is_empty());
                                (end, contiguous) = (sample.end().ticks, true);
                            }
                            Taken::Hole => contiguous = false,
                            Taken::Late => {}
                        }
                    }
                    Step::Interrupt => { rendition.interrupt(); contiguous = false; }
                    Step::Begin(ahead) => {
                        // The source's timeline never goes back.
                        counter += ahead;
                        rendition.begin(TrackId::VIDEO, at(counter.max(end / 3_000)));
                    }
                    Step::Lose => { rendition.lose(); contiguous = false; }
                    Step::Stop => { rendition.stop(false); contiguous = false; }
                    Step::Resume => { rendition.resume(); }
                }
            }
        }
    }
}
