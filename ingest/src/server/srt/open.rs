//! One caller that was let in: its packets, its media, its figures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_common::event::SrtTick;
use aqueduct_common::{Event, StreamName};
use bytes::Bytes;
use srt_protocol::connection::DuplexConnection;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::clock;
use super::peer::{Admitted, Peer};
use super::shake::is_handshake;
use super::watch::Watch;
use crate::limits::{ByteRate, Load};
use crate::pull::{Drive, Ended, Link, Retry, Wanted};
use crate::stream::{Lease, PublishRequest};

/// Between two reports of a connection's figures.
const TICK: Duration = Duration::from_secs(1);
/// How long a connection that closes may take to say so.
const CLOSE: Duration = Duration::from_secs(1);

/// A connection that carries media.
pub(super) struct Open {
    connection: DuplexConnection,
    /// The handshake's last answer, for a caller that has not heard it.
    answer: Bytes,
    watch: Watch,
    link: Arc<Link>,
    stream: StreamName,
    request: PublishRequest,
    /// Takes the source apart and into its stream.
    taking: Option<Taking>,
    retry: Retry,
    /// A worker that was lost is followed by another then.
    reopen_at: Option<Instant>,
    next_tick: Instant,
    /// Bytes that the worker had no room for, in packets.
    unfit: u64,
    dropped: u64,
    rate: ByteRate,
    over: bool,
}

struct Taking {
    bytes: Option<mpsc::Sender<Bytes>>,
    task: JoinHandle<Ended>,
    since: Instant,
}

impl Open {
    pub(super) fn new(
        peer: &Peer,
        connection: DuplexConnection,
        answer: Bytes,
        admitted: Admitted,
        rtt: Duration,
    ) -> Self {
        let (now, link) = (clock().0, Arc::new(Link::default()));
        link.set_rtt(rtt);
        let request = PublishRequest {
            stream: admitted.stream.clone(),
            protocol: peer.slot.protocol,
            encoder: "SRT".into(),
            source: admitted.source,
        };
        let mut open = Self {
            connection,
            answer,
            watch: Watch::default(),
            link,
            stream: admitted.stream,
            request,
            taking: None,
            retry: Retry::new(),
            reopen_at: None,
            next_tick: now + TICK,
            unfit: 0,
            dropped: 0,
            rate: ByteRate::new(peer.slot.gate.bits_per_second, now),
            over: false,
        };
        open.take(peer, Some(admitted.lease), now);
        open
    }

    /// Begins to take the source.
    fn take(&mut self, peer: &Peer, lease: Option<Lease>, now: Instant) {
        match peer.opener.open(Wanted::Transport(&self.stream)) {
            Ok(opened) => {
                let drive = Drive {
                    streams: peer.slot.gate.streams.clone(),
                    request: self.request.clone(),
                    first: Some(peer.rules.first_media),
                    stall: peer.rules.silence,
                    link: Some(self.link.clone()),
                    events: peer.slot.gate.events.clone(),
                };
                let stop = peer.stop.clone();
                let task = tokio::spawn(async move { drive.run(opened.items, lease, &stop).await });
                self.taking = Some(Taking { bytes: opened.bytes, task, since: now });
            }
            Err(error) => {
                tracing::warn!(stream = %self.stream, %error, "no worker could be started");
                self.reopen_at = Some(now + self.retry.after(Duration::ZERO));
            }
        }
    }

