//! Data messages: `onMetaData`.
#![no_main]

use aqueduct_ingest::flv::data;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(metadata)) = data::parse(&Bytes::copy_from_slice(bytes)) {
        assert!(metadata.frame_rate.is_none_or(f64::is_finite));
        assert!(metadata.encoder.is_none_or(|encoder| encoder.chars().count() <= 100));
    }
});
