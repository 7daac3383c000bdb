//! Who may feed whom: certificates of one authority with roles, tokens, and what becomes of those that have neither.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::world::{Authority, Drawing, Push, Server, borrowed, free_udp_port, local, room};

const START: Duration = Duration::from_secs(20);

/// Settings of a node with a certificate of this authority.
async fn node(authority: &Authority, name: &str, role: &str) -> Outcome<Vec<(&'static str, String)>> {
    authority.certify(Authority::OWN, name, role, &["127.0.0.1"]).await?;
    Ok(authority.node(Authority::OWN, name))
}

/// Waits until a server's log holds one of these words.
async fn says(server: &Server, words: &[&str]) -> Outcome {
    let what = format!("one of {words:?} in the log");
    let said = async || Ok(words.iter().any(|words| server.log().contains(words)));
    server.until(&what, START, said).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_certificates_of_the_authority_with_the_right_role_are_let_in() -> Outcome {
    let _room = room::quarter().await;
    let (own, other) = tokio::try_join!(Authority::new("own"), Authority::new("other"))?;
    let relay = free_udp_port()?;
    let origin = Server::origin(relay, &borrowed(&node(&own, "origin-1", "origin").await?)).await?;
    let at = [local(relay)];
    let (edge, wrong_role, stranger) = (
        node(&own, "edge-1", "edge").await?,
        node(&own, "origin-2", "origin").await?,
        node(&other, "edge-1", "edge").await?,
    );
    let edge = Server::edge(&at, &borrowed(&edge)).await?;
    let wrong_role = Server::edge(&at, &borrowed(&wrong_role)).await?;
    let stranger = Server::edge(&at, &borrowed(&stranger)).await?;
    let nobody = Server::edge(&at, &[]).await?;
    let _push = Push::file(&origin.rtmp_url("show"), &Drawing::default().path()?)?;
    origin.playable("show", START).await?;
    edge.playable("show", START).await?;
    says(&wrong_role, &["its certificate is an origin's"]).await?;
    says(&stranger, &["the certificate is not one that is known here"]).await?;
    says(&nobody, &["no certificate was shown"]).await?;
    says(&origin, &["no certificate was shown"]).await?;
    for refused in [&wrong_role, &stranger, &nobody] {
        assert!(refused.playable("show", Duration::from_secs(1)).await.is_err());
    }
    assert!(origin.metric("aqueduct_relay_refused_total", "credentials").await? >= 1.0);
    assert!(origin.metric("aqueduct_relay_refused_total", "handshake").await? >= 1.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_names_its_origin_and_another_origin_is_not_believed() -> Outcome {
    let _room = room::quarter().await;
    let (one, two) = (free_udp_port()?, free_udp_port()?);
    // Listening on every address, it prints the token.
    let everywhere = format!("0.0.0.0:{one}");
    let origin = Server::origin(one, &[("relay.listen", &everywhere)]).await?;
    let impostor = Server::origin(two, &[]).await?;
    says(&origin, &["--token aqr1_"]).await?;
    let log = origin.log();
    let token = log.split("--token ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let tokens = format!("[\"{}\"]", token.ok_or("no token is printed")?);
    let edge = Server::edge(&[local(one)], &[("relay.tokens", &tokens)]).await?;
    let fooled = Server::edge(&[local(two)], &[("relay.tokens", &tokens)]).await?;
    let _push = Push::file(&origin.rtmp_url("show"), &Drawing::default().path()?)?;
    origin.playable("show", START).await?;
    edge.playable("show", START).await?;
    says(&fooled, &["no link to the origin"]).await?;
    assert!(!fooled.log().contains("linked to the origin"), "{}", fooled.log());
    drop(impostor);
    Ok(())
}
