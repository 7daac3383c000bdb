//! The checker's driver is itself checked: a server that gets everything about HTTP wrong is found out.

use std::time::Duration;

use crate::planted::{Moment, Rendition, media};
use aqueduct_tests::Outcome;
use aqueduct_tests::check::Linter;
use aqueduct_tests::check::live::{self, Options};
use aqueduct_tests::check::rule::{self, Rule};
use aqueduct_tests::world::room;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a file server with no idea of HLS answers; segments are missing.
fn answer(target: &str, first_block: bool) -> (u16, Vec<u8>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let rendition = if path.contains("/a0/") { Rendition::Audio } else { Rendition::Video };
    let name = path.rsplit('/').next().unwrap_or_default();
    let moment = Moment { rendition, msn: 9, part: 2 };
    match name {
        "index.m3u8" => (200, crate::planted::multivariant().into_bytes()),
        "media.m3u8" if query == "_HLS_msn=0&_HLS_part=0" => (400, Vec::new()),
        "media.m3u8" if first_block && query.contains("_HLS_part") => (503, Vec::new()),
        "media.m3u8" => (200, crate::planted::playlist(moment).into_bytes()),
        "init.mp4" => (200, media::init(rendition)),
        name if name.starts_with('s') => (404, Vec::new()),
        name => {
            let number = name.trim_start_matches('p').trim_end_matches(".m4s").parse::<u64>().ok();
            match number.map(|number| (number / crate::planted::PARTS, number % crate::planted::PARTS)) {
                Some((9, 3..)) => (404, Vec::new()),
                Some((msn @ 1..10, part)) => (200, media::part(rendition, msn, part)),
                _ => (200, b"hello".to_vec()),
            }
        }
    }
}

async fn serve(mut socket: TcpStream, first: bool) -> Outcome {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head);
    let mut words = text.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, body) = if method == "GET" { answer(target, first) } else { (405, Vec::new()) };
    let mut out =
        format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())
            .into_bytes();
    out.extend_from_slice(&body);
    socket.write_all(&out).await?;
    Ok(())
}

/// Rules about fetching, which a server that knows no HLS breaks.
pub(crate) const FETCHING: [Rule; 16] = [
    rule::UNFETCHABLE,
    rule::HINT_UNSERVED,
    rule::UNBLOCKED,
    rule::GAVE_UP,
    rule::BAD_DIRECTIVE,
    rule::TOO_FAR,
    rule::OLD_DIRECTIVE,
    rule::FUTURE_NAME,
    rule::CONTENT_TYPE,
    rule::CACHE_CONTROL,
    rule::GZIP,
    rule::ETAG,
    rule::RANGE,
    rule::HEAD,
    rule::CORS,
    rule::DATE,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_knows_no_hls_is_found_out() -> Outcome {
    let _room = room::quarter().await;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/live/x/index.m3u8", listener.local_addr()?);
    let serving = tokio::spawn(async move {
        for number in 0.. {
            let Ok((socket, _)) = listener.accept().await else { return };
            tokio::spawn(serve(socket, number < 12));
        }
    });
    let report =
        live::check(&url, Options { span: Duration::from_millis(900), ..Options::default() }).await?;
    serving.abort();
    let missed: Vec<_> = FETCHING.iter().filter(|rule| !report.has(**rule)).collect();
    assert!(missed.is_empty(), "not found: {missed:?}\n{report}");
    assert!(!report.passed());
    Ok(())
}

#[test]
fn an_init_uri_that_is_reused_is_found_out() {
    let mut linter = Linter::default();
    linter.multivariant(crate::planted::INDEX, &crate::planted::multivariant(), Duration::ZERO);
    let url = Rendition::Video.url();
    linter.init(url, "init.mp4", media::init(Rendition::Video).into(), Duration::ZERO);
    linter.init(url, "init.mp4", media::init(Rendition::Audio).into(), Duration::ZERO);
    assert!(linter.report(Duration::ZERO).has(rule::INIT_REUSED));
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_an_error_and_no_report() {
    let options = Options { wait: Duration::from_millis(300), ..Options::default() };
    assert!(live::check("http://127.0.0.1:1/live/x/index.m3u8", options).await.is_err());
}
