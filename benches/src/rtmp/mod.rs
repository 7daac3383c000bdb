//! The least of RTMP that a publisher needs: handshake, connect, createStream, publish, and messages out.
//!
//! Written for measuring, not for use: it trusts the server under test and knows one chunk layout (a full header,
//! then continuations of 4096 bytes, as OBS sends).

mod amf0;
mod chunk;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub use self::amf0::metadata;
use self::chunk::Reader;
pub use self::chunk::{Kind, append};
use crate::error::{Error, doing};

/// How long the server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
const HANDSHAKE: usize = 1_536;

/// Connects and publishes `name` in app `live`. The socket is ready for messages on stream 1.
pub fn publish(address: SocketAddr, name: &str) -> Result<TcpStream, Error> {
    let mut socket = TcpStream::connect(address).map_err(doing(format!("connect to RTMP at {address}")))?;
    let ready = socket.set_nodelay(true).and_then(|()| socket.set_read_timeout(Some(PATIENCE)));
    ready.map_err(doing("prepare the RTMP socket"))?;
    handshake(&mut socket).map_err(doing(format!("RTMP handshake with {address}")))?;
    command(&mut socket, name, address)?;
    Ok(socket)
}

/// C0 C1, S0 S1 S2, C2.
fn handshake(socket: &mut TcpStream) -> std::io::Result<()> {
    let mut hello = vec![0; 1 + HANDSHAKE];
    hello[0] = 3;
    socket.write_all(&hello)?;
    let mut answer = vec![0; 1 + 2 * HANDSHAKE];
    socket.read_exact(&mut answer)?;
    socket.write_all(&answer[1..1 + HANDSHAKE])
}

fn command(socket: &mut TcpStream, name: &str, address: SocketAddr) -> Result<(), Error> {
    let mut reader = Reader::default();
    let url = format!("rtmp://{address}/live");
    let mut out = Vec::new();
    append(&mut out, Kind::SetChunkSize, 0, &chunk::OUT.to_be_bytes());
    append(&mut out, Kind::Command, 0, &amf0::connect("live", &url));
    expect(socket, &mut reader, &out, "connect", "_result")?;
    out.clear();
    append(&mut out, Kind::Command, 0, &amf0::command("createStream", 2.0, &[]));
    expect(socket, &mut reader, &out, "createStream", "_result")?;
    out.clear();
    append(&mut out, Kind::StreamCommand, 0, &amf0::command("publish", 3.0, &[name, "live"]));
    expect(socket, &mut reader, &out, "publish", "onStatus")
}

/// Sends and waits for the command that answers it.
fn expect(
    socket: &mut TcpStream,
    reader: &mut Reader,
    out: &[u8],
    asked: &'static str,
    wanted: &str,
) -> Result<(), Error> {
    socket.write_all(out).map_err(doing(format!("send RTMP {asked}")))?;
    loop {
        let message = reader.next(socket).map_err(doing(format!("wait for the answer to RTMP {asked}")))?;
        let Some(name) = amf0::name(&message) else { continue };
        let bad = String::from_utf8_lossy(&message).contains("NetStream.Publish.Bad");
        match name {
            name if name == wanted && !bad => return Ok(()),
            "_error" | "onStatus" => {
                let answer = String::from_utf8_lossy(&message).into_owned();
                return Err(Error::Refused { doing: asked, answer });
            }
            _ => {}
        }
    }
}
