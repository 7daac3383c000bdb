//! Outputs of libavformat: coded frames as they are, to another server.

use std::ffi::{CString, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aqueduct_common::CodecConfig;
use av::ffi;
use ffmpeg_next as av;

use super::AvError;
use super::decoder::c_string;

/// One track of an output.
pub(crate) struct OutputTrack<'a> {
    /// libav's name of its codec.
    pub(crate) id: av::codec::Id,
    /// What it is coded with.
    pub(crate) codec: &'a CodecConfig,
    /// Ticks a second of its frames' times.
    pub(crate) scale: u32,
}

/// One coded frame.
pub(crate) struct OutputFrame<'a> {
    /// The track's place among those that the output was opened with.
    pub(crate) track: usize,
    /// Decode and presentation time and duration, in ticks of the track.
    pub(crate) dts: i64,
    pub(crate) pts: i64,
    pub(crate) duration: i64,
    /// Decoding can start here.
    pub(crate) sync: bool,
    /// The frame.
    pub(crate) payload: &'a [u8],
}

/// Until when libav may wait in a call, in milliseconds since [`start`].
type Deadline = AtomicU64;

/// An open output. Dropped, the connection closes without a goodbye.
pub(crate) struct Output {
    context: *mut ffi::AVFormatContext,
    deadline: Box<Deadline>,
    patience: Duration,
    scales: Vec<ffi::AVRational>,
}

