//! A publisher's session: handshake, commands, then media at the pace of the script.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::amf::{Value, body};
use super::chunk::{Message, Style, Writer};
use super::replies::Replies;
use super::script::{Script, Tag};
use crate::random::Random;
use crate::{Outcome, now};

/// How long the server may take for each answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The message stream that every server gives to the first who asks.
const STREAM: u32 = 1;

/// Where to publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// The application: `live`.
    pub app: String,
    /// The stream's name, with `?key=…` where one is needed.
    pub key: String,
}

impl Target {
    /// `rtmp://address/live/key`.
    pub fn live(address: impl Into<String>, key: &str) -> Self {
        Self { address: address.into(), app: "live".to_owned(), key: key.to_owned() }
    }
}

/// How fast to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// By the script's clock.
    Live,
    /// As fast as the socket takes it.
    Flood,
}

/// A session whose publish was accepted.
pub struct Publisher {
    socket: OwnedWriteHalf,
    writer: Writer,
    style: Style,
    /// Code of the newest onStatus; `None` within once the server has closed.
    status: watch::Receiver<Option<String>>,
}

impl Publisher {
    /// Connects and asks to publish.
    ///
    /// # Errors
    ///
    /// When the server refuses; the text holds the code and the description that it gave.
    pub async fn connect(target: &Target, style: Style) -> Outcome<Self> {
        let mut socket = TcpStream::connect(&target.address).await?;
        socket.set_nodelay(true)?;
        timeout(PATIENCE, shake_hands(&mut socket)).await??;
        let (reading, socket) = socket.into_split();
        let mut replies = Replies::new(reading);
        let mut publisher =
            Self { socket, writer: Writer::new(style), style, status: watch::channel(None).1 };
        let mut out = Vec::new();
        // OBS announces its chunk size before anything else (RTMP-13).
        publisher.writer.announce(&mut out);
        publisher.command(&mut out, 0, &connect(target));
        publisher.socket.write_all(&out).await?;
        replies.expect("NetConnection.Connect.Success", PATIENCE).await?;
        publisher.publish(target, &mut replies).await?;
        publisher.status = watch_status(replies.into_inner());
        Ok(publisher)
    }

    async fn publish(&mut self, target: &Target, replies: &mut Replies) -> Outcome {
        let name = || Value::text(&target.key);
        let mut out = Vec::new();
        // In one burst, as OBS and ffmpeg send them (RTMP-23).
        self.command(&mut out, 0, &[Value::text("releaseStream"), Value::Number(2.0), Value::Null, name()]);
        self.command(&mut out, 0, &[Value::text("FCPublish"), Value::Number(3.0), Value::Null, name()]);
        self.command(&mut out, 0, &[Value::text("createStream"), Value::Number(4.0), Value::Null]);
        self.socket.write_all(&out).await?;
        replies.expect_result(4.0, PATIENCE).await?;
        out.clear();
        let publish = [Value::text("publish"), Value::Number(5.0), Value::Null, name(), Value::text("live")];
        self.command(&mut out, STREAM, &publish);
        self.socket.write_all(&out).await?;
        replies.expect("NetStream.Publish.Start", PATIENCE).await
    }

    fn command(&mut self, out: &mut Vec<u8>, stream: u32, values: &[Value]) {
        self.writer.write(out, &Message { csid: 3, kind: 20, stream, timestamp: 0, body: body(values) });
    }

    /// Plays a whole script.
    ///
    /// # Errors
    ///
    /// When the server closes.
    pub async fn play(&mut self, script: &Script, pace: Pace) -> Outcome {
        self.play_since(now(), script, pace).await
    }

