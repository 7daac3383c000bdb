//! A link in user space: TCP and UDP with delay, jitter, loss, a rate and blackouts, the same for the same seed.
//!
//! The kernel's own shaper is not everywhere; this runs wherever the tests do. A link over TCP delays what it
//! carries and never loses it: jitter there is what a player sees of a network that retransmits.

mod carry;
pub mod schedule;

use std::net::SocketAddr;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use schedule::Shape;

use crate::Outcome;

/// A running link. It ends, with all that it carries, when this is dropped.
pub struct Link {
    /// Where to connect instead of to the far end.
    pub address: SocketAddr,
    blackout: watch::Sender<bool>,
    shape: watch::Sender<Shape>,
    task: JoinHandle<()>,
}

impl Link {
    /// Carries TCP connections from `listen` (port 0 for any) to `far`.
    ///
    /// # Errors
    ///
    /// When the port cannot be had.
    pub async fn tcp(listen: SocketAddr, far: SocketAddr, shape: Shape) -> Outcome<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (blackout, dark) = watch::channel(false);
        let (shape, shaped) = watch::channel(shape);
        let task = tokio::spawn(carry::connections(listener, far, shaped, dark));
        Ok(Self { address, blackout, shape, task })
    }

    /// Carries UDP datagrams from `listen` (port 0 for any) to `far` and back.
    ///
    /// # Errors
    ///
    /// When the port cannot be had.
    pub async fn udp(listen: SocketAddr, far: SocketAddr, shape: Shape) -> Outcome<Self> {
        let near = UdpSocket::bind(listen).await?;
        let address = near.local_addr()?;
        let (blackout, dark) = watch::channel(false);
        let (shape, shaped) = watch::channel(shape);
        let task = tokio::spawn(carry::datagrams(near, far, shaped, dark));
        Ok(Self { address, blackout, shape, task })
    }

    /// Behaves in another way from now on; randomness goes on.
    pub fn reshape(&self, shape: Shape) {
        self.shape.send_replace(shape);
    }

    /// Begins or ends a blackout: TCP waits, UDP is lost.
    pub fn blackout(&self, on: bool) {
        let _ = self.blackout.send(on);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}
