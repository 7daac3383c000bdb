use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use aqueduct_common::Publication;
use aqueduct_common::event::{self, EventReceiver, Protocol};
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

/// What an encoder sends up to its first media, for stream `live/x`.
fn opening() -> BytesMut {
    let mut sent = BytesMut::from(&[3][..]);
    sent.extend_from_slice(&[0; 2 * 1_536]);
    wire::put_message(&mut sent, wire::SET_CHUNK_SIZE, 0, &(wire::CHUNK_SIZE as u32).to_be_bytes());
    command(&mut sent, 0, "connect", &[Value::Object(vec![("app".into(), "live".into())])]);
    command(&mut sent, 0, "createStream", &[Value::Null]);
    command(&mut sent, 1, "publish", &[Value::Null, "x".into(), "live".into()]);
    sent
}

/// Serves a peer that sends this and is gone, and gives back what it had not read.
async fn serve(gate: &Arc<Gate>, sent: BytesMut) -> usize {
    let (now, _) = clock();
    let slot = gate.enter(now, "127.0.0.1:9".parse().unwrap(), Protocol::Rtmp).unwrap();
    let mut peer = Gone { sent };
    Connection::new(&mut peer, slot, CancellationToken::new(), now).run().await;
    peer.sent.len()
}

#[tokio::test]
async fn a_goodbye_counts_though_nothing_can_be_written_any_more() {
    // An encoder that closes with our bytes unread resets the connection, and the next write fails before its
    // goodbye was read.
    let (gate, mut events, _begun) = gate();
    let mut sent = opening();
    wire::put_message(&mut sent, wire::AUDIO, 1, &[0xaf, 0, 0x11, 0x90]);
    command(&mut sent, 0, "FCUnpublish", &[Value::Null, "x".into()]);

    serve(&gate, sent).await;
    let reason = loop {
        if let Heard::PublishEnded { reason, .. } = events.recv().await.unwrap() {
            break reason;
        }
    };
    assert_eq!(reason, PublishEnd::Clean);
}

#[tokio::test]
async fn a_peer_that_never_stops_sending_is_closed_in_time_all_the_same() {
    let (gate, mut events, _begun) = gate();
    let unread = serve(&gate, BytesMut::from(&vec![0x47; 10 << 20][..])).await;
    assert!(unread > 9 << 20, "{unread} bytes are left");
    let refused =
        std::iter::from_fn(|| events.try_recv()).filter(|e| matches!(e, Heard::Refused { .. })).count();
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn what_a_publisher_is_closed_for_is_counted() {
    let (gate, mut events, _begun) = gate();
    let mut sent = opening();
    // A chunk size of 0.
    wire::put_message(&mut sent, wire::SET_CHUNK_SIZE, 0, &[0; 4]);
    serve(&gate, sent).await;
    let expected = Heard::Shed { protocol: Protocol::Rtmp, reason: "malformed" };
    assert!(std::iter::from_fn(|| events.try_recv()).any(|event| event == expected));
}

#[tokio::test]
async fn timestamps_that_were_guessed_are_counted() {
    // RTMP-10: a type 0 header at 100 s, then two messages that repeat it.
    let (gate, mut events, _begun) = gate();
    let mut sent = opening();
    let silence = [0xaf, 1, 0x21, 0x10];
    sent.extend_from_slice(&[4, 0x01, 0x86, 0xa0, 0, 0, 4, wire::AUDIO, 1, 0, 0, 0]);
    sent.extend_from_slice(&silence);
    for _ in 0..2 {
        sent.extend_from_slice(&[0xc4]);
        sent.extend_from_slice(&silence);
    }
    serve(&gate, sent).await;
    let expected = Heard::Anomaly { stream: "live/x".parse().unwrap(), kind: Anomaly::DeltaGuess, count: 2 };
    assert!(std::iter::from_fn(|| events.try_recv()).any(|event| event == expected));
}
