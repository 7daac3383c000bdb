//! Publishers that push over RTSP: the sockets around a [`Session`].

pub mod session;
pub mod transport;
mod udp;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use aqueduct_common::event::PublishEnd;
use aqueduct_common::{Event as Heard, SourceName, StreamName, WallTime};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::assembly::Assembly;
use super::pull::session::{deliver, tick};
use super::reorder::Packet;
use crate::keys::{Credentials, KeyRefusal};
use crate::limits::{ByteRate, Load};
use crate::server::clock;
use crate::server::gate::{Denied, REFUSAL_DELAY, Slot};
use crate::stream::{Lease, PublishRequest, Refusal};
use session::{BEFORE_RECORD, Event, Refuse, Session};
use udp::{Datagram, Pair};

/// Room for one read.
const READ: usize = 64 << 10;
/// Packets that may wait for the connection's task; beyond, they are lost.
const DATAGRAMS: usize = 1_024;
/// Pairs of ports of one connection: each track's, and once more.
const PAIRS_MAX: usize = 16;
/// Packets that are taken before the connection is looked at again.
const DATAGRAMS_AT_ONCE: usize = 64;
/// How long a write, or the registry, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Media over UDP that does not come for so long is lost (RTSP-22).
const UDP_SILENCE: Duration = Duration::from_secs(10);
/// Media of which nothing can be played for so long ends the session (RTMP-60).
const USABLE: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_secs(1);

/// One connection's task.
pub(crate) struct Connection {
    socket: TcpStream,
    session: Session,
    input: BytesMut,
    /// Where it may publish, once its key was found good.
    stream: Option<StreamName>,
    /// Which of the stream's sources it says it is.
    source: Option<SourceName>,
    publishing: Option<Publishing>,
    datagrams: mpsc::Receiver<Datagram>,
    sender: mpsc::Sender<Datagram>,
    /// Ends the receivers.
    receivers: CancellationToken,
    _receivers: DropGuard,
    /// Pairs of ports that were opened.
    pairs: usize,
    own: IpAddr,
    rate: ByteRate,
    load: Load,
    begun: Instant,
    /// The last byte that came over the connection, or packet that came beside it.
    heard: Instant,
    stop: CancellationToken,
    slot: Slot,
}

/// A publish that is going on.
struct Publishing {
    lease: Lease,
    assembly: Assembly,
    udp: bool,
    begun: Instant,
    /// The last frame that was taken.
    frame: Option<Instant>,
    next_tick: Instant,
}

/// The connection is over. Whatever lease is left ends with this reason.
struct Over(PublishEnd);

enum Woken {
    Read(usize),
    Broken,
    Datagram(Datagram),
    Timer,
    Revoked,
    Stop,
}

impl Connection {
    pub(crate) fn new(
        socket: TcpStream,
        slot: Slot,
        stop: CancellationToken,
        id: String,
        now: Instant,
    ) -> Self {
        let (sender, datagrams) = mpsc::channel(DATAGRAMS);
        let receivers = CancellationToken::new();
        let own = socket.local_addr().map_or(IpAddr::from([0, 0, 0, 0]), |address| address.ip());
        Self {
            socket,
            session: Session::new(id, slot.gate.session_limits.commands, now),
            input: BytesMut::new(),
            stream: None,
            source: None,
            publishing: None,
            datagrams,
            sender,
            _receivers: receivers.clone().drop_guard(),
            receivers,
            pairs: 0,
            own,
            rate: ByteRate::new(slot.gate.bits_per_second, now),
            load: Load::Fine,
            begun: now,
            heard: now,
            stop,
            slot,
        }
    }

    /// Serves the connection to its end.
    pub(crate) async fn run(mut self) {
        let Over(reason) = loop {
            if let Err(over) = self.turn().await {
                break over;
            }
        };
        self.end(reason);
        // A close without a goodbye may overtake what was written last.
        let _ = tokio::time::timeout(PATIENCE, self.socket.shutdown()).await;
    }

    async fn turn(&mut self) -> Result<(), Over> {
        let woken = self.wait().await;
        let (now, wall) = clock();
        match woken {
            Woken::Read(0) | Woken::Broken => return Err(Over(PublishEnd::Lost)),
            Woken::Read(count) => {
                self.heard = now;
                self.measure(now, count)?;
                self.take_input(now, wall).await?;
            }
            Woken::Datagram(datagram) => {
                self.heard = now;
                self.take_datagrams(datagram, now, wall)?;
            }
            Woken::Timer => {}
            Woken::Revoked => return Err(Over(PublishEnd::Lost)),
            Woken::Stop => return Err(Over(PublishEnd::Drained)),
        }
        self.deliver(now).await?;
        self.flush().await?;
        if self.session.is_closing() {
            return Err(Over(PublishEnd::Clean));
        }
        self.time_out(now)
    }

