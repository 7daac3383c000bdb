//! What a camera answers to a client that wants to play, and sends after it: through the framer that stands before the client.
#![no_main]

use std::time::Duration;

use aqueduct_ingest::rtsp::wire::Framer;
use bytes::BytesMut;
use futures_util::StreamExt;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use retina::client::{
    Credentials, InitialTimestampPolicy, PlayOptions, Session, SessionIdPolicy, SessionOptions, SetupOptions,
    TeardownPolicy,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use url::Url;

/// Names of headers, and for each what cameras say.
const HEADERS: [(&str, &str); 11] = [
    ("Content-Type", "application/sdp"),
    ("Session", "1;timeout=60"),
    ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=00000001"),
    ("Transport", "RTP/AVP/TCP;unicast;interleaved=2-3"),
    ("WWW-Authenticate", "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=MD5"),
    ("WWW-Authenticate", "Basic realm=\"r\""),
    ("Content-Base", "rtsp://127.0.0.1/x/"),
    ("RTP-Info", "url=rtsp://127.0.0.1/x/track0;seq=1;rtptime=0,url=rtsp://127.0.0.1/x/track1;seq=1;rtptime=0"),
    ("Public", "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER"),
    ("Server", "camera"),
    ("Content-Location", "rtsp://127.0.0.1/y"),
];
const STATUS: [u16; 8] = [200, 200, 200, 401, 200, 404, 454, 302];
const SDP: &[u8] = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\na=control:*\r\n\
m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track0\r\n\
m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\n\
a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190\r\na=control:track1\r\n";
/// What an exchange on this machine takes at most.
const PATIENCE: Duration = Duration::from_millis(200);
/// Units that are looked at after PLAY.
const UNITS: usize = 64;

#[derive(Arbitrary, Debug)]
struct Answer {
    status: u8,
    /// By number in the table; the value where it is another one.
    headers: Vec<(u8, Option<Vec<u8>>)>,
    /// The camera's description where there is none.
    body: Option<Vec<u8>>,
    /// What comes behind it, on a channel.
    data: Vec<(u8, Vec<u8>)>,
}

impl Answer {
    fn bytes(&self, cseq: &str) -> Vec<u8> {
        let status = STATUS[usize::from(self.status) % STATUS.len()];
        let mut out = format!("RTSP/1.0 {status} X\r\nCSeq: {cseq}\r\n").into_bytes();
        for (name, value) in &self.headers {
            let (name, usual) = HEADERS[usize::from(*name) % HEADERS.len()];
            out.extend([name.as_bytes(), b": ", value.as_deref().unwrap_or(usual.as_bytes()), b"\r\n"].concat());
        }
        let body = self.body.as_deref().unwrap_or(SDP);
        out.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
        out.extend_from_slice(body);
        for (channel, data) in &self.data {
            out.extend([b'$', channel % 4]);
            out.extend((data.len() as u16).to_be_bytes());
            out.extend_from_slice(data);
        }
        out
    }
}

/// Answers one request after the other, as the guard hands on what a camera sends, and hangs up.
async fn camera(mut socket: TcpStream, answers: &[Answer]) {
    let (mut framer, mut raw) = (Framer::default(), BytesMut::new());
    for answer in answers {
        let mut request = vec![0; 4_096];
        let Ok(read @ 1..) = socket.read(&mut request).await else { return };
        let text = String::from_utf8_lossy(&request[..read]).into_owned();
        let cseq = text.lines().find_map(|line| line.strip_prefix("CSeq: ")).unwrap_or("1");
        raw.extend_from_slice(&answer.bytes(cseq));
        while let Ok(Some(unit)) = framer.next(&mut raw) {
            if socket.write_all(unit.raw()).await.is_err() {
                return;
            }
        }
    }
}

async fn client(port: u16) -> Result<(), retina::Error> {
    let url = Url::parse(&format!("rtsp://127.0.0.1:{port}/x")).expect("a URL");
    let credentials = Credentials { username: "u".into(), password: "p".into() };
    let options = SessionOptions::default()
        .creds(Some(credentials))
        .teardown(TeardownPolicy::Never)
        .session_id(SessionIdPolicy::UseFirst);
    let mut session = Session::describe(url, options).await?;
    for stream in 0..session.streams().len().min(8) {
        session.setup(stream, SetupOptions::default()).await?;
    }
    let play = PlayOptions::default().initial_timestamp(InitialTimestampPolicy::Ignore);
    let mut session = Box::pin(session.play(play).await?);
    for _ in 0..UNITS {
        let Some(Ok(_)) = session.next().await else { break };
    }
    Ok(())
}

/// One port for all runs: a port for each would soon be none.
fn begin() -> (Runtime, TcpListener) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a port");
    (runtime, listener)
}

thread_local! {
    static HERE: (Runtime, TcpListener) = begin();
}

fuzz_target!(|answers: Vec<Answer>| {
    if answers.len() > 12 {
        return;
    }
    HERE.with(|(runtime, listener)| {
        runtime.block_on(async {
            let port = listener.local_addr().expect("it listens").port();
            let serving = async {
                if let Ok((socket, _)) = listener.accept().await {
                    camera(socket, &answers).await;
                }
            };
            // Half an answer has both wait for the other; the pull has a patience of its own.
            let _ = timeout(PATIENCE, async { tokio::join!(client(port), serving) }).await;
        });
    });
});
