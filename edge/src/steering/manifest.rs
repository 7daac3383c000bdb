//! The steering manifest: where one player is to go. Pure (rfc8216bis, "Content Steering").
//!
//! All edges serve the same multivariant playlist, byte for byte, so it names no host: its variants are the pathway `.`,
//! which is the group that the player got it from. The other groups are clones of it under their own host names. A player
//! that has moved is sent to its new group for the next manifest as well, which learns from the query what `.` means to it.

use std::time::Duration;

use serde::Serialize;

use super::judge::{Group, Standing};

/// The pathway of variants that name none.
const HERE: &str = ".";
/// Query parameter that says which group `.` is to the player.
const BASE: &str = "base";

/// Who asks, from which URL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    /// The path as it was asked for, token and all.
    pub(crate) path: &'a str,
    /// The query.
    pub(crate) query: &'a str,
    /// Port of the URL, where it names one.
    pub(crate) port: Option<u16>,
    /// A number that the player keeps, evenly spread over all players.
    pub(crate) spread: u64,
}

/// As it is sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub(crate) struct Manifest {
    version: u8,
    ttl: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reload_uri: Option<String>,
    pathway_priority: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pathway_clones: Vec<PathwayClone>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct PathwayClone {
    base_id: &'static str,
    id: String,
    uri_replacement: Replacement,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct Replacement {
    host: String,
}

/// Tells a player that asks the group `own` where to go.
pub(crate) fn answer(groups: &[Group], own: &str, ttl: Duration, asker: Asker<'_>) -> Manifest {
    let known = |id: &str| groups.iter().find(|group| group.id == id);
    let base = parameter(asker.query, BASE).filter(|base| known(base).is_some()).unwrap_or(own);
    let at = match parameter(asker.query, "_HLS_pathway") {
        Some(HERE) => base,
        Some(pathway) if known(pathway).is_some() => pathway,
        _ => own,
    };
    let order = order(groups, at, asker.spread);
    let named = |id: &str| if id == base { HERE.to_owned() } else { id.to_owned() };
    let clones = groups.iter().filter(|group| group.id != base && !group.host.is_empty());
    let clone = |group: &Group| PathwayClone {
        base_id: HERE,
        id: group.id.clone(),
        uri_replacement: Replacement { host: group.host.clone() },
    };
    let first = order.first().filter(|first| first.id != own && !first.host.is_empty());
    Manifest {
        version: 1,
        ttl: ttl.as_secs(),
        reload_uri: first.map(|first| reload_uri(first, base, asker)),
        pathway_priority: match order.as_slice() {
            [] => vec![HERE.to_owned()],
            order => order.iter().map(|group| named(&group.id)).collect(),
        },
        pathway_clones: clones.map(clone).collect(),
    }
}

/// Groups from the one to be at to the last resort. A player stays where it is unless it has to leave.
fn order<'a>(groups: &'a [Group], at: &str, spread: u64) -> Vec<&'a Group> {
    let stays = |group: &Group| match group.standing {
        Standing::Good => true,
        // Always the same players leave, as many as are too many.
        Standing::Busy => spread % 1_000 >= u64::from(group.excess),
        Standing::Draining | Standing::Starved => false,
    };
    let mut order: Vec<&Group> = groups.iter().collect();
    order.sort_by_key(|group| {
        let home = group.id == at && stays(group);
        // Players that leave one group spread over the others.
        (!home, group.standing, scatter(&group.id, spread))
    });
    order
}

