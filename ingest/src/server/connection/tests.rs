use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use aqueduct_common::event::{self, EventReceiver, Protocol};
use aqueduct_common::{Event as Heard, Publication};
use tokio::io::ReadBuf;
use tokio::sync::mpsc;

use super::super::gate::Gate;
use super::*;
use crate::rtmp::amf0::{self, Value};
use crate::rtmp::wire;
use crate::{Config, KeyRing, Plan, Streams};

/// A peer that has sent everything and is gone: what it sent is there to read, and no write succeeds.
struct Gone {
    sent: BytesMut,
}

impl AsyncRead for Gone {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = buffer.remaining().min(self.sent.len()).min(1_000);
        buffer.put_slice(&self.sent.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gone {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }
}

fn gate() -> (Arc<Gate>, EventReceiver, mpsc::Receiver<Publication>) {
    let plan = Plan::try_from(Config::default()).unwrap();
    let (sender, events) = event::bus(100);
    let (publications, begun) = mpsc::channel(1);
    let streams = Streams::start(plan.policy(), publications, sender.clone());
    let keys = KeyRing::new(&[], &[]).unwrap();
    (Arc::new(Gate::new(&plan, keys, streams, sender)), events, begun)
}

fn command(out: &mut BytesMut, stream_id: u32, name: &str, more: &[Value]) {
    let head = [name.into(), Value::Number(1.0)];
    wire::put_message(out, wire::COMMAND, stream_id, &amf0::write_all(&[&head, more].concat()));
}

#[tokio::test]
async fn a_goodbye_counts_though_nothing_can_be_written_any_more() {
    // An encoder that closes with our bytes unread resets the connection, and the next write fails before its
    // goodbye was read.
    let (gate, mut events, _begun) = gate();
    let mut sent = BytesMut::from(&[3][..]);
    sent.extend_from_slice(&[0; 2 * 1_536]);
    wire::put_message(&mut sent, wire::SET_CHUNK_SIZE, 0, &(wire::CHUNK_SIZE as u32).to_be_bytes());
    command(&mut sent, 0, "connect", &[Value::Object(vec![("app".into(), "live".into())])]);
    command(&mut sent, 0, "createStream", &[Value::Null]);
    command(&mut sent, 1, "publish", &[Value::Null, "x".into(), "live".into()]);
    wire::put_message(&mut sent, wire::AUDIO, 1, &[0xaf, 0, 0x11, 0x90]);
    command(&mut sent, 0, "FCUnpublish", &[Value::Null, "x".into()]);

    let peer = "127.0.0.1:9".parse().unwrap();
    let (now, _) = clock();
    let slot = gate.enter(now, peer, Protocol::Rtmp).unwrap();
    Connection::new(Gone { sent }, slot, CancellationToken::new(), now).run().await;
    let reason = loop {
        if let Heard::PublishEnded { reason, .. } = events.recv().await.unwrap() {
            break reason;
        }
    };
    assert_eq!(reason, PublishEnd::Clean);
}
