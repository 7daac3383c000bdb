//! Colours that the publisher tells beside the bitstream (RTMP-58).

use aqueduct_common::codec::{CodecConfig, Colour};

/// "Unspecified" in each of H.273's tables.
const UNSPECIFIED: u8 = 2;

/// What `colorInfo` said last.
#[derive(Debug, Default)]
pub(super) struct ToldColour {
    told: Option<Colour>,
    conflicts: u32,
}

impl ToldColour {
    /// Takes in a new word, or that there is none any more; `false` where that changes nothing.
    pub(super) fn tell(&mut self, told: Option<Colour>) -> bool {
        std::mem::replace(&mut self.told, told) != told
    }

    /// Fills in what the bitstream leaves open. Where the two differ the bitstream wins, and that is counted.
    pub(super) fn complete(&mut self, mut config: CodecConfig) -> CodecConfig {
        let own = config.picture().and_then(|picture| picture.colour);
        if let Some(told) = self.told {
            let (colour, conflict) = own.map_or((told, false), |own| merge(own, told));
            self.conflicts += u32::from(conflict);
            config.set_colour(Some(colour));
        }
        config
    }

    /// How often the two differed since it was last asked for.
    pub(super) fn take_conflicts(&mut self) -> u32 {
        std::mem::take(&mut self.conflicts)
    }
}

/// The bitstream's colours with those told in its gaps, and whether the two contradict each other.
fn merge(own: Colour, told: Colour) -> (Colour, bool) {
    let mut conflict = false;
    let mut code = |own: u8, told: u8| match (own, told) {
        (UNSPECIFIED, told) => told,
        (own, told) => {
            conflict |= told != UNSPECIFIED && told != own;
            own
        }
    };
    let colour = Colour {
        primaries: code(own.primaries, told.primaries),
        transfer: code(own.transfer, told.transfer),
        matrix: code(own.matrix, told.matrix),
        full_range: own.full_range,
    };
    (colour, conflict)
}
