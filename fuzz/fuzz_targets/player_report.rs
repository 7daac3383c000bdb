//! What players say of themselves: a CMCD list in each carrier, and a beacon.
#![no_main]

use std::sync::Arc;

use aqueduct_analytics::cmcd;
use aqueduct_analytics::viewers::Viewers;
use aqueduct_common::WallTime;
use aqueduct_common::event::{Carrier, Report};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (list, _) = cmcd::read(&text);
    // What was taken can be written and read again.
    assert_eq!(cmcd::read(&list.write()).0, list);
    let (mut viewers, edge) = (Viewers::default(), Arc::from("here"));
    for (second, piece) in text.split('\0').enumerate() {
        for carrier in [Carrier::Query, Carrier::Headers, Carrier::Lines, Carrier::Beacon] {
            let at = WallTime { micros: second as i64 * 1_000_000 };
            let stream = "live/show".parse().expect("it is a name");
            viewers.hear(&Report { stream, at, viewer: 0, carrier, text: piece.into() }, &edge);
        }
    }
    for session in viewers.open() {
        let lived = session.sums.play + session.sums.stall;
        assert!(lived.is_finite() && lived >= 0.0);
        assert!(session.sums.rebuffer_ratio().is_none_or(|ratio| (0.0..=1.0).contains(&ratio)));
    }
});
