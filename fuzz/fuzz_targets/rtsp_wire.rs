//! What an RTSP server or client sends, cut into units wherever reads end.
#![no_main]

use aqueduct_ingest::rtsp::wire::Framer;
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let (mut framer, mut input) = (Framer::default(), BytesMut::new());
    for piece in pieces {
        input.extend_from_slice(&piece);
        while let Ok(Some(unit)) = framer.next(&mut input) {
            assert!(unit.raw().len() <= 4 + (80 << 10));
        }
    }
});
