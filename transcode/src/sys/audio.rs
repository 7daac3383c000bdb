//! Sound codecs: the fields of libav's contexts that its wrapper has no words for.

use std::ptr;

use av::ffi;
use bytes::Bytes;
use ffmpeg_next as av;

use super::{AvError, context_of_record};

/// Opens a decoder of sound. `rate` in Hz, `channels` and the bits of a code matter for codecs whose packets do not say.
pub(crate) fn open_sound_decoder(
    codec: av::codec::Id,
    record: &[u8],
    rate: u32,
    channels: u16,
    code_bits: Option<u8>,
) -> Result<av::decoder::Audio, AvError> {
    super::init();
    let what = format!("opening a decoder for {codec:?}");
    let found = av::decoder::find(codec).ok_or_else(|| AvError::new(&what, "libav has none"))?;
    let mut context = context_of_record(codec, record)?;
    // SAFETY: the context is not open yet, so that its fields may be set; the layout is part of it and, being a default
    // one, holds no pointer.
    unsafe {
        let raw = context.as_mut_ptr();
        (*raw).sample_rate = i32::try_from(rate).unwrap_or_default();
        ffi::av_channel_layout_default(&raw mut (*raw).ch_layout, channels.into());
        (*raw).thread_count = 1;
        (*raw).bits_per_coded_sample = code_bits.map_or(0, i32::from);
    }
    context.decoder().open_as(found).and_then(av::decoder::Opened::audio).map_err(|e| AvError::of(&what, e))
}

/// What an open encoder says of its stream: the configuration record, and the samples that it puts before the first
/// one it was given.
pub(crate) fn sound_stream(encoder: &av::codec::Context) -> (Bytes, u32) {
    // SAFETY: the context is open and not changed here; libav keeps `extradata_size` bytes at `extradata`, or null.
    unsafe {
        let raw = &*encoder.as_ptr();
        let length = usize::try_from(raw.extradata_size).unwrap_or_default();
        let record = match raw.extradata.is_null() {
            true => Bytes::new(),
            false => Bytes::copy_from_slice(&*ptr::slice_from_raw_parts(raw.extradata, length)),
        };
        (record, u32::try_from(raw.initial_padding).unwrap_or_default())
    }
}
