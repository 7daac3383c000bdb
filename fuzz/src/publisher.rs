//! What a publisher sends before its media.

use aqueduct_ingest::rtmp::amf0::{self, Value};
use aqueduct_ingest::rtmp::wire;
use bytes::BytesMut;

/// Stages at which the fuzzer's own bytes begin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// With the first byte.
    Start,
    /// Behind the handshake.
    Shaken,
    /// Behind `connect` and `createStream`.
    Connected,
    /// Behind `publish`.
    Publishing,
}

impl Stage {
    /// One of the four.
    pub fn choose(choice: u8) -> Self {
        [Self::Start, Self::Shaken, Self::Connected, Self::Publishing][usize::from(choice % 4)]
    }

    /// The bytes before it.
    pub fn opening(self) -> BytesMut {
        let mut out = BytesMut::new();
        if self >= Self::Shaken {
            out.extend_from_slice(&[3]);
            out.extend_from_slice(&[0; 2 * 1_536]);
        }
        if self >= Self::Connected {
            let url: Value = "rtmp://host/live".into();
            let object = [("app".to_owned(), "live".into()), ("tcUrl".to_owned(), url)];
            command(&mut out, 0, &["connect".into(), Value::Number(1.0), Value::Object(object.into())]);
            command(&mut out, 0, &["createStream".into(), Value::Number(2.0), Value::Null]);
        }
        if self >= Self::Publishing {
            let values = ["publish".into(), Value::Number(3.0), Value::Null, "key".into(), "live".into()];
            command(&mut out, 1, &values);
        }
        out
    }
}

/// Writes a command in chunks of 128 bytes, the size before any is announced.
fn command(out: &mut BytesMut, stream_id: u32, values: &[Value]) {
    let body = amf0::write_all(values);
    let mut whole = BytesMut::new();
    wire::put_message(&mut whole, wire::COMMAND, stream_id, &body);
    let header = 12;
    let continued = 0xc0 | (whole[0] & 0x3f);
    out.extend_from_slice(&whole[..header]);
    for (index, chunk) in body.chunks(128).enumerate() {
        if index > 0 {
            out.extend_from_slice(&[continued]);
        }
        out.extend_from_slice(chunk);
    }
}
