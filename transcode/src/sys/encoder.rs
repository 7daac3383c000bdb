//! Video encoders: one picture in, one coded frame out.

use std::ffi::CStr;
use std::ptr;

use av::ffi;
use av::packet::Mut as _;
use ffmpeg_next as av;

use super::decoder::c_string;
use super::{AGAIN, AvError, Coded, Device, Picture};

/// What an encoder is told.
pub(crate) struct EncoderSetup<'a> {
    /// libav's name for it.
    pub(crate) name: &'a str,
    /// Pixels across.
    pub(crate) width: u32,
    /// Pixels down.
    pub(crate) height: u32,
    /// What its pictures look like in memory; on a device, the first picture says it.
    pub(crate) format: av::format::Pixel,
    /// Frames a second as (numerator, denominator). Its times are counted in frames.
    pub(crate) frame_rate: (u32, u32),
    /// Average bits a second; 0 where a quality is given by an option.
    pub(crate) bitrate: u32,
    /// Most bits a second.
    pub(crate) peak: u32,
    /// Rate buffer, in bits.
    pub(crate) buffer: u32,
    /// Threads; each works on a slice of the same frame.
    pub(crate) threads: u32,
    /// Frames between key frames that nobody asked for.
    pub(crate) gop: u32,
    /// The encoder's own options. One that it does not know is an error.
    pub(crate) options: &'a [(&'static str, String)],
    /// A picture on the device, whose pool the encoder will read from.
    pub(crate) surfaces: Option<&'a Picture>,
    /// A device for an encoder that takes pictures from memory.
    pub(crate) device: Option<&'a Device>,
}

/// An open encoder.
pub(crate) struct Encoder {
    context: av::codec::Context,
    name: String,
    finished: bool,
}

/// A dictionary of options that frees itself.
struct Options(*mut ffi::AVDictionary);

impl Options {
    fn of(options: &[(&'static str, String)]) -> Result<Self, AvError> {
        let mut dictionary = Self(ptr::null_mut());
        for (key, value) in options {
            let (Some(key), Some(value)) = (c_string(key), c_string(value)) else {
                return Err(AvError::new("an encoder's option", "it holds a zero byte"));
            };
            // SAFETY: both strings live through the call, which copies them.
            let code = unsafe { ffi::av_dict_set(&raw mut dictionary.0, key.as_ptr(), value.as_ptr(), 0) };
            AvError::check("an encoder's option", code)?;
        }
        Ok(dictionary)
    }

    /// Keys that the encoder did not take.
    fn left(&self) -> Vec<String> {
        let mut keys = Vec::new();
        let mut entry: *mut ffi::AVDictionaryEntry = ptr::null_mut();
        // SAFETY: an empty key with IGNORE_SUFFIX walks over all entries, whose keys are C strings.
        unsafe {
            loop {
                entry = ffi::av_dict_get(self.0, c"".as_ptr(), entry, ffi::AV_DICT_IGNORE_SUFFIX);
                if entry.is_null() {
                    return keys;
                }
                keys.push(CStr::from_ptr((*entry).key).to_string_lossy().into_owned());
            }
        }
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: frees what this value owns; null is allowed.
        unsafe { ffi::av_dict_free(&raw mut self.0) };
    }
}

impl Encoder {
    /// Opens an encoder. Fails also where an option is not known to it: libav passes over those in silence.
    pub(crate) fn open(setup: &EncoderSetup<'_>) -> Result<Self, AvError> {
        super::init();
        let what = format!("opening {}", setup.name);
        let codec = av::codec::encoder::find_by_name(setup.name)
            .ok_or_else(|| AvError::new(&what, "libav was built without it"))?;
        let mut context = av::codec::Context::new_with_codec(codec);
        let mut options = Options::of(setup.options)?;
        // SAFETY: the context is not open yet, so that its fields may be set; references given to it become its own.
        unsafe {
            let raw = context.as_mut_ptr();
            if raw.is_null() {
                return Err(AvError::new(&what, "out of memory"));
            }
            set_fields(raw, setup);
            if let Some(picture) = setup.surfaces {
                (*raw).pix_fmt = std::mem::transmute::<i32, ffi::AVPixelFormat>((*picture.as_ptr()).format);
                (*raw).hw_frames_ctx = ffi::av_buffer_ref(picture.device_frames());
            } else if let Some(device) = setup.device {
                (*raw).hw_device_ctx = device.reference()?;
            }
            let code = ffi::avcodec_open2(raw, codec.as_ptr(), &raw mut options.0);
            AvError::check(&what, code)?;
        }
        let encoder = Self { context, name: setup.name.to_owned(), finished: false };
        match options.left().as_slice() {
            [] => Ok(encoder),
            left => Err(AvError::new(what, format!("it does not know the option {}", left.join(", ")))),
        }
    }

    /// libav's name for it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Parameter sets as the encoder writes them: Annex B for H.264 and H.265.
    pub(crate) fn extradata(&self) -> &[u8] {
        // SAFETY: the context owns its extradata, which does not change once it is open.
        unsafe {
            let raw = self.context.as_ptr();
            let length = usize::try_from((*raw).extradata_size).unwrap_or_default();
            if (*raw).extradata.is_null() || length == 0 {
                return &[];
            }
            std::slice::from_raw_parts((*raw).extradata, length)
        }
    }

    /// Other rates from the next frame on. libx264 and NVENC take them while they run.
    pub(crate) fn set_rates(&mut self, bitrate: u32, peak: u32, buffer: u32) {
        // SAFETY: these fields are read again before each frame by the encoders that can change them.
        unsafe {
            let raw = self.context.as_mut_ptr();
            (*raw).bit_rate = i64::from(bitrate);
            (*raw).rc_max_rate = i64::from(peak);
            (*raw).rc_buffer_size = i32::try_from(buffer).unwrap_or(i32::MAX);
        }
    }

    /// Gives it a picture that [`Picture::mark`] has set up.
    pub(crate) fn send(&mut self, picture: &Picture) -> Result<(), AvError> {
        // SAFETY: context and frame are valid; libav takes a reference of its own.
        let code = unsafe { ffi::avcodec_send_frame(self.context.as_mut_ptr(), picture.as_ptr()) };
        AvError::check("encoding", code).map(drop)
    }

    /// Says that nothing follows: what is held back comes out.
    pub(crate) fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            // SAFETY: a null frame begins draining.
            let _ = unsafe { ffi::avcodec_send_frame(self.context.as_mut_ptr(), ptr::null()) };
        }
    }

