//! Temporal units of AV1.
#![no_main]

use aqueduct_common::codec::Av1Config;
use aqueduct_common::codec::av1::temporal_unit;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(unit) = temporal_unit(&Bytes::copy_from_slice(data)) else { return };
    assert!(unit.payload.len() <= data.len() && (unit.has_picture || !unit.sync));
    let again = temporal_unit(&unit.payload).expect("a stripped unit parses");
    assert_eq!(again, unit);
    if let Some(header) = &unit.sequence_header {
        Av1Config::from_sequence_header(header).expect("the unit's sequence header has been parsed");
    }
});
