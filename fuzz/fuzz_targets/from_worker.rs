//! What a worker sends, as its host reads it: the first byte says how the bytes are cut.
#![no_main]

use aqueduct_fuzz::messages;
use aqueduct_transcode::protocol::FromWorker;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| messages::check::<FromWorker>(data));
