//! AMF0 values and the commands made of them.
#![no_main]

use aqueduct_ingest::rtmp::{amf0, command};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (prefix, fault) = amf0::read_prefix(data);
    let whole = amf0::read_all(data);
    assert_eq!(whole.is_ok(), fault.is_none(), "both readers agree");
    // Written and read again, values are the same; compared as bytes, for no NaN equals itself.
    let written = amf0::write_all(&prefix);
    let again = amf0::read_all(&written).expect("what is written can be read");
    assert_eq!(amf0::write_all(&again), written);
    if let Ok((_, command::Command::Connect(client))) = command::read(data) {
        amf0::write_all(&[amf0::Value::Object(client.answer())]);
    }
});
