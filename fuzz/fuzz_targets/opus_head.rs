//! `OpusHead` and the duration of packets.
#![no_main]

use aqueduct_common::codec::{OpusConfig, opus};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(config) = OpusConfig::parse_head(&Bytes::copy_from_slice(data)) {
        assert_eq!((config.record.len(), config.record[1]), (11, config.channels));
    }
    if let Some(samples) = opus::packet_samples(data) {
        assert!(samples.is_multiple_of(120) && (120..=5_760).contains(&samples));
    }
});
