//! A camera: an RTSP server of one synthetic stream within its connection, that remembers when each frame was handed to
//! the kernel.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::clock;
use crate::error::{Error, doing};
use crate::publisher::Sent;
use crate::source::{self, Frame, Source, Track};

/// Longest RTP payload: what fits an Ethernet frame, as cameras cut it.
const PAYLOAD: usize = 1_400;
/// Between two looks for a client.
const LOOK: Duration = Duration::from_millis(5);
/// Longest request that is read.
const REQUEST_MAX: usize = 8_192;
/// Between two sender reports, in seconds.
const REPORTS: u64 = 5;
const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\n\
                   m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track0\r\n\
                   m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\n\
                   a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190\r\na=control:track1\r\n";

/// A camera for one client; ends with this value.
#[derive(Debug)]
pub struct Camera {
    /// Where it listens.
    pub address: SocketAddr,
    sent: Sent,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    /// A camera that sends this to whoever plays it first.
    pub fn start(source: Source) -> Result<Self, Error> {
        let open = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = open().map_err(doing("open a camera's port"))?;
        let (sent, stop) = (Sent::default(), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (sent, stop) = (sent.clone(), stop.clone());
            move || serve(&listener, &source, &sent, &stop)
        });
        Ok(Self { address, sent, stop, thread: Some(thread) })
    }

    /// When each frame was written.
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }

    /// One entry of `ingest.rtsp` that pulls these cameras, each as a stream of its own: `live/NAME0`, `live/NAME1` …
    pub fn pulled(cameras: &[Self], name: &str) -> String {
        let entry = |(index, camera): (usize, &Self)| {
            format!("{{stream=\"live/{name}{index}\",url=\"rtsp://{}/x\",transport=\"tcp\"}}", camera.address)
        };
        format!("[{}]", cameras.iter().enumerate().map(entry).collect::<Vec<_>>().join(","))
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, source: &Source, sent: &Sent, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            // A client that leaves is followed by the next one; the measurement tells that nothing came.
            Ok((socket, _)) => drop(session(socket, source.clone(), sent, stop)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK),
            Err(_) => return,
        }
    }
}

fn session(mut socket: TcpStream, source: Source, sent: &Sent, stop: &AtomicBool) -> std::io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.set_nodelay(true)?;
    loop {
        let request = request(&mut socket)?;
        let mut words = request.split_whitespace();
        let method = words.next().unwrap_or_default();
        let field = |name: &str| {
            request.lines().find_map(|line| line.strip_prefix(name)).map_or("", str::trim).to_owned()
        };
        // No client has to say that it is still there before a measurement has ended.
        let (cseq, session) = (field("CSeq:"), "Session: 1;timeout=7200\r\n");
        let head = format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n");
        let answer = match method {
            "DESCRIBE" => {
                let length = SDP.len();
                format!("{head}Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{SDP}")
            }
            "SETUP" => format!("{head}{session}Transport: {}\r\n\r\n", field("Transport:")),
            "OPTIONS" => format!("{head}Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n"),
            _ => format!("{head}{session}\r\n"),
        };
        socket.write_all(answer.as_bytes())?;
        if method == "PLAY" {
            return play(&mut socket, source, sent, stop);
        }
    }
}

/// One request's lines. Requests of a client that only plays have no body.
fn request(socket: &mut TcpStream) -> std::io::Result<String> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        text.push(byte[0]);
        if text.len() > REQUEST_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn play(socket: &mut TcpStream, mut source: Source, sent: &Sent, stop: &AtomicBool) -> std::io::Result<()> {
    // A client that came before has had frames of the same numbers.
    sent.restart();
    let (begin, mut wire) = (clock::now(), Wire::default());
    let mut reported = None;
    while !stop.load(Ordering::Relaxed) {
        let mut unit = Vec::new();
        let frame = source.next_bare(&mut unit);
        thread::sleep((begin + frame.due()).saturating_duration_since(clock::now()));
        wire.out.clear();
        let due = frame.due().as_secs() / REPORTS;
        if reported != Some(due) {
            reported = Some(due);
            [Track::Video, Track::Audio].into_iter().for_each(|track| wire.report(track, begin));
        }
        wire.frame(frame, &unit);
        sent.note(frame.track);
        socket.write_all(&wire.out)?;
    }
    Ok(())
}

