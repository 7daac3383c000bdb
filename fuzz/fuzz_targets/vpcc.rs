//! `vpcC` and the VP9 frame header, which states the size that the record lacks.
#![no_main]

use aqueduct_common::CodecConfig;
use aqueduct_common::codec::{Vp9Config, vp9};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let size = match vp9::frame_header(data) {
        Ok(header) => {
            assert_eq!(header.sync, header.size.is_some());
            header.size.unwrap_or((0, 0))
        }
        Err(_) => (1_280, 720),
    };
    aqueduct_fuzz::normal_form(data, |record| Vp9Config::parse(record, size).map(CodecConfig::Vp9));
});
