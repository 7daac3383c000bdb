//! One session with a source, from the connection to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_common::event::PublishEnd;
use aqueduct_common::{TrackKind, WallTime};
use futures_util::StreamExt;
use retina::client::{
    Credentials, Described, InitialTimestampPolicy, PacketItem, PlayOptions, Playing, Session,
    SessionIdPolicy, SessionOptions, SetupOptions, TcpTransportOptions, Transport as Carriage,
    UdpTransportOptions, UnknownRtcpSsrcPolicy,
};
use url::Url;

use super::super::assembly::{Assembly, NothingUsable};
use super::super::reorder::Packet;
use super::super::sdp;
use super::config::{PullPlan, Transport};
use super::fault::Fault;
use super::guard::Guard;
use crate::demux::Demuxed;
use crate::server::clock;
use crate::stream::{Lease, Pace};

/// How long an answer may take (RTSP-14).
const ANSWER: Duration = Duration::from_secs(10);
/// How long the first packet may take after PLAY.
const FIRST_PACKET: Duration = Duration::from_secs(10);
/// How long no packet may come then.
const IDLE: Duration = Duration::from_secs(5);
/// How long packets may come of which nothing can be played.
const USABLE: Duration = Duration::from_secs(15);
/// Between two reports of figures.
const TICK: Duration = Duration::from_secs(1);
/// What we call ourselves.
const AGENT: &str = concat!("Aqueduct/", env!("CARGO_PKG_VERSION"));

/// A source that plays, and what is taken of it.
pub(super) struct Source {
    session: Pin<Box<Session<Playing>>>,
    /// Position in the session description of each stream of the session.
    media: Vec<usize>,
    assembly: Assembly,
    guard: Guard,
}

/// Opens a session and begins to play (RTSP-9).
pub(super) async fn open(
    plan: &PullPlan,
    tls: Option<&Arc<rustls::ClientConfig>>,
    transcodes: bool,
) -> Result<Source, Fault> {
    let carriages: &[bool] = match plan.transport {
        Transport::Tcp => &[false],
        Transport::Udp => &[true],
        Transport::Auto => &[false, true],
    };
    let mut fault = Fault::NoAnswer;
    for udp in carriages {
        match attempt(plan, tls, transcodes, *udp).await {
            // A session may be spent after a refused SETUP: the next try begins anew (RTSP-11).
            Err(refused @ Fault::Status(461 | 400 | 406)) => fault = refused,
            other => return other,
        }
    }
    Err(fault)
}

async fn attempt(
    plan: &PullPlan,
    tls: Option<&Arc<rustls::ClientConfig>>,
    transcodes: bool,
    udp: bool,
) -> Result<Source, Fault> {
    let guard = Guard::open(plan, tls).await?;
    let opened = tokio::time::timeout(2 * ANSWER, negotiate(plan, &guard, transcodes, udp)).await;
    match opened.unwrap_or(Err(Fault::NoAnswer)) {
        Ok((session, media, assembly)) => Ok(Source { session, media, assembly, guard }),
        // Where the source was cut off, the client only saw that the connection ended.
        Err(fault) => Err(guard.fault().unwrap_or(fault)),
    }
}

type Opened = (Pin<Box<Session<Playing>>>, Vec<usize>, Assembly);

async fn negotiate(plan: &PullPlan, guard: &Guard, transcodes: bool, udp: bool) -> Result<Opened, Fault> {
    let url = format!("rtsp://{}{}", guard.address, plan.path.expose());
    let url = Url::parse(&url).map_err(|_| Fault::Nonsense)?;
    let credentials = (!plan.user.is_empty())
        .then(|| Credentials { username: plan.user.clone(), password: plan.password.expose().clone() });
    let options = SessionOptions::default()
        .creds(credentials)
        .user_agent(AGENT.to_owned())
        .session_id(SessionIdPolicy::UseFirst);
    let mut session = answer(Session::describe(url, options)).await?;
    let (streams, media, assembly) = choose(&session, transcodes, udp)?;
    for stream in streams {
        let carriage = match udp {
            true => Carriage::Udp(UdpTransportOptions::default()),
            false => Carriage::Tcp(TcpTransportOptions::default()),
        };
        answer(session.setup(stream, SetupOptions::default().transport(carriage))).await?;
    }
    // The clocks of both tracks are told by sender reports: what the answer says of them is often wrong (RTSP-4).
    let play = PlayOptions::default()
        .initial_timestamp(InitialTimestampPolicy::Ignore)
        .unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::Default);
    let session = answer(session.play(play)).await?;
    Ok((Box::pin(session), media, assembly))
}

