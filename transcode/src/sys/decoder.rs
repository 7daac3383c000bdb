//! Decoders: one coded frame in, none or some pictures out.

use std::ffi::CString;
use std::ptr;

use av::ffi;
use av::packet::Ref as _;
use ffmpeg_next as av;

use super::{AGAIN, AvError, Device, Picture};

/// What a decoder has to know before the first frame.
pub(crate) struct DecoderSetup<'a> {
    /// The codec.
    pub(crate) codec: av::codec::Id,
    /// A decoder by name, where the codec's first one is not wanted.
    pub(crate) name: Option<&'static str>,
    /// Its configuration record (avcC, hvcC, …).
    pub(crate) record: &'a [u8],
    /// Pictures come in the order they are shown in: each comes out at once.
    pub(crate) low_delay: bool,
    /// Pictures that are held back to be put in order, where that is known.
    pub(crate) reorder: u32,
    /// Threads for the slices of a picture; threads for whole frames would each cost a frame of delay.
    pub(crate) threads: u32,
    /// The device that decodes; `None` for software.
    pub(crate) device: Option<&'a Device>,
}

/// An open decoder.
pub(crate) struct Decoder {
    context: av::codec::Context,
    name: String,
}

/// A context with a codec's configuration record, not yet open. libav frees the record, so that it is a copy in
/// libav's own memory with the padding that its readers need.
pub(crate) fn context_of_record(codec: av::codec::Id, record: &[u8]) -> Result<av::codec::Context, AvError> {
    let mut context = av::codec::Context::new();
    let length = i32::try_from(record.len()).map_err(|_| AvError::new("a codec's record", "too long"))?;
    // SAFETY: the context is new; the buffer is as long as what is written to it plus zeroed padding, and belongs to
    // the context from here on.
    unsafe {
        let raw = context.as_mut_ptr();
        if raw.is_null() {
            return Err(AvError::new("making a codec context", "out of memory"));
        }
        (*raw).codec_id = codec.into();
        if length > 0 {
            let size = record.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
            let data = ffi::av_mallocz(size).cast::<u8>();
            if data.is_null() {
                return Err(AvError::new("a codec's record", "out of memory"));
            }
            ptr::copy_nonoverlapping(record.as_ptr(), data, record.len());
            (*raw).extradata = data;
            (*raw).extradata_size = length;
        }
    }
    Ok(context)
}

impl Decoder {
    /// Opens a decoder.
    pub(crate) fn open(setup: &DecoderSetup<'_>) -> Result<Self, AvError> {
        super::init();
        let what = format!("opening a decoder for {:?}", setup.codec);
        let found = match setup.name {
            Some(name) => av::codec::decoder::find_by_name(name),
            None => av::codec::decoder::find(setup.codec),
        };
        let codec = found.ok_or_else(|| AvError::new(&what, "libav has none"))?;
        let name = codec.name().to_owned();
        let mut context = context_of_record(setup.codec, setup.record)?;
        // SAFETY: the context is not open yet, so that its fields may be set; the device's reference becomes its own.
        unsafe {
            let raw = context.as_mut_ptr();
            (*raw).thread_count = i32::try_from(setup.threads.max(1)).unwrap_or(1);
            (*raw).thread_type = ffi::FF_THREAD_SLICE;
            if setup.low_delay {
                (*raw).flags |= ffi::AV_CODEC_FLAG_LOW_DELAY as i32;
            } else {
                (*raw).has_b_frames = i32::try_from(setup.reorder.min(16)).unwrap_or_default();
            }
            if let Some(device) = setup.device {
                (*raw).hw_device_ctx = device.reference()?;
                // `opaque` is ours: it carries the one format that get_format may choose.
                (*raw).opaque = ptr::without_provenance_mut(device.surface() as i32 as usize);
                (*raw).get_format = Some(choose_surface);
                (*raw).extra_hw_frames = 8;
            }
            let code = ffi::avcodec_open2(raw, codec.as_ptr(), ptr::null_mut());
            AvError::check(&what, code)?;
        }
        Ok(Self { context, name })
    }

    /// libav's name for it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Gives it one coded frame. The bytes are copied: libav reads beyond their end.
    pub(crate) fn send(&mut self, data: &[u8], pts: i64, sync: bool) -> Result<(), AvError> {
        if data.is_empty() {
            // An empty packet would mean the end of the stream.
            return Err(AvError::new("decoding", "an empty frame"));
        }
        let mut packet = av::Packet::copy(data);
        packet.set_pts(Some(pts));
        packet.set_flags(if sync { av::packet::Flags::KEY } else { av::packet::Flags::empty() });
        // SAFETY: context and packet are valid; libav takes a reference of its own.
        let code = unsafe { ffi::avcodec_send_packet(self.context.as_mut_ptr(), packet.as_ptr()) };
        AvError::check("decoding", code).map(drop)
    }

    /// Says that nothing follows: what is held back comes out.
    pub(crate) fn finish(&mut self) {
        // SAFETY: a null packet begins draining. Doing it twice is an error that means nothing here.
        let _ = unsafe { ffi::avcodec_send_packet(self.context.as_mut_ptr(), ptr::null()) };
    }

    /// The next picture, if one is ready.
    pub(crate) fn receive(&mut self) -> Result<Option<Picture>, AvError> {
        let mut picture = Picture::empty();
        // SAFETY: context and frame are valid.
        let code = unsafe { ffi::avcodec_receive_frame(self.context.as_mut_ptr(), picture.as_mut_ptr()) };
        match code {
            AGAIN | ffi::AVERROR_EOF => Ok(None),
            code => AvError::check("decoding", code).map(|_| Some(picture)),
        }
    }
}

/// Takes the device's surfaces or nothing: a silent step down to software would hide the failure.
///
/// # Safety
/// Called by libav with a valid context and a list of formats that ends with NONE.
unsafe extern "C" fn choose_surface(
    context: *mut ffi::AVCodecContext,
    mut formats: *const ffi::AVPixelFormat,
) -> ffi::AVPixelFormat {
    // SAFETY: as above; `opaque` was set by `Decoder::open`.
    unsafe {
        let wanted = (*context).opaque.addr() as i32;
        while *formats != ffi::AVPixelFormat::AV_PIX_FMT_NONE {
            if *formats as i32 == wanted {
                return *formats;
            }
            formats = formats.add(1);
        }
    }
    ffi::AVPixelFormat::AV_PIX_FMT_NONE
}

/// A C string of ours; `None` where it holds a zero.
pub(super) fn c_string(text: &str) -> Option<CString> {
    CString::new(text).ok()
}
