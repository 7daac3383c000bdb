//! Ports of the loopback interface.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crate::Outcome;

/// A TCP port of the loopback interface that was free a moment ago.
///
/// # Errors
///
/// When there is none.
pub fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A UDP port of the loopback interface that was free a moment ago.
///
/// # Errors
///
/// When there is none.
pub fn free_udp_port() -> Outcome<u16> {
    Ok(UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// This port of the loopback interface.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