/// Which of the session's streams to set up, and where each of its streams stands in the session description.
fn choose(
    session: &Session<Described>,
    transcodes: bool,
    udp: bool,
) -> Result<(Vec<usize>, Vec<usize>, Assembly), Fault> {
    let media = sdp::parse(session.sdp()).map_err(|error| match error {
        sdp::SdpError::NoMedia => Fault::Nothing(NothingUsable(Vec::new())),
        _ => Fault::Nonsense,
    })?;
    // The client leaves out media that it cannot read, so that positions differ.
    let mut from = 0;
    let places: Vec<_> = session
        .streams()
        .iter()
        .map(|stream| {
            let same = |medium: &Option<sdp::Medium>| {
                medium.as_ref().is_some_and(|medium| medium.payload_type == stream.rtp_payload_type())
            };
            let at = media.iter().skip(from).position(same).map_or(usize::MAX, |at| from + at);
            from = if at == usize::MAX { from } else { at + 1 };
            at
        })
        .collect();
    let mut known = media.clone();
    for (index, medium) in known.iter_mut().enumerate() {
        if !places.contains(&index) {
            *medium = None;
        }
    }
    let assembly = Assembly::new(&known, transcodes, udp).map_err(Fault::Nothing)?;
    let taken: Vec<_> = assembly.media().collect();
    let streams = places.iter().enumerate().filter(|(_, at)| taken.contains(at)).map(|(stream, _)| stream);
    Ok((streams.collect(), places, assembly))
}

async fn answer<T>(request: impl Future<Output = Result<T, retina::Error>>) -> Result<T, Fault> {
    match tokio::time::timeout(ANSWER, request).await {
        Err(_) => Err(Fault::NoAnswer),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            // Its text may show what the source sent, which is nobody's business at the usual level.
            tracing::debug!(%error, "a source's answer");
            Err(error.status_code().map_or(Fault::Nonsense, |status| match status {
                // The client reports what it does not understand under the status that it came with.
                200..=299 => Fault::Nonsense,
                status => Fault::Status(status),
            }))
        }
    }
}

/// What came of waiting.
enum Woken {
    Item(Option<Result<PacketItem, retina::Error>>),
    Timer,
    Revoked,
}

impl Source {
    /// Plays until the source fails or the lease is taken away: why, or `None` where it is not the source's fault. `good`
    /// hears of each second with media.
    pub(super) async fn play(mut self, lease: &mut Lease, mut good: impl FnMut(Instant)) -> Option<Fault> {
        let begun = clock().0;
        let mut state = State { begun, packet: None, frame: None, next_tick: begun + TICK };
        loop {
            let wake = state.wake(&self.assembly);
            let woken = tokio::select! {
                biased;
                () = lease.revoked() => Woken::Revoked,
                () = tokio::time::sleep_until(wake.into()) => Woken::Timer,
                item = self.session.next() => Woken::Item(item),
            };
            let (now, wall) = clock();
            match woken {
                Woken::Revoked => break None,
                Woken::Timer => self.assembly.handle_timeout(now),
                Woken::Item(Some(Ok(item))) => {
                    state.packet = Some(now);
                    self.take(item, now, wall);
                }
                Woken::Item(Some(Err(error))) => {
                    tracing::debug!(%error, "a source failed");
                    break Some(self.guard.fault().unwrap_or(Fault::Closed));
                }
                Woken::Item(None) => break Some(self.guard.fault().unwrap_or(Fault::Closed)),
            }
            match deliver(&mut self.assembly, lease, &mut state.frame).await {
                Ok(()) => {}
                Err(fault) => break fault,
            }
            if state.next_tick <= now {
                state.next_tick = now + TICK;
                tick(&mut self.assembly, lease, now);
                state
                    .frame
                    .filter(|at| now.saturating_duration_since(*at) < 2 * TICK)
                    .into_iter()
                    .for_each(&mut good);
            }
            if let Some(fault) = state.fault(now) {
                break Some(fault);
            }
        }
    }

