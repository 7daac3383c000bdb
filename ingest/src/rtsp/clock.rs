//! The RTP clocks of a session's tracks on one axis, and how late its frames come (RTSP-30..36).
//!
//! Until both tracks have told their clock's relation to the sender's by a sender report, arrivals say how they lie to each
//! other: not single ones, which may be late, but the soonest. The sender's own wall clock is believed only where it agrees with ours for half a minute.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use aqueduct_common::WallTime;

const MILLI: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;
/// Seconds from 1900 to 1970 (RTSP-30).
const NTP_TO_UNIX: i64 = 2_208_988_800;
/// Both tracks' reports within this time of the start set their relation at once.
const STEP_WITHIN: i64 = 5 * SECOND;
/// Afterwards a difference up to this is taken up slowly.
const SLEW_MAX: i64 = 200 * MILLI;
/// Beyond this the tracks' clocks have nothing to do with each other (RTSP-32).
const UNRELATED: i64 = 10 * SECOND;
/// Reports in a row that say the same of a difference that is too great to be taken up slowly.
const STEADY: u8 = 3;
/// What is taken up in a second.
const SLEW: i64 = 5 * MILLI;
/// A clock that runs this much faster or slower than its rate is not believed, in parts of a thousand (RTSP-34).
const RATE_OFF: i64 = 5;
/// Reports in a row that contradict the ones before and then are believed.
const CONTRADICTIONS: u8 = 3;
/// Beyond this, timestamps jumped, and what the last report said of them holds no more.
const JUMP: i64 = 10 * SECOND;
/// The sender's wall clock is believed where it is this close to ours, for so long (RTSP-33).
const NEAR: i64 = SECOND;
const AHEAD_MAX: i64 = 50 * MILLI;
const TRUST_AFTER: Duration = Duration::from_secs(30);
/// Frames' delays are looked at over this time.
const DELAY_OVER: Duration = Duration::from_secs(10);

/// What a sender report says (RFC 3550, 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Report {
    /// Who sends it.
    pub(super) source: u32,
    /// The sender's wall clock: seconds since 1900 in the upper half, fractions in the lower.
    pub(super) ntp: u64,
    /// The track's clock at that instant.
    pub(super) rtp: u32,
}

impl Report {
    /// The sender's wall clock in nanoseconds since 1970, unrolled beyond 2036 (RTSP-30); `None` where it has none, and where
    /// it knows whole seconds only: sound would be off by up to one, and arrivals are off by far less.
    fn unix(&self) -> Option<i64> {
        let seconds = (self.ntp >> 32) as i64;
        let fraction = i64::from(self.ntp as u32);
        let era = if seconds < 1 << 31 { 1 << 32 } else { 0 };
        (fraction != 0).then(|| (seconds + era - NTP_TO_UNIX) * SECOND + ((fraction * SECOND) >> 32))
    }
}

/// One track's clock.
#[derive(Clone, Debug)]
struct Track {
    rate: i64,
    /// The newest timestamp, as it came and unrolled.
    newest: Option<(u32, i64)>,
    /// An unrolled timestamp and where it lies on the axis, in nanoseconds.
    anchor: Option<(i64, i64)>,
    /// How much sooner than the anchor says a packet came at best, as a negative number of nanoseconds.
    soonest: i64,
    /// An unrolled timestamp and the sender's wall clock then, in nanoseconds.
    report: Option<(i64, i64)>,
    contradictions: u8,
}

impl Track {
    /// Nearest to the newest timestamp (RTSP-35).
    fn unroll(&self, rtp: u32) -> i64 {
        match self.newest {
            Some((raw, unrolled)) => unrolled + i64::from(rtp.wrapping_sub(raw) as i32),
            None => i64::from(rtp),
        }
    }

    fn nanos(&self, ticks: i64) -> i64 {
        let nanos = i128::from(ticks) * i128::from(SECOND) / i128::from(self.rate);
        i64::try_from(nanos).unwrap_or(0)
    }

    fn on_axis(&self, unrolled: i64) -> i64 {
        self.anchor.map_or(0, |(ticks, nanos)| nanos + self.nanos(unrolled - ticks))
    }

    /// The sender's wall clock at an instant of the track, in nanoseconds.
    fn sent(&self, unrolled: i64) -> Option<i64> {
        self.report.map(|(ticks, unix)| unix + self.nanos(unrolled - ticks))
    }
}

