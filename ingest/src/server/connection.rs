//! One connection's task: moves bytes between the socket and the session, and media to the stream's lease.

use std::pin::Pin;
use std::time::{Duration, Instant};

use aqueduct_common::event::{Anomaly, PublishEnd};
use aqueduct_common::{Event as Heard, StreamName, WallTime};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::clock;
use super::gate::{Denied, REFUSAL_DELAY, Slot};
use crate::keys::KeyRefusal;
use crate::limits::{ByteRate, Load};
use crate::rtmp::{Event, Message, Publish, RefusalCode, Session, SessionError, Wake};
use crate::stream::{Lease, Pace, PublishRequest, Refusal, Shed};

/// Room for one read before a publish is authorised (RTMP-5), and after.
const READ: (usize, usize) = (16 << 10, 64 << 10);
/// A buffer with less room than this is exchanged for a fresh one before the next read.
const LEAST_ROOM: usize = 4 << 10;
/// How long a write, or the registry, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a publisher that was asked to connect again has to do so.
const RECONNECT: Duration = Duration::from_secs(2);
/// Between two reports of a publisher's figures.
const TICK: Duration = Duration::from_secs(1);

/// See the module's documentation.
pub(super) struct Connection<S> {
    socket: S,
    session: Session,
    input: BytesMut,
    lease: Option<Held>,
    /// Reading goes on then (RTMP-69).
    resume_at: Option<Instant>,
    /// The server stops: the connection ends then.
    leave_at: Option<Instant>,
    rate: ByteRate,
    load: Load,
    /// Guesses at timestamps that were reported.
    guesses: u64,
    timer: Pin<Box<Sleep>>,
    /// A write failed. What the publisher sent before it left is still read: its goodbye may be among it.
    muted: bool,
    stop: CancellationToken,
    slot: Slot,
}

/// A lease and its clock.
struct Held {
    lease: Lease,
    next_tick: Instant,
    rtt: Option<Duration>,
    /// The stream that it is for.
    stream: StreamName,
}

/// The connection is over. Whatever lease is left ends with this reason.
struct Over(PublishEnd);

/// What a wait ended with.
enum Woken {
    Read(usize),
    Broken,
    Timer,
    Revoked,
    Stop,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(socket: S, slot: Slot, stop: CancellationToken, now: Instant) -> Self {
        Self {
            socket,
            session: Session::new(slot.gate.session_limits, slot.gate.seed(), now),
            input: BytesMut::new(),
            lease: None,
            resume_at: None,
            leave_at: None,
            rate: ByteRate::new(slot.gate.bits_per_second, now),
            load: Load::Fine,
            guesses: 0,
            timer: Box::pin(tokio::time::sleep_until(now.into())),
            muted: false,
            stop,
            slot,
        }
    }

    /// Serves the connection to its end.
    pub(super) async fn run(mut self) {
        let Over(reason) = loop {
            if let Err(over) = self.turn().await {
                break over;
            }
        };
        // Whoever leaves when asked to is not lost.
        let asked = self.leave_at.is_some() && reason == PublishEnd::Lost;
        self.end_lease(if asked { PublishEnd::Drained } else { reason });
        // A close without a goodbye may overtake what was written last.
        let _ = tokio::time::timeout(PATIENCE, self.socket.shutdown()).await;
    }

    async fn turn(&mut self) -> Result<(), Over> {
        let woken = self.wait().await;
        let (now, wall) = clock();
        match woken {
            Woken::Read(0) | Woken::Broken => return Err(Over(PublishEnd::Lost)),
            Woken::Read(count) => {
                self.measure(now, count);
                self.take_input(now, wall).await?;
                // A peer that never stops sending leaves the timer no turn.
                self.tick(now);
                self.time_out(now)?;
            }
            Woken::Timer => {
                self.tick(now);
                self.time_out(now)?;
                if self.resume_at.take_if(|at| *at <= now).is_some() {
                    self.take_input(now, wall).await?;
                }
            }
            Woken::Revoked => self.make_way(now)?,
            Woken::Stop => self.drain(now)?,
        }
        self.flush().await
    }

