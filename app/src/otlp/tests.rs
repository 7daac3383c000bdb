//! Against a collector that reads what it is sent.

use std::time::Instant;

use aqueduct_common::event::{EdgeTick, Protocol};
use aqueduct_common::{Event, Secret, StreamName};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::client::Url;

/// What a collector was sent: the head of the request, and its body.
type Taken = (String, Vec<u8>);

/// Answers with each of these statuses in turn, then with 200.
async fn collector(listener: TcpListener, statuses: Vec<u16>, taken: mpsc::Sender<Taken>) {
    let mut statuses = statuses.into_iter();
    while let Ok((mut socket, _)) = listener.accept().await {
        let mut bytes = Vec::new();
        let (head, body) = loop {
            let mut piece = [0; 4_096];
            let length = socket.read(&mut piece).await.unwrap();
            assert!(length > 0, "the request breaks off");
            bytes.extend_from_slice(&piece[..length]);
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if bytes.len() - end - 4 >= length.parse::<usize>().unwrap() {
                break (head, bytes[end + 4..].to_vec());
            }
        };
        let status = statuses.next().unwrap_or(200);
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        socket.write_all(answer.as_bytes()).await.unwrap();
        taken.send((head, body)).await.unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
fn turned(board: &Board, seconds: i64) {
    board.turn(Instant::now(), 1_763_634_000_000 + seconds * 1_000, (0, 0));
}

#[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
fn hear(board: &Board, event: &Event) {
    board.record(event, Instant::now());
}

fn show() -> StreamName {
    "live/show".parse().unwrap()
}

fn goes_live(board: &Board) {
    let started = Event::PublishStarted {
        stream: show(),
        protocol: Protocol::Rtmp,
        encoder: "obs".into(),
        resumed: false,
    };
    let live = Event::PackagerLive {
        stream: show(),
        epoch: "e1".into(),
        target_duration: 1,
        part_target_micros: 200_000,
    };
    let edge = EdgeTick { viewers: vec![(show(), 7)], ..EdgeTick::default() };
    [started, live, Event::Edge(edge)].iter().for_each(|event| hear(board, event));
}

async fn plan(statuses: Vec<u16>) -> (OtlpPlan, mpsc::Receiver<Taken>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Url::open(&format!("http://{}/otlp", listener.local_addr().unwrap())).unwrap();
    let (taken, taking) = mpsc::channel(64);
    tokio::spawn(collector(listener, statuses, taken));
    let headers = vec![("x-key".to_owned(), Secret::new("secret".to_owned()))];
    (OtlpPlan { endpoint, interval: Duration::from_millis(50), headers }, taking)
}

#[tokio::test]
async fn metrics_and_sessions_reach_a_collector_that_is_away_at_first() {
    let (plan, mut taking) = plan(vec![503]).await;
    let board = Board::default();
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(board.clone(), Some(plan), stop.clone()));
    tokio::task::yield_now().await;
    let (mut first, mut viewers, mut session, mut waterfall) = (None, false, false, false);
    let mut seconds = 0;
    while !(viewers && session && waterfall) {
        seconds += 1;
        match seconds {
            2 => goes_live(&board),
            9 => hear(&board, &Event::StreamExpired { stream: show() }),
            _ => {}
        }
        turned(&board, seconds);
        let (head, body) = taking.recv().await.unwrap();
        assert!(
            head.contains("content-type: application/x-protobuf") && head.contains("x-key: secret"),
            "{head}"
        );
        first.get_or_insert_with(|| head.clone());
        if head.starts_with("POST /otlp/v1/metrics ") {
            let request = ExportMetricsServiceRequest::decode(&*body).unwrap();
            let [metrics] = &request.resource_metrics[..] else { panic!("one resource") };
            let resource = metrics.resource.as_ref().unwrap();
            assert!(resource.attributes.contains(&text("service.name", "aqueduct")));
            let found = format!("{:?}", metrics.scope_metrics[0].metrics);
            viewers |= found.contains("aqueduct_viewers") && found.contains("live/show");
        } else {
            assert!(head.starts_with("POST /otlp/v1/traces "), "{head}");
            let request = ExportTraceServiceRequest::decode(&*body).unwrap();
            for span in &request.resource_spans[0].scope_spans[0].spans {
                session |= span.name == "publish"
                    && span.attributes.contains(&text("aqueduct.stream", "live/show"))
                    && span.end_time_unix_nano >= span.start_time_unix_nano;
                waterfall |= span.name == "package" && !span.parent_span_id.is_empty();
            }
        }
    }
    assert!(first.unwrap().starts_with("POST /otlp/v1/metrics"));
    stop.cancel();
    // What the last turn sends is taken as well.
    tokio::spawn(async move { while taking.recv().await.is_some() {} });
    running.await.unwrap();
}

#[tokio::test]
async fn what_waits_is_bounded_and_what_is_dropped_is_counted() {
    let mut queue = Queue::default();
    for n in 0..WAITING as u64 + 5 {
        queue.add("/v1/metrics", n.to_be_bytes().to_vec());
    }
    assert_eq!((queue.waiting.len(), queue.dropped), (WAITING, 5));
    assert_eq!(&*queue.waiting[0].body, 5u64.to_be_bytes());
    // What a collector refuses for good is not tried again.
    let (plan, mut taking) = plan(vec![400; 3]).await;
    let (board, stop) = (Board::default(), CancellationToken::new());
    let running = tokio::spawn(run(board.clone(), Some(plan), stop.clone()));
    for _ in 0..5 {
        taking.recv().await.unwrap();
    }
    stop.cancel();
    tokio::spawn(async move { while taking.recv().await.is_some() {} });
    running.await.unwrap();
    let dropped = "aqueduct_otlp_dropped_total 3\n";
    assert!(board.metrics().contains(dropped), "{}", board.metrics());
}
