//! Files that an operator replaces while nodes run: certificates of viewers and of the relay, and the list of nodes that are
//! not let in. Whoever is connected stays.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_tests::fetch::Client;
use aqueduct_tests::world::{Authority, Server, borrowed, free_udp_port, local, room};
use aqueduct_tests::{Outcome, tls};
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Files are looked at every 5 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// A viewer's connection over HTTP/2, and the certificate that it was shown.
async fn connect(server: &Server) -> Outcome<(SendRequest<Empty<Bytes>>, Vec<u8>)> {
    let connector = TlsConnector::from(Arc::new(tls::trusting_anyone("h2")));
    let socket = TcpStream::connect(server.https_address()).await?;
    let stream = connector.connect(ServerName::try_from("localhost")?, socket).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let shown = shown.ok_or("no certificate is shown")?.to_vec();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok((sender, shown))
}

/// Gets the stream's playlist over this connection, and no other.
async fn plays(viewer: &mut SendRequest<Empty<Bytes>>, server: &Server) -> Outcome {
    viewer.ready().await?;
    let answer =
        viewer.send_request(Request::get(server.secure_playlist("show")).body(Empty::new())?).await?;
    if answer.status().is_success() { Ok(()) } else { Err(format!("{}", answer.status()).into()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_are_shown_a_renewed_certificate_and_nobody_is_dropped() -> Outcome {
    let _room = room::quarter().await;
    let files = Authority::new("viewers").await?;
    files.certify("used", "site", "edge", &["localhost"]).await?;
    files.certify("renewed", "site", "edge", &["localhost"]).await?;
    let (cert, key) = (files.path("used/site.pem"), files.path("used/site-key.pem"));
    let server = Server::start(&[("tls.cert", &cert), ("tls.key", &key)]).await?;
    let _push = server.publish_drawn("show")?;
    server.playable("show", PATIENCE).await?;
    let (mut viewer, first) = connect(&server).await?;
    plays(&mut viewer, &server).await?;

    // Half of a pair changes nothing.
    files.replace("renewed", "used", "site.pem")?;
    server
        .until("half a pair is told of", PATIENCE, async || {
            plays(&mut viewer, &server).await?;
            Ok(server.log().contains("changed, and cannot be used"))
        })
        .await?;
    assert_eq!(connect(&server).await?.1, first);
    files.replace("renewed", "used", "site-key.pem")?;
    server
        .until("the new certificate", PATIENCE, async || {
            plays(&mut viewer, &server).await?;
            Ok(connect(&server).await?.1 != first)
        })
        .await?;
    // The connection of before is still that one.
    plays(&mut viewer, &server).await?;
    let (mut second, _) = connect(&server).await?;
    plays(&mut second, &server).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_sent_away_and_let_in_again_by_a_list_and_a_renewed_certificate_needs_no_restart() -> Outcome
{
    let _room = room::quarter().await;
    let files = Authority::new("relay").await?;
    files.write("refused", "# nobody\n")?;
    files.certify("used", "origin-1", "origin", &["127.0.0.1"]).await?;
    files.certify("renewed", "origin-1", "origin", &["127.0.0.1", "127.0.0.2"]).await?;
    for edge in ["edge-1", "edge-2", "edge-3"] {
        files.certify("used", edge, "edge", &[]).await?;
    }
    let relay = free_udp_port()?;
    let mut settings = files.node("used", "origin-1");
    settings.push(("relay.refused", files.path("refused")));
    settings.push(("relay.listen", format!("0.0.0.0:{relay}")));
    let origin = Server::origin(relay, &borrowed(&settings)).await?;
    let one = Server::edge(&[local(relay)], &borrowed(&files.node("used", "edge-1"))).await?;
    let two = Server::edge(&[local(relay)], &borrowed(&files.node("used", "edge-2"))).await?;
    // By this address the origin's certificate does not know it.
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], relay));
    let three = Server::edge(&[elsewhere], &borrowed(&files.node("used", "edge-3"))).await?;
    let _push = origin.publish_drawn("show")?;
    for server in [&origin, &one, &two] {
        server.playable("show", PATIENCE).await?;
    }
    let upstreams = async |edge: &Server| edge.metric("aqueduct_relay_upstreams", "").await;

    files.write("refused", "node:edge-1\n")?;
    origin
        .until("the node is sent away", PATIENCE, async || {
            let counted = origin.metric("aqueduct_relay_refused_total", "reason=\"revoked\"").await?;
            Ok(counted >= 1.0 && upstreams(&one).await? == 0.0)
        })
        .await?;
    files.write("refused", "# nobody any more\n")?;
    one.until("the node is let in again", PATIENCE, async || Ok(upstreams(&one).await? == 1.0)).await?;

    assert_eq!(upstreams(&three).await?, 0.0);
    // Key and certificate are no pair for a moment, which changes nothing.
    files.replace("renewed", "used", "origin-1-key.pem")?;
    files.replace("renewed", "used", "origin-1.pem")?;
    three.until("the renewed certificate", PATIENCE, async || Ok(upstreams(&three).await? == 1.0)).await?;
    three.playable("show", PATIENCE).await?;
    // Who was linked all the time has not noticed any of it: nobody closed its link. On a machine that stands still for more
    // than a second a link is lost to silence, whatever is renewed.
    let lost = async |labels| two.metric("aqueduct_relay_links_lost_total", labels).await;
    assert_eq!(lost("").await? - lost("reason=\"silent\"").await?, 0.0, "{}", two.log());
    assert!(Client::new().get(&two.playlist("show")).await?.status.is_success());
    two.conforms("show", 3).await?;
    Ok(())
}
