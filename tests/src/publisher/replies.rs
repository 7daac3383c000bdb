//! What the server says before media flows: chunks put together again, and commands found in them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout;

use crate::Outcome;

#[derive(Clone, Default)]
struct Header {
    length: usize,
    kind: u8,
    extended: bool,
    partial: Vec<u8>,
}

/// Reads the server's messages.
pub(super) struct Replies {
    socket: OwnedReadHalf,
    chunk: usize,
    streams: HashMap<u8, Header>,
}

impl Replies {
    pub(super) fn new(socket: OwnedReadHalf) -> Self {
        Self { socket, chunk: 128, streams: HashMap::new() }
    }

    pub(super) fn into_inner(self) -> OwnedReadHalf {
        self.socket
    }

    /// Waits for a status with this code.
    pub(super) async fn expect(&mut self, code: &str, patience: Duration) -> Outcome {
        let found = |body: &[u8]| contains(body, code.as_bytes());
        self.until(found, patience).await.map_err(|error| format!("waiting for {code}: {error}").into())
    }

    /// Waits for the `_result` of a transaction (RTMP-26).
    pub(super) async fn expect_result(&mut self, transaction: f64, patience: Duration) -> Outcome {
        let mut wanted = b"\x02\x00\x07_result\x00".to_vec();
        wanted.extend_from_slice(&transaction.to_be_bytes());
        let found = |body: &[u8]| body.starts_with(&wanted);
        self.until(found, patience)
            .await
            .map_err(|error| format!("waiting for result {transaction}: {error}").into())
    }

    async fn until(&mut self, found: impl Fn(&[u8]) -> bool, patience: Duration) -> Outcome {
        let search = async {
            loop {
                let body = self.command().await?;
                if found(&body) {
                    return Ok(());
                }
                if contains(&body, b"\x05error") {
                    return Err(format!("refused: {}", printable(&body)).into());
                }
            }
        };
        timeout(patience, search).await.map_err(|_| "no answer")?
    }

    /// The next command message's body.
    async fn command(&mut self) -> Outcome<Vec<u8>> {
        loop {
            let (kind, body) = self.message().await?;
            match kind {
                1 if body.len() == 4 => {
                    self.chunk = u32::from_be_bytes([body[0], body[1], body[2], body[3]]) as usize
                }
                20 => return Ok(body),
                _ => {}
            }
        }
    }

    async fn message(&mut self) -> Outcome<(u8, Vec<u8>)> {
        loop {
            let first = self.socket.read_u8().await?;
            let csid = first & 0x3f;
            let mut header = self.streams.remove(&csid).unwrap_or_default();
            self.header(first >> 6, &mut header).await?;
            let rest = (header.length - header.partial.len()).min(self.chunk);
            let start = header.partial.len();
            header.partial.resize(start + rest, 0);
            self.socket.read_exact(&mut header.partial[start..]).await?;
            let whole = header.partial.len() == header.length;
            let body = if whole { std::mem::take(&mut header.partial) } else { Vec::new() };
            let kind = header.kind;
            self.streams.insert(csid, header);
            if whole {
                return Ok((kind, body));
            }
        }
    }

    async fn header(&mut self, format: u8, header: &mut Header) -> Outcome {
        let mut bytes = [0; 11];
        let size = [11, 7, 3, 0][usize::from(format)];
        self.socket.read_exact(&mut bytes[..size]).await?;
        if format < 2 {
            header.length = u32::from_be_bytes([0, bytes[3], bytes[4], bytes[5]]) as usize;
            header.kind = bytes[6];
        }
        if format < 3 {
            header.extended = bytes[..3] == [0xff; 3];
        }
        if header.extended {
            self.socket.read_u32().await?;
        }
        Ok(())
    }
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    body.windows(wanted.len()).any(|window| window == wanted)
}

fn printable(body: &[u8]) -> String {
    body.iter().map(|byte| if (32..127).contains(byte) { char::from(*byte) } else { ' ' }).collect()
}
