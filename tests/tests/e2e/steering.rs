//! Two groups of edges, our page and stock hls.js: players leave an edge that stops, or that is gone, and play on from the
//! other one.

use std::net::SocketAddr;
use std::time::Duration;

use aqueduct_tests::check::live::{self, Options};
use aqueduct_tests::fetch::Client;
use aqueduct_tests::publisher::clip::Clip;
use aqueduct_tests::publisher::script::{Script, Wrapping};
use aqueduct_tests::world::{Drawing, Player, Publishing, Server, browse, free_port, free_udp_port, room};
use aqueduct_tests::{Outcome, now};
use tokio::time::sleep;

const START: Duration = Duration::from_secs(20);
const ADDRESSES: [&str; 2] = ["127.0.0.1", "127.0.0.2"];

/// An origin and two edges, which players know by their address and as `a` and `b`; both on one port.
struct World {
    origin: Server,
    edges: [Option<Server>; 2],
    relay: SocketAddr,
    port: u16,
}

impl World {
    async fn start() -> Outcome<Self> {
        let (relay, port) = (free_udp_port()?, free_port()?);
        let origin = Server::origin(relay, &[("steering.enabled", "true")]).await?;
        let relay = SocketAddr::from(([127, 0, 0, 1], relay));
        let edges = [Some(edge(relay, port, 0).await?), Some(edge(relay, port, 1).await?)];
        Ok(Self { origin, edges, relay, port })
    }

