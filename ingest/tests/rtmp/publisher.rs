//! A publisher of a few hundred bytes a second: AAC frames, written by hand.

use std::net::SocketAddr;

use aqueduct_ingest::rtmp::amf0::{self, Value};
use aqueduct_ingest::rtmp::chunk::{ChunkReader, RawMessage};
use aqueduct_ingest::rtmp::wire;
use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::soon;

/// AAC-LC, 48 kHz, stereo.
const AUDIO_CONFIG: &[u8] = &[0xaf, 0, 0x11, 0x90];
/// One access unit's length in milliseconds is 21⅓.
const FRAMES_PER_64_MILLIS: u32 = 3;

pub(crate) struct Publisher<S = TcpStream> {
    socket: S,
    told: ChunkReader,
    received: BytesMut,
    frames: u32,
}

impl Publisher {
    pub(crate) async fn greet(address: SocketAddr) -> Self {
        Self::greet_over(TcpStream::connect(address).await.unwrap()).await
    }

    /// Asks to publish and does not look at the answer.
    pub(crate) async fn ask(address: SocketAddr, app: &str, name: &str) -> Self {
        Self::ask_over(TcpStream::connect(address).await.unwrap(), app, name).await
    }

    /// Publishes `live/NAME`.
    pub(crate) async fn publish(address: SocketAddr, name: &str) -> Self {
        let mut publisher = Self::ask(address, "live", name).await;
        assert_eq!(publisher.status().await.0, "NetStream.Publish.Start");
        publisher
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Publisher<S> {
    pub(crate) async fn greet_over(mut socket: S) -> Self {
        let mut hello = vec![0; 1 + 2 * 1_536];
        hello[0] = 3;
        socket.write_all(&hello).await.unwrap();
        soon("the handshake", socket.read_exact(&mut hello)).await.unwrap();
        let mut told = ChunkReader::default();
        told.authorise();
        Self { socket, told, received: BytesMut::new(), frames: 0 }
    }

    pub(crate) async fn ask_over(socket: S, app: &str, name: &str) -> Self {
        Self::ask_with(socket, app, name, &[]).await
    }

    /// With more properties of `connect`.
    pub(crate) async fn ask_with(socket: S, app: &str, name: &str, more: &[(String, Value)]) -> Self {
        let mut publisher = Self::greet_over(socket).await;
        let object = Value::Object([&[("app".to_owned(), app.into())], more].concat());
        publisher.command(0, &["connect".into(), Value::Number(1.0), object]).await;
        assert_eq!(publisher.reply().await[0], "_result".into());
        publisher.command(0, &["createStream".into(), Value::Number(4.0), Value::Null]).await;
        assert_eq!(publisher.reply().await[3], Value::Number(1.0));
        publisher
            .command(1, &["publish".into(), Value::Number(5.0), Value::Null, name.into(), "live".into()])
            .await;
        publisher
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(bytes).await?;
        self.socket.flush().await
    }

    pub(crate) async fn send(&mut self, type_id: u8, stream_id: u32, time: u32, body: &[u8]) {
        let chunk = message(type_id, stream_id, time, body);
        self.write(&chunk).await.unwrap();
    }

    pub(crate) async fn command(&mut self, stream_id: u32, values: &[Value]) {
        self.send(wire::COMMAND, stream_id, 0, &amf0::write_all(values)).await;
    }

    /// The configuration, and then `count` more frames.
    pub(crate) async fn audio(&mut self, count: u32) {
        let mut bytes = Vec::new();
        if self.frames == 0 {
            bytes.extend(message(wire::AUDIO, 1, 0, AUDIO_CONFIG));
        }
        for _ in 0..count {
            let time = self.frames * 64 / FRAMES_PER_64_MILLIS;
            bytes.extend(message(wire::AUDIO, 1, time, &[0xaf, 1, 0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c]));
            self.frames += 1;
        }
        self.write(&bytes).await.unwrap();
    }

    /// The next message; `None` at the end of the connection.
    pub(crate) async fn told(&mut self) -> Option<RawMessage> {
        loop {
            if let Some(message) = self.told.read(&mut self.received).unwrap() {
                return Some(message);
            }
            let read = soon("an answer", self.socket.read_buf(&mut self.received)).await;
            if read.is_err() || read.is_ok_and(|count| count == 0) {
                return None;
            }
        }
    }

    /// The next command.
    pub(crate) async fn reply(&mut self) -> Vec<Value> {
        loop {
            let message = self.told().await.expect("the connection was closed");
            if message.type_id == wire::COMMAND {
                return amf0::read_all(&message.body).unwrap();
            }
        }
    }

    /// Code and description of the next `onStatus`.
    pub(crate) async fn status(&mut self) -> (String, String) {
        let values = self.reply().await;
        assert_eq!(values[0], "onStatus".into());
        let text = |name| values[3].property(name).unwrap().as_str().unwrap().to_owned();
        (text("code"), text("description"))
    }

    /// Waits for the server to close the connection.
    pub(crate) async fn end(&mut self) {
        while self.told().await.is_some() {}
    }
}

fn message(type_id: u8, stream_id: u32, time: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![4];
    out.put_uint(time.into(), 3);
    out.put_uint(body.len() as u64, 3);
    out.put_u8(type_id);
    out.put_u32_le(stream_id);
    for (index, chunk) in body.chunks(128).enumerate() {
        if index > 0 {
            out.put_u8(0xc4);
        }
        out.extend(chunk);
    }
    out
}
