//! Stands between a camera and who pulls it, and spoils the clocks that the camera tells.
//!
//! The camera is a real server; what comes of it within the connection is changed on its way.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Outcome;

/// An interleaved frame's header (RFC 2326, 10.12), and the fixed one of an RTP packet or a sender report's beginning.
const FRAME: usize = 4;
/// RTCP's packet type of a sender report.
const SENDER_REPORT: u8 = 200;

/// What becomes of sender reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reports {
    /// They are as they came.
    #[default]
    True,
    /// They do not come.
    Missing,
    /// Their wall clock is off by so many seconds.
    Off(i32),
    /// Their wall clock says anything.
    Absurd,
    /// Their wall clock knows whole seconds only.
    WholeSeconds,
}

/// How a camera's clocks are spoilt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spoil {
    /// Added to timestamps of media and of reports, in milliseconds.
    pub ahead: i64,
    /// What becomes of sender reports.
    pub reports: Reports,
}

/// A port that a camera of H.264 and AAC at 48 kHz is pulled through over TCP, its pictures being set up first. It ends with
/// this value.
pub struct Spoiler {
    /// Where to connect instead of to the camera.
    pub port: u16,
    spoil: Arc<Mutex<Spoil>>,
    task: JoinHandle<()>,
}

impl Spoiler {
    /// Stands before the camera at a port of this machine.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn before(camera: u16, spoil: Spoil) -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let spoil = Arc::new(Mutex::new(spoil));
        let task = tokio::spawn(serve(listener, camera, Arc::clone(&spoil)));
        Ok(Self { port, spoil, task })
    }

    /// Spoils what comes from now on in another way.
    pub fn set(&self, spoil: Spoil) {
        *self.spoil.lock().unwrap_or_else(PoisonError::into_inner) = spoil;
    }
}

impl Drop for Spoiler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, camera: u16, spoil: Arc<Mutex<Spoil>>) {
    while let Ok((near, _)) = listener.accept().await {
        let spoil = Arc::clone(&spoil);
        tokio::spawn(async move {
            let Ok(far) = TcpStream::connect(("127.0.0.1", camera)).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((mut near_in, near_out), (far_in, mut far_out)) = (near.into_split(), far.into_split());
            tokio::select! {
                _ = copy(&mut near_in, &mut far_out) => {}
                () = spoiling(far_in, near_out, &spoil) => {}
            }
        });
    }
}

async fn spoiling(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, spoil: &Mutex<Spoil>) {
    let mut buffer = BytesMut::new();
    while let Ok(1..) = from.read_buf(&mut buffer).await {
        while let Some(length) = unit(&buffer) {
            let spoil = *spoil.lock().unwrap_or_else(PoisonError::into_inner);
            let passes = buffer[0] != b'$' || spoil.frame(&mut buffer[..length]);
            if passes && to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
            buffer.advance(length);
        }
    }
}

/// How long the frame or the message at the front is, once it is whole.
fn unit(buffer: &[u8]) -> Option<usize> {
    let length = match buffer {
        [b'$', _, high, low, ..] => FRAME + usize::from(u16::from_be_bytes([*high, *low])),
        [b'$', ..] => return None,
        _ => {
            let head = buffer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
            let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
            let body =
                text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            head + body.unwrap_or(0)
        }
    };
    (buffer.len() >= length).then_some(length)
}

impl Spoil {
    /// Spoils one interleaved frame; `false` where it is not to come at all.
    fn frame(self, frame: &mut [u8]) -> bool {
        let [_, channel, _, _, packet @ ..] = frame else { return true };
        let channel = *channel;
        let rate = if channel / 2 == 0 { 90 } else { 48 };
        let ticks = (self.ahead * rate) as u32;
        if channel.is_multiple_of(2) {
            shift(packet, 4, ticks);
            return true;
        }
        if packet.get(1) != Some(&SENDER_REPORT) {
            return true;
        }
        shift(packet, 16, ticks);
        let Some(clock) = packet.get_mut(8..16) else { return true };
        match self.reports {
            Reports::True => {}
            Reports::Missing => return false,
            Reports::Off(seconds) => shift(clock, 0, seconds as u32),
            Reports::Absurd => clock.reverse(),
            Reports::WholeSeconds => clock[4..].fill(0),
        }
        true
    }
}

/// Adds to the number of four bytes at a place.
fn shift(bytes: &mut [u8], at: usize, by: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4)
        && let Ok(number) = <[u8; 4]>::try_from(&*place)
    {
        place.copy_from_slice(&u32::from_be_bytes(number).wrapping_add(by).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_ends_where_its_header_says() {
        assert_eq!(unit(b"$\x00\x00\x02ab$"), Some(6));
        assert_eq!(unit(b"$\x00\x00\x03ab"), None);
        assert_eq!(unit(b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab$"), Some(40));
        assert_eq!(unit(b"RTSP/1.0 200 OK\r\n\r"), None);
    }

    #[test]
    fn timestamps_and_reports_are_spoilt() {
        let spoil = Spoil { ahead: 1_000, reports: Reports::WholeSeconds };
        let mut media = [&b"$\x02\x00\x0c\x80\x61\x00\x01"[..], &[0, 0, 0, 7, 0, 0, 0, 1]].concat();
        assert!(spoil.frame(&mut media));
        assert_eq!(media[8..12], (48_007u32).to_be_bytes());
        let mut report = [&b"$\x01\x00\x1c\x80\xc8\x00\x06\x00\x00\x00\x01"[..], &[1; 20]].concat();
        assert!(spoil.frame(&mut report));
        assert_eq!(report[12..20], [1, 1, 1, 1, 0, 0, 0, 0]);
        assert_eq!(report[20..24], (0x0101_0101u32 + 90_000).to_be_bytes());
        assert!(!Spoil { reports: Reports::Missing, ..spoil }.frame(&mut report));
    }
}