/// What became of the reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Reports {
    /// Reports that were believed.
    pub(super) taken: u32,
    /// Reports that contradict what is known.
    pub(super) refused: u32,
    /// Steps of sound beside the pictures.
    pub(super) steps: u32,
}

/// The clocks of a session.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    tracks: Vec<Track>,
    /// Which of them follows the other's clock: the sound.
    follower: Option<usize>,
    start: Option<Instant>,
    /// Added to the follower's times: what is, and what is to be.
    shift: [i64; 2],
    slewed: Option<Instant>,
    /// Both tracks' reports were compared.
    compared: bool,
    /// A great difference, and how often in a row it was seen.
    differs: (i64, u8),
    delays: VecDeque<(Instant, i64)>,
    near_since: Option<Instant>,
    reports: Reports,
}

impl Clocks {
    /// Clocks of these rates in Hz. `follower` is the track that is put in step with the other one.
    pub(super) fn new(rates: &[u32], follower: Option<usize>) -> Self {
        let track = |rate: &u32| Track {
            rate: i64::from(*rate).max(1),
            newest: None,
            anchor: None,
            soonest: 0,
            report: None,
            contradictions: 0,
        };
        Self {
            tracks: rates.iter().map(track).collect(),
            follower: follower.filter(|_| rates.len() > 1),
            start: None,
            shift: [0; 2],
            slewed: None,
            compared: false,
            differs: (0, 0),
            delays: VecDeque::new(),
            near_since: None,
            reports: Reports::default(),
        }
    }

    /// Notes a packet that came at `now`, and gives its timestamp unrolled.
    pub(super) fn unroll(&mut self, track: usize, rtp: u32, now: Instant) -> i64 {
        let start = *self.start.get_or_insert(now);
        let Some(track) = self.tracks.get_mut(track) else { return 0 };
        let unrolled = track.unroll(rtp);
        let step = track.newest.map_or(0, |(_, newest)| track.nanos(unrolled - newest));
        if step.abs() > JUMP {
            track.report = None;
        }
        track.newest = Some((rtp, unrolled));
        let arrived = nanos(now.saturating_duration_since(start));
        let is_first = track.anchor.is_none();
        track.anchor.get_or_insert((unrolled, arrived));
        track.soonest = track.soonest.min(arrived - track.on_axis(unrolled));
        if is_first {
            // Many senders report right before their first packet: what they said counts from here on.
            self.compare(now);
        }
        unrolled
    }

    /// Begins a track anew: another sender took its place (RTSP-36). Its first packet lies where it arrives.
    pub(super) fn restart(&mut self, track: usize) {
        if let Some(track) = self.tracks.get_mut(track) {
            (track.newest, track.anchor, track.soonest, track.report) = (None, None, 0, None);
        }
        self.compared = false;
    }

    /// Where an unrolled timestamp of a track lies on the axis, in nanoseconds since the first packet.
    pub(super) fn place(&mut self, track: usize, unrolled: i64, now: Instant) -> i64 {
        if Some(track) == self.follower {
            self.slew(now);
        }
        let shift = if Some(track) == self.follower { self.shift[0] } else { 0 };
        self.tracks.get(track).map_or(0, |track| track.on_axis(unrolled)) + shift
    }

    /// It is known how the tracks lie to each other, or there is but one.
    pub(super) fn is_settled(&self) -> bool {
        self.compared || self.follower.is_none()
    }

    /// Nobody has said how the tracks lie to each other: the packets that came soonest say it (RTSP-39).
    pub(super) fn settle_by_arrivals(&mut self) {
        if !self.compared {
            self.go_by_arrivals();
        }
    }

    fn go_by_arrivals(&mut self) {
        let soonest = |track: &Track| track.anchor.map(|_| track.soonest);
        let Some(follower) = self.follower else { return };
        let leader = self.tracks.iter().enumerate().find(|(index, _)| *index != follower);
        let leader = leader.and_then(|(_, leader)| soonest(leader));
        if let (Some(leader), Some(followed)) = (leader, self.tracks.get(follower).and_then(soonest)) {
            let shift = followed - leader;
            // A clock that jumped meanwhile says nothing of the other.
            if shift.abs() < UNRELATED {
                self.shift = [shift; 2];
            }
        }
    }

