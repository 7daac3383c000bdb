//! The port for publishers over SRT.
//!
//! One task reads the socket and answers who only knocks, without keeping anything ([`shake`]). A caller that has shown its
//! cookie has a task of its own, which owns the state machines of `srt-protocol` for that caller alone: they panic on some
//! packets, and a panic ends that caller's task. Who is no publisher yet is bounded in number and time. What a publisher
//! sends is MPEG-TS, which another stage takes apart, in a cage of its own.

mod open;
mod peer;
pub mod shake;
pub mod streamid;
pub mod watch;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::Secret;
use aqueduct_common::event::Protocol;
use bytes::{Bytes, BytesMut};
use ring::hmac;
use ring::rand::SystemRandom;
use socket2::{Domain, Protocol as Transport, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::clock;
use super::gate::Gate;
use crate::pull::Opener;
use peer::Peer;
use shake::First;

/// Callers at a time that are not known to be publishers.
const UNKNOWN: usize = 256;
/// Packets of one caller that wait for its task; what comes beyond is lost, and sent again by SRT.
const PACKETS: usize = 1_024;
/// Longest datagram that is read; SRT's are at most 1,500 bytes with their headers.
const DATAGRAM: usize = 2_048;
/// Read buffer that is divided among packets.
const BUFFER: usize = 256 << 10;
/// What is asked of the system for its own buffer.
const SYSTEM_BUFFER: usize = 4 << 20;
/// How long callers have to end when the server stops.
const DRAIN: Duration = Duration::from_secs(2);

/// What the port does with its callers.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// How long lost packets are waited for, at least.
    pub(crate) latency: Duration,
    /// What everything is encrypted with.
    pub(crate) passphrase: Option<Secret>,
    /// How long a caller may take to become a publisher.
    pub(crate) handshake: Duration,
    /// A publisher of which nothing came for so long is lost.
    pub(crate) silence: Duration,
    /// From the connection to the first frame.
    pub(crate) first_media: Duration,
}

/// A bound port.
#[derive(Debug)]
pub(super) struct SrtPort {
    socket: UdpSocket,
    pub(super) address: SocketAddr,
    rules: Arc<Rules>,
    /// What cookies are made with, anew for every process.
    secret: hmac::Key,
}

impl SrtPort {
    /// Binds it.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn bind(address: SocketAddr, rules: Rules) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Transport::UDP))?;
        socket.set_nonblocking(true)?;
        // A smaller buffer than asked for loses packets under load, which SRT sends again.
        let _ = socket.set_recv_buffer_size(SYSTEM_BUFFER);
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let address = socket.local_addr().unwrap_or(address);
        let no_random = || std::io::Error::other("the system gives no random bytes");
        let secret = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| no_random())?;
        Ok(Self { socket, address, rules: Arc::new(rules), secret })
    }

    /// Hears callers until `stop`, then lets them go.
    pub(super) async fn run(self, gate: Arc<Gate>, opener: Arc<dyn Opener>, stop: CancellationToken) {
        let mut callers = Callers {
            socket: Arc::new(self.socket),
            address: self.address,
            rules: self.rules,
            secret: self.secret,
            gate,
            opener,
            unknown: Arc::new(Semaphore::new(UNKNOWN)),
            known: HashMap::new(),
            tasks: JoinSet::new(),
            stop: stop.clone(),
        };
        let socket = callers.socket.clone();
        let mut buffer = BytesMut::with_capacity(BUFFER);
        loop {
            if buffer.capacity() < DATAGRAM {
                buffer.reserve(BUFFER);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                received = socket.recv_buf_from(&mut buffer) => match received {
                    Ok((_, from)) => callers.take(from, buffer.split().freeze()),
                    // An answer that could not be delivered is reported here; it is nobody's end.
                    Err(error) => tracing::debug!(%error, "a datagram could not be read"),
                },
                Some(ended) = callers.tasks.join_next() => callers.forget(ended.ok()),
            }
        }
        let all = async { while callers.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            tracing::warn!("SRT publishers did not leave in time");
        }
    }
}