    /// The same by a clock that began at `start`: scripts that follow each other keep one time.
    ///
    /// # Errors
    ///
    /// When the server closes.
    pub async fn play_since(&mut self, start: Instant, script: &Script, pace: Pace) -> Outcome {
        let mut tags = script.tags.iter().peekable();
        let mut out = Vec::new();
        while let Some(tag) = tags.next() {
            if pace == Pace::Live {
                sleep_until(start + Duration::from_millis(tag.at.max(0) as u64)).await;
            }
            out.clear();
            let other = tags.next_if(|next| self.style.interleave && tag.kind == 9 && next.kind == 8);
            match other {
                Some(other) => self.writer.interleave(&mut out, &self.message(tag), &self.message(other)),
                None => self.writer.write(&mut out, &message(self.style, tag)),
            }
            self.socket.write_all(&out).await.map_err(|error| format!("the server closed: {error}"))?;
        }
        Ok(())
    }

    fn message(&self, tag: &Tag) -> Message {
        message(self.style, tag)
    }

    /// Vanishes without a goodbye, as a process that was killed does.
    pub fn vanish(self) {
        drop(self);
    }

    /// Ends as OBS does: FCUnpublish, deleteStream, close.
    ///
    /// # Errors
    ///
    /// When the server has closed already.
    pub async fn finish(mut self, target: &Target) -> Outcome {
        let mut out = Vec::new();
        let name = Value::text(&target.key);
        self.command(&mut out, 0, &[Value::text("FCUnpublish"), Value::Number(6.0), Value::Null, name]);
        let stream = Value::Number(f64::from(STREAM));
        self.command(&mut out, 0, &[Value::text("deleteStream"), Value::Number(7.0), Value::Null, stream]);
        self.socket.write_all(&out).await?;
        self.socket.shutdown().await?;
        Ok(())
    }

    /// Waits until the server has closed this session.
    ///
    /// # Errors
    ///
    /// When it has not within `patience`.
    pub async fn closed(&mut self, patience: Duration) -> Outcome {
        let gone = async { while self.status.changed().await.is_ok() {} };
        timeout(patience, gone)
            .await
            .map_err(|_| format!("the server has not closed within {patience:?}").into())
    }
}

fn message(style: Style, tag: &Tag) -> Message {
    let csid = match tag.kind {
        _ if style.one_csid => 4,
        8 => 4,
        9 => 6,
        _ => 5,
    };
    Message { csid, kind: tag.kind, stream: STREAM, timestamp: tag.timestamp, body: tag.body.clone() }
}

fn connect(target: &Target) -> [Value; 3] {
    let url = format!("rtmp://{}/{}", target.address, target.app);
    let codecs = ["av01", "hvc1", "vp09"].map(Value::text).to_vec();
    let object = Value::Object(vec![
        ("app", Value::text(&target.app)),
        ("type", Value::text("nonprivate")),
        ("flashVer", Value::text("FMLE/3.0 (compatible; aqueduct-tests)")),
        ("swfUrl", Value::Text(url.clone())),
        ("tcUrl", Value::Text(url)),
        ("fourCcList", Value::StrictArray(codecs)),
    ]);
    [Value::text("connect"), Value::Number(1.0), object]
}

/// The simple handshake (RTMP-2).
pub(super) async fn shake_hands(socket: &mut TcpStream) -> Outcome {
    let mut hello = vec![3, 0, 0, 0, 0, 0, 0, 0, 0];
    hello.extend(Random::new(7).bytes(1_528));
    socket.write_all(&hello).await?;
    let mut answer = vec![0; 1 + 2 * 1_536];
    socket.read_exact(&mut answer).await?;
    if answer[0] != 3 || answer[1 + 1_536 + 8..] != hello[9..] {
        return Err("the server's handshake does not echo ours".into());
    }
    socket.write_all(&answer[1..=1_536]).await?;
    Ok(())
}

/// Reads on, so that the server is never held up, until it closes.
fn watch_status(mut reading: OwnedReadHalf) -> watch::Receiver<Option<String>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let mut buffer = [0; 4_096];
        while reading.read(&mut buffer).await.is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&buffer);
            if let Some(at) = text.find("NetStream.") {
                let code = text[at..].chars().take_while(|c| c.is_ascii_alphabetic() || *c == '.').collect();
                let _ = sender.send(Some(code));
            }
        }
    });
    receiver
}
