//! A load generator for HTTP/2 over cleartext (prior knowledge), which wrk does not speak.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::clock;
use crate::error::{Error, doing};

const CONNECTIONS: usize = 4;
const STREAMS: usize = 8;
/// What browsers open, so that flow control is not what is measured.
const WINDOW: u32 = 6 << 20;

/// What to ask, of whom, for how long.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// The server.
    pub address: SocketAddr,
    /// The path.
    pub path: &'a str,
    /// For how long.
    pub span: Duration,
}

/// Asks as fast as it can and says how many answers came whole.
pub async fn load(load: Load<'_>) -> Result<u64, Error> {
    let failed =
        |error: hyper::Error| doing(format!("HTTP/2 to {}", load.address))(std::io::Error::other(error));
    let uri = format!("http://{}{}", load.address, load.path);
    let end = clock::now() + load.span;
    let mut streams = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let socket =
            TcpStream::connect(load.address).await.map_err(doing(format!("connect to {}", load.address)))?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(socket))
            .await
            .map_err(failed)?;
        // Ends with the senders; an error on it shows in their answers.
        tokio::spawn(async move { drop(connection.await) });
        for _ in 0..STREAMS {
            let (mut sender, uri) = (sender.clone(), uri.clone());
            streams.spawn(async move {
                let mut count = 0_u64;
                while clock::now() < end {
                    sender.ready().await?;
                    let request = Request::get(&uri).body(Empty::new());
                    let answer = sender.send_request(request.unwrap_or_default()).await?;
                    let status = answer.status().as_u16();
                    let mut body = answer.into_body();
                    while let Some(frame) = body.frame().await {
                        frame?;
                    }
                    if status != 200 {
                        return Ok((count, Some(status)));
                    }
                    count += 1;
                }
                Ok((count, None))
            });
        }
    }
    let mut total = 0;
    while let Some(Ok(stream)) = streams.join_next().await {
        let (count, bad) = stream.map_err(failed)?;
        if let Some(status) = bad {
            return Err(Error::Status { path: load.path.to_owned(), status });
        }
        total += count;
    }
    Ok(total.max(1))
}
