//! `docs/scaling.md` follows from the figures of `docs/performance.md`: its tables are computed here and compared. After new
//! measurements, `BLESS=1` writes them anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use aqueduct_tests::Outcome;
use aqueduct_tests::random::Random;
use aqueduct_tests::world::workspace;

/// Bits a second of a viewer: 3,128 kbit/s of picture and sound, and what carries them.
const VIEWER_MBITS: f64 = 3.2;
/// Parts a second of picture and of sound; each has a list as well.
const PARTS: f64 = 5.0;
/// How full a core and a network may be.
const CPU: f64 = 0.6;
const NETWORK: f64 = 0.7;

/// What a machine is.
struct Machine {
    name: &'static str,
    cores: f64,
    gigabits: f64,
}

const MACHINES: [Machine; 3] = [
    Machine { name: "2 cores, 10 Gbit/s", cores: 2.0, gigabits: 10.0 },
    Machine { name: "16 cores, 25 Gbit/s", cores: 16.0, gigabits: 25.0 },
    Machine { name: "64 cores, 100 Gbit/s", cores: 64.0, gigabits: 100.0 },
];
const AUDIENCES: [u32; 3] = [10_000, 100_000, 1_000_000];

fn page(name: &str) -> Outcome<(PathBuf, String)> {
    let path = workspace().join("docs").join(name);
    let text = std::fs::read_to_string(&path)?;
    Ok((path, text))
}

/// One figure of ours in the newest table, by how its row begins, in the unit that stands there.
fn figure(performance: &str, begins: &str) -> Outcome<f64> {
    let newest = performance.split("## Newest figures").nth(1).ok_or("there are no newest figures")?;
    let row = newest.lines().find(|line| line.starts_with(&format!("| {begins}")));
    let ours = row.and_then(|row| row.split('|').nth(2)).ok_or_else(|| format!("no row {begins}"))?;
    Ok(ours.split_whitespace().next().ok_or("an empty figure")?.parse()?)
}

/// Microseconds of CPU that a viewer takes each second.
struct Costs {
    /// As it was measured, players and all.
    plain: f64,
    secure: f64,
    quic: f64,
    /// Of the answers alone, over TLS: a part of the picture, and a small one.
    part: f64,
    small: f64,
}

impl Costs {
    fn read(performance: &str) -> Outcome<Self> {
        let plain = figure(performance, "1000 low-latency players: server CPU per viewer-second, all")?;
        let part = figure(performance, "part request (75.2 kB, HTTP/2 with TLS)")?;
        let small = figure(performance, "playlist request (1.9 kB, HTTP/2 with TLS)")?;
        let more_part = part - figure(performance, "part request (75.2 kB, HTTP/1.1)")?;
        let more_small = small - figure(performance, "playlist request (1.9 kB, HTTP/1.1)")?;
        // Small are the parts of the sound, and both lists of each part's time.
        let secure = plain + PARTS * more_part + 3.0 * PARTS * more_small;
        let quic = secure + PARTS * 0.8 * part + 3.0 * PARTS * 0.4 * small;
        Ok(Self { plain, secure, quic, part, small })
    }

    fn a_core(cost: f64) -> f64 {
        (1e6 * CPU / cost).floor()
    }
}

fn viewers_of(machine: &Machine, cost: f64) -> (f64, &'static str) {
    let by_cpu = Costs::a_core(cost) * machine.cores;
    let by_network = (machine.gigabits * 1_000.0 * NETWORK / VIEWER_MBITS).floor();
    if by_cpu < by_network { (by_cpu, "cores") } else { (by_network, "network") }
}

/// Edges for an audience: two at least, and a tenth more than are needed, so that one may be away.
fn edges(audience: u32, each: f64) -> u32 {
    let least = (f64::from(audience) / each).ceil();
    (least + (least / 10.0).ceil()).max(2.0) as u32
}

fn tables(costs: &Costs) -> String {
    let mut text =
        String::from("| a viewer takes each second | CPU | viewers a core at 60 % |\n|---|---|---|\n");
    for (way, cost) in [
        ("plain HTTP/1.1 (measured)", costs.plain),
        ("HTTP/2 over TLS", costs.secure),
        ("HTTP/3", costs.quic),
    ] {
        let _ = writeln!(text, "| {way} | {cost:.0} µs | {:.0} |", Costs::a_core(cost));
    }
    text.push_str("\n| edge, viewers over TLS | viewers | what is full first | edges for 10 k | 100 k | 1 M |\n|---|---|---|---|---|---|\n");
    for machine in MACHINES {
        let (each, first) = viewers_of(&machine, costs.secure);
        let counts = AUDIENCES.map(|audience| edges(audience, each).to_string()).join(" | ");
        let _ = writeln!(text, "| {} | {each:.0} | {first} | {counts} |", machine.name);
    }
    text.push_str("\n| streams on a core at 60 % | half of the viewers have a part after | 95 % | all |\n|---|---|---|---|\n");
    for streams in [1, 5, 20] {
        let [half, most, all] = queue(costs, streams);
        let _ = writeln!(text, "| {streams} | {half:.0} ms | {most:.0} ms | {all:.0} ms |");
    }
    text
}

/// One core under the burst that each part is: everybody's list is answered when a part is there, and then everybody asks for the
/// part. First come, first served; ten seconds of it. When the viewers of a stream have a part of the picture, in milliseconds.
fn queue(costs: &Costs, streams: u64) -> [f64; 3] {
    let viewers = Costs::a_core(costs.secure) as u64 / streams;
    // What was measured with players is more than the answers alone: every answer carries its share of that.
    let share = costs.secure / (PARTS * costs.part + 3.0 * PARTS * costs.small);
    let (part, small) = (costs.part * share, costs.small * share);
    let (mut random, mut bursts) = (Random::new(7), Vec::new());
    for _ in 0..streams {
        let phase = random.below(200_000) as f64;
        for number in 0..50 {
            let picture = phase + f64::from(number) * 200_000.0;
            bursts.push((picture, true));
            // Sound closes its part with the frame that crosses the end.
            bursts.push((picture + 10_000.0, false));
        }
    }
    bursts.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut free, mut waits) = (0.0f64, Vec::new());
    for (at, is_picture) in bursts {
        let media = if is_picture { part } else { small };
        for viewer in 1..=viewers {
            free = free.max(at) + small + media;
            if is_picture && viewer.is_multiple_of(8) {
                waits.push((free - at) / 1_000.0);
            }
        }
    }
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    [at(0.5), at(0.95), at(1.0)]
}

#[test]
fn the_scale_model_follows_from_what_was_measured() -> Outcome {
    const MARKS: [&str; 2] = ["<!-- computed -->\n", "<!-- to here -->\n"];
    let (path, text) = page("scaling.md")?;
    let costs = Costs::read(&page("performance.md")?.1)?;
    let computed = tables(&costs);
    let (before, rest) = text.split_once(MARKS[0]).ok_or("no mark")?;
    let (written, after) = rest.split_once(MARKS[1]).ok_or("no second mark")?;
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, format!("{before}{}{computed}{}{after}", MARKS[0], MARKS[1]))?;
        return Ok(());
    }
    assert_eq!(written, computed, "docs/performance.md has new figures: run this test with BLESS=1");
    // A core that is full to 60 % serves its last viewer before the next part is due.
    assert!(queue(&costs, 1)[2] < 200.0 && queue(&costs, 20)[1] < 200.0);
    Ok(())
}
