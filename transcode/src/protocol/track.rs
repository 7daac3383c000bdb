//! A track's form on the wire. What arrives is parsed and checked again, as if a publisher had sent it.

use aqueduct_common::track::Grid;
use aqueduct_common::{CodecConfig, MediaTime, Timescale, Track, TrackId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ProtocolError;

/// Longest language tag that is taken; RFC 5646 asks for 35.
const LANGUAGE_MAX: usize = 64;
/// Longest reorder delay that is taken, in seconds.
const DELAY_MAX: i64 = 10;

/// For `#[serde(with = …)]`: a track number as a plain number.
pub(super) mod id {
    use aqueduct_common::TrackId;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(in super::super) fn serialize<S: Serializer>(id: &TrackId, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(id.0)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TrackId, D::Error> {
        u8::deserialize(from).map(TrackId)
    }
}

/// A track as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireTrack {
    #[serde(with = "id")]
    id: TrackId,
    /// [`CodecConfig::to_bytes`] in hexadecimal digits.
    codec: String,
    timescale: u32,
    /// Ticks and scale.
    spacing: (i64, u32),
    fixed: bool,
    reorder_delay: i64,
    language: String,
    bandwidth: Option<u64>,
}

impl WireTrack {
    pub(super) fn of(track: &Track) -> Self {
        let spacing = track.grid.spacing();
        Self {
            id: track.id,
            codec: hex(&track.codec.to_bytes()),
            timescale: track.timescale.hz(),
            spacing: (spacing.ticks, spacing.scale.hz()),
            fixed: matches!(track.grid, Grid::Fixed(_)),
            reorder_delay: track.reorder_delay,
            language: track.language.clone(),
            bandwidth: track.bandwidth,
        }
    }

    pub(super) fn track(self) -> Result<Track, ProtocolError> {
        let scale = |hz| Timescale::new(hz).ok_or(ProtocolError::Track("timescale"));
        let timescale = scale(self.timescale)?;
        let spacing = MediaTime::new(self.spacing.0, scale(self.spacing.1)?);
        if !(1..=705_600_000 * 60).contains(&spacing.as_flicks()) {
            return Err(ProtocolError::Track("spacing"));
        }
        if self.reorder_delay.unsigned_abs() > DELAY_MAX.unsigned_abs() * u64::from(timescale.hz()) {
            return Err(ProtocolError::Track("reorder delay"));
        }
        if self.language.len() > LANGUAGE_MAX || !self.language.is_ascii() {
            return Err(ProtocolError::Track("language"));
        }
        let codec = Bytes::from(unhex(&self.codec).ok_or(ProtocolError::Track("codec"))?);
        let codec = CodecConfig::from_bytes(&codec)?;
        Ok(Track {
            id: self.id,
            codec,
            timescale,
            grid: if self.fixed { Grid::Fixed(spacing) } else { Grid::Variable { widest: spacing } },
            reorder_delay: self.reorder_delay,
            language: self.language,
            bandwidth: self.bandwidth,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? * 16 + digit(*low)?) as u8);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}
