//! Bytes that no encoder sends: each has once stopped, or would stop, a careless server.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::amf::{Value, body};
use super::chunk::{Message, Style, Writer};
use super::session::shake_hands;
use crate::Outcome;
use crate::random::Random;

/// Something to send.
#[derive(Clone, Debug)]
pub struct Attack {
    /// What it is.
    pub name: &'static str,
    /// Shake hands properly first.
    pub after_handshake: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The server closed the connection.
    Closed,
    /// It was still waiting for more when patience ended.
    Waiting,
}

/// All attacks, the same for the same seed.
pub fn attacks(seed: u64) -> Vec<Attack> {
    let mut random = Random::new(seed);
    let raw = |name, bytes| Attack { name, after_handshake: false, bytes };
    let after = |name, bytes| Attack { name, after_handshake: true, bytes };
    vec![
        raw("random bytes", random.bytes(8_192)),
        raw("an HTTP request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        raw("RTMPE", [vec![6], random.bytes(1_536)].concat()),
        raw("half a handshake", [vec![3], random.bytes(700)].concat()),
        after("random chunks", random.bytes(65_536)),
        after("a message of 16 MiB that never comes", vec![0x06, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0]),
        after("a command of 16 MiB", vec![0x03, 0, 0, 0, 0xff, 0xff, 0xff, 20, 0, 0, 0, 0]),
        after("chunk size 0", message(1, vec![0; 4])),
        after("chunk size with its top bit", message(1, vec![0xff; 4])),
        after("chunk size of no bytes", message(1, vec![])),
        after("fmt 3 on an unknown chunk stream", vec![0xc9, 0xc9, 0xc9, 0xc9]),
        after("a message on each of 5 000 chunk streams", many_chunk_streams()),
        after("connect without arguments", message(20, body(&[Value::text("connect")]))),
        after("a command that is no string", message(20, vec![0, 0, 0, 0, 0, 0, 0, 0, 0])),
        after("a string longer than its message", message(20, vec![2, 0xff, 0xff, b'x'])),
        after(
            "an array of four billion",
            message(20, [connect_head(), vec![10, 0xff, 0xff, 0xff, 0xff]].concat()),
        ),
        after("arrays in arrays, 10 000 deep", message(20, [connect_head(), deep(10_000)].concat())),
        after("metadata in arrays, 10 000 deep", message(18, [vec![2, 0, 1, b'x'], deep(10_000)].concat())),
        after("@setDataFrame alone", message(18, body(&[Value::text("@setDataFrame")]))),
        after("an aggregate of nonsense", message(22, random.bytes(1_000))),
        after("an AMF3 command of one byte", message(17, vec![0])),
        after("video before publish", message(9, [vec![0x17, 0, 0, 0, 0], random.bytes(4_000)].concat())),
        after("empty messages", (0..32).flat_map(|kind| message(kind, vec![])).collect()),
    ]
}

fn connect_head() -> Vec<u8> {
    body(&[Value::text("connect"), Value::Number(1.0)])
}

/// Strict arrays of one element, within each other.
fn deep(levels: usize) -> Vec<u8> {
    [10, 0, 0, 0, 1].repeat(levels)
}

fn message(kind: u8, body: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(Style { chunk_size: 65_536, ..Style::default() });
    writer.announce(&mut out);
    writer.write(&mut out, &Message { csid: 3, kind, stream: 0, timestamp: 0, body });
    out
}

fn many_chunk_streams() -> Vec<u8> {
    let mut out = Vec::new();
    for csid in 64..5_064 {
        super::chunk::basic(&mut out, 0, csid);
        // 300 bytes are announced, 128 come.
        out.extend_from_slice(&[0, 0, 0, 0, 1, 44, 9, 1, 0, 0, 0]);
        out.extend_from_slice(&[0; 128]);
    }
    out
}

impl Attack {
    /// Does it, and sees what the server does within `patience`.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached at all.
    pub async fn run(&self, address: &str, patience: Duration) -> Outcome<Ending> {
        let mut socket = TcpStream::connect(address).await?;
        if self.after_handshake {
            timeout(patience, shake_hands(&mut socket)).await.map_err(|_| "no handshake")??;
        }
        // The server may close while it is being written to.
        let _ = timeout(patience, socket.write_all(&self.bytes)).await;
        let mut buffer = [0; 4_096];
        let closing = async { while socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
        Ok(if timeout(patience, closing).await.is_ok() { Ending::Closed } else { Ending::Waiting })
    }
}
