//! What a track's frames are coded with, and what of it is new (RTMP-48).

use std::collections::VecDeque;

use aqueduct_common::TrackId;
use aqueduct_common::codec::CodecConfig;
use bytes::Bytes;

use super::Demuxed;

/// The sequence header and the configuration of a track; `C` names its codecs.
#[derive(Debug)]
pub(super) struct Epoch<C> {
    track: TrackId,
    header: Option<(C, Bytes)>,
    config: Option<CodecConfig>,
}

impl<C: Copy + PartialEq> Epoch<C> {
    pub(super) const fn new(track: TrackId) -> Self {
        Self { track, header: None, config: None }
    }

    /// The track's number.
    pub(super) const fn track(&self) -> TrackId {
        self.track
    }

    /// The codec that the header named.
    pub(super) fn codec(&self) -> Option<C> {
        self.header.as_ref().map(|(codec, _)| *codec)
    }

    /// The header's record.
    pub(super) fn record(&self) -> Option<&Bytes> {
        self.header.as_ref().map(|(_, record)| record)
    }

    /// What frames are coded with; `None` while a header is unreadable, or a frame has yet to complete it.
    pub(super) const fn config(&self) -> Option<&CodecConfig> {
        self.config.as_ref()
    }

    /// Notes a header. `false` for one with the same bytes, which says nothing new: encoders repeat it.
    pub(super) fn begin(&mut self, codec: C, record: &Bytes) -> bool {
        let known = self.header.as_ref().is_some_and(|(known, bytes)| *known == codec && bytes == record);
        if !known {
            // A copy, since the slice would keep its whole message alive for the session's life.
            self.header = Some((codec, Bytes::copy_from_slice(record)));
        }
        !known
    }

    /// Takes a configuration over. `false` where it is none new.
    pub(super) fn adopt(&mut self, config: &CodecConfig) -> bool {
        let is_new = self.config.as_ref() != Some(config);
        if is_new {
            self.config = Some(config.clone());
        }
        is_new
    }

    /// What frames are coded with is not known any more.
    pub(super) fn forget(&mut self) {
        self.config = None;
    }

    /// Says that frames which follow are coded with `config`.
    pub(super) fn give(&self, config: CodecConfig, out: &mut VecDeque<Demuxed>) {
        out.push_back(Demuxed::Config(self.track, config));
    }
}
