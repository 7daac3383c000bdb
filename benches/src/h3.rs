//! A load generator for HTTP/3, with as many connections and streams as that for HTTP/2.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use h3::client::SendRequest;
use h3_quinn::OpenStreams;
use hyper::Request;
use quinn::crypto::rustls::QuicClientConfig;
use tokio::task::JoinSet;

use crate::clock;
use crate::error::{Error, doing};
use crate::h2::{CONNECTIONS, Load, STREAMS, Trust};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Asks as fast as it can and says how many answers came whole.
pub async fn load(load: Load<'_>) -> Result<u64, Error> {
    let failed = |error: Failure| doing(format!("HTTP/3 to {}", load.address))(io::Error::other(error));
    let uri = format!("https://localhost:{}{}", load.address.port(), load.path);
    let end = clock::now() + load.span;
    let mut endpoint =
        quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).map_err(doing("open a socket for HTTP/3"))?;
    endpoint.set_default_client_config(client(&load.trust).map_err(failed)?);
    let mut streams = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (mut driver, sender) = connect(&endpoint, &load).await.map_err(failed)?;
        // Ends with the senders; an error on it shows in their answers.
        tokio::spawn(async move { drop(driver.wait_idle().await) });
        for _ in 0..STREAMS {
            let (mut sender, uri) = (sender.clone(), uri.clone());
            streams.spawn(async move {
                let mut count = 0_u64;
                while clock::now() < end {
                    let status = ask(&mut sender, &uri).await?;
                    if status != 200 {
                        return Ok::<_, Failure>((count, Some(status)));
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

fn client(trust: &Trust) -> Result<quinn::ClientConfig, Failure> {
    let mut tls = (*trust.tls).clone();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    Ok(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

type Driver = h3::client::Connection<h3_quinn::Connection, Bytes>;

async fn connect(
    endpoint: &quinn::Endpoint,
    load: &Load<'_>,
) -> Result<(Driver, SendRequest<OpenStreams, Bytes>), Failure> {
    let quic = endpoint.connect(load.address, &load.address.ip().to_string())?.await?;
    Ok(h3::client::new(h3_quinn::Connection::new(quic)).await?)
}

async fn ask(sender: &mut SendRequest<OpenStreams, Bytes>, uri: &str) -> Result<u16, Failure> {
    let mut exchange = sender.send_request(Request::get(uri).body(())?).await?;
    exchange.finish().await?;
    let answer = exchange.recv_response().await?;
    while exchange.recv_data().await?.is_some() {}
    Ok(answer.status().as_u16())
}