    /// The next coded frame, if one is ready.
    pub(crate) fn receive(&mut self) -> Result<Option<Coded>, AvError> {
        let mut packet = av::Packet::empty();
        // SAFETY: context and packet are valid.
        let code = unsafe { ffi::avcodec_receive_packet(self.context.as_mut_ptr(), packet.as_mut_ptr()) };
        match code {
            AGAIN | ffi::AVERROR_EOF => Ok(None),
            code => AvError::check("encoding", code).map(|_| Some(Coded::new(packet))),
        }
    }
}

impl Drop for Encoder {
    /// Some encoders (SVT-AV1 1.4) never return from closing when they were not drained.
    fn drop(&mut self) {
        self.finish();
        while let Ok(Some(_)) = self.receive() {}
    }
}

/// This version of an encoder knows the option.
pub(crate) fn encoder_knows(name: &str, option: &str) -> bool {
    let (Some(codec), Some(option)) = (av::codec::encoder::find_by_name(name), c_string(option)) else {
        return false;
    };
    // SAFETY: a codec's class is a static table, or null; av_opt_find reads it through a pointer to the pointer, as
    // FAKE_OBJ says.
    unsafe {
        let mut class = (*codec.as_ptr()).priv_class;
        if class.is_null() {
            return false;
        }
        let class = (&raw mut class).cast();
        let flags = ffi::AV_OPT_SEARCH_FAKE_OBJ;
        !ffi::av_opt_find(class, option.as_ptr(), ptr::null(), 0, flags).is_null()
    }
}

/// # Safety
/// `raw` must be a valid context that is not open.
unsafe fn set_fields(raw: *mut ffi::AVCodecContext, setup: &EncoderSetup<'_>) {
    let int = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let (num, den) = (int(setup.frame_rate.0), int(setup.frame_rate.1));
    // SAFETY: the caller's promise.
    unsafe {
        (*raw).width = int(setup.width);
        (*raw).height = int(setup.height);
        (*raw).pix_fmt = setup.format.into();
        (*raw).sample_aspect_ratio = ffi::AVRational { num: 1, den: 1 };
        (*raw).time_base = ffi::AVRational { num: den, den: num };
        (*raw).framerate = ffi::AVRational { num, den };
        (*raw).bit_rate = i64::from(setup.bitrate);
        (*raw).rc_max_rate = i64::from(setup.peak);
        (*raw).rc_buffer_size = int(setup.buffer);
        (*raw).gop_size = int(setup.gop);
        (*raw).max_b_frames = 0;
        (*raw).thread_count = int(setup.threads.max(1));
        (*raw).thread_type = ffi::FF_THREAD_SLICE;
        (*raw).flags |= (ffi::AV_CODEC_FLAG_GLOBAL_HEADER | ffi::AV_CODEC_FLAG_CLOSED_GOP) as i32;
        (*raw).color_range = ffi::AVColorRange::AVCOL_RANGE_MPEG;
        (*raw).color_primaries = ffi::AVColorPrimaries::AVCOL_PRI_BT709;
        (*raw).color_trc = ffi::AVColorTransferCharacteristic::AVCOL_TRC_BT709;
        (*raw).colorspace = ffi::AVColorSpace::AVCOL_SPC_BT709;
        (*raw).chroma_sample_location = ffi::AVChromaLocation::AVCHROMA_LOC_LEFT;
    }
}