    /// Takes a sender report that came at `now`.
    pub(super) fn report(&mut self, track: usize, report: Report, now: Instant) {
        let Some(unix) = report.unix() else {
            self.reports.refused += 1;
            return;
        };
        let Some(known) = self.tracks.get_mut(track) else { return };
        let unrolled = known.unroll(report.rtp);
        if known.newest.is_none() {
            // Packets that follow are unrolled from here.
            known.newest = Some((report.rtp, unrolled));
        }
        if !known.agrees(unrolled, unix) {
            known.contradictions += 1;
            self.reports.refused += 1;
            if known.contradictions < CONTRADICTIONS {
                return;
            }
        }
        known.contradictions = 0;
        known.report = Some((unrolled, unix));
        self.reports.taken += 1;
        self.compare(now);
    }

    /// What the reports say of how sound lies to pictures (RTSP-32).
    fn compare(&mut self, now: Instant) {
        let Some(follower) = self.follower else { return };
        let offset = |track: &Track| {
            track.anchor?;
            let (ticks, unix) = track.report?;
            Some(unix - track.on_axis(ticks))
        };
        let leader = self.tracks.iter().enumerate().find(|(index, _)| *index != follower);
        let offsets =
            leader.and_then(|(_, leader)| Some((offset(leader)?, offset(self.tracks.get(follower)?)?)));
        let Some((leader, followed)) = offsets else { return };
        let wanted = followed - leader;
        let age = self.start.map_or(0, |start| nanos(now.saturating_duration_since(start)));
        let first = !std::mem::replace(&mut self.compared, true);
        let away = (wanted - self.shift[0]).abs();
        if wanted.abs() >= UNRELATED {
            if first {
                self.go_by_arrivals();
            }
            return;
        }
        if first && age <= STEP_WITHIN {
            return self.step(wanted);
        }
        if away <= SLEW_MAX {
            self.differs = (0, 0);
            self.shift[1] = wanted;
            return;
        }
        let same = (self.differs.0 - wanted).abs() < 20 * MILLI;
        self.differs = (wanted, if same { self.differs.1 + 1 } else { 1 });
        if self.differs.1 >= STEADY {
            self.step(wanted);
        }
    }

    fn step(&mut self, wanted: i64) {
        if wanted != self.shift[0] {
            self.reports.steps += 1;
        }
        self.shift = [wanted; 2];
        self.differs = (0, 0);
    }

    fn slew(&mut self, now: Instant) {
        let since = nanos(now.saturating_duration_since(*self.slewed.get_or_insert(now)));
        let most = since.min(10 * SECOND) * SLEW / SECOND;
        let [is, to_be] = self.shift;
        if most > 0 {
            self.shift[0] = is + (to_be - is).clamp(-most, most);
            self.slewed = Some(now);
        }
    }

    /// Notes when a frame of a track came, for [`delay`](Self::delay).
    pub(super) fn note_arrival(&mut self, track: usize, unrolled: i64, now: Instant, wall: WallTime) {
        let Some(sent) = self.tracks.get(track).and_then(|track| track.sent(unrolled)) else { return };
        let late = (i128::from(wall.micros) * 1_000 - i128::from(sent)) as i64;
        if !(-AHEAD_MAX..=NEAR).contains(&late) {
            self.near_since = None;
            self.delays.clear();
            return;
        }
        self.near_since.get_or_insert(now);
        // The least of a window: what is greater than the newest cannot be it any more.
        while self.delays.back().is_some_and(|(_, older)| *older >= late) {
            self.delays.pop_back();
        }
        self.delays.push_back((now, late));
        while self.delays.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > DELAY_OVER) {
            self.delays.pop_front();
        }
    }

    /// How long after their capture frames come at best, where the sender's wall clock is believed (RTSP-33).
    pub(super) fn delay(&self, now: Instant) -> Option<Duration> {
        let since = self.near_since?;
        if now.saturating_duration_since(since) < TRUST_AFTER {
            return None;
        }
        self.delays.front().map(|(_, late)| Duration::from_nanos(u64::try_from(*late).unwrap_or(0)))
    }

    /// What became of reports since this was last asked.
    pub(super) fn take_reports(&mut self) -> Reports {
        std::mem::take(&mut self.reports)
    }
}

impl Track {
    /// A report agrees with the one before: its clock goes on, and about as fast as it should (RTSP-34).
    fn agrees(&self, unrolled: i64, unix: i64) -> bool {
        let Some((ticks, before)) = self.report else { return true };
        let (media, wall) = (self.nanos(unrolled - ticks), unix - before);
        // Reports in quick succession say little about rates.
        media >= 0 && wall >= 0 && (media - wall).abs() <= 20 * MILLI + wall.max(media) / 1_000 * RATE_OFF
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
