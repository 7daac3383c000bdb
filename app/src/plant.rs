//! What is not there, for tests and measurements: faults that workers act out (`serve --plant abort@60`), and events of
//! streams and viewers (`serve --plant events@100000`).

pub mod crowd;

use std::str::FromStr;

use aqueduct_transcode::hardware::{Backend, Chosen};
use aqueduct_transcode::protocol::{Plant, PlantedFault};

/// What is planted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Planted {
    /// The fault of each stream's first worker.
    pub plant: Option<Plant>,
    /// Backends that are taken without a probe, where the fault is theirs.
    pub hardware: Option<Chosen>,
    /// Events a second.
    pub events: Option<u32>,
}

/// A backend that this system cannot have: it fails when it is opened.
const ABSENT: Backend = if cfg!(target_os = "macos") { Backend::Vaapi } else { Backend::VideoToolbox };

impl FromStr for Planted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let encoders = |encode| Some(Chosen { encode, ..Chosen::default() });
        if text == "open" {
            return Ok(Self { hardware: encoders(vec![ABSENT, Backend::Software]), ..Self::default() });
        }
        let usage = "abort@FRAMES, hang@FRAMES, fail@FRAMES, events@RATE or open";
        let (fault, frames) = text.split_once('@').ok_or(usage)?;
        if fault == "events" {
            let rate = frames.parse().map_err(|error| format!("{frames}: {error}"))?;
            return Ok(Self { events: Some(rate), ..Self::default() });
        }
        let after_frames = frames.parse().map_err(|error| format!("{frames}: {error}"))?;
        let (fault, hardware) = match fault {
            "abort" => (PlantedFault::Abort, None),
            "hang" => (PlantedFault::Hang, None),
            // The same once more: what is shown is that another one takes over.
            "fail" => (PlantedFault::Fail, encoders(vec![Backend::Software, Backend::Software])),
            _ => return Err(format!("{fault} is no fault: abort, hang or fail")),
        };
        Ok(Self { plant: Some(Plant { after_frames, fault }), hardware, events: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read() {
        let abort: Planted = "abort@60".parse().unwrap();
        assert_eq!(abort.plant, Some(Plant { after_frames: 60, fault: PlantedFault::Abort }));
        let open: Planted = "open".parse().unwrap();
        assert_eq!(open.hardware.map(|chosen| chosen.encode), Some(vec![ABSENT, Backend::Software]));
        assert_eq!("events@9".parse::<Planted>().unwrap().events, Some(9));
        assert!("abort".parse::<Planted>().is_err() && "burn@3".parse::<Planted>().is_err());
    }
}
