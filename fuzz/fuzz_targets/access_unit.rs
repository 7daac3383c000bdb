//! Access units of H.264 and H.265: the first byte chooses codec and length size, the rest is the sample.
#![no_main]

use aqueduct_common::codec::nal::{NalCodec, Nals, access_unit};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, sample)) = data.split_first() else { return };
    let codec = if choice & 1 == 0 { NalCodec::H264 } else { NalCodec::H265 };
    let length_size = [1, 2, 4, 4][usize::from(choice >> 1 & 3)];
    let sample = Bytes::copy_from_slice(sample);
    let whole = Nals::new(&sample, length_size).all(|unit| unit.is_ok());
    let Ok(unit) = access_unit(&sample, length_size, codec) else { return };
    assert!(whole, "an access unit with a broken length is dropped");
    assert!(unit.has_picture || !(unit.sync || unit.disposable));

    // What is kept is the source's units in their order, and sorting it again changes nothing.
    let kept: Vec<Bytes> =
        Nals::new(&unit.payload, 4).map(|unit| unit.expect("kept units are whole")).collect();
    let mut source = Nals::new(&sample, length_size).filter_map(Result::ok);
    assert!(kept.iter().all(|unit| source.any(|found| found == unit)));
    let again = access_unit(&unit.payload, 4, codec).expect("a sorted access unit parses");
    assert_eq!(again.payload, unit.payload);
    assert_eq!(
        (again.sync, again.disposable, again.has_picture),
        (unit.sync, unit.disposable, unit.has_picture)
    );
    assert!(again.parameter_sets.is_empty());
});
