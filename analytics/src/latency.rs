//! Where the time goes between the camera and the screen.

use serde::Serialize;
use utoipa::ToSchema;

/// What is measured of each stage, in seconds.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Measured {
    /// Round trip to the publisher.
    pub rtt: Option<f64>,
    /// What the encoder holds; `None` where the source passes through.
    pub encoding: Option<f64>,
    /// Nothing is encoded, or the source is among the renditions.
    pub passes: bool,
    /// Length of a part.
    pub part: Option<f64>,
    /// From a part's last sample to its publication.
    pub lag: Option<f64>,
    /// From the origin to the edge, on average; `None` where there is no relay.
    pub relay: Option<f64>,
    /// From the stream's date at the playhead to now, as players say: median.
    pub player: Option<f64>,
    /// What players hold: median.
    pub buffer: Option<f64>,
}

/// A stream's latency.
#[derive(Clone, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct LatencyView {
    /// From capture to screen, in seconds; without players' reports up to where a part can be fetched.
    pub total: Option<f64>,
    /// Players have reported.
    pub measured: bool,
    /// What each stage takes. They add up to the total.
    pub stages: Vec<Stage>,
}

/// One stage of it.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Stage {
    /// Its name.
    pub stage: &'static str,
    /// What it takes.
    pub seconds: Option<f64>,
    /// How that is known.
    pub how: String,
}

/// Shares the time out. What players report begins where a frame has arrived here; what lies before is half the round
/// trip. Within it the edge has what no one else accounts for.
pub fn share(measured: &Measured) -> LatencyView {
    let Measured { rtt, encoding, passes, part, lag, relay, player, buffer } = *measured;
    let uplink = rtt.map(|rtt| rtt / 2.0);
    let transcode = if passes { Some(0.0) } else { encoding };
    let package = part.map(|part| part + lag.unwrap_or_default());
    let made = transcode.unwrap_or_default() + package.unwrap_or_default();
    let before_edge = made + relay.unwrap_or_default();
    // A player may hold what is younger than a whole part is long: then the last stages take what is left.
    let rest = player.map(|player| (player - before_edge).max(0.0));
    let held = rest.zip(buffer).map(|(rest, buffer)| buffer.min(rest));
    let edge = rest.map(|rest| rest - held.unwrap_or_default());
    let too_much = player.map_or(0.0, |player| (before_edge - player).max(0.0));
    let package = package.map(|package| (package - too_much).max(0.0));
    let millis = |seconds: f64| format!("{:.0} ms", seconds * 1e3);
    let stages = vec![
        stage(
            "uplink",
            uplink,
            if uplink.is_some() {
                "half the round trip to the publisher"
            } else {
                "the publisher does not tell"
            },
        ),
        stage(
            "transcode",
            transcode,
            if passes { "the source passes through" } else { "media inside the encoder" },
        ),
        stage(
            "package",
            package,
            &match (part, lag) {
                (Some(part), Some(lag)) => {
                    format!("a part of {}, published {} after its last frame", millis(part), millis(lag))
                }
                _ => "nothing has been published yet".to_owned(),
            },
        ),
        stage(
            "relay",
            relay,
            if relay.is_some() { "mean from origin to edge" } else { "served where it is made" },
        ),
        stage(
            "edge",
            edge,
            if edge.is_some() {
                "what is left: network, waiting, decoding"
            } else {
                "no player has reported"
            },
        ),
        stage(
            "player",
            held,
            if held.is_some() { "buffer that players report" } else { "no player has reported" },
        ),
    ];
    let seconds: Vec<f64> = stages.iter().filter_map(|stage| stage.seconds).collect();
    let total = (!seconds.is_empty()).then(|| seconds.iter().sum());
    LatencyView { total, measured: player.is_some(), stages }
}

fn stage(stage: &'static str, seconds: Option<f64>, how: &str) -> Stage {
    Stage { stage, seconds, how: how.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The stages add up to what players measured, and half the round trip before it.
        #[test]
        fn stages_add_up(
            rtt in of(0.0..0.4f64), encoding in of(0.0..0.5f64), passes: bool, part in of(0.1..1.0f64), lag in of(0.0..0.1f64),
            relay in of(0.0..0.2f64), player in 0.6..9.0f64, buffer in of(0.0..9.0f64),
        ) {
            let measured = Measured { rtt, encoding, passes, part, lag, relay, player: Some(player), buffer };
            let view = share(&measured);
            let stages: f64 = view.stages.iter().filter_map(|stage| stage.seconds).sum();
            prop_assert!(view.stages.iter().all(|stage| stage.seconds.is_none_or(|seconds| seconds >= 0.0)));
            let sum_before = encoding.filter(|_| !passes).unwrap_or_default() + relay.unwrap_or_default();
            if sum_before <= player {
                prop_assert!((stages - player - rtt.unwrap_or_default() / 2.0).abs() < 1e-6, "{:?}", view);
            }
            prop_assert_eq!(view.total, Some(stages));
        }
    }

    #[test]
    fn without_players_it_ends_where_a_part_can_be_fetched() {
        let view = share(&Measured {
            rtt: Some(0.02),
            part: Some(0.2),
            lag: Some(0.004),
            passes: true,
            ..Measured::default()
        });
        assert!((view.total.unwrap() - 0.214).abs() < 1e-9 && !view.measured);
        assert_eq!(view.stages[4].seconds, None);
    }
}
