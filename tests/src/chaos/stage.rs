//! The nodes of a run and the links between them: one origin, two edges that players know by address, as processes.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use tokio::sync::{Mutex, RwLock, RwLockReadGuard};

use super::ledger::Ledger;
use super::plan::{EDGES, STREAMS};
use crate::fetch::Client;
use crate::linkproxy::{Link, Shape};
use crate::world::{Server, Setting, free_port, free_udp_port};
use crate::{Outcome, now};

/// Where edges listen, at one port; steering tells them apart by it.
const ADDRESSES: [&str; 2] = ["127.0.0.1", "127.0.0.2"];
/// Between origin and edge when nothing is wrong.
pub const CALM: Shape = Shape {
    delay: Duration::from_millis(5),
    jitter: Duration::from_millis(2),
    loss_millionths: 0,
    rate: None,
    seed: 1,
};
const START: Duration = Duration::from_secs(30);

/// A process that is killed and started again at the same addresses.
pub struct Node {
    /// `origin`, `edge a` or `edge b`.
    pub name: String,
    /// Its number: 0 is the origin.
    pub number: usize,
    /// Where players find it.
    pub http: SocketAddr,
    server: RwLock<Server>,
}

/// All nodes, and what keeps faults of one place apart.
pub struct Stage {
    /// The origin, then edges.
    pub nodes: [Node; 3],
    /// From each edge to the origin.
    pub links: [Link; 2],
    /// The record of the run.
    pub ledger: Ledger,
    /// Held for writing while the origin is away.
    pub origin_stays: RwLock<()>,
    /// One fault at a time of an edge and its link.
    pub edges: [Mutex<()>; 2],
    /// Of the edges one is up at least.
    pub one_edge: Mutex<()>,
    /// One fault at a time of a publisher and its worker.
    pub streams: [Mutex<()>; 3],
}

impl Stage {
    /// Starts everything.
    ///
    /// # Errors
    ///
    /// When a server does not start.
    pub async fn start() -> Outcome<Self> {
        let relay = SocketAddr::from(([127, 0, 0, 1], free_udp_port()?));
        let origin = origin(relay).await?;
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let links = [Link::udp(local, relay, CALM).await?, Link::udp(local, relay, CALM).await?];
        let port = free_port()?;
        let (a, b) = tokio::try_join!(edge(links[0].address, port, 0), edge(links[1].address, port, 1))?;
        let nodes = [Node::new("origin", 0, origin)?, Node::new("edge a", 1, a)?, Node::new("edge b", 2, b)?];
        Ok(Self {
            nodes,
            links,
            ledger: Ledger::new(),
            origin_stays: RwLock::default(),
            edges: Default::default(),
            one_edge: Mutex::default(),
            streams: Default::default(),
        })
    }

    /// The origin.
    pub const fn origin(&self) -> &Node {
        &self.nodes[0]
    }

    /// An edge.
    pub const fn edge(&self, edge: usize) -> &Node {
        &self.nodes[edge + 1]
    }

    /// Waits until players can begin: every stream is at both edges, and the ladder has its rung.
    ///
    /// # Errors
    ///
    /// When one is not there.
    pub async fn playable(&self) -> Outcome {
        for node in &self.nodes {
            let server = node.server().await;
            for name in STREAMS {
                let text = if name == "ladder" { "RESOLUTION=214x120" } else { "#EXTM3U" };
                server.names(name, text, START).await?;
            }
        }
        Ok(())
    }
}

impl Node {
    fn new(name: &str, number: usize, server: Server) -> Outcome<Self> {
        let http = server.http_address().parse()?;
        Ok(Self { name: name.to_owned(), number, http, server: RwLock::new(server) })
    }

