//! A publisher's session, without sockets: bytes in, answers and events out (RTSP-17..20).

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use rtsp_types::headers::{
    AUTHORIZATION, CONTENT_TYPE, CSEQ, HeaderName, PUBLIC, SERVER, SESSION, TRANSPORT, USER_AGENT,
    WWW_AUTHENTICATE,
};
use rtsp_types::{Message, Method, Request, Response, StatusCode, Version};

use super::super::sdp::{self, Medium};
use super::super::wire::{Framer, Unit, WireError};
use super::transport::{self, Wish};
use crate::keys::Credentials;
use crate::limits::Meter;

/// What is answered to OPTIONS.
const METHODS: &str = "OPTIONS, ANNOUNCE, SETUP, RECORD, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER";
/// How long a session without media lives, in seconds, as it is told.
const TIMEOUT: u32 = 60;
const NAME: &str = concat!("Aqueduct/", env!("CARGO_PKG_VERSION"));
/// Longest name of an encoder that is kept.
const AGENT_MAX: usize = 80;

/// What the session's owner has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// It wants to publish. Answer with [`Session::accept`] or [`Session::refuse`].
    Announce(Credentials),
    /// It wants to send a medium over UDP from these ports. Answer with [`Session::opened`] or [`Session::refuse`].
    Open {
        /// Position in the session description.
        medium: usize,
        /// Its ports: RTP, RTCP.
        ports: (u16, u16),
    },
    /// It begins to send. Answer with [`Session::accept`] or [`Session::refuse`].
    Record,
    /// A packet that came within the connection.
    Packet {
        /// Position in the session description.
        medium: usize,
        /// It is RTCP.
        control: bool,
        /// The packet.
        data: Bytes,
    },
    /// It stops sending, and may go on.
    Pause,
    /// It leaves.
    Teardown,
}

/// Why a session is broken off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SessionError {
    /// What it sends cannot be read.
    #[error("what it sends is no use: {0}")]
    Wire(#[from] WireError),
    /// More requests than anybody needs.
    #[error("more requests a second than any encoder makes")]
    Requests,
}

impl SessionError {
    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Wire(error) => error.label(),
            Self::Requests => "limit_commands",
        }
    }
}

/// How far a session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nothing was announced.
    New,
    /// A description was taken.
    Announced,
    /// It sends.
    Recording,
}

/// How one medium comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carriage {
    /// On these channels: RTP, RTCP.
    Channels(u8, u8),
    /// Over UDP.
    Udp,
}

/// An answer that its owner's decision is awaited for.
#[derive(Clone, Debug)]
struct Asked {
    cseq: Option<String>,
    what: Asking,
}

#[derive(Clone, Debug)]
enum Asking {
    Announce,
    Open { medium: usize, profile: String, ports: (u16, u16) },
    Record,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Session {
    framer: Framer,
    phase: Phase,
    /// Made of random bytes by the owner.
    id: String,
    media: Vec<Option<Medium>>,
    carriages: Vec<Option<Carriage>>,
    agent: String,
    asked: Option<Asked>,
    requests: Meter,
    out: Vec<u8>,
    closing: bool,
}

impl Session {
    /// A connection was accepted at `now`. `id` names the session to its publisher.
    pub fn new(id: String, requests_per_second: u32, now: Instant) -> Self {
        Self {
            framer: Framer::default(),
            phase: Phase::New,
            id,
            media: Vec::new(),
            carriages: Vec::new(),
            agent: String::new(),
            asked: None,
            requests: Meter::new(requests_per_second, 2 * requests_per_second, now),
            out: Vec::new(),
            closing: false,
        }
    }