impl Output {
    /// Connects to `url` and sends what stands before the first frame. No call waits longer than `patience`.
    pub(crate) fn open(
        format: &str,
        url: &str,
        options: &[(&str, &str)],
        tracks: &[OutputTrack<'_>],
        patience: Duration,
    ) -> Result<Self, AvError> {
        super::init();
        av::format::network::init();
        let bad = || AvError::new("the target's address", "it holds a zero byte");
        let (format, url) = (c_string(format).ok_or_else(bad)?, c_string(url).ok_or_else(bad)?);
        let mut output = Self::allocate(&format, &url, patience)?;
        for track in tracks {
            output.add(track)?;
        }
        output.connect(&url, options)?;
        output.limit();
        // SAFETY: the context is allocated, has its streams and its connection.
        let code = unsafe { ffi::avformat_write_header(output.context, ptr::null_mut()) };
        AvError::check("sending the beginning", code)?;
        Ok(output)
    }

    fn allocate(format: &CString, url: &CString, patience: Duration) -> Result<Self, AvError> {
        let deadline = Box::new(AtomicU64::new(0));
        let mut context = ptr::null_mut();
        // SAFETY: libav writes a new context to our pointer, or leaves it null and says why. The deadline lives on the
        // heap for as long as the context, as both belong to the value that is returned.
        unsafe {
            let code = ffi::avformat_alloc_output_context2(
                &raw mut context,
                ptr::null_mut(),
                format.as_ptr(),
                url.as_ptr(),
            );
            AvError::check("making an output", code)?;
            if context.is_null() {
                return Err(AvError::new("making an output", "out of memory"));
            }
            (*context).interrupt_callback.callback = Some(is_over);
            (*context).interrupt_callback.opaque = ptr::from_ref::<Deadline>(&deadline).cast_mut().cast();
            (*context).flags |= ffi::AVFMT_FLAG_FLUSH_PACKETS;
        }
        Ok(Self { context, deadline, patience, scales: Vec::new() })
    }

    fn add(&mut self, track: &OutputTrack<'_>) -> Result<(), AvError> {
        let refused = |what| AvError::new("making an output", what);
        let record = track.codec.record();
        let length = c_int::try_from(record.len()).map_err(|_| refused("a codec's record is too long"))?;
        let scale = c_int::try_from(track.scale).map_err(|_| refused("a time scale is too large"))?;
        // SAFETY: the context is valid; the stream that comes back belongs to it, as does the record, which is copied
        // into memory of libav's own with the padding that its readers need.
        unsafe {
            let stream = ffi::avformat_new_stream(self.context, ptr::null());
            let parameters = stream.as_mut().and_then(|stream| stream.codecpar.as_mut());
            let parameters = parameters.ok_or_else(|| refused("out of memory"))?;
            parameters.codec_id = track.id.into();
            parameters.extradata =
                ffi::av_mallocz(record.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize).cast();
            if parameters.extradata.is_null() {
                return Err(refused("out of memory"));
            }
            ptr::copy_nonoverlapping(record.as_ptr(), parameters.extradata, record.len());
            parameters.extradata_size = length;
            if let Some(picture) = track.codec.picture() {
                parameters.codec_type = ffi::AVMediaType::AVMEDIA_TYPE_VIDEO;
                parameters.width = c_int::try_from(picture.width).unwrap_or_default();
                parameters.height = c_int::try_from(picture.height).unwrap_or_default();
            } else if let Some((rate, channels)) = track.codec.sound() {
                parameters.codec_type = ffi::AVMediaType::AVMEDIA_TYPE_AUDIO;
                parameters.sample_rate = c_int::try_from(rate).unwrap_or_default();
                ffi::av_channel_layout_default(&raw mut parameters.ch_layout, channels.into());
            }
            (*stream).time_base = ffi::AVRational { num: 1, den: scale };
        }
        self.scales.push(ffi::AVRational { num: 1, den: scale });
        Ok(())
    }

    fn connect(&mut self, url: &CString, options: &[(&str, &str)]) -> Result<(), AvError> {
        self.limit();
        let mut dictionary = av::Dictionary::new();
        for (key, value) in options {
            dictionary.set(key, value);
        }
        // SAFETY: the context and its callback are valid; the dictionary goes to libav and what it leaves comes back.
        unsafe {
            let mut raw = dictionary.disown();
            let code = ffi::avio_open2(
                &raw mut (*self.context).pb,
                url.as_ptr(),
                ffi::AVIO_FLAG_WRITE as c_int,
                &raw const (*self.context).interrupt_callback,
                &raw mut raw,
            );
            drop(av::Dictionary::own(raw));
            AvError::check("connecting", code).map(drop)
        }
    }

    /// Sends one frame. Waits where the other side is slow.
    pub(crate) fn write(&mut self, frame: &OutputFrame<'_>) -> Result<(), AvError> {
        let Some(scale) = self.scales.get(frame.track).copied() else { return Ok(()) };
        if frame.payload.is_empty() {
            return Ok(());
        }
        self.limit();
        let mut packet = av::Packet::copy(frame.payload);
        packet.set_stream(frame.track);
        packet.set_dts(Some(frame.dts));
        packet.set_pts(Some(frame.pts));
        packet.set_duration(frame.duration);
        packet.set_flags(if frame.sync { av::packet::Flags::KEY } else { av::packet::Flags::empty() });
        // SAFETY: the track is one of the context's streams, whose time base libav chose when it wrote the header; the
        // packet is ours, and libav takes references of its own.
        unsafe {
            use av::packet::Mut as _;
            let stream = *(*self.context).streams.add(frame.track);
            ffi::av_packet_rescale_ts(packet.as_mut_ptr(), scale, (*stream).time_base);
            let code = ffi::av_write_frame(self.context, packet.as_mut_ptr());
            AvError::check("sending", code).map(drop)
        }
    }

    /// Says goodbye.
    pub(crate) fn finish(mut self) -> Result<(), AvError> {
        self.limit();
        // SAFETY: the header was written, as else there would be no value to call this on.
        let code = unsafe { ffi::av_write_trailer(self.context) };
        AvError::check("sending the end", code).map(drop)
    }

    /// The next call may take as long as it may.
    fn limit(&mut self) {
        let until = (start().elapsed() + self.patience).as_millis();
        self.deadline.store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.limit();
        // SAFETY: both are libav's own, or null, which these take; nothing uses them afterwards.
        unsafe {
            ffi::avio_closep(&raw mut (*self.context).pb);
            ffi::avformat_free_context(self.context);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "libav asks whether its time is over")]
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Whether libav has waited long enough.
///
/// # Safety
/// Called by libav with the pointer to a [`Deadline`] that `Output::allocate` gave it.
unsafe extern "C" fn is_over(deadline: *mut c_void) -> c_int {
    // SAFETY: as above; the deadline lives as long as the context.
    let deadline = unsafe { &*deadline.cast::<Deadline>() };
    c_int::from(start().elapsed().as_millis() > u128::from(deadline.load(Ordering::Relaxed)))
}