    /// The process as it is now.
    pub async fn server(&self) -> RwLockReadGuard<'_, Server> {
        self.server.read().await
    }

    /// The sum of a metric's series.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub async fn metric(&self, name: &str, labels: &str) -> Outcome<f64> {
        self.server().await.metric(name, labels).await
    }

    /// `http://HOST:PORT` and a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// Kills it.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn kill(&self, ledger: &Ledger) -> Outcome {
        ledger.turn(self.number);
        let mut server = self.server.write().await;
        server.kill().await?;
        self.read_log(&server, ledger);
        Ok(())
    }

    /// Drains it as its operator does, and waits until it has ended.
    ///
    /// # Errors
    ///
    /// When it does not end by itself with 0.
    pub async fn drain(&self, ledger: &Ledger) -> Outcome {
        let url = self.server().await.admin("/api/v1/drain");
        ledger.turn(self.number);
        let answer = Client::new().send(Method::POST, &url, &[]).await?;
        if answer.status.as_u16() != 202 {
            return Err(format!("{url} answers {}", answer.status).into());
        }
        let mut server = self.server.write().await;
        let code = server.ended(START).await?;
        self.read_log(&server, ledger);
        if code == Some(0) {
            Ok(())
        } else {
            Err(format!("a drained {} ended with {code:?}", self.name).into())
        }
    }

    /// Starts it again.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn revive(&self, ledger: &Ledger) -> Outcome {
        let mut server = self.server.write().await;
        let next = server.again().await?;
        *server = next;
        ledger.turn(self.number);
        Ok(())
    }

    /// Says so if it has ended by itself.
    pub async fn has_died(&self) -> Option<String> {
        let mut server = self.server.write().await;
        let status = server.exited().ok()??;
        Some(format!("{} ended by itself: {status}\n{}", self.name, tail(&server.log(), 40)))
    }

    /// Memory that it has, in MiB.
    pub async fn resident(&self) -> Option<f64> {
        let pid = self.server().await.pid()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib / 1_024.0)
    }

    /// No panic is in its log.
    pub fn read_log(&self, server: &Server, ledger: &Ledger) {
        for line in server.log().lines().filter(|line| line.contains("panicked")) {
            ledger.broken(format!("{}: {line}", self.name));
        }
    }

    /// Waits until it answers that it is ready.
    pub async fn is_ready(&self, patience: Duration) -> bool {
        let (client, url, deadline) = (Client::new(), self.server().await.admin("/readyz"), now() + patience);
        while now() < deadline {
            if client.get(&url).await.is_ok_and(|answer| answer.status.is_success()) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }
}

/// The last lines of a log.
pub fn tail(log: &str, lines: usize) -> String {
    let all: Vec<&str> = log.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

async fn origin(relay: SocketAddr) -> Outcome<Server> {
    let address = |port: u16| format!("127.0.0.1:{port}");
    let (rtmp, http, admin) = (address(free_port()?), address(free_port()?), address(free_port()?));
    let settings: [Setting<'_>; 7] = [
        ("ingest.rtmp.listen", &rtmp),
        ("edge.http.listen", &http),
        ("edge.https.listen", "off"),
        ("admin.listen", &admin),
        ("transcode.mode", "auto"),
        // Only one stream is larger than that.
        ("transcode.ladder", "[{height=120,bitrate=80000}]"),
        ("steering.enabled", "true"),
    ];
    Server::origin(relay.port(), &settings).await
}

async fn edge(from: SocketAddr, port: u16, edge: usize) -> Outcome<Server> {
    let other = 1 - edge;
    let (listen, admin) = (format!("{}:{port}", ADDRESSES[edge]), format!("127.0.0.1:{}", free_port()?));
    let others = format!("[{{ id = \"{}\", host = \"{}\" }}]", EDGES[other], ADDRESSES[other]);
    let settings: [Setting<'_>; 9] = [
        ("edge.http.listen", &listen),
        ("edge.https.listen", "off"),
        ("admin.listen", &admin),
        ("edge.limits.slow_reader_over", "3s"),
        ("stop.deadline", "12s"),
        ("steering.enabled", "true"),
        ("steering.ttl", "2s"),
        ("steering.pathway", EDGES[edge]),
        ("steering.pathways", &others),
    ];
    let host = [("steering.host", ADDRESSES[edge])];
    Server::edge(&[from], &[&settings[..], &host[..]].concat()).await
}
