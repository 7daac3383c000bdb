//! `hvcC`: parsing, the normal form, and updates by in-band parameter sets.
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
    let held = config.parameter_sets();
    let again = HevcConfig::from_parameter_sets(&held, &held, &held).expect("held sets make a record");
    assert_eq!(again.record, config.record);
});
