//! What a host sends to a pull's worker: the first byte says how the bytes are cut.
#![no_main]

use aqueduct_fuzz::messages;
use aqueduct_transcode::pull::protocol::ToPull;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| messages::check::<ToPull>(data));