/// A caller with a task.
struct Known {
    packets: mpsc::Sender<Bytes>,
    /// Its own number for the connection: another one is another connection.
    socket: Option<u32>,
}

/// Everybody who calls.
struct Callers {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    rules: Arc<Rules>,
    secret: hmac::Key,
    gate: Arc<Gate>,
    opener: Arc<dyn Opener>,
    /// Room for callers that are not known yet.
    unknown: Arc<Semaphore>,
    known: HashMap<SocketAddr, Known>,
    tasks: JoinSet<SocketAddr>,
    stop: CancellationToken,
}

impl Callers {
    fn take(&mut self, from: SocketAddr, packet: Bytes) {
        let Some(caller) = self.known.get(&from) else { return self.begin(from, packet) };
        match shake::first(&packet) {
            // An encoder that was started anew may have the port that it had.
            Some(First::Induction) => return self.begin(from, packet),
            Some(First::Conclusion { cookie }) if caller.socket != shake::socket_of(&packet) => {
                if self.made(from, cookie) {
                    self.known.remove(&from);
                    self.begin(from, packet);
                }
                return;
            }
            _ => {}
        }
        match caller.packets.try_send(packet) {
            // What does not fit is lost on the last yard, and sent again as if on any other.
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
            Err(mpsc::error::TrySendError::Closed(packet)) => {
                self.known.remove(&from);
                self.begin(from, packet);
            }
        }
    }

    /// This address was given this cookie in this minute or the one before.
    fn made(&self, from: SocketAddr, cookie: u32) -> bool {
        let minute = minute();
        [minute, minute - 1].into_iter().any(|minute| shake::cookie(&self.secret, from, minute) == cookie)
    }

    /// A packet of somebody unknown: only one that shows its address's cookie costs more than this look.
    fn begin(&mut self, from: SocketAddr, packet: Bytes) {
        match shake::first(&packet) {
            None => return,
            Some(First::Induction) => {
                let cookie = shake::cookie(&self.secret, from, minute());
                if let Some(answer) = shake::answer(&packet, cookie) {
                    // A full system queue loses the answer, and the caller asks again.
                    let _ = self.socket.try_send_to(&answer, from);
                }
                return;
            }
            Some(First::Conclusion { cookie }) => {
                if !self.made(from, cookie) {
                    return;
                }
            }
        }
        let Ok(room) = self.unknown.clone().try_acquire_owned() else { return };
        let (now, _) = clock();
        let slot = match self.gate.enter(now, from, Protocol::Srt) {
            Ok(slot) => slot,
            Err(crowded) => return tracing::debug!(peer = %from, %crowded, "caller refused"),
        };
        let (sender, packets) = mpsc::channel(PACKETS);
        let socket = shake::socket_of(&packet);
        // The queue is new and has room.
        let _ = sender.try_send(packet);
        self.known.insert(from, Known { packets: sender, socket });
        let peer = Peer {
            socket: self.socket.clone(),
            local: self.address,
            remote: from,
            packets,
            rules: self.rules.clone(),
            opener: self.opener.clone(),
            slot,
            room: Some(room),
            stop: self.stop.child_token(),
        };
        self.tasks.spawn(async move {
            Box::pin(peer.run()).await;
            from
        });
    }

    /// A caller's task has ended. One that panicked does not say whose it was: its queue is closed, which is found here
    /// or when it calls again.
    fn forget(&mut self, ended: Option<SocketAddr>) {
        match ended {
            Some(from) if self.known.get(&from).is_some_and(|caller| caller.packets.is_closed()) => {
                self.known.remove(&from);
            }
            Some(_) => {}
            None => self.known.retain(|_, caller| !caller.packets.is_closed()),
        }
    }
}

fn minute() -> i64 {
    clock().1.micros.div_euclid(60_000_000)
}
