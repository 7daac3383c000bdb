//! Colours that the publisher tells beside the bitstream (RTMP-58).

use aqueduct_common::codec::{CodecConfig, Colour, Hdr, MasteringDisplay};

use crate::flv::video::ColourInfo;

/// "Unspecified" in each of H.273's tables.
const UNSPECIFIED: u8 = 2;

/// What `colorInfo` said last.
#[derive(Debug, Default)]
pub(super) struct ToldColour {
    told: ColourInfo,
    conflicts: u32,
}

impl ToldColour {
    /// Takes in a new word, or that there is none any more; `false` where that changes nothing.
    pub(super) fn tell(&mut self, told: ColourInfo) -> bool {
        std::mem::replace(&mut self.told, told) != told
    }

    /// Fills in what the bitstream leaves open. Where the two differ the bitstream wins, and that is counted.
    pub(super) fn complete(&mut self, mut config: CodecConfig) -> CodecConfig {
        let Some((own, hdr)) = config.picture().map(|picture| (picture.colour, picture.hdr)) else {
            return config;
        };
        let mut conflict = contradict(&hdr, &self.told.hdr);
        if let Some(told) = self.told.colour {
            let (colour, differ) = own.map_or((told, false), |own| merge(own, told));
            conflict |= differ;
            config.set_colour(Some(colour));
        }
        config.set_hdr(hdr.or(self.told.hdr));
        self.conflicts += u32::from(conflict);
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

/// Both state something, and not the same. What one of them leaves open is no contradiction.
fn contradict(own: &Hdr, told: &Hdr) -> bool {
    let lights = own.light.zip(told.light).is_some_and(|(own, told)| own != told);
    let luminance = |display: &MasteringDisplay| (display.max_luminance, display.min_luminance);
    let primaries = |display: &MasteringDisplay| (display.primaries, display.white);
    let displays = own.mastering.zip(told.mastering).is_some_and(|(own, told)| {
        let both_have_primaries = own.has_primaries() && told.has_primaries();
        luminance(&own) != luminance(&told) || (both_have_primaries && primaries(&own) != primaries(&told))
    });
    lights || displays
}