    async fn wait(&mut self) -> Woken {
        self.input.reserve(READ / 4);
        let wake = self.wake();
        let revoked = async {
            match &self.publishing {
                Some(publishing) => publishing.lease.revoked().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = revoked => Woken::Revoked,
            () = self.stop.cancelled() => Woken::Stop,
            () = tokio::time::sleep_until(wake.into()) => Woken::Timer,
            Some(datagram) = self.datagrams.recv() => Woken::Datagram(datagram),
            read = self.socket.read_buf(&mut self.input) => read.map_or(Woken::Broken, Woken::Read),
        }
    }

    fn wake(&self) -> Instant {
        let Some(publishing) = &self.publishing else {
            // A pause may last as long as the session was told to.
            return self.heard.max(self.begun) + BEFORE_RECORD;
        };
        let due = publishing.assembly.poll_timeout();
        due.map_or(publishing.next_tick, |due| due.min(publishing.next_tick))
    }

    fn time_out(&mut self, now: Instant) -> Result<(), Over> {
        let ago = |at: Instant| now.saturating_duration_since(at);
        let Some(publishing) = &mut self.publishing else {
            if ago(self.heard.max(self.begun)) >= BEFORE_RECORD {
                self.slot.refused("timeout_publish");
                return Err(Over(PublishEnd::Silent));
            }
            return Ok(());
        };
        if publishing.next_tick <= now {
            publishing.next_tick = now + TICK;
            tick(&mut publishing.assembly, &mut publishing.lease, now);
        }
        let silence = if publishing.udp { UDP_SILENCE } else { self.slot.gate.session_limits.idle };
        if ago(self.heard) >= silence {
            return Err(Over(PublishEnd::Silent));
        }
        if ago(publishing.frame.unwrap_or(publishing.begun)) >= USABLE {
            tracing::info!(peer = %self.slot.peer, "nothing that can be played came for 15 s");
            self.slot.report(Heard::Shed { protocol: self.slot.protocol, reason: "no_track" });
            return Err(Over(PublishEnd::Shed));
        }
        Ok(())
    }

    /// Takes what has come, up to the end or up to where something has to be waited for.
    async fn take_input(&mut self, now: Instant, wall: WallTime) -> Result<(), Over> {
        loop {
            match self.session.handle_input(now, &mut self.input) {
                Ok(None) => return Ok(()),
                Ok(Some(Event::Packet { medium, control, data })) => {
                    self.packet(Datagram { medium, control, data }, now, wall);
                    self.deliver(now).await?;
                }
                Ok(Some(Event::Announce(credentials))) => self.announce(&credentials).await,
                Ok(Some(Event::Open { medium, .. })) => self.open(medium).await,
                Ok(Some(Event::Record)) => self.record().await?,
                Ok(Some(Event::Pause | Event::Teardown)) => self.end(PublishEnd::Clean),
                Err(error) => {
                    tracing::info!(peer = %self.slot.peer, %error, "connection broken off");
                    return Err(self.shed(error.label()));
                }
            }
        }
    }

    fn take_datagrams(&mut self, first: Datagram, now: Instant, wall: WallTime) -> Result<(), Over> {
        let mut bytes = 0;
        let mut next = Some(first);
        for _ in 0..DATAGRAMS_AT_ONCE {
            let Some(datagram) = next.take().or_else(|| self.datagrams.try_recv().ok()) else { break };
            bytes += datagram.data.len();
            self.packet(datagram, now, wall);
        }
        self.measure(now, bytes)
    }

    fn packet(&mut self, datagram: Datagram, now: Instant, wall: WallTime) {
        let Some(publishing) = &mut self.publishing else { return };
        let Datagram { medium, control, data } = datagram;
        if control {
            publishing.assembly.rtcp(medium, &data, now);
        } else if let Some(packet) = Packet::parse(&data, now, wall) {
            publishing.assembly.rtp(medium, packet);
        }
    }

    async fn deliver(&mut self, now: Instant) -> Result<(), Over> {
        let Some(publishing) = &mut self.publishing else { return Ok(()) };
        publishing.assembly.handle_timeout(now);
        let given = deliver(&mut publishing.assembly, &mut publishing.lease, &mut publishing.frame).await;
        given.map_err(|_| self.shed("downstream"))
    }

    async fn announce(&mut self, credentials: &Credentials) {
        let gate = self.slot.gate.clone();
        let peer = self.slot.peer;
        self.stream = None;
        match gate.check(clock().0, peer.ip(), credentials) {
            Ok(stream) => match Assembly::new(self.session.announced(), gate.streams.transcodes(), false) {
                Ok(_) => match gate.source(credentials) {
                    Ok(source) => {
                        (self.stream, self.source) = (Some(stream), source);
                        self.session.accept();
                    }
                    Err(denied) => self.refuse(Refuse::Denied, denied.label(), &denied.to_string()),
                },
                Err(error) => {
                    let text = format!("{error}: send H.264 or H.265 and AAC, G.711 or Opus");
                    self.refuse(Refuse::Codecs, "no_track", &text);
                }
            },
            Err(Denied::Key(KeyRefusal::Missing)) => {
                // Encoders that have a password show it once they are asked.
                self.refuse(
                    Refuse::Key,
                    "bad_key",
                    "This server needs a key: it is the password, or ?key=SECRET",
                );
            }
            Err(denied) => {
                let name = gate.fingerprint(credentials);
                tracing::info!(%peer, name, reason = denied.label(), "publish refused");
                tokio::time::sleep(REFUSAL_DELAY).await;
                let text = match &denied {
                    Denied::Key(KeyRefusal::Wrong) => "The key is wrong for this stream".to_owned(),
                    Denied::Key(KeyRefusal::NamesNoStream) => {
                        "The key is right but names no stream: use rtsp://HOST/APP/NAME?key=SECRET".to_owned()
                    }
                    other => other.to_string(),
                };
                self.refuse(Refuse::Denied, denied.label(), &text);
            }
        }
    }

    fn refuse(&mut self, why: Refuse, label: &'static str, text: &str) {
        self.slot.refused(label);
        self.session.refuse(why, text);
    }

    async fn open(&mut self, medium: usize) {
        self.pairs += 1;
        if self.pairs > PAIRS_MAX {
            return self.refuse(Refuse::Unavailable, "udp_ports", "Too many SETUPs over UDP");
        }
        match Pair::bind(self.own).await {
            Ok(pair) => {
                let ports = pair.ports;
                pair.receive(medium, self.slot.peer.ip(), &self.sender, &self.receivers);
                self.session.opened(ports);
            }
            Err(error) => {
                tracing::warn!(%error, "no UDP ports for a publisher");
                self.refuse(Refuse::Unavailable, "udp_ports", "No UDP ports are free: use TCP");
            }
        }
    }

    async fn record(&mut self) -> Result<(), Over> {
        let gate = self.slot.gate.clone();
        let (media, udp) = self.session.media();
        let assembly = Assembly::new(&media, gate.streams.transcodes(), udp);
        let (Some(stream), Ok(assembly)) = (self.stream.clone(), assembly) else {
            self.refuse(Refuse::Codecs, "no_track", "None of the tracks that were set up can be taken");
            return Ok(());
        };
        let request = PublishRequest {
            stream,
            protocol: self.slot.protocol,
            encoder: self.session.agent().to_owned(),
            source: self.source.clone(),
        };
        match tokio::time::timeout(PATIENCE, gate.streams.publish(request)).await {
            Ok(Ok(lease)) => {
                let now = clock().0;
                self.session.accept();
                self.heard = now;
                let next_tick = now + TICK;
                self.publishing =
                    Some(Publishing { lease, assembly, udp, begun: now, frame: None, next_tick });
            }
            Ok(Err(Refusal::Busy)) => {
                self.refuse(Refuse::Busy, "busy", "Somebody else is publishing this stream now");
            }
            Ok(Err(refusal @ Refusal::UnknownSource)) => {
                self.refuse(Refuse::Denied, "bad_source", &refusal.to_string());
            }
            // A plain close makes the encoder try again, which is right for a server that restarts.
            Ok(Err(Refusal::Draining)) => {
                self.slot.refused("draining");
                return Err(Over(PublishEnd::Drained));
            }
            Err(_) => {
                self.refuse(
                    Refuse::Unavailable,
                    "timeout_registry",
                    "The stream could not be opened in time",
                );
            }
        }
        Ok(())
    }

    fn measure(&mut self, now: Instant, count: usize) -> Result<(), Over> {
        if self.publishing.is_none() {
            return Ok(());
        }
        let megabits = self.slot.gate.bits_per_second / 1_000_000;
        match (self.rate.add(now, count), self.load) {
            (Load::Over, _) => {
                tracing::info!(peer = %self.slot.peer, megabits, "a publisher is above its bitrate limit for 15 s");
                return Err(self.shed("limit_bitrate"));
            }
            (Load::High, Load::Fine) => {
                tracing::warn!(peer = %self.slot.peer, megabits, "a publisher is above its bitrate limit");
                self.load = Load::High;
            }
            (load, _) => self.load = load,
        }
        Ok(())
    }

    fn shed(&self, reason: &'static str) -> Over {
        match self.publishing {
            Some(_) => self.slot.report(Heard::Shed { protocol: self.slot.protocol, reason }),
            None => self.slot.refused(reason),
        }
        Over(PublishEnd::Shed)
    }

    fn end(&mut self, reason: PublishEnd) {
        if let Some(publishing) = self.publishing.take() {
            publishing.lease.end(reason);
        }
    }

    async fn flush(&mut self) -> Result<(), Over> {
        let output = self.session.take_output();
        if output.is_empty() {
            return Ok(());
        }
        match tokio::time::timeout(PATIENCE, self.socket.write_all(&output)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over(PublishEnd::Lost)),
        }
    }
}
