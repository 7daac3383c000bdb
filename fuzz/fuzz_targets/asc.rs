//! `AudioSpecificConfig`, and the silent frame made for it.
#![no_main]

use aqueduct_common::CodecConfig;
use aqueduct_common::codec::AacConfig;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    aqueduct_fuzz::normal_form(data, |record| AacConfig::parse(record).map(CodecConfig::Aac));
    if let Ok(config) = AacConfig::parse(&Bytes::copy_from_slice(data)) {
        assert!(config.output_rate > 0 && config.channels > 0 && config.frame_samples >= 960);
        config.silence();
    }
});
