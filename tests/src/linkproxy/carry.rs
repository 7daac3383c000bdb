//! Sockets of a link.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::schedule::{Line, Schedule, Shape};
use crate::now;

/// Pieces under way in a direction of a connection. When it is full nothing more is read, as by a full router.
const UNDER_WAY: usize = 512;
/// The same where a rate is limited: what routers hold is little.
const UNDER_WAY_LIMITED: usize = 64;
/// A piece, and one where a rate is limited, which is a packet: the first bytes of an answer come long before the last.
const PIECE: usize = 16 * 1_024;
const PIECE_LIMITED: usize = 1_448;

type Piece = (Instant, Vec<u8>);

pub(super) async fn connections(
    listener: TcpListener,
    far: SocketAddr,
    shape: watch::Receiver<Shape>,
    dark: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    let mut number = 0;
    let (start, outward, inward) = (now(), Line::default(), Line::default());
    while let Ok((near, _)) = listener.accept().await {
        number += 2;
        let (outward, inward, shape, dark) = (outward.clone(), inward.clone(), shape.clone(), dark.clone());
        tasks.spawn(async move {
            let Ok(far) = TcpStream::connect(far).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            let outward = Shaped::new(&shape, outward, true, number);
            let inward = Shaped::new(&shape, inward, true, number + 1);
            let there = direction(near_in, far_out, (start, outward), dark.clone());
            let back = direction(far_in, near_out, (start, inward), dark);
            tokio::join!(there, back);
        });
        while tasks.try_join_next().is_some() {}
    }
}

/// A schedule that follows what is asked of its link.
struct Shaped {
    schedule: Schedule,
    shape: watch::Receiver<Shape>,
}

impl Shaped {
    fn new(shape: &watch::Receiver<Shape>, line: Line, ordered: bool, number: u64) -> Self {
        let schedule = Schedule::new(*shape.borrow(), line, ordered, number);
        Self { schedule, shape: shape.clone() }
    }

    fn pass(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        self.schedule.reshape(*self.shape.borrow());
        self.schedule.pass(now, bytes)
    }
}

async fn direction(
    mut from: OwnedReadHalf,
    to: OwnedWriteHalf,
    (start, mut schedule): (Instant, Shaped),
    dark: watch::Receiver<bool>,
) {
    let (queue, piece) =
        if schedule.schedule.is_limited() { (UNDER_WAY_LIMITED, PIECE_LIMITED) } else { (UNDER_WAY, PIECE) };
    let (sender, receiver) = mpsc::channel(queue);
    let reading = async move {
        let mut buffer = vec![0; piece];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let Some(out) = schedule.pass(now() - start, read) else { continue };
            if sender.send((start + out, buffer[..read].to_vec())).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, deliver(receiver, to, dark));
}

async fn deliver(mut pieces: mpsc::Receiver<Piece>, mut to: OwnedWriteHalf, mut dark: watch::Receiver<bool>) {
    while let Some((at, bytes)) = pieces.recv().await {
        sleep_until(at).await;
        if dark.wait_for(|dark| !dark).await.is_err() || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

pub(super) async fn datagrams(
    near: UdpSocket,
    far: SocketAddr,
    shape: watch::Receiver<Shape>,
    dark: watch::Receiver<bool>,
) {
    let near = Arc::new(near);
    let mut tasks = JoinSet::new();
    let mut clients: HashMap<SocketAddr, (Arc<UdpSocket>, Shaped)> = HashMap::new();
    let (start, outward, inward) = (now(), Line::default(), Line::default());
    let mut buffer = vec![0; 65_536];
    while let Ok((read, client)) = near.recv_from(&mut buffer).await {
        if !clients.contains_key(&client) {
            let number = 2 * clients.len() as u64;
            let Some(socket) = open(far).await else { return };
            let back = Shaped::new(&shape, inward.clone(), false, number + 1);
            let (socket_in, near) = (Arc::clone(&socket), Arc::clone(&near));
            tasks.spawn(answers(socket_in, near, client, (start, back), dark.clone()));
            clients.insert(client, (socket, Shaped::new(&shape, outward.clone(), false, number)));
        }
        let Some((socket, schedule)) = clients.get_mut(&client) else { return };
        if *dark.borrow() {
            continue;
        }
        if let Some(out) = schedule.pass(now() - start, read) {
            let (socket, bytes) = (Arc::clone(socket), buffer[..read].to_vec());
            tasks.spawn(async move {
                sleep_until(start + out).await;
                let _ = socket.send(&bytes).await;
            });
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn open(far: SocketAddr) -> Option<Arc<UdpSocket>> {
    let any = if far.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(far).await.ok()?;
    Some(Arc::new(socket))
}

async fn answers(
    socket: Arc<UdpSocket>,
    near: Arc<UdpSocket>,
    client: SocketAddr,
    (start, mut schedule): (Instant, Shaped),
    dark: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; 65_536];
    while let Ok(read) = socket.recv(&mut buffer).await {
        if *dark.borrow() {
            continue;
        }
        if let Some(out) = schedule.pass(now() - start, read) {
            let (near, bytes) = (Arc::clone(&near), buffer[..read].to_vec());
            tasks.spawn(async move {
                sleep_until(start + out).await;
                let _ = near.send_to(&bytes, client).await;
            });
        }
        while tasks.try_join_next().is_some() {}
    }
}