    /// Takes the next unit off the front of `input`; `None` until more has come. While an answer is awaited nothing is
    /// taken.
    ///
    /// # Errors
    /// When the connection is of no more use.
    pub fn handle_input(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
    ) -> Result<Option<Event>, SessionError> {
        while self.asked.is_none() && !self.closing {
            let Some(unit) = self.framer.next(input)? else { return Ok(None) };
            let event = match &unit {
                Unit::Data { channel, .. } => self.packet(*channel, &unit.payload()),
                Unit::Message(raw) => {
                    if !self.requests.take(now) {
                        return Err(SessionError::Requests);
                    }
                    self.message(raw)
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// What the publisher is to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// It sends media.
    pub fn is_recording(&self) -> bool {
        self.phase == Phase::Recording
    }

    /// The connection is to be closed once what is to be sent was sent.
    pub const fn is_closing(&self) -> bool {
        self.closing
    }

    /// What its encoder calls itself.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// The media that were set up, at their positions in the session description, and whether any comes over UDP.
    pub fn media(&self) -> (Vec<Option<Medium>>, bool) {
        let set_up = |(medium, carriage): (&Option<Medium>, &Option<Carriage>)| {
            medium.clone().filter(|_| carriage.is_some())
        };
        let media = self.media.iter().zip(&self.carriages).map(set_up).collect();
        (media, self.carriages.contains(&Some(Carriage::Udp)))
    }

    /// The whole description, for a first look at its codecs.
    pub fn announced(&self) -> &[Option<Medium>] {
        &self.media
    }

    /// Does what was asked for by [`Event::Announce`] or [`Event::Record`].
    pub fn accept(&mut self) {
        let Some(Asked { cseq, what }) = self.asked.take() else { return };
        match what {
            Asking::Announce => self.phase = Phase::Announced,
            Asking::Record => self.phase = Phase::Recording,
            Asking::Open { .. } => {}
        }
        self.answer(cseq, StatusCode::Ok, None, &[]);
    }

    /// A medium is received at these ports: RTP, RTCP.
    pub fn opened(&mut self, server: (u16, u16)) {
        let Some(Asked { cseq, what: Asking::Open { medium, profile, ports } }) = self.asked.take() else {
            return;
        };
        if let Some(carriage) = self.carriages.get_mut(medium) {
            *carriage = Some(Carriage::Udp);
        }
        let text = format!(
            "{profile};unicast;client_port={}-{};server_port={}-{};mode=record",
            ports.0, ports.1, server.0, server.1
        );
        self.answer(cseq, StatusCode::Ok, None, &[(TRANSPORT, text)]);
    }

    /// Refuses what was asked for, in words that the encoder shows. The connection stays, so that it may try again with a
    /// key where it is asked for one.
    pub fn refuse(&mut self, why: Refuse, text: &str) {
        let Some(Asked { cseq, .. }) = self.asked.take() else { return };
        let (status, headers) = match why {
            Refuse::Key => (
                StatusCode::Unauthorized,
                vec![(
                    WWW_AUTHENTICATE,
                    "Basic realm=\"Aqueduct: your stream key is the password\"".to_owned(),
                )],
            ),
            Refuse::Denied => (StatusCode::Forbidden, vec![]),
            Refuse::Busy => (StatusCode::NotEnoughBandwidth, vec![]),
            Refuse::Codecs => (StatusCode::UnsupportedMediaType, vec![]),
            Refuse::Unavailable => (StatusCode::ServiceUnavailable, vec![]),
        };
        self.answer(cseq, status, Some(text), &headers);
        self.closing = !matches!(why, Refuse::Key);
    }

    fn packet(&self, channel: u8, data: &Bytes) -> Option<Event> {
        if self.phase != Phase::Recording {
            return None;
        }
        self.carriages.iter().enumerate().find_map(|(medium, carriage)| match carriage {
            Some(Carriage::Channels(rtp, rtcp)) if [*rtp, *rtcp].contains(&channel) => {
                Some(Event::Packet { medium, control: channel == *rtcp, data: data.clone() })
            }
            _ => None,
        })
    }

    fn message(&mut self, raw: &Bytes) -> Option<Event> {
        let request = match Message::<Vec<u8>>::parse(raw) {
            Ok((Message::Request(request), _)) => request,
            // Answers to what we never ask.
            Ok(_) => return None,
            Err(_) => {
                self.answer(None, StatusCode::BadRequest, Some("This request cannot be read"), &[]);
                return None;
            }
        };
        let cseq = request.header(&CSEQ).map(|value| value.as_str().to_owned());
        if cseq.is_none() {
            self.answer(None, StatusCode::BadRequest, Some("CSeq is missing"), &[]);
            return None;
        }
        match request.method() {
            Method::Options => {
                self.answer(cseq, StatusCode::Ok, None, &[(PUBLIC, METHODS.to_owned())]);
                None
            }
            Method::Announce => self.announce(cseq, &request),
            Method::Setup => self.setup(cseq, &request),
            Method::Record => self.record(cseq),
            Method::GetParameter | Method::SetParameter => {
                self.answer(cseq, StatusCode::Ok, None, &[]);
                None
            }
            Method::Pause => {
                self.answer(cseq, StatusCode::Ok, None, &[]);
                let paused = self.phase == Phase::Recording;
                self.phase = if paused { Phase::Announced } else { self.phase };
                paused.then_some(Event::Pause)
            }
            Method::Teardown => {
                self.answer(cseq, StatusCode::Ok, None, &[]);
                self.closing = true;
                Some(Event::Teardown)
            }
            Method::Describe | Method::Play => {
                let text = "Streams are watched over HTTP here, at /watch/APP/NAME";
                self.answer(cseq, StatusCode::MethodNotAllowed, Some(text), &[(PUBLIC, METHODS.to_owned())]);
                None
            }
            _ => {
                self.answer(cseq, StatusCode::NotImplemented, None, &[(PUBLIC, METHODS.to_owned())]);
                None
            }
        }
    }

    fn announce(&mut self, cseq: Option<String>, request: &Request<Vec<u8>>) -> Option<Event> {
        if self.phase == Phase::Recording {
            self.answer(cseq, StatusCode::MethodNotValidInThisState, None, &[]);
            return None;
        }
        let is_sdp = request.header(&CONTENT_TYPE).is_none_or(|kind| kind.as_str().contains("sdp"));
        match sdp::parse(request.body()) {
            Ok(media) if is_sdp => {
                self.carriages = vec![None; media.len()];
                self.media = media;
            }
            Ok(_) => {
                self.answer(cseq, StatusCode::UnsupportedMediaType, Some("ANNOUNCE needs SDP"), &[]);
                return None;
            }
            Err(error) => {
                self.answer(cseq, StatusCode::BadRequest, Some(&error.to_string()), &[]);
                return None;
            }
        }
        let agent = request.header(&USER_AGENT).map_or("", |agent| agent.as_str());
        self.agent = agent.chars().filter(|c| !c.is_control()).take(AGENT_MAX).collect();
        let credentials = credentials(request);
        self.asked = Some(Asked { cseq, what: Asking::Announce });
        Some(Event::Announce(credentials))
    }

    fn setup(&mut self, cseq: Option<String>, request: &Request<Vec<u8>>) -> Option<Event> {
        if self.phase != Phase::Announced {
            let text = "ANNOUNCE comes before SETUP";
            self.answer(cseq, StatusCode::MethodNotValidInThisState, Some(text), &[]);
            return None;
        }
        let Some(medium) = self.addressed(request) else {
            self.answer(cseq, StatusCode::NotFound, Some("This track was not announced"), &[]);
            return None;
        };
        let header = request.header(&TRANSPORT).map_or("", |header| header.as_str());
        match transport::read(header) {
            None => {
                let text = "RTP/AVP over TCP or UDP is taken";
                self.answer(cseq, StatusCode::UnsupportedTransport, Some(text), &[]);
                None
            }
            Some(Wish::Udp(rtp, rtcp)) => {
                let profile = header.split(';').next().unwrap_or("RTP/AVP").trim();
                let profile =
                    if profile.eq_ignore_ascii_case("RTP/AVP/UDP") { "RTP/AVP/UDP" } else { "RTP/AVP" };
                let (profile, ports) = (profile.to_owned(), (rtp, rtcp));
                self.asked = Some(Asked { cseq, what: Asking::Open { medium, profile, ports } });
                Some(Event::Open { medium, ports })
            }
            Some(Wish::Interleaved(channels)) => {
                let (rtp, rtcp) = channels.unwrap_or((2 * medium as u8, 2 * medium as u8 + 1));
                let taken = |other: &Option<Carriage>| match other {
                    Some(Carriage::Channels(a, b)) => [rtp, rtcp].contains(a) || [rtp, rtcp].contains(b),
                    _ => false,
                };
                if self.carriages.iter().enumerate().any(|(index, other)| index != medium && taken(other)) {
                    let text = "These channels are another track's";
                    self.answer(cseq, StatusCode::UnsupportedTransport, Some(text), &[]);
                    return None;
                }
                self.carriages[medium] = Some(Carriage::Channels(rtp, rtcp));
                let text = format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp};mode=record");
                self.answer(cseq, StatusCode::Ok, None, &[(TRANSPORT, text)]);
                None
            }
        }
    }

    /// The medium that a SETUP is for: the one whose control URL it names, else the next one.
    fn addressed(&self, request: &Request<Vec<u8>>) -> Option<usize> {
        let uri = request.request_uri().map_or("", |uri| uri.as_str());
        let named = self.media.iter().position(|medium| {
            let control = medium.as_ref().and_then(|medium| medium.control.as_deref());
            control.is_some_and(|control| {
                uri == control
                    || uri.strip_suffix(control).is_some_and(|before| before.ends_with(['/', '=', '?', '&']))
            })
        });
        let next = || {
            let free = |(medium, carriage): (&Option<Medium>, &Option<Carriage>)| {
                medium.is_some() && carriage.is_none()
            };
            self.media.iter().zip(&self.carriages).position(free)
        };
        named.or_else(next)
    }

    fn record(&mut self, cseq: Option<String>) -> Option<Event> {
        if self.phase != Phase::Announced || self.carriages.iter().all(Option::is_none) {
            let text = "ANNOUNCE and SETUP come before RECORD";
            self.answer(cseq, StatusCode::MethodNotValidInThisState, Some(text), &[]);
            return None;
        }
        self.asked = Some(Asked { cseq, what: Asking::Record });
        Some(Event::Record)
    }

    fn answer(
        &mut self,
        cseq: Option<String>,
        status: StatusCode,
        text: Option<&str>,
        headers: &[(HeaderName, String)],
    ) {
        let mut answer = Response::builder(Version::V1_0, status);
        if let Some(text) = text {
            answer = answer.reason_phrase(text);
        }
        if let Some(cseq) = cseq {
            answer = answer.header(CSEQ, cseq);
        }
        answer = answer.header(SERVER, NAME);
        if self.phase != Phase::New && status == StatusCode::Ok {
            answer = answer.header(SESSION, format!("{};timeout={TIMEOUT}", self.id));
        }
        for (name, value) in headers {
            answer = answer.header(name.clone(), value.as_str());
        }
        // A vector takes all that it is given.
        let _ = answer.empty().write(&mut self.out);
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refuse {
    /// A key is needed.
    Key,
    /// The key or the name is wrong.
    Denied,
    /// Another publisher has the stream.
    Busy,
    /// No track can be taken.
    Codecs,
    /// Not now.
    Unavailable,
}

/// What a publisher shows: path and query of its URL, and a password as the key (RTSP-19).
fn credentials(request: &Request<Vec<u8>>) -> Credentials {
    let url = request.request_uri();
    let path = url.map_or("", |url| url.path()).trim_matches('/');
    let (app, name) = path.rsplit_once('/').unwrap_or(("", path));
    let name = match url.and_then(|url| url.query()) {
        Some(query) => format!("{name}?{query}"),
        None => name.to_owned(),
    };
    let shown = Credentials::new(None, app, &name);
    match request.header(&AUTHORIZATION).and_then(|header| password(header.as_str())) {
        Some(key) => shown.or_key(key),
        None => shown,
    }
}

/// The password of Basic credentials, or the user name where there is none.
fn password(header: &str) -> Option<String> {
    let (scheme, encoded) = header.trim().split_once(' ')?;
    let decoded = BASE64.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':').unwrap_or((text.as_str(), ""));
    let key = if password.is_empty() { user } else { password };
    (!key.is_empty()).then(|| key.to_owned())
}

/// How long a session may take up to RECORD (RTSP-20).
pub const BEFORE_RECORD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
