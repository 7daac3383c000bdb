//! `hvcC`: parsing, the normal form, and updates by in-band parameter sets and SEI.
#![no_main]

use aqueduct_common::CodecConfig;
use aqueduct_common::codec::HevcConfig;
use aqueduct_common::codec::nal::Nals;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    aqueduct_fuzz::normal_form(data, |record| HevcConfig::parse(record).map(CodecConfig::H265));

    // The same bytes as parameter sets behind 2-byte lengths.
    let data = Bytes::copy_from_slice(data);
    let sets: Vec<Bytes> = Nals::new(&data, 2).filter_map(Result::ok).collect();
    let Ok(mut config) = HevcConfig::from_parameter_sets(&sets, &sets, &sets) else { return };
    for set in &sets {
        if let Ok(Some(updated)) = config.updated(std::slice::from_ref(set)) {
            config = updated;
        }
    }
    // The same bytes as a keyframe behind 4-byte lengths: what its SEI says changes nothing a second time.
    if let Some(described) = config.described(&data) {
        assert_eq!((&described.record, described.described(&data)), (&config.record, None));
    }
    let held = config.parameter_sets();
    let again = HevcConfig::from_parameter_sets(&held, &held, &held).expect("held sets make a record");
    assert_eq!(again.record, config.record);
});
