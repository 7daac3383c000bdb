//! Session descriptions.
#![no_main]

use aqueduct_ingest::rtsp::sdp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(media) = sdp::parse(data) {
        let _ = aqueduct_ingest::rtsp::Assembly::new(&media, true, true);
    }
});