/// A number of a group and a player, unlike that of the next player.
fn scatter(id: &str, spread: u64) -> u64 {
    // FNV-1a.
    let bytes = id.bytes().chain(spread.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The same path at another group. What else the query says goes along, as a token may stand there.
fn reload_uri(to: &Group, base: &str, asker: Asker<'_>) -> String {
    let port = asker.port.map(|port| format!(":{port}")).unwrap_or_default();
    let kept = asker.query.split('&').filter(|pair| {
        let key = pair.split_once('=').map_or(*pair, |(key, _)| key);
        !key.is_empty() && key != BASE && !key.starts_with("_HLS_")
    });
    let query: Vec<&str> = kept.collect();
    let rest = if query.is_empty() { String::new() } else { format!("&{}", query.join("&")) };
    format!("//{}{port}{}?{BASE}={base}{rest}", to.host, asker.path)
}

fn parameter<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group(id: &str, standing: Standing, excess: u32) -> Group {
        Group { id: id.into(), host: format!("{id}.example"), standing, excess }
    }

    fn asker(query: &str) -> Asker<'_> {
        Asker { path: "/live/show/steering.json", query, port: Some(8443), spread: 500 }
    }

    fn told(groups: &[Group], query: &str) -> (Vec<String>, Option<String>) {
        let manifest = answer(groups, "fra", Duration::from_secs(10), asker(query));
        (manifest.pathway_priority, manifest.reload_uri)
    }

    #[test]
    fn it_is_what_the_draft_says() {
        let groups = [group("ber", Standing::Draining, 0), group("fra", Standing::Good, 0)];
        let manifest =
            answer(&groups, "fra", Duration::from_secs(10), asker("_HLS_pathway=.&_HLS_throughput=5"));
        let expected = r#"{"VERSION":1,"TTL":10,"PATHWAY-PRIORITY":[".","ber"],"PATHWAY-CLONES":[{"BASE-ID":".","ID":"ber","URI-REPLACEMENT":{"HOST":"ber.example"}}]}"#;
        assert_eq!(serde_json::to_string(&manifest).unwrap(), expected);
    }

    #[test]
    fn a_player_stays_where_it_is_while_it_can() {
        let groups = [group("ber", Standing::Good, 0), group("fra", Standing::Good, 0)];
        assert_eq!(told(&groups, "").0, [".", "ber"]);
        assert_eq!(told(&groups, "_HLS_pathway=ber").0, ["ber", "."]);
        assert_eq!(told(&groups, "_HLS_pathway=nowhere").0, [".", "ber"]);
        // It moved here from ber: that is what its dot is.
        assert_eq!(told(&groups, "base=ber&_HLS_pathway=fra").0, ["fra", "."]);
        assert_eq!(told(&groups, "base=nowhere").0, [".", "ber"]);
    }

    #[test]
    fn a_player_leaves_a_group_that_stops_and_asks_there_next() {
        let groups = [group("ber", Standing::Good, 0), group("fra", Standing::Draining, 0)];
        let (order, reload) = told(&groups, "_HLS_pathway=.&_HLS_throughput=1000");
        assert_eq!(order, ["ber", "."]);
        assert_eq!(reload.unwrap(), "//ber.example:8443/live/show/steering.json?base=fra");
        let (_, reload) = told(&groups, "tk=abc&base=fra");
        assert_eq!(reload.unwrap(), "//ber.example:8443/live/show/steering.json?base=fra&tk=abc");
        let starved = [group("ber", Standing::Good, 0), group("fra", Standing::Starved, 0)];
        assert_eq!(told(&starved, "").0, ["ber", "."]);
    }

    #[test]
    fn a_busy_group_sends_as_many_away_as_are_too_many_and_always_the_same() {
        let groups = [group("ber", Standing::Good, 0), group("fra", Standing::Busy, 225)];
        let leaves = |spread| {
            let asker = Asker { spread, ..asker("") };
            answer(&groups, "fra", Duration::from_secs(10), asker).pathway_priority[0] == "ber"
        };
        assert_eq!((0..1_000).filter(|spread| leaves(*spread)).count(), 225);
        assert!((0..1_000).all(|spread| leaves(spread) == leaves(spread + 1_000)));
    }

    #[test]
    fn those_who_leave_spread_over_the_others() {
        let others = ["ams", "ber", "lon", "par"].map(|id| group(id, Standing::Good, 0));
        let groups: Vec<_> = others.into_iter().chain([group("fra", Standing::Draining, 0)]).collect();
        for other in &groups[..4] {
            let here = |spread: &u64| {
                let asker = Asker { spread: spread * 7_919, ..asker("") };
                answer(&groups, "fra", Duration::from_secs(10), asker).pathway_priority[0] == other.id
            };
            let came = (0..4_000).filter(here).count();
            assert!((700..1_300).contains(&came), "{}: {came}", other.id);
        }
    }

    #[test]
    fn an_edge_without_a_group_keeps_its_players() {
        let manifest = answer(&[], "", Duration::from_secs(10), asker(""));
        assert_eq!(
            serde_json::to_string(&manifest).unwrap(),
            r#"{"VERSION":1,"TTL":10,"PATHWAY-PRIORITY":["."]}"#
        );
    }

    fn standing() -> impl Strategy<Value = Standing> {
        prop_oneof![
            Just(Standing::Good),
            Just(Standing::Busy),
            Just(Standing::Draining),
            Just(Standing::Starved)
        ]
    }

    proptest! {
        /// Every group is named once, nobody is sent to a worse one than need be, and every name has a clone or is the dot.
        #[test]
        fn nobody_is_sent_nowhere(
            standings in proptest::collection::vec(standing(), 1..6), spread: u64, own in 0usize..6, query in "\\PC{0,40}",
        ) {
            let groups: Vec<_> =
                standings.iter().enumerate().map(|(at, standing)| group(&format!("g{at}"), *standing, 300)).collect();
            let own = groups[own % groups.len()].id.clone();
            let asker = Asker { path: "/a/b/steering.json", query: &query, port: None, spread };
            let manifest = answer(&groups, &own, Duration::from_secs(10), asker);
            prop_assert_eq!(manifest.pathway_priority.len(), groups.len());
            prop_assert_eq!(manifest.pathway_priority.iter().filter(|id| *id == ".").count(), 1);
            for id in manifest.pathway_priority.iter().filter(|id| *id != ".") {
                prop_assert_eq!(manifest.pathway_clones.iter().filter(|clone| clone.id == *id).count(), 1);
            }
            let first = &manifest.pathway_priority[0];
            let first = groups.iter().find(|group| group.id == *first || first == "." && group.id == own).unwrap();
            let best = *standings.iter().min().unwrap();
            prop_assert!(first.standing == best || first.standing == Standing::Busy && best == Standing::Good);
        }
    }
}
