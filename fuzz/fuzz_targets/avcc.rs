//! `avcC`: parsing, the normal form, and updates by in-band parameter sets.
#![no_main]

use aqueduct_common::CodecConfig;
use aqueduct_common::codec::AvcConfig;
use aqueduct_common::codec::nal::Nals;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    aqueduct_fuzz::normal_form(data, |record| AvcConfig::parse(record).map(CodecConfig::H264));

    // The same bytes as parameter sets behind 2-byte lengths: a store fed with them one at a time ends where a store
    // fed again with the outcome does.
    let data = Bytes::copy_from_slice(data);
    let sets: Vec<Bytes> = Nals::new(&data, 2).filter_map(Result::ok).collect();
    let Ok(mut config) = AvcConfig::from_parameter_sets(&sets, &sets) else { return };
    for set in &sets {
        if let Ok(Some(updated)) = config.updated(std::slice::from_ref(set)) {
            config = updated;
        }
    }
    let held: Vec<Bytes> = config.sps.iter().chain(&config.pps).cloned().collect();
    let again = AvcConfig::from_parameter_sets(&held, &held).expect("held sets make a record");
    assert_eq!(again.record, config.record);
});
