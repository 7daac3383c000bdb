//! What the extended headers of audio and video have in common: ModEx and Multitrack (RTMP-56, RTMP-57).

use bytes::Bytes;

use super::{FlvError, FourCc, take, take_four_cc, take_u8, take_uint};

/// Packet type of ModEx, in audio and video.
pub(super) const MOD_EX: u8 = 7;
/// Longest chain of ModEx blocks that is followed; each costs at least three bytes.
const MOD_EX_CHAIN: usize = 16;
/// ModEx type of a nanosecond offset.
const NANO_OFFSET: u8 = 0;
/// Largest nanosecond offset: below one millisecond.
const NANO_MAX: u32 = 999_999;

/// Reads the ModEx blocks that stand before the real packet type. Returns that type and the nanosecond offset.
pub(super) fn mod_ex(mut packet_type: u8, body: &mut Bytes) -> Result<(u8, u32), FlvError> {
    let mut nanos = 0;
    for _ in 0..MOD_EX_CHAIN {
        if packet_type != MOD_EX {
            return Ok((packet_type, nanos));
        }
        let mut size = take_u8(body, "ModEx size")? as usize + 1;
        if size == 256 {
            size = take_uint(body, 2, "ModEx size")? as usize + 1;
        }
        let mut data = take(body, size, "ModEx data")?;
        let types = take_u8(body, "ModEx type")?;
        packet_type = types & 0x0F;
        if types >> 4 == NANO_OFFSET {
            nanos = take_uint(&mut data, 3, "nanosecond offset")?.min(NANO_MAX);
        }
    }
    Err(FlvError::UnknownPacket(MOD_EX))
}

/// One track's part of a multitrack message.
pub(super) struct TrackBody {
    pub(super) four_cc: FourCc,
    pub(super) track: u8,
    pub(super) body: Bytes,
}

/// A multitrack message, all of it: the packet type of every track in it, and their bodies in order.
pub(super) struct Multitrack {
    pub(super) packet_type: u8,
    kind: u8,
    four_cc: Option<FourCc>,
    rest: Bytes,
}

impl Multitrack {
    const ONE_TRACK: u8 = 0;
    const MANY_TRACKS: u8 = 1;
    const MANY_TRACKS_MANY_CODECS: u8 = 2;

    /// Reads the header that follows the packet type Multitrack; `multitrack_type` is that packet type.
    pub(super) fn open(mut body: Bytes, multitrack_type: u8) -> Result<Self, FlvError> {
        let types = take_u8(&mut body, "multitrack type")?;
        let (kind, packet_type) = (types >> 4, types & 0x0F);
        if kind > Self::MANY_TRACKS_MANY_CODECS || packet_type == multitrack_type || packet_type == MOD_EX {
            return Err(FlvError::Multitrack);
        }
        let shared = matches!(kind, Self::ONE_TRACK | Self::MANY_TRACKS);
        let four_cc = if shared { Some(take_four_cc(&mut body)?) } else { None };
        Ok(Self { packet_type, kind, four_cc, rest: body })
    }

    /// The next track's body; `None` when the message is consumed.
    pub(super) fn next(&mut self) -> Result<Option<TrackBody>, FlvError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let four_cc = match self.four_cc {
            Some(shared) => shared,
            None => take_four_cc(&mut self.rest)?,
        };
        let track = take_u8(&mut self.rest, "track number")?;
        let body = if self.kind == Self::ONE_TRACK {
            std::mem::take(&mut self.rest)
        } else {
            let size = take_uint(&mut self.rest, 3, "track size")? as usize;
            take(&mut self.rest, size, "track body")?
        };
        Ok(Some(TrackBody { four_cc, track, body }))
    }
}