    /// Pushes pictures, and waits until both edges have them.
    async fn show(&self, name: &str, seconds: i64) -> Outcome<Publishing> {
        let script =
            Script::play(&Clip::open(&Drawing::default().path()?)?, seconds * 1_000, Wrapping::Legacy);
        let publishing = self.origin.publish(name, script);
        self.origin.playable(name, START).await?;
        for edge in 0..2 {
            let (client, deadline) = (Client::new(), now() + START);
            while !client.get(&self.url(edge, name, "index.m3u8")).await?.status.is_success() {
                assert!(now() < deadline, "edge {edge} has nothing:\n{}", self.edge(edge).log());
                sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(publishing)
    }

    fn edge(&self, edge: usize) -> &Server {
        self.edges[edge].as_ref().expect("it runs")
    }

    fn url(&self, edge: usize, name: &str, file: &str) -> String {
        format!("http://{}:{}/live/{name}/{file}", ADDRESSES[edge], self.port)
    }

    /// What a player that plays from this edge is told.
    async fn told(&self, edge: usize, query: &str) -> Outcome<serde_json::Value> {
        let answer = Client::new().get(&self.url(edge, "show", &format!("steering.json{query}"))).await?;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"));
        Ok(serde_json::from_str(&answer.text()?)?)
    }

    /// Stops an edge as an upgrade does, once the other one serves who watched there.
    async fn drain(&mut self, edge: usize) -> Outcome {
        let mut leaving = self.edges[edge].take().ok_or("it runs")?;
        leaving.terminate().await?;
        self.serves(1 - edge, 10.0).await?;
        assert_eq!(leaving.ended(Duration::from_secs(30)).await?, Some(0), "{}", leaving.log());
        assert!(!leaving.log().contains("cut off"), "{}", leaving.log());
        Ok(())
    }

    /// Waits until this many parts went out of an edge.
    async fn serves(&self, edge: usize, parts: f64) -> Outcome {
        let deadline = now() + Duration::from_secs(60);
        while self.edge(edge).metric("aqueduct_http_requests_total", "class=\"part\"").await? < parts {
            assert!(now() < deadline, "edge {edge} serves nobody:\n{}", self.edge(edge).log());
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

async fn edge(relay: SocketAddr, port: u16, edge: usize) -> Outcome<Server> {
    let (ids, other) = (["a", "b"], 1 - edge);
    let listen = format!("{}:{port}", ADDRESSES[edge]);
    let others = format!("[{{ id = \"{}\", host = \"{}\" }}]", ids[other], ADDRESSES[other]);
    let settings = [
        ("edge.http.listen", &*listen),
        ("edge.https.listen", "off"),
        ("stop.deadline", "25s"),
        ("steering.enabled", "true"),
        ("steering.ttl", "2s"),
        ("steering.pathway", ids[edge]),
        ("steering.host", ADDRESSES[edge]),
        ("steering.pathways", &*others),
    ];
    Server::edge(&[relay], &settings).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_edges_serve_one_playlist_and_each_tells_its_players_where_else_to_go() -> Outcome {
    let _room = room::half().await;
    let world = World::start().await?;
    let _publishing = world.show("show", 60).await?;
    let client = Client::new();
    let mut texts = Vec::new();
    for edge in 0..2 {
        texts.push(client.get(&world.url(edge, "show", "index.m3u8")).await?.text()?);
    }
    assert_eq!(texts[0], texts[1]);
    assert!(texts[0].contains("#EXT-X-CONTENT-STEERING:SERVER-URI=\"steering.json\""), "{}", texts[0]);
    let told = world.told(0, "?_HLS_pathway=.&_HLS_throughput=1000000").await?;
    assert_eq!((told["VERSION"].as_u64(), told["TTL"].as_u64()), (Some(1), Some(2)));
    assert_eq!(told["PATHWAY-PRIORITY"], serde_json::json!([".", "b"]));
    assert_eq!(told["PATHWAY-CLONES"][0]["URI-REPLACEMENT"]["HOST"], "127.0.0.2");
    // One that came from there and asks here stays here.
    let told = world.told(0, "?base=b&_HLS_pathway=a").await?;
    assert_eq!(told["PATHWAY-PRIORITY"], serde_json::json!(["a", "."]));
    // An origin names the steering, and steers nobody itself.
    let url = format!("http://{}/live/show/steering.json", world.origin.http_address());
    let answer: serde_json::Value = serde_json::from_str(&client.get(&url).await?.text()?)?;
    assert_eq!(answer["PATHWAY-PRIORITY"], serde_json::json!(["."]));
    let options = Options { span: Duration::from_secs(6), ..Options::default() };
    let report = live::check(&world.url(1, "show", "index.m3u8"), options).await?;
    assert!(report.passed(), "{report}");
    Ok(())
}

/// A player opens the stream at edge `a`, which then goes away; it must go on playing from `b`.
async fn moves(player: Player, kill: bool) -> Outcome<serde_json::Value> {
    let mut world = World::start().await?;
    let _publishing = world.show("show", 90).await?;
    let url = match player {
        Player::Page => format!("http://{}:{}/watch/live/show", ADDRESSES[0], world.port),
        Player::Hls | Player::Shaka => world.url(0, "show", "index.m3u8"),
    };
    let seconds = if player == Player::Page { 28 } else { 40 };
    let playing = tokio::spawn(async move { browse(&url, player, seconds, &[]).await });
    world.serves(0, 30.0).await?;
    let served = world.edge(1).metric("aqueduct_http_requests_total", "class=\"part\"").await?;
    assert_eq!(served, 0.0, "the player is at both edges");
    if kill {
        world.edges[0] = None;
    } else {
        // Before it stops, the player has left it.
        world.drain(0).await?;
    }
    world.serves(1, 30.0).await?;
    let seen = playing.await??;
    assert!(seen["playedSeconds"].as_f64() > Some(12.0), "{seen}");
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_player_has_moved_before_its_edge_stops() -> Outcome {
    let _room = room::half().await;
    let seen = moves(Player::Hls, false).await?;
    // It had all the time: what it played from did not end under it.
    assert!(seen["longestStall"].as_f64() < Some(3.0), "{seen}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_player_moves_by_itself_when_its_edge_is_gone() -> Outcome {
    let _room = room::half().await;
    let seen = moves(Player::Hls, true).await?;
    // hls.js tries again for some seconds before it believes it.
    assert!(seen["longestStall"].as_f64() < Some(15.0), "{seen}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_page_has_moved_before_its_edge_stops() -> Outcome {
    let _room = room::half().await;
    let seen = moves(Player::Page, false).await?;
    assert!(seen["longestStall"].as_f64() < Some(3.0), "{seen}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_page_moves_by_itself_when_its_edge_is_gone() -> Outcome {
    let _room = room::half().await;
    let seen = moves(Player::Page, true).await?;
    // It asks once more, and goes: no patience for a server that is not there.
    assert!(seen["longestStall"].as_f64() < Some(8.0), "{seen}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_edges_are_upgraded_one_after_the_other_and_our_page_plays_on() -> Outcome {
    let _room = room::half().await;
    let mut world = World::start().await?;
    let _publishing = world.show("show", 120).await?;
    let url = format!("http://{}:{}/watch/live/show", ADDRESSES[0], world.port);
    let playing = tokio::spawn(async move { browse(&url, Player::Page, 50, &[]).await });
    world.serves(0, 30.0).await?;
    world.drain(0).await?;
    world.edges[0] = Some(edge(world.relay, world.port, 0).await?);
    world.drain(1).await?;
    world.edges[1] = Some(edge(world.relay, world.port, 1).await?);
    let seen = playing.await??;
    println!("{} s of 50 played, longest stall {} s", seen["playedSeconds"], seen["longestStall"]);
    assert!(seen["fatal"].is_null(), "{seen}");
    assert!(seen["playedSeconds"].as_f64() > Some(40.0), "{seen}");
    assert!(seen["longestStall"].as_f64() < Some(3.0), "{seen}");
    Ok(())
}

/// How many of forty players are sent to the other group.
async fn sent_away(server: &Server) -> Outcome<usize> {
    let (client, mut away) = (Client::new(), 0);
    for player in 0..40 {
        let query = format!("?_HLS_pathway=.&CMCD=sid%3D%22p{player}%22");
        let url = format!("http://{}/live/show/steering.json{query}", server.http_address());
        let told: serde_json::Value = serde_json::from_str(&client.get(&url).await?.text()?)?;
        away += usize::from(told["PATHWAY-PRIORITY"][0] == "b");
    }
    Ok(away)
}

/// `steering.mbits`: few connections may fill a network, and then as many players go as are too many for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_whose_network_is_full_sends_players_away_however_few_they_are() -> Outcome {
    let _room = room::quarter().await;
    let settings = [
        ("steering.enabled", "true"),
        ("steering.pathway", "a"),
        ("steering.host", "127.0.0.1"),
        ("steering.mbits", "2"),
        ("stop.deadline", "25s"),
        ("steering.pathways", "[{ id = \"b\", host = \"127.0.0.2\" }]"),
    ];
    let server = Server::start(&settings).await?;
    let script = Script::play(&Clip::open(&Drawing::default().path()?)?, 90_000, Wrapping::Legacy);
    let _publishing = server.publish("show", script);
    server.playable("show", START).await?;
    assert_eq!(sent_away(&server).await?, 0);
    // One client that loads as fast as it can: 2 Mbit/s are 250 kB a second.
    let (client, deadline) = (Client::new(), now() + START);
    loop {
        let list = server.media_playlist("show").await?;
        let index = server.playlist("show");
        let media = client.get(&index).await?.text()?;
        let media = media.lines().find(|line| !line.starts_with('#')).ok_or("no media playlist")?;
        let parts = list.lines().filter_map(|line| {
            line.strip_prefix("#EXT-X-PART:")?.split("URI=\"").nth(1)?.split('"').next().map(str::to_owned)
        });
        let base = index.replace("index.m3u8", media);
        for part in parts {
            client.get(&aqueduct_tests::check::playlist::resolve(&base, &part)).await?;
        }
        let away = sent_away(&server).await?;
        if away >= 10 {
            return Ok(());
        }
        assert!(now() < deadline, "nobody is sent away: {away}\n{}", server.log());
    }
}
