//! One run from its first moment to its last.

use aqueduct_edge::route::At;
use aqueduct_edge::{Answer, Store};

use crate::node::Node;
use crate::origin::Origin;
use crate::plan::{LENGTH, Micros, Plan, TICK};
use crate::player::Player;
use crate::shown::Shown;

/// What was seen in one run, or in all of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    pub runs: u64,
    pub faults: u64,
    pub players: u64,
    /// Different lists that nodes showed, each of which was read and judged.
    pub lists: u64,
    pub stalls: u64,
    pub stalled: Micros,
    /// Time from joining to the first picture, of all players together.
    pub starting: Micros,
}

impl Outcome {
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.faults += other.faults;
        self.players += other.players;
        self.lists += other.lists;
        self.stalls += other.stalls;
        self.stalled += other.stalled;
        self.starting += other.starting;
    }
}

/// The nodes of a run.
struct World {
    origin: Origin,
    edges: Vec<Node>,
    /// What is seen of the origin, and then of each edge.
    shown: Vec<Shown>,
}

impl World {
    fn new(plan: &Plan) -> Self {
        let edges: Vec<Node> = (0..plan.edges.len()).map(|index| Node::new(index, plan)).collect();
        let shown = (0..=edges.len()).map(|_| Shown::default()).collect();
        Self { origin: Origin::new(plan), edges, shown }
    }

    fn turn(&mut self, plan: &Plan, now: Micros) {
        let life = self.origin.life;
        self.origin.turn(plan, now);
        if self.origin.life != life {
            // A process that begins anew has shown nothing yet; what it goes on with is judged at the edges.
            self.shown[0] = Shown::default();
        }
        for index in 0..self.edges.len() {
            self.fed(plan, index, |edge, window, life| edge.turn(plan, now, life, window));
        }
    }

    /// Lets one edge act with the window that it is fed from.
    fn fed(
        &mut self,
        plan: &Plan,
        index: usize,
        act: impl FnOnce(&mut Node, Option<&aqueduct_edge::relay::window::Window>, u64),
    ) {
        let (above, edge) = self.edges.split_at_mut(index);
        match plan.edges[index].above {
            None => act(&mut edge[0], Some(&self.origin.window), self.origin.life),
            Some(upper) => {
                let channel = "live/show".parse().ok().and_then(|name| above[upper].hub.channel(&name));
                let window = channel.as_ref().map(|channel| channel.window());
                act(&mut edge[0], window.as_ref().and_then(|window| window.as_ref()), self.origin.life);
            }
        }
    }

    /// An edge, and those above it, take what somebody asks for.
    fn asked(&mut self, plan: &Plan, node: Option<usize>, path: &str) {
        for edge in plan.way(node).into_iter().rev() {
            self.fed(plan, edge, |edge, window, _| edge.asked(path, window));
        }
    }

    fn at(&mut self, node: Option<usize>) -> (&Store, &mut Shown) {
        match node {
            None => (&self.origin.store, &mut self.shown[0]),
            Some(edge) => (&self.edges[edge].store, &mut self.shown[edge + 1]),
        }
    }
}

/// Runs a plan; what must not be is told in words.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    let mut world = World::new(plan);
    let mut players: Vec<Player> = plan.seats.iter().map(Player::new).collect();
    let mut now = 0;
    while now < LENGTH {
        world.turn(plan, now);
        for player in &mut players {
            let node = player.seat.node;
            if player.seat.joins.div_ceil(TICK) * TICK == now {
                world.asked(plan, node, "index.m3u8");
            }
            let paths: Vec<String> = player.asks().map(str::to_owned).collect();
            paths.iter().for_each(|path| world.asked(plan, node, path));
            let (store, shown) = world.at(node);
            let told = player.turn(store, shown, now, TICK);
            told.map_err(|why| format!("at {} ms, node {node:?}: {why}", now / 1_000))?;
        }
        now += TICK;
    }
    players.iter_mut().for_each(|player| player.finish(now));
    judge(plan, &players)?;
    converged(&mut world, plan)?;
    let stalls = players.iter().flat_map(|player| &player.stalls);
    Ok(Outcome {
        runs: 1,
        faults: plan.faults.len() as u64,
        players: players.len() as u64,
        lists: world.shown.iter().map(|shown| shown.seen).sum(),
        stalls: stalls.clone().count() as u64,
        stalled: stalls.map(|stall| stall.to - stall.from).sum(),
        starting: players.iter().filter_map(|player| Some(player.started? - player.seat.joins)).sum(),
    })
}

fn judge(plan: &Plan, players: &[Player]) -> Result<(), String> {
    for (number, player) in players.iter().enumerate() {
        let node = player.seat.node;
        let started = player.started.ok_or_else(|| format!("player {number} at {node:?} never played"))?;
        let longest = 3_000_000;
        if started - player.seat.joins > longest && !plan.excuses(node, player.seat.joins, started) {
            return Err(format!(
                "player {number} at {node:?} began after {} ms",
                (started - player.seat.joins) / 1_000
            ));
        }
        for stall in &player.stalls {
            if !plan.excuses(node, stall.from, stall.to) || stall.to >= LENGTH {
                let (from, to) = (stall.from / 1_000, stall.to / 1_000);
                return Err(format!(
                    "player {number} at {node:?} stalled from {from} to {to} ms: {:?}",
                    plan.faults
                ));
            }
        }
    }
    Ok(())
}

/// In the end every edge that takes a list shows what the origin shows, or is a few parts behind it.
fn converged(world: &mut World, plan: &Plan) -> Result<(), String> {
    let lines: Vec<(usize, String)> = (0..world.edges.len())
        .flat_map(|edge| {
            world.edges[edge].lines().iter().map(move |line| (edge, line.clone())).collect::<Vec<_>>()
        })
        .collect();
    for (edge, line) in lines.into_iter().filter(|(_, line)| !line.is_empty()) {
        let path = format!("{line}/media.m3u8");
        let newest = |store: &Store| match store.find("live/show")?.read(&path, At::Now) {
            Answer::Ready(entry) => entry.list().map(|list| (list.version.msn, list.version.part)),
            _ => None,
        };
        let (origin, own) = (newest(&world.origin.store), newest(&world.edges[edge].store));
        let Some((msn, _)) = origin else { continue };
        if own.is_none_or(|(own, _)| own + 1 < msn) {
            return Err(format!(
                "edge {edge} ends with {own:?} of {path}, the origin with {origin:?}: {:?}",
                plan.faults
            ));
        }
    }
    Ok(())
}
