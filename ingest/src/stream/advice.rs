//! Advice that holds: sent when it is first due and every ten seconds while it stays true.

use std::time::{Duration, Instant};

use aqueduct_common::event::Advice;

use crate::demux::Notice;

const REPEAT: Duration = Duration::from_secs(10);
/// Kinds of advice that are kept at a time; codec names come from the network.
const KEPT: usize = 12;

/// What gives rise to advice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// What the demuxer saw.
    Notice(Notice),
    /// No frame grid.
    VariableRate,
    /// Stamps are not believed (TL-9).
    UnsteadyTimestamps,
    /// Pictures without a sync sample for so many seconds.
    NoKeyframes(u32),
}

impl Cause {
    fn advice(self) -> Advice {
        match self {
            Self::Notice(notice) => notice.advice(),
            Self::VariableRate => Advice::VariableFrameRate,
            Self::UnsteadyTimestamps => Advice::UnsteadyTimestamps,
            Self::NoKeyframes(for_seconds) => Advice::NoKeyframes { for_seconds },
        }
    }

    /// The same advice with another figure takes the old one's place.
    fn replaces(self, other: Self) -> bool {
        match (self, other) {
            (Self::Notice(Notice::ExtraTracks(kind, _)), Self::Notice(Notice::ExtraTracks(before, _))) => {
                kind == before
            }
            (
                Self::Notice(Notice::UnusedTrack(kind, number, _)),
                Self::Notice(Notice::UnusedTrack(before, which, _)),
            ) => (kind, number) == (before, which),
            (Self::NoKeyframes(_), Self::NoKeyframes(_)) => true,
            _ => self == other,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    cause: Cause,
    seen: Instant,
    sent: Option<Instant>,
}

/// The advice of one session.
#[derive(Debug, Default)]
pub(super) struct Advices {
    standing: Vec<Standing>,
}

impl Advices {
    /// Notes that there is cause for it at `now`.
    pub(super) fn note(&mut self, cause: Cause, now: Instant) {
        let room = self.standing.len() < KEPT;
        match self.standing.iter_mut().find(|standing| cause.replaces(standing.cause)) {
            Some(standing) => (standing.cause, standing.seen) = (cause, now),
            None if room => self.standing.push(Standing { cause, seen: now, sent: None }),
            None => {}
        }
    }

    /// What is to be sent at `now`.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Advice> {
        let ago = |then: Instant| now.saturating_duration_since(then);
        self.standing.retain(|standing| ago(standing.seen) < 2 * REPEAT);
        let due = |standing: &&mut Standing| {
            ago(standing.seen) < REPEAT && standing.sent.is_none_or(|sent| ago(sent) >= REPEAT)
        };
        let mut advice = Vec::new();
        for standing in self.standing.iter_mut().filter(due) {
            standing.sent = Some(now);
            advice.push(standing.cause.advice());
        }
        advice
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aqueduct_common::TrackKind;

    #[test]
    fn advice_is_repeated_every_ten_seconds_while_it_holds() {
        let start = crate::stream::clock();
        let mut advices = Advices::default();
        let sent: Vec<u64> = (0..60)
            .filter(|second| {
                let now = start + Duration::from_secs(*second);
                if *second < 25 {
                    advices.note(Cause::Notice(Notice::NeedsTranscode("MP3")), now);
                }
                !advices.due(now).is_empty()
            })
            .collect();
        assert_eq!(sent, [0, 10, 20, 30]);
    }

    #[test]
    fn a_new_figure_takes_the_old_ones_place_and_names_are_bounded() {
        let now = crate::stream::clock();
        let mut advices = Advices::default();
        for unused in 1..4 {
            advices.note(Cause::Notice(Notice::ExtraTracks(TrackKind::Video, unused)), now);
        }
        assert_eq!(advices.due(now), [Advice::ExtraTracks { kind: TrackKind::Video, unused: 3 }]);
        for number in 0..100 {
            advices.note(Cause::Notice(Notice::UnknownNumber(TrackKind::Video, number)), now);
        }
        assert_eq!(advices.due(now).len(), KEPT - 1);
    }
}