/// RTP within the connection (RFC 2326, 10.12).
#[derive(Default)]
struct Wire {
    out: Vec<u8>,
    sequence: [u16; 2],
}

impl Wire {
    fn frame(&mut self, frame: Frame, unit: &[u8]) {
        let stamp = stamp(frame.track, frame.due());
        match frame.track {
            Track::Audio => {
                let size = (unit.len() as u16) << 3;
                let payload = [&[0, 16][..], &size.to_be_bytes(), unit].concat();
                self.packet(Track::Audio, stamp, true, &payload);
            }
            Track::Video => {
                if unit.first().is_some_and(|head| head & 0x1f == 5) {
                    self.packet(Track::Video, stamp, false, source::SPS);
                    self.packet(Track::Video, stamp, false, source::PPS);
                }
                self.fragments(stamp, unit);
            }
        }
    }

    /// A NAL unit in pieces (RFC 6184, 5.8).
    fn fragments(&mut self, stamp: u32, unit: &[u8]) {
        let Some((head, rest)) = unit.split_first() else { return };
        let count = rest.len().div_ceil(PAYLOAD);
        for (index, piece) in rest.chunks(PAYLOAD).enumerate() {
            let (first, last) = (index == 0, index + 1 == count);
            let marks = u8::from(first) << 7 | u8::from(last) << 6;
            let payload = [&[head & 0x60 | 28, marks | head & 0x1f][..], piece].concat();
            self.packet(Track::Video, stamp, last, &payload);
        }
    }

    fn packet(&mut self, track: Track, stamp: u32, marker: bool, payload: &[u8]) {
        let index = track as usize;
        let sequence = self.sequence[index];
        self.sequence[index] = sequence.wrapping_add(1);
        self.out.extend([b'$', 2 * index as u8]);
        self.out.extend((12 + payload.len() as u16).to_be_bytes());
        self.out.extend([0x80, u8::from(marker) << 7 | (96 + index as u8)]);
        self.out.extend(sequence.to_be_bytes());
        self.out.extend(stamp.to_be_bytes());
        self.out.extend((index as u32 + 1).to_be_bytes());
        self.out.extend(payload);
    }

    /// A sender report (RFC 3550, 6.4.1): both tracks began at the same instant.
    fn report(&mut self, track: Track, begin: Instant) {
        let (index, since) = (track as usize, clock::now().saturating_duration_since(begin));
        // Any wall clock will do, as long as it is the same for both.
        let seconds = 3_900_000_000 + since.as_secs();
        let ntp = (seconds << 32) | ((u64::from(since.subsec_micros()) << 32) / 1_000_000);
        self.out.extend([b'$', 2 * index as u8 + 1, 0, 28, 0x80, 200, 0, 6]);
        self.out.extend((index as u32 + 1).to_be_bytes());
        self.out.extend(ntp.to_be_bytes());
        self.out.extend(stamp(track, since).to_be_bytes());
        self.out.extend([0; 8]);
    }
}

fn stamp(track: Track, since: Duration) -> u32 {
    let rate = match track {
        Track::Video => 90_000,
        Track::Audio => 48_000,
    };
    ((since.as_micros() * rate + 500_000) / 1_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyframe_goes_in_pieces_behind_its_parameter_sets() {
        let (mut wire, mut source) = (Wire::default(), Source::new(3.0));
        let mut unit = Vec::new();
        let frame = loop {
            unit.clear();
            let frame = source.next_bare(&mut unit);
            if frame.track == Track::Video {
                break frame;
            }
        };
        wire.frame(frame, &unit);
        let (mut rest, mut nal) = (&wire.out[..], Vec::new());
        let mut marked = 0;
        while let [b'$', 0, high, low, packet @ ..] = rest {
            let (packet, behind) = packet.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            marked += u32::from(packet[1] >> 7);
            if packet[12] & 0x1f == 28 {
                nal.extend_from_slice(&packet[14..]);
            }
            rest = behind;
        }
        assert_eq!((rest.len(), marked), (0, 1));
        assert_eq!(nal, unit[1..]);
    }
}
