//! What goes into a session and what comes out of it.

use std::time::Duration;

use super::{MAX_STREAMS, MAX_UNAUTHORISED};
use crate::keys::Credentials;
use crate::rtmp::Message;
use crate::rtmp::chunk::ChunkError;
use crate::rtmp::command::CommandError;
use crate::rtmp::dialogue::DialogueError;
use crate::rtmp::handshake::HandshakeError;

/// Time limits (RTMP-5) and rates (RTMP-64) of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// From the connection to the handshake's end.
    pub handshake: Duration,
    /// From there to `connect`.
    pub connect: Duration,
    /// From there to `publish`.
    pub publish: Duration,
    /// From there to the first media message.
    pub media: Duration,
    /// Without any byte.
    pub idle: Duration,
    /// Between two pings.
    pub ping: Duration,
    /// From a refusal to the close, so that its text arrives first (RTMP-29).
    pub linger: Duration,
    /// Messages a second.
    pub messages: u32,
    /// Commands a second.
    pub commands: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            publish: Duration::from_secs(10),
            media: Duration::from_secs(15),
            idle: Duration::from_secs(10),
            ping: Duration::from_secs(5),
            linger: Duration::from_millis(500),
            messages: 2_000,
            commands: 50,
        }
    }
}

/// What the session's owner has to act on.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// Someone wants to publish: answer with [`Session::accept`] or [`Session::refuse`]. No input is read before.
    Publish(Publish),
    /// One media message of the publish that was accepted.
    Message(Message),
    /// The publisher said that it has ended (RTMP-31).
    Unpublish,
    /// A ping came back.
    Rtt(Duration),
    /// The session refused by itself and is closing; the value is a metric label.
    Refused(&'static str),
}

/// A request to publish.
#[derive(Debug, PartialEq)]
pub struct Publish {
    /// App, name and key.
    pub credentials: Credentials,
    /// What the encoder calls itself.
    pub encoder: String,
}

/// Why the session wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// The handshake takes too long.
    Handshake,
    /// `connect` takes too long.
    Connect,
    /// `publish` takes too long.
    Publish,
    /// Media takes too long.
    Media,
    /// Nothing came.
    Idle,
    /// A ping is due: not an end.
    Ping,
    /// A refusal has lingered long enough.
    Close,
}

impl Wake {
    /// The metric label of a connection that ends by it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Handshake => "timeout_handshake",
            Self::Connect => "timeout_connect",
            Self::Publish => "timeout_publish",
            Self::Media => "timeout_media",
            Self::Idle => "timeout_idle",
            Self::Ping => "ping",
            Self::Close => "refused",
        }
    }
}

/// A refusal that makes OBS stop and show its text (RTMP-29).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusalCode {
    /// The key is wrong or missing.
    Denied,
    /// The name cannot be used, or somebody else is publishing it.
    BadName,
    /// What is sent cannot be taken.
    Rejected,
    /// The server cannot go on.
    Failed,
}

impl RefusalCode {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "NetStream.Publish.Denied",
            Self::BadName => "NetStream.Publish.BadName",
            Self::Rejected => "NetStream.Publish.Rejected",
            Self::Failed => "NetStream.Failed",
        }
    }
}

/// Why a connection cannot go on. The display is fit for the streamer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// It is not RTMP.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// It is not in chunks, or breaks their limits.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A command is not one.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// `rml_rtmp` broke what is expected of it.
    #[error(transparent)]
    Dialogue(#[from] DialogueError),
    /// A command came before or after its time.
    #[error("{0} came out of order")]
    Order(&'static str),
    /// Too many messages (RTMP-64).
    #[error("more than {0} messages a second")]
    MessageRate(u32),
    /// Too many commands (RTMP-64).
    #[error("more than {0} commands a second")]
    CommandRate(u32),
    /// Too many bytes of a peer that is not authorised.
    #[error("more than {MAX_UNAUTHORISED} bytes came before a publish was accepted")]
    Unauthorised,
    /// Too many media streams.
    #[error("more than {MAX_STREAMS} streams were created")]
    TooManyStreams,
}

impl SessionError {
    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Handshake(_) => "handshake",
            Self::Chunk(
                ChunkError::TooLong { .. } | ChunkError::TooManyStreams | ChunkError::TooMuchPartial(_),
            ) => "limit_message",
            Self::Chunk(_) | Self::Command(_) | Self::Order(_) => "malformed",
            Self::Dialogue(_) => "internal",
            Self::MessageRate(_) => "limit_messages",
            Self::Unauthorised => "limit_unauthorised",
            Self::CommandRate(_) | Self::TooManyStreams => "limit_commands",
        }
    }
}
