//! What a host sends, as its worker reads it: the first byte says how the bytes are cut.
#![no_main]

use aqueduct_fuzz::messages;
use aqueduct_transcode::protocol::ToWorker;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| messages::check::<ToWorker>(data));
