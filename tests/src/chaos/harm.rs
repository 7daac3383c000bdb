//! Guests who mean no good: garbage on the publishers' port, players that read next to nothing, players that ask for
//! nonsense and reset what they asked for.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::plan::STREAMS;
use super::stage::Stage;
use crate::check::playlist::{MediaPlaylist, resolve};
use crate::fetch::Client;
use crate::publisher::hostile::attacks;
use crate::random::Random;
use crate::{Outcome, all, now};

/// Attacks at once: more than the rate of handshakes allows would be refused for that alone.
const ATTACKS: usize = 8;
/// How long a server may be in doubt about who says nothing, and a crowded machine's air.
const DOUBT: Duration = Duration::from_secs(10);
const SLOW: usize = 6;
/// Requests that a slow player sends at once: their answers fill every buffer on the way.
const PIPELINED: usize = 120;
/// What a slow player's kernel keeps for it.
const BUFFER: u32 = 4_096;
/// The longest that a slow player may be let go on, on an idle machine.
const SHED: Duration = Duration::from_secs(12);
const RESETS: usize = 60;

/// Sends some of what no encoder sends. The server ends every one.
///
/// # Errors
///
/// When the port cannot be reached.
pub async fn garbage(stage: &Stage, seed: u64) -> Outcome {
    let address = stage.origin().server().await.rtmp_address();
    let (mut attacks, mut random) = (attacks(seed), Random::new(seed));
    while attacks.len() > ATTACKS {
        attacks.swap_remove(random.below(attacks.len() as u64) as usize);
    }
    // One that is always counted.
    attacks.extend(
        crate::publisher::hostile::attacks(seed).into_iter().filter(|attack| attack.name == "random chunks"),
    );
    for ending in all(attacks.iter().map(|attack| attack.run(&address, DOUBT))).await {
        ending?;
    }
    Ok(())
}

/// Something at an edge that takes long to send: a whole segment of the ladder's source.
async fn segment(stage: &Stage, edge: usize) -> Outcome<String> {
    let (client, node) = (Client::new(), stage.edge(edge));
    let index = node.url(&format!("/live/{}/index.m3u8", STREAMS[2]));
    let text = client.get(&index).await?.text()?;
    let media =
        text.lines().find(|line| !line.is_empty() && !line.starts_with('#')).ok_or("no media playlist")?;
    let media = resolve(&index, media);
    let list = MediaPlaylist::parse(&client.get(&media).await?.text()?).0.ok_or("no media playlist")?;
    let whole = list.complete().rfind(|segment| !segment.gap).ok_or("no segment")?;
    let url = resolve(&media, &whole.uri);
    Ok(url.replace(&node.url(""), ""))
}

/// Players that ask for a lot and take a byte a second, until they are shed.
///
/// # Errors
///
/// When one is not.
pub async fn slow_viewers(stage: &Stage, edge: usize) -> Outcome {
    // Where the edge has nothing at this moment, something that it says to anybody is asked for, many times.
    let path = segment(stage, edge).await.unwrap_or_else(|_| "/".into());
    let (life, patience) = (stage.ledger.life(edge + 1), stage.ledger.scaled(SHED));
    let players = (0..SLOW).map(|_| slow_viewer(stage, edge, &path, patience));
    for outcome in all(players).await {
        if stage.ledger.life(edge + 1) == life {
            outcome?;
        }
    }
    Ok(())
}

async fn slow_viewer(stage: &Stage, edge: usize, path: &str, patience: Duration) -> Outcome {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(BUFFER)?;
    let mut socket = socket.connect(stage.edge(edge).http).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(PIPELINED);
    let _ = timeout(Duration::from_secs(1), socket.write_all(request.as_bytes())).await;
    let deadline = now() + patience;
    while now() < deadline {
        sleep(Duration::from_secs(1)).await;
        // Written to while it reads nothing, a connection that was shed is found out by being written to.
        if socket.read_u8().await.is_err() || socket.write_all(b"GET ").await.is_err() {
            return Ok(());
        }
    }
    Err(format!("a player that takes a byte a second is let go on for {patience:?}").into())
}

/// Requests that are refused, blocking reloads that are reset, and a connection that is cut in the middle of a word.
///
/// # Errors
///
/// When nonsense is answered as if it were none.
pub async fn hostile_viewers(stage: &Stage, edge: usize, seed: u64) -> Outcome {
    let life = stage.ledger.life(edge + 1);
    let outcome = async {
        nonsense(stage, edge, seed).await?;
        resets(stage, edge).await
    };
    let outcome = outcome.await;
    if stage.ledger.life(edge + 1) == life { outcome } else { Ok(()) }
}

async fn nonsense(stage: &Stage, edge: usize, seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes();
    let requests = [
        get("/../../../../etc/passwd"),
        get("/live/show/%00index.m3u8"),
        get(&format!("/live/show/{}.m4s", random.next())),
        get("/live/nobody/index.m3u8?_HLS_msn=18446744073709551615"),
        b"FROB / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        random.bytes(4_096),
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), random.bytes(2_048)].concat(),
        b"GET /live/show/ind".to_vec(),
    ];
    let address = stage.edge(edge).http;
    for request in requests {
        let mut socket = TcpStream::connect(address).await?;
        let _ = socket.write_all(&request).await;
        let mut answer = [0; 12];
        let read = timeout(Duration::from_secs(3), socket.read(&mut answer)).await;
        if matches!(read, Ok(Ok(12))) && answer.starts_with(b"HTTP/1.1 2") {
            let request = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
            return Err(format!("{request:?} is answered as if it were no nonsense").into());
        }
    }
    Ok(())
}

/// Asks over HTTP/2 for what is not there yet, and takes it back at once, over and over.
async fn resets(stage: &Stage, edge: usize) -> Outcome {
    let client = Client::http2();
    let index = stage.edge(edge).url(&format!("/live/{}/index.m3u8", STREAMS[0]));
    let text = client.get(&index).await?.text()?;
    let Some(media) = text.lines().find(|line| !line.is_empty() && !line.starts_with('#')) else {
        return Ok(());
    };
    let media = resolve(&index, media);
    let Some(list) = MediaPlaylist::parse(&client.get(&media).await?.text()?).0 else { return Ok(()) };
    let Some((msn, part)) = list.edge().map(|edge| edge.next()) else { return Ok(()) };
    let url = format!("{media}?_HLS_msn={}&_HLS_part={part}", msn + 1);
    for _ in 0..RESETS {
        let _ = timeout(Duration::from_millis(10), client.get(&url)).await;
    }
    Ok(())
}
