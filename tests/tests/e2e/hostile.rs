//! Bad input on every port: clear refusals, counters that move, and a good stream beside it that does not stall.

use std::time::Duration;

use aqueduct_tests::check::live::{self, Options};
use aqueduct_tests::check::rule;
use aqueduct_tests::fetch::Client;
use aqueduct_tests::publisher::hostile::{Ending, attacks};
use aqueduct_tests::random::Random;
use aqueduct_tests::world::{Drawing, Push, Server, room};
use aqueduct_tests::{Outcome, all, now};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const START: Duration = Duration::from_secs(15);
/// The longest that a server may be in doubt about a publisher that says nothing: RTMP-5, and some air.
const DOUBT: Duration = Duration::from_secs(8);
/// Connections that are opened and then say nothing.
const IDLE: usize = 500;

/// Follows a good stream while `harm` is done to the server.
async fn beside(server: &Server, seconds: u64, harm: impl Future<Output = Outcome>) -> Outcome {
    let _push = Push::file(&server.rtmp_url("good"), &Drawing::default().path()?)?;
    server.playable("good", START).await?;
    let options = Options { span: Duration::from_secs(seconds), ..Options::default() };
    let url = server.playlist("good");
    let (report, ()) = tokio::try_join!(live::check(&url, options), harm)?;
    assert!(report.passed(), "{report}\n{}", server.log());
    for stall in [rule::STALLED, rule::GAVE_UP] {
        assert!(!report.has(stall), "the good stream stalled:\n{report}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rtmp_attacks_are_refused_and_counted() -> Outcome {
    let _room = room::quarter().await;
    let server = Server::start(&[]).await?;
    beside(&server, 14, async {
        let (address, attacks) = (server.rtmp_address(), attacks(1));
        let mut waiting = Vec::new();
        // A few at a time: more than the rate of handshakes allows would all be refused for that alone.
        for some in attacks.chunks(6) {
            let endings = all(some.iter().map(|attack| attack.run(&address, DOUBT))).await;
            for (attack, ending) in some.iter().zip(endings) {
                if ending? == Ending::Waiting {
                    waiting.push(attack.name);
                }
            }
        }
        assert!(waiting.is_empty(), "still open after {DOUBT:?}: {waiting:?}");
        Ok(())
    })
    .await?;
    assert!(server.metric("aqueduct_ingest_refused_total", "").await? >= 5.0, "refusals are not counted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_on_every_port_harm_nobody() -> Outcome {
    let _room = room::quarter().await;
    let server = Server::start(&[]).await?;
    beside(&server, 12, async {
        let mut idle = Vec::new();
        for address in [server.http_address(), server.rtmp_address()] {
            for _ in 0..IDLE {
                // The server may refuse some; what matters is the stream beside them.
                if let Ok(Ok(socket)) = timeout(Duration::from_secs(1), TcpStream::connect(&address)).await {
                    idle.push(socket);
                }
            }
        }
        assert!(idle.len() > IDLE, "only {} connections could be opened", idle.len());
        tokio::time::sleep(Duration::from_secs(8)).await;
        Ok(())
    })
    .await
}

/// Sends bytes over a connection of their own; the status of the answer, or `None` if the server just closed.
async fn raw(address: &str, bytes: &[u8]) -> Outcome<Option<u16>> {
    let mut socket = TcpStream::connect(address).await?;
    let _ = timeout(Duration::from_secs(5), socket.write_all(bytes)).await;
    let mut answer = vec![0; 1_024];
    let read = timeout(Duration::from_secs(12), socket.read(&mut answer))
        .await
        .map_err(|_| "no answer, no close")?;
    let text = String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).into_owned();
    Ok(text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()))
}

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes();
    let long = "a".repeat(100_000);
    let headers: String = (0..5_000).map(|n| format!("X-{n}: y\r\n")).collect();
    vec![
        ("dots", get("/../../../../etc/passwd")),
        ("escaped dots", get("/live/%2e%2e/%2e%2e/etc/passwd")),
        ("twice escaped dots", get("/live/%252e%252e/passwd")),
        ("backslashes", get("/live/..\\..\\passwd")),
        ("a null", get("/live/good/%00index.m3u8")),
        ("broken escapes", get("/live/%zz/%")),
        ("bytes that are no UTF-8", get("/live/%ff%fe/index.m3u8")),
        ("a path of 100 kB", get(&format!("/{long}"))),
        ("a query of 100 kB", get(&format!("/live/good/index.m3u8?{long}"))),
        ("an absolute URL elsewhere", get("http://elsewhere.example/live/good/index.m3u8")),
        ("no stream", get("/live/none/index.m3u8")),
        (
            "a method of its own",
            b"FROB /live/good/index.m3u8 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        ),
        ("5 000 headers", format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes()),
        (
            "two lengths",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_vec(),
        ),
        (
            "a length of 2^64",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n".to_vec(),
        ),
        ("no HTTP at all", Random::new(5).bytes(4_096)),
        (
            "HTTP/2 and then noise",
            [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Random::new(6).bytes(4_096)].concat(),
        ),
        ("TLS to a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(40)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_refused_and_counted() -> Outcome {
    let _room = room::quarter().await;
    let server = Server::start(&[]).await?;
    beside(
        &server,
        14,
        Box::pin(async {
            for address in [server.http_address(), server.admin_address()] {
                let requests = requests();
                let answers = all(requests.iter().map(|(_, bytes)| raw(&address, bytes))).await;
                for ((name, _), answer) in requests.iter().zip(answers) {
                    let status = answer.map_err(|error| format!("{name} at {address}: {error}"))?;
                    // The page of a stream that may begin later, and an absolute form, may be answered in full.
                    let refused = status.is_none_or(|status| (400..=505).contains(&status));
                    assert!(
                        refused || *name == "an absolute URL elsewhere",
                        "{name} at {address}: {status:?}"
                    );
                }
            }
            absurd_directives(&server).await
        }),
    )
    .await?;
    assert!(server.metric("aqueduct_http_requests_total", "4xx").await? >= 10.0, "refusals are not counted");
    Ok(())
}

async fn absurd_directives(server: &Server) -> Outcome {
    let client = Client::new();
    let index = client.get(&server.playlist("good")).await?.text()?;
    let media = index.lines().find(|line| line.ends_with("media.m3u8")).ok_or("no media playlist")?;
    let media = format!("http://{}/live/good/{media}", server.http_address());
    for query in [
        "_HLS_msn=18446744073709551615",
        "_HLS_msn=99999999999999999999999999",
        "_HLS_msn=9007199254740991",
        "_HLS_msn=1&_HLS_part=18446744073709551616",
        "_HLS_msn=-5",
        "_HLS_msn=0x10",
        "_HLS_msn=%31%30%30%30%30",
        "_HLS_msn=",
        "_HLS_part=1",
        "_HLS_msn=1e3",
    ] {
        let before = now();
        let answer = client.get(&format!("{media}?{query}")).await?;
        assert_eq!(answer.status, 400, "{query}");
        assert!(now() - before < Duration::from_secs(2), "{query} was held");
    }
    Ok(())
}
