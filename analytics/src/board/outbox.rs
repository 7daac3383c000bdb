//! Reports of this node's viewers on their way to the other nodes: as many as they need, and no more than they can take.

use std::collections::HashMap;

use aqueduct_common::event::{Carrier, Report};

/// Reports that may wait; beyond, they are dropped. They are taken once a second.
const MOST: usize = 5_000;
/// Bytes of them.
const MOST_BYTES: usize = 512 * 1_024;
/// Viewers that are told apart.
const VIEWERS: usize = 50_000;
/// Requests of one viewer come several times a second; others hear of one in so many milliseconds.
const APART: i64 = 1_000;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Vec<Report>,
    bytes: usize,
    last: HashMap<u64, i64>,
}

impl Outbox {
    /// Takes a report, or leaves it where others can do without.
    pub(super) fn add(&mut self, report: &Report) {
        let of_request = matches!(report.carrier, Carrier::Query | Carrier::Headers);
        if of_request && !self.is_due(report) {
            return;
        }
        if self.waiting.len() < MOST && self.bytes + report.text.len() <= MOST_BYTES {
            self.bytes += report.text.len();
            self.waiting.push(report.clone());
        }
    }

    /// A start and a stall are always told.
    fn is_due(&mut self, report: &Report) -> bool {
        let at = report.at.micros / 1_000;
        let text = &*report.text;
        let told = |key: &str| {
            text.split(&[',', '&'][..]).any(|pair| pair == key) || text.split("%2C").any(|pair| pair == key)
        };
        if told("bs") || told("su") {
            return true;
        }
        if self.last.len() >= VIEWERS {
            self.last.retain(|_, last| at - *last < 10 * APART);
        }
        let last = self.last.entry(report.viewer).or_insert(i64::MIN / 2);
        let due = at - *last >= APART;
        if due {
            *last = at;
        }
        due
    }

    /// What waits.
    pub(super) fn take(&mut self) -> Vec<Report> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::WallTime;

    use super::*;

    #[test]
    fn others_hear_of_one_request_a_second_and_of_every_stall() {
        let mut outbox = Outbox::default();
        let report = |millis: i64, carrier, text: &str| Report {
            stream: "live/show".parse().unwrap(),
            at: WallTime { micros: millis * 1_000 },
            viewer: 7,
            carrier,
            text: text.into(),
        };
        for n in 0..20 {
            outbox.add(&report(n * 200, Carrier::Query, "bl%3D100%2Csid%3D%22a%22"));
        }
        outbox.add(&report(4_000, Carrier::Query, "bl%3D0%2Cbs%2Csid%3D%22a%22"));
        outbox.add(&report(4_000, Carrier::Beacon, "{}"));
        assert_eq!(outbox.take().len(), 6);
        for _ in 0..2 * MOST {
            outbox.add(&report(0, Carrier::Lines, "sid=\"a\""));
        }
        assert_eq!((outbox.take().len(), outbox.take().len()), (MOST, 0));
    }
}