    async fn wait(&mut self) -> Woken {
        let reads = self.resume_at.is_none();
        if reads && self.input.capacity() - self.input.len() < LEAST_ROOM {
            self.input.reserve(if self.session.is_publishing() { READ.1 } else { READ.0 });
        }
        let wake = self.next_wake().into();
        if self.timer.deadline() != wake {
            self.timer.as_mut().reset(wake);
        }
        let drains = self.leave_at.is_none();
        let lease = self.lease.as_ref();
        let revoked = async {
            match lease {
                Some(held) => held.lease.revoked().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = revoked => Woken::Revoked,
            () = self.stop.cancelled(), if drains => Woken::Stop,
            read = self.socket.read_buf(&mut self.input), if reads => read.map_or(Woken::Broken, Woken::Read),
            () = &mut self.timer => Woken::Timer,
        }
    }

    fn next_wake(&self) -> Instant {
        let tick = self.lease.as_ref().map(|held| held.next_tick);
        let others = [tick, self.resume_at, self.leave_at];
        others.into_iter().flatten().fold(self.session.poll_timeout().0, Instant::min)
    }

    /// Takes what has come up to the end, or up to where the publisher has to be slowed down.
    async fn take_input(&mut self, now: Instant, wall: WallTime) -> Result<(), Over> {
        let mut now = now;
        while self.resume_at.is_none() {
            match self.session.handle_input(now, &mut self.input) {
                Ok(None) => break,
                Ok(Some(Event::Message(message))) => self.push(now, wall, &message),
                Ok(Some(Event::Publish(publish))) => {
                    self.authorise(publish).await?;
                    now = clock().0;
                }
                Ok(Some(Event::Unpublish)) => self.end_lease(PublishEnd::Clean),
                Ok(Some(Event::Rtt(rtt))) => {
                    if let Some(held) = &mut self.lease {
                        held.rtt = Some(rtt);
                    }
                }
                Ok(Some(Event::Refused(reason))) => self.slot.refused(reason),
                Err(error) => self.broke(now, &error),
            }
        }
        Ok(())
    }

    fn push(&mut self, now: Instant, wall: WallTime, message: &Message) {
        let Some(held) = &mut self.lease else { return };
        match held.lease.push(now, wall, message) {
            Ok(Pace::Go) => {}
            Ok(Pace::Wait(wait)) => {
                let until = now + wait;
                self.session.pause(until);
                self.resume_at = Some(until);
                let pause_micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
                self.slot.report(Heard::Throttled { protocol: self.slot.protocol, pause_micros });
            }
            Err(shed) => self.shed(now, label_of(shed), &shed.to_string()),
        }
    }

    async fn authorise(&mut self, publish: Publish) -> Result<(), Over> {
        let gate = self.slot.gate.clone();
        let peer = self.slot.peer;
        let checked = gate.check(clock().0, peer.ip(), &publish.credentials);
        let (stream, source) =
            match checked.and_then(|stream| Ok((stream, gate.source(&publish.credentials)?))) {
                Ok(found) => found,
                Err(denied) => {
                    let name = gate.fingerprint(&publish.credentials);
                    tracing::info!(%peer, name, reason = denied.label(), "publish refused");
                    tokio::time::sleep(REFUSAL_DELAY).await;
                    self.refuse(code_of(&denied), denied.label(), &denied.to_string());
                    return Ok(());
                }
            };
        let (protocol, encoder) = (self.slot.protocol, publish.encoder);
        let request = PublishRequest { stream: stream.clone(), protocol, encoder, source };
        match tokio::time::timeout(PATIENCE, gate.streams.publish(request)).await {
            Ok(Ok(lease)) => self.accept(lease, stream),
            Ok(Err(refusal)) => return self.turn_away(refusal, &stream),
            Err(_) => {
                let text = "The stream could not be opened in time. Try again.";
                self.refuse(RefusalCode::Failed, "timeout_registry", text);
            }
        }
        Ok(())
    }

    /// The registry does not let the publisher in.
    fn turn_away(&mut self, refusal: Refusal, stream: &StreamName) -> Result<(), Over> {
        let (reason, text) = match refusal {
            Refusal::Busy => ("busy", "Somebody else is publishing this stream now."),
            Refusal::UnknownSource => {
                ("bad_source", "This stream has no such source: see sources in its [[stream]] section.")
            }
            // A plain close makes the encoder try again, which is right for a server that restarts.
            Refusal::Draining => {
                self.slot.refused("draining");
                return Err(Over(PublishEnd::Drained));
            }
        };
        tracing::info!(peer = %self.slot.peer, %stream, reason, "publish refused");
        self.refuse(RefusalCode::BadName, reason, text);
        Ok(())
    }

    fn accept(&mut self, lease: Lease, stream: StreamName) {
        let (now, _) = clock();
        match self.session.accept(now) {
            Ok(()) => self.lease = Some(Held { lease, next_tick: now + TICK, rtt: None, stream }),
            Err(error) => {
                lease.end(PublishEnd::Shed);
                self.broke(now, &error);
            }
        }
    }

    fn refuse(&mut self, code: RefusalCode, reason: &'static str, text: &str) {
        self.slot.refused(reason);
        self.session.refuse(clock().0, code, text);
    }

    /// The publisher broke the protocol or a limit.
    fn broke(&mut self, now: Instant, error: &SessionError) {
        tracing::info!(peer = %self.slot.peer, %error, "connection broken off");
        self.shed(now, error.label(), &error.to_string());
    }

    /// Ends the publish, if there is one, and tells the publisher why.
    fn shed(&mut self, now: Instant, reason: &'static str, text: &str) {
        match self.lease {
            Some(_) => self.slot.report(Heard::Shed { protocol: self.slot.protocol, reason }),
            None => self.slot.refused(reason),
        }
        self.end_lease(PublishEnd::Shed);
        self.session.refuse(now, RefusalCode::Rejected, text);
    }

    fn measure(&mut self, now: Instant, count: usize) {
        if self.lease.is_none() {
            return;
        }
        let megabits = self.slot.gate.bits_per_second / 1_000_000;
        match (self.rate.add(now, count), self.load) {
            (Load::Over, _) => {
                let text = format!("More than {megabits} Mbit/s over 15 s: lower the bitrate.");
                self.shed(now, "limit_bitrate", &text);
            }
            (Load::High, Load::Fine) => {
                tracing::warn!(peer = %self.slot.peer, megabits, "a publisher is above its bitrate limit");
                self.load = Load::High;
            }
            (load, _) => self.load = load,
        }
    }

    fn tick(&mut self, now: Instant) {
        if let Some(held) = &mut self.lease
            && held.next_tick <= now
        {
            held.lease.tick(now, held.rtt);
            held.next_tick += TICK;
            // A task that was held up does not make up for it.
            held.next_tick = held.next_tick.max(now);
            self.report_guesses();
        }
    }

    fn time_out(&mut self, now: Instant) -> Result<(), Over> {
        if self.leave_at.is_some_and(|at| at <= now) {
            return Err(Over(PublishEnd::Drained));
        }
        match self.session.handle_timeout(now) {
            None | Some(Wake::Ping) => Ok(()),
            Some(Wake::Close) => Err(Over(PublishEnd::Shed)),
            Some(wake @ Wake::Media) => {
                self.shed(now, wake.label(), "No audio or video came after publishing began.");
                Ok(())
            }
            Some(wake) => {
                if self.lease.is_none() {
                    self.slot.refused(wake.label());
                }
                Err(Over(PublishEnd::Silent))
            }
        }
    }

    /// Another publisher takes over, or the registry closes. It waits for the lease, so that ends first.
    fn make_way(&mut self, now: Instant) -> Result<(), Over> {
        if self.stop.is_cancelled() {
            return Err(Over(PublishEnd::Drained));
        }
        // The registry knows which of the two it is.
        self.end_lease(PublishEnd::Lost);
        let text = "Another publisher with a valid key has taken this stream over.";
        self.session.refuse(now, RefusalCode::BadName, text);
        Ok(())
    }

    fn drain(&mut self, now: Instant) -> Result<(), Over> {
        if self.session.ask_to_reconnect("The server is restarting.") {
            self.leave_at = Some(now + RECONNECT);
            return Ok(());
        }
        Err(Over(PublishEnd::Drained))
    }

    /// Timestamps that the chunk reader had to guess (RTMP-10).
    fn report_guesses(&mut self) {
        let Some(held) = &self.lease else { return };
        let guesses = self.session.timestamp_guesses();
        let count = u32::try_from(guesses - self.guesses).unwrap_or(u32::MAX);
        self.guesses = guesses;
        if count > 0 {
            let stream = held.stream.clone();
            self.slot.report(Heard::Anomaly { stream, kind: Anomaly::DeltaGuess, count });
        }
    }

    fn end_lease(&mut self, reason: PublishEnd) {
        self.report_guesses();
        if let Some(held) = self.lease.take() {
            held.lease.end(reason);
        }
    }

    async fn flush(&mut self) -> Result<(), Over> {
        let output = self.session.take_output();
        if output.is_empty() || self.muted {
            return Ok(());
        }
        let write = async {
            self.socket.write_all(&output).await?;
            self.socket.flush().await
        };
        match tokio::time::timeout(PATIENCE, write).await {
            Ok(written) => {
                self.muted = written.is_err();
                Ok(())
            }
            Err(_) => Err(Over(PublishEnd::Lost)),
        }
    }
}

fn code_of(denied: &Denied) -> RefusalCode {
    match denied {
        Denied::Key(KeyRefusal::Missing | KeyRefusal::Wrong) | Denied::Backoff => RefusalCode::Denied,
        Denied::Key(KeyRefusal::NamesNoStream | KeyRefusal::Name(_)) | Denied::Source => RefusalCode::BadName,
    }
}

const fn label_of(shed: Shed) -> &'static str {
    match shed {
        Shed::NoUsableTrack => "no_track",
        Shed::Downstream => "downstream",
    }
}

#[cfg(test)]
mod tests;
