//! Anomalies since they were last asked for.

use aqueduct_common::event::Anomaly;

const ALL: [Anomaly; 17] = [
    Anomaly::NonMonotonic,
    Anomaly::Gap,
    Anomaly::Jump,
    Anomaly::Wrap,
    Anomaly::CompositionOffset,
    Anomaly::AudioFill,
    Anomaly::AudioCut,
    Anomaly::GridLost,
    Anomaly::BadUnit,
    Anomaly::LongGop,
    Anomaly::DeltaGuess,
    Anomaly::ColourConflict,
    Anomaly::PacketLost,
    Anomaly::PacketReordered,
    Anomaly::PacketLate,
    Anomaly::StrayPacket,
    Anomaly::ReportRefused,
];
/// A kind's number is its place, up to the last one.
const _: () = {
    let mut at = 0;
    while at < ALL.len() {
        assert!(ALL[at] as usize == at);
        at += 1;
    }
    assert!(ALL.len() == Anomaly::ReportRefused as usize + 1);
};

/// How often each anomaly happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts([u32; ALL.len()]);

impl Counts {
    /// Counts one.
    pub fn add(&mut self, kind: Anomaly) {
        self.add_many(kind, 1);
    }

    /// Counts `count` of a kind.
    pub fn add_many(&mut self, kind: Anomaly, count: u32) {
        let slot = &mut self.0[kind as usize];
        *slot = slot.saturating_add(count);
    }

    /// How many of a kind there are.
    pub const fn of(&self, kind: Anomaly) -> u32 {
        self.0[kind as usize]
    }

    /// Gives the kinds that happened, and starts again from zero.
    pub fn take(&mut self) -> impl Iterator<Item = (Anomaly, u32)> + use<> {
        let taken = std::mem::take(self);
        ALL.into_iter().map(move |kind| (kind, taken.of(kind))).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_count() {
        let mut counts = Counts::default();
        for (n, kind) in ALL.into_iter().enumerate() {
            counts.add_many(kind, n as u32 + 1);
        }
        let taken: Vec<_> = counts.take().collect();
        assert_eq!(taken, ALL.into_iter().zip(1..=ALL.len() as u32).collect::<Vec<_>>());
        assert_eq!(counts.take().count(), 0);
    }
}