    fn take(&mut self, item: PacketItem, now: Instant, wall: WallTime) {
        match item {
            PacketItem::Rtp(packet) => {
                let Some(medium) = self.media.get(packet.stream_id()).copied() else { return };
                let header = packet.header();
                let packet = Packet {
                    payload_type: header.payload_type(),
                    sequence: header.sequence_number(),
                    timestamp: header.timestamp(),
                    source: header.ssrc(),
                    marker: header.mark(),
                    payload: packet.into_payload_bytes(),
                    at: now,
                    wall,
                };
                self.assembly.rtp(medium, packet);
            }
            PacketItem::Rtcp(packet) => {
                let Some(medium) = self.media.get(packet.stream_id()).copied() else { return };
                self.assembly.rtcp(medium, packet.raw(), now);
            }
            _ => {}
        }
    }
}

/// Gives a lease what an assembly has ready.
///
/// # Errors
/// When the source has to go: with `None` where that is not its fault.
pub(in crate::rtsp) async fn deliver(
    assembly: &mut Assembly,
    lease: &mut Lease,
    frame: &mut Option<Instant>,
) -> Result<(), Option<Fault>> {
    while let Some(taken) = assembly.poll() {
        if let Demuxed::Frame(coded) = &taken.item {
            *frame = Some(taken.at);
            if coded.kind == TrackKind::Video {
                lease.note_picture(taken.at, assembly.awaits_key());
            }
        }
        match lease.take(taken.at, taken.wall, taken.item) {
            Ok(Pace::Go) => {}
            // A recording that is sent as fast as it goes: its connection is left unread for as long.
            Ok(Pace::Wait(wait)) => tokio::time::sleep(wait).await,
            Err(_) => return Err(None),
        }
    }
    Ok(())
}

/// Once a second: figures, what was repaired, what is to be advised, and how late frames are.
pub(in crate::rtsp) fn tick(assembly: &mut Assembly, lease: &mut Lease, now: Instant) {
    for notice in assembly.notices() {
        lease.note(now, *notice);
    }
    lease.count(assembly.take_counts());
    if let Some(delay) = assembly.delay(now) {
        lease.set_delay(delay);
    }
    lease.tick(now, None);
}

/// Where a session stands.
struct State {
    begun: Instant,
    /// When the last packet came, and the last frame that was taken.
    packet: Option<Instant>,
    frame: Option<Instant>,
    next_tick: Instant,
}

impl State {
    fn wake(&self, assembly: &Assembly) -> Instant {
        assembly.poll_timeout().map_or(self.next_tick, |at| at.min(self.next_tick))
    }

    fn fault(&self, now: Instant) -> Option<Fault> {
        let ago = |at: Instant| now.saturating_duration_since(at);
        match (self.packet, self.frame) {
            (None, _) if ago(self.begun) >= FIRST_PACKET => Some(Fault::NoMedia),
            (Some(packet), _) if ago(packet) >= IDLE => Some(Fault::Stalled),
            (Some(_), frame) if ago(frame.unwrap_or(self.begun)) >= USABLE => Some(Fault::NoFrames),
            _ => None,
        }
    }
}

/// How the registry hears of an end.
pub(super) const fn end_of(fault: Option<&Fault>) -> PublishEnd {
    match fault {
        Some(Fault::Stalled | Fault::NoMedia | Fault::NoFrames) => PublishEnd::Silent,
        Some(Fault::Wire(_)) => PublishEnd::Shed,
        Some(_) => PublishEnd::Lost,
        None => PublishEnd::Clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_falls_silent_is_noticed() {
        let begun = clock().0;
        let at = |seconds| begun + Duration::from_secs(seconds);
        let state = |packet: Option<u64>, frame: Option<u64>| State {
            begun,
            packet: packet.map(at),
            frame: frame.map(at),
            next_tick: begun,
        };
        assert_eq!(state(None, None).fault(at(9)), None);
        assert_eq!(state(None, None).fault(at(10)), Some(Fault::NoMedia));
        assert_eq!(state(Some(20), Some(20)).fault(at(24)), None);
        assert_eq!(state(Some(20), Some(20)).fault(at(25)), Some(Fault::Stalled));
        assert_eq!(state(Some(15), None).fault(at(15)), Some(Fault::NoFrames));
        assert_eq!(state(Some(35), Some(21)).fault(at(36)), Some(Fault::NoFrames));
    }
}
