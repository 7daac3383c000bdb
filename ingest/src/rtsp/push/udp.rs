//! Ports on which a publisher's packets come, and who may send to them (RTSP-21, RTSP-40).

use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pairs that are tried: the upper half of one may be in use.
const TRIES: usize = 32;
/// What the kernel holds of packets: a keyframe comes as a burst.
const RECEIVE: usize = 2 << 20;
/// Longest packet.
const PACKET_MAX: usize = 64 << 10;

/// A packet that came over UDP.
#[derive(Debug)]
pub(super) struct Datagram {
    /// Position in the session description.
    pub(super) medium: usize,
    /// It is RTCP.
    pub(super) control: bool,
    pub(super) data: Bytes,
}

/// Two sockets on neighbouring ports, the first of them even.
pub(super) struct Pair {
    sockets: [UdpSocket; 2],
    /// Their ports.
    pub(super) ports: (u16, u16),
}

impl Pair {
    /// Binds a free pair at an address of this machine.
    pub(super) async fn bind(address: IpAddr) -> std::io::Result<Self> {
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        for _ in 0..TRIES {
            let first = UdpSocket::bind((address, 0)).await?;
            let port = first.local_addr()?.port();
            // The other half of what may become a pair.
            let other = if port % 2 == 0 { port.checked_add(1) } else { port.checked_sub(1) };
            let Some(other) = other else { continue };
            match UdpSocket::bind((address, other)).await {
                Ok(second) => {
                    let sockets = if port < other { [first, second] } else { [second, first] };
                    for socket in &sockets {
                        // The kernel gives as much as its limit allows.
                        let _ = SockRef::from(socket).set_recv_buffer_size(RECEIVE);
                    }
                    return Ok(Self { sockets, ports: (port.min(other), port.max(other)) });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Receives what `peer` sends until `stop`. Where nobody keeps up, packets are left out, and are missed like any that
    /// were lost.
    pub(super) fn receive(
        self,
        medium: usize,
        peer: IpAddr,
        out: &mpsc::Sender<Datagram>,
        stop: &CancellationToken,
    ) {
        for (socket, control) in self.sockets.into_iter().zip([false, true]) {
            let (out, stop) = (out.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = receive(&socket, peer, |data| drop(out.try_send(Datagram { medium, control, data }))) => {}
                }
            });
        }
    }
}

async fn receive(socket: &UdpSocket, peer: IpAddr, mut take: impl FnMut(Bytes)) {
    let mut buffer = BytesMut::with_capacity(4 * PACKET_MAX);
    let mut sender: Option<SocketAddr> = None;
    loop {
        buffer.reserve(PACKET_MAX);
        let Ok((count, from)) = socket.recv_buf_from(&mut buffer).await else { return };
        let data = buffer.split_to(count).freeze();
        let is_peer = from.ip().to_canonical() == peer.to_canonical();
        // The first port that sends is the publisher's; a stranger would have to be at its address.
        if is_peer && *sender.get_or_insert(from) == from && !data.is_empty() {
            take(data);
        }
    }
}
