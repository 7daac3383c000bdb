//! A keep-alive HTTP/1.1 client that costs as little as it can, so that thousands of players fit beside the server
//! they measure. It trusts the server under test: every body has a Content-Length.

use std::cell::RefCell;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::clock;
use crate::error::{Error, doing};

/// Bytes taken from a socket at once.
const GULP: usize = 256 << 10;
/// More than any head.
const LARGEST_HEAD: usize = 16 << 10;

/// What browsers send, as far as the server has it.
const GZIP: &str = "Accept-Encoding: gzip\r\n";

thread_local! {
    /// Shared by all connections of a thread: a body that nobody wants costs no memory.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; GULP]);
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    host: String,
    encodings: &'static str,
    request: Vec<u8>,
}

/// What happens to a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// It is kept.
    Keep,
    /// It is counted and let go.
    Drop,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Content-Encoding is gzip.
    pub gzip: bool,
    /// The body, if it was to be kept.
    pub body: Vec<u8>,
    /// Content-Length.
    pub length: usize,
    /// When the last byte had been read.
    pub at: Instant,
}

impl Answer {
    /// The body as text, unpacked.
    pub fn text(&self) -> Result<String, Error> {
        let mut text = String::new();
        let read = match self.gzip {
            true => flate2::read::GzDecoder::new(self.body.as_slice()).read_to_string(&mut text),
            false => self.body.as_slice().read_to_string(&mut text),
        };
        read.map_err(doing("read a playlist"))?;
        Ok(text)
    }
}

impl Connection {
    /// Connects from 127.0.0.`2 + index % 8`: viewers have more than one address.
    pub async fn open(host: SocketAddr, index: usize) -> Result<Self, Error> {
        let connect = async {
            let socket = TcpSocket::new_v4()?;
            if host.ip().is_loopback() {
                let ip = Ipv4Addr::new(127, 0, 0, 2 + (index % 8) as u8);
                socket.bind(SocketAddr::from((ip, 0)))?;
            }
            let stream = socket.connect(host).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = connect.await.map_err(doing(format!("connect to {host}")))?;
        Ok(Self { stream, host: host.to_string(), encodings: GZIP, request: Vec::new() })
    }

    /// Asks for `path` and reads the whole answer; a status that is not 200 is an error.
    pub async fn get(&mut self, path: &str, body: Body) -> Result<Answer, Error> {
        let answer = self.ask(path, body).await?;
        match answer.status {
            200 => Ok(answer),
            status => Err(Error::Status { path: path.to_owned(), status }),
        }
    }

    /// Asks for `path` and reads the whole answer, whatever its status.
    pub async fn ask(&mut self, path: &str, body: Body) -> Result<Answer, Error> {
        self.send(path).await?;
        self.receive(path, body).await
    }

    /// As [`get`](Self::get), without compression: the bytes that a file of the same content would have.
    pub async fn get_plain(&mut self, path: &str) -> Result<Answer, Error> {
        self.encodings = "";
        let answer = self.get(path, Body::Keep).await;
        self.encodings = GZIP;
        answer
    }

    /// Sends the request alone.
    pub async fn send(&mut self, path: &str) -> Result<(), Error> {
        self.request.clear();
        for part in ["GET ", path, " HTTP/1.1\r\nHost: ", &self.host, "\r\n", self.encodings, "\r\n"] {
            self.request.extend(part.as_bytes());
        }
        self.stream.write_all(&self.request).await.map_err(doing(format!("GET {path}")))
    }

    /// Reads the answer to the request that was sent.
    pub async fn receive(&mut self, path: &str, body: Body) -> Result<Answer, Error> {
        let mut intake = Intake { keep: body == Body::Keep, ..Intake::default() };
        loop {
            self.stream.readable().await.map_err(doing(format!("read {path}")))?;
            let took = SCRATCH.with_borrow_mut(|scratch| {
                let count = self.stream.try_read(scratch)?;
                intake.take(&scratch[..count])
            });
            match took {
                Ok(true) => return Ok(intake.answer(clock::now())),
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(doing(format!("read {path}"))(error)),
            }
        }
    }
}

/// An answer in the making.
#[derive(Default, Debug)]
struct Intake {
    keep: bool,
    head: Vec<u8>,
    parsed: Option<Head>,
    got: usize,
    body: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    status: u16,
    gzip: bool,
    length: usize,
}

impl Intake {
    /// Takes bytes in; whether the answer is whole.
    fn take(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let invalid = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = bytes;
        let rest;
        let head = match self.parsed {
            Some(head) => head,
            None => {
                self.head.extend(bytes);
                let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
                    return if self.head.len() > LARGEST_HEAD {
                        Err(invalid("an endless head"))
                    } else {
                        Ok(false)
                    };
                };
                rest = self.head.split_off(end + 4);
                bytes = &rest;
                let head = parse(&self.head).ok_or(invalid("the head has no status or no Content-Length"))?;
                *self.parsed.insert(head)
            }
        };
        self.got += bytes.len();
        if self.keep {
            self.body.extend(bytes);
        }
        if self.got > head.length {
            Err(invalid("more bytes than Content-Length"))
        } else {
            Ok(self.got == head.length)
        }
    }

    fn answer(self, at: Instant) -> Answer {
        let head = self.parsed.unwrap_or(Head { status: 0, gzip: false, length: 0 });
        Answer { status: head.status, gzip: head.gzip, body: self.body, length: head.length, at }
    }
}

fn parse(head: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(head).ok()?;
    let status = text.get(9..12)?.parse().ok()?;
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    };
    let length = field("content-length")?.parse().ok()?;
    Some(Head { status, gzip: field("content-encoding") == Some("gzip"), length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_at_its_last_byte_however_it_is_cut() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nContent-Encoding: gzip\r\n\r\nhello";
        for cut in 1..whole.len() {
            let mut intake = Intake { keep: true, ..Intake::default() };
            assert!(!intake.take(&whole[..cut]).unwrap(), "cut at {cut}");
            assert!(intake.take(&whole[cut..]).unwrap());
            let answer = intake.answer(clock::now());
            assert_eq!((answer.status, answer.gzip, answer.body.as_slice()), (200, true, &b"hello"[..]));
        }
        let mut intake = Intake::default();
        assert!(intake.take(&[]).is_err());
        assert!(intake.take(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxx").is_err());
        assert!(Intake::default().take(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
