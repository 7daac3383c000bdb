//! The directory over a real NATS server: leases, takeover, lost connections.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use aqueduct_common::{Event, EventSender, StreamName, event};
use aqueduct_edge::cluster::{Config, Directory, EdgeRecord, Plan, Role};
use tokio::process::{Child, Command};

/// A wait that nothing but a fault exceeds, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A NATS server with a directory of its own; both go with it.
struct Nats {
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Nats {
    async fn start(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("aqueduct-nats-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let nats = Self { child: spawn(&dir, port), port, dir };
        nats.ready().await;
        nats
    }

    /// Waits until the server greets.
    async fn ready(&self) {
        let greeted = async {
            loop {
                if let Ok(stream) = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await {
                    let mut greeting = [0; 4];
                    let mut reader = stream;
                    if tokio::io::AsyncReadExt::read_exact(&mut reader, &mut greeting).await.is_ok() {
                        assert_eq!(&greeting, b"INFO");
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, greeted).await.expect("nats-server does not start");
    }

    async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    async fn restart(&mut self) {
        self.child = spawn(&self.dir, self.port);
        self.ready().await;
    }

    fn node(&self, name: &str, relay: &str) -> Directory {
        self.node_heard(name, relay, EventSender::detached())
    }

    fn node_heard(&self, name: &str, relay: &str, events: EventSender) -> Directory {
        let config = Config {
            nats: format!("nats://127.0.0.1:{}", self.port),
            node: name.into(),
            relay: relay.into(),
            lease: Duration::from_secs(3),
            ..Config::default()
        };
        Directory::start(Plan::try_from(config).unwrap(), events)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn spawn(dir: &std::path::Path, port: u16) -> Child {
    Command::new("nats-server")
        .args(["-js", "-sd", &dir.display().to_string(), "-a", "127.0.0.1", "-p", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("nats-server is not installed: scripts/setup.sh test")
}

fn stream() -> StreamName {
    "live/show".parse().unwrap()
}

async fn within<T>(what: &str, waited: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}

/// Waits until the directory says that the stream's origin is there, or nowhere; its lease's number.
async fn origin(watcher: &Directory, relay: Option<&str>) -> Option<u64> {
    let mut origins = watcher.origins();
    let told = origins.wait_for(|origins| {
        let holder = origins.iter().find(|origin| origin.streams.contains_key(&stream()));
        holder.map(|origin| origin.relay.as_str()) == relay
    });
    let told = within("the stream's origin", told).await.unwrap().clone();
    told.iter().find_map(|origin| origin.streams.get(&stream()).copied())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_when_the_origin_dies_and_when_it_leaves() {
    let nats = Nats::start("takeover").await;
    // A process of its own, as far as the directory can tell.
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let one = {
        let _inside = process.enter();
        nats.node("o1", "one:4443")
    };
    let (two, watcher) = (nats.node("o2", "two:4443"), nats.node("e1", ""));
    let first = one.claim(&stream());
    let begun = origin(&watcher, Some("one:4443")).await.unwrap();
    let second = two.claim(&stream());
    // Its own answer may come after the watcher's word.
    let mut roles = first.roles();
    let held = roles.wait_for(|role| matches!(role, Role::Holder { term } if *term == begun));
    within("its own lease", held).await.unwrap();
    assert_eq!(second.role(), Role::Standby);
    // The process is gone without a word: its tasks and its connection end, and nothing is given back.
    process.shutdown_background();
    let taken = origin(&watcher, Some("two:4443")).await.unwrap();
    assert!(taken > begun, "{taken} after {begun}");
    // It leaves in order: at once.
    let third = nats.node("o3", "three:4443");
    let claim = third.claim(&stream());
    two.close().await;
    assert!(origin(&watcher, Some("three:4443")).await.unwrap() > taken);
    drop(second);
    drop(claim);
    origin(&watcher, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_goes_on_without_nats_and_it_is_told_and_counted() {
    let mut nats = Nats::start("gone").await;
    let (events, mut heard) = event::bus(1_000);
    let (one, watcher) = (nats.node("o1", "one:4443"), nats.node_heard("e1", "", events));
    let claim = one.claim(&stream());
    let term = origin(&watcher, Some("one:4443")).await;
    nats.kill().await;
    let mut downs = 0;
    let counted = async {
        while let Some(event) = heard.recv().await {
            let Event::Cluster(tick) = event else { continue };
            downs += tick.downs;
            if !tick.up && downs >= 2 {
                assert_eq!((tick.origins, tick.edges), (1, 0));
                return;
            }
        }
    };
    within("the loss is counted", counted).await;
    let mut roles = claim.roles();
    within("unconfirmed", roles.wait_for(|role| matches!(role, Role::Unconfirmed { .. }))).await.unwrap();
    // Longer than a lease after it is gone, what was known is still known.
    assert_eq!(origin(&watcher, Some("one:4443")).await, term);
    nats.restart().await;
    within("confirmed", roles.wait_for(|role| matches!(role, Role::Holder { .. }))).await.unwrap();
    origin(&watcher, Some("one:4443")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_tell_where_they_live_and_what_changes() {
    let nats = Nats::start("edges").await;
    let (edge, watcher) = (nats.node("e1", ""), nats.node("e2", ""));
    let record = EdgeRecord {
        pathway: "fra".into(),
        host: "fra.example".into(),
        load: 400,
        fed: true,
        ..EdgeRecord::default()
    };
    let mut edges = watcher.edges();
    edge.report(record.clone());
    within("the edge", edges.wait_for(|edges| edges.iter().any(|edge| edge.said.load == 400))).await.unwrap();
    edge.report(EdgeRecord { draining: true, ..record });
    within("its drain", edges.wait_for(|edges| edges.iter().any(|edge| edge.said.draining))).await.unwrap();
    edge.close().await;
    within("its end", edges.wait_for(|edges| edges.is_empty())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_want_one_stream_agree_on_one() {
    let nats = Nats::start("many").await;
    let nodes: Vec<_> = (0..8)
        .map(|n| {
            nats.node(&format!("o{n}"), &format!("{}:4443", ["a", "b", "c", "d", "e", "f", "g", "h"][n]))
        })
        .collect();
    let claims: Vec<_> = nodes.iter().map(|node| node.claim(&stream())).collect();
    let watcher = nats.node("e1", "");
    let mut origins = watcher.origins();
    let known =
        origins.wait_for(|origins| origins.len() == 8 && origins.iter().any(|o| !o.streams.is_empty()));
    within("all origins", known).await.unwrap();
    for _ in 0..20 {
        let holders = claims.iter().filter(|claim| matches!(claim.role(), Role::Holder { .. })).count();
        assert!(holders <= 1, "{holders}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(origins.borrow().iter().filter(|origin| !origin.streams.is_empty()).count(), 1);
}

#[tokio::test]
async fn in_memory_a_node_knows_itself() {
    let plan = Plan::try_from(Config { node: "only".into(), relay: "here:4443".into(), ..Config::default() });
    let directory = Directory::start(plan.unwrap(), EventSender::detached());
    let claim = directory.claim(&stream());
    origin(&directory, Some("here:4443")).await;
    assert!(matches!(claim.role(), Role::Holder { .. }));
    drop(claim);
    origin(&directory, None).await;
}
