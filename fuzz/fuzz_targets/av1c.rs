//! `av1C` and the sequence header OBU.
#![no_main]

use aqueduct_common::CodecConfig;
use aqueduct_common::codec::Av1Config;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    aqueduct_fuzz::normal_form(data, |record| Av1Config::parse(record).map(CodecConfig::Av1));
    if let Ok(config) = Av1Config::from_sequence_header(&Bytes::copy_from_slice(data)) {
        assert_eq!(Av1Config::parse(&config.record), Ok(config));
    }
});