    /// Carries packets until either side is over.
    pub(super) async fn carry(&mut self, peer: &mut Peer) {
        while self.connection.is_open() && !self.over {
            let now = clock().0;
            self.tick(peer, now);
            self.flush(peer, now).await;
            let wake = self.connection.check_timers(now).min(self.next_tick);
            let wake = self.reopen_at.map_or(wake, |at| wake.min(at));
            tokio::select! {
                () = peer.stop.cancelled() => return,
                packet = peer.packets.recv() => {
                    let Some(packet) = packet else { return };
                    self.came(peer, &packet).await;
                    // What waits is taken at once: media is many small packets.
                    for _ in 0..64 {
                        let Ok(packet) = peer.packets.try_recv() else { break };
                        self.came(peer, &packet).await;
                    }
                }
                ended = ended(&mut self.taking) => {
                    if !self.over(ended) {
                        return;
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    async fn came(&mut self, peer: &Peer, bytes: &Bytes) {
        let now = clock().0;
        if self.rate.add(now, bytes.len()) == Load::Over && !std::mem::replace(&mut self.over, true) {
            tracing::info!(peer = %peer.remote, "an SRT publisher is above ingest.limits.megabits_per_second");
            peer.slot.report(Event::Shed { protocol: peer.slot.protocol, reason: "limit_bitrate" });
        }
        if is_handshake(bytes) {
            // The caller has not heard that it is let in.
            let _ = peer.socket.send_to(&self.answer, peer.remote).await;
            return;
        }
        self.watch.came(bytes, now);
        if let Some(packet) = peer.parse(bytes) {
            self.connection.handle_packet_input(now, Ok((packet, peer.remote)));
        }
    }

    /// Sends what is to be sent, and hands on what is due.
    async fn flush(&mut self, peer: &Peer, now: Instant) {
        while let Some((packet, _)) = self.connection.next_packet(now) {
            let bytes = peer.send(&packet).await;
            self.watch.goes(&bytes, now);
        }
        if let Some(rtt) = self.watch.rtt() {
            self.link.set_rtt(rtt);
        }
        while let Some((_, data)) = self.connection.next_data(now) {
            let sender = self.taking.as_ref().and_then(|taking| taking.bytes.as_ref());
            // Nothing waits here: a worker that is slow loses its source's bytes, and not the port's time.
            let fits = sender.is_some_and(|sender| sender.try_send(data).is_ok());
            self.unfit += u64::from(!fits);
        }
    }

    fn tick(&mut self, peer: &Peer, now: Instant) {
        if self.reopen_at.take_if(|at| *at <= now).is_some() {
            self.take(peer, None, now);
        }
        if self.next_tick > now {
            return;
        }
        self.next_tick = (self.next_tick + TICK).max(now);
        let passed = self.watch.take();
        let dropped = self.connection.statistics().rx_dropped_data;
        let tick = SrtTick {
            rtt_micros: self.link.rtt().map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
            packets: passed.packets,
            lost: passed.lost,
            retransmitted: passed.again,
            dropped: dropped.saturating_sub(self.dropped),
            unfit: std::mem::take(&mut self.unfit),
        };
        self.dropped = dropped;
        peer.slot.report(Event::Srt { stream: self.stream.clone(), tick });
    }

    /// Nothing takes the source any more. Returns whether it is to be taken again.
    fn over(&mut self, ended: Ended) -> bool {
        let Some(taking) = self.taking.take() else { return false };
        let now = clock().0;
        match ended {
            Ended::Source(why) => {
                let lived = now.saturating_duration_since(taking.since);
                let wait = self.retry.after(lived);
                tracing::warn!(stream = %self.stream, why, retry = ?wait, "SRT publisher's media lost");
                self.reopen_at = Some(now + wait);
                true
            }
            Ended::Busy | Ended::Revoked | Ended::Stop => false,
        }
    }

    /// Tells the caller that it is over, and lets the worker give what it still has.
    pub(super) async fn close(mut self, peer: &Peer) {
        let now = clock().0;
        self.connection.handle_data_input(now, None);
        self.connection.check_timers(now);
        self.flush(peer, now).await;
        if let Some(mut taking) = self.taking.take() {
            taking.bytes = None;
            if tokio::time::timeout(CLOSE, &mut taking.task).await.is_err() {
                taking.task.abort();
            }
        }
    }
}

/// What became of who takes the source; never anything without one.
async fn ended(taking: &mut Option<Taking>) -> Ended {
    match taking {
        None => std::future::pending().await,
        Some(taking) => match (&mut taking.task).await {
            Ok(ended) => ended,
            Err(error) => Ended::Source(format!("a task failed: {error}")),
        },
    }
}
