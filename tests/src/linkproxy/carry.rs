//! Sockets of a link.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::schedule::{Schedule, Shape};
use crate::now;

/// Pieces under way in a direction of a connection. When it is full nothing more is read, as by a full router.
const UNDER_WAY: usize = 512;

type Piece = (Instant, Vec<u8>);

pub(super) async fn connections(
    listener: TcpListener,
    far: SocketAddr,
    shape: Shape,
    dark: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    let mut number = 0;
    while let Ok((near, _)) = listener.accept().await {
        number += 2;
        let dark = dark.clone();
        tasks.spawn(async move {
            let Ok(far) = TcpStream::connect(far).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            let there = direction(near_in, far_out, Schedule::new(shape, true, number), dark.clone());
            let back = direction(far_in, near_out, Schedule::new(shape, true, number + 1), dark);
            tokio::join!(there, back);
        });
        while tasks.try_join_next().is_some() {}
    }
}

async fn direction(
    mut from: OwnedReadHalf,
    to: OwnedWriteHalf,
    mut schedule: Schedule,
    dark: watch::Receiver<bool>,
) {
    let (sender, receiver) = mpsc::channel(UNDER_WAY);
    let reading = async move {
        let start = now();
        let mut buffer = vec![0; 16 * 1_024];
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

pub(super) async fn datagrams(near: UdpSocket, far: SocketAddr, shape: Shape, dark: watch::Receiver<bool>) {
    let near = Arc::new(near);
    let mut tasks = JoinSet::new();
    let mut clients: HashMap<SocketAddr, (Arc<UdpSocket>, Schedule)> = HashMap::new();
    let start = now();
    let mut buffer = vec![0; 65_536];
    while let Ok((read, client)) = near.recv_from(&mut buffer).await {
        if !clients.contains_key(&client) {
            let number = 2 * clients.len() as u64;
            let Some(socket) = open(far).await else { return };
            let back = Schedule::new(shape, false, number + 1);
            tasks.spawn(answers(Arc::clone(&socket), Arc::clone(&near), client, back, dark.clone()));
            clients.insert(client, (socket, Schedule::new(shape, false, number)));
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
    mut schedule: Schedule,
    dark: watch::Receiver<bool>,
) {
    let start = now();
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
