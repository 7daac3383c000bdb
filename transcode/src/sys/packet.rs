//! Coded packets, handed on without a copy.

use av::ffi;
use av::packet::Ref as _;
use bytes::Bytes;
use ffmpeg_next as av;

/// A coded frame as an encoder gave it.
pub(crate) struct Coded {
    packet: av::Packet,
}

/// Keeps the packet's buffer for as long as any slice of it lives.
pub(super) struct Owner(pub(super) av::Packet);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.data().unwrap_or_default()
    }
}

impl Coded {
    pub(super) const fn new(packet: av::Packet) -> Self {
        Self { packet }
    }

    /// The number that its frame was given.
    pub(crate) fn pts(&self) -> Option<i64> {
        self.packet.pts()
    }

    /// The encoder calls it a key frame.
    pub(crate) fn is_key(&self) -> bool {
        self.packet.is_key()
    }

    /// Mean quantiser of the frame, where the encoder says.
    pub(crate) fn quantiser(&self) -> Option<f32> {
        let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_QUALITY_STATS;
        let mut size = 0;
        // SAFETY: the packet is valid for the call; the pointer that comes back belongs to it and holds `size` bytes.
        let data = unsafe {
            let data = ffi::av_packet_get_side_data(self.packet.as_ptr(), kind, &raw mut size);
            if data.is_null() || size < 4 {
                return None;
            }
            std::slice::from_raw_parts(data, 4)
        };
        let lambda = u32::from_le_bytes([data[0], data[1], data[2], data[3]]);
        Some(lambda as f32 / ffi::FF_QP2LAMBDA as f32)
    }

    /// Its bytes, which stay where the encoder wrote them.
    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(Owner(self.packet))
    }
}
