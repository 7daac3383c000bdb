//! Decoded pictures: reference-counted, shared without a copy.

use av::ffi;
use av::format::Pixel;
use ffmpeg_next as av;

use super::AvError;
use crate::hardware::Backend;

/// How a picture was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scan {
    /// All lines at one time.
    Progressive,
    /// Two fields, the upper line's first.
    UpperFirst,
    /// Two fields, the lower line's first.
    LowerFirst,
}

/// A decoded picture, in memory or on a device.
pub(crate) struct Picture {
    frame: av::frame::Video,
    /// How it was taken, where that is known better than its flag says.
    scan: Option<Scan>,
}

/// What has to stay the same for a filter graph to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    /// Pixels across.
    pub(crate) width: u32,
    /// Pixels down.
    pub(crate) height: u32,
    /// Pixel format, or that of a device's surfaces.
    pub(crate) format: Pixel,
    /// Sample aspect ratio; (0, 1) where unstated.
    pub(crate) sar: (i32, i32),
    /// Primaries, transfer and matrix by ITU-T H.273; 2 is unstated.
    pub(crate) colour: (u32, u32, u32),
    /// Full range.
    pub(crate) full_range: bool,
    /// Bits of a component.
    pub(crate) depth: u32,
    /// How pictures were taken, where that is known better than their flags say.
    pub(crate) scan: Option<Scan>,
}

impl Picture {
    /// Without content, for libav to fill.
    pub(super) fn empty() -> Self {
        Self { frame: av::frame::Video::empty(), scan: None }
    }

    pub(super) fn as_ptr(&self) -> *const ffi::AVFrame {
        // SAFETY: only reads the pointer; the frame lives as long as `self`.
        unsafe { self.frame.as_ptr() }
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut ffi::AVFrame {
        // SAFETY: only reads the pointer; the frame lives as long as `self`, which is borrowed mutably.
        unsafe { self.frame.as_mut_ptr() }
    }

    /// A black picture in 8-bit 4:2:0, limited range.
    pub(crate) fn black(width: u32, height: u32) -> Self {
        let mut frame = av::frame::Video::new(Pixel::YUV420P, width, height);
        for plane in 0..frame.planes() {
            frame.data_mut(plane).fill(if plane == 0 { 16 } else { 128 });
        }
        frame.set_color_range(av::color::Range::MPEG);
        // SAFETY: writes a field of a valid frame.
        unsafe { (*frame.as_mut_ptr()).sample_aspect_ratio = ffi::AVRational { num: 1, den: 1 } };
        Self { frame, scan: None }
    }

    /// Another handle on the same pixels, with times and marks of its own.
    pub(crate) fn share(&self) -> Result<Self, AvError> {
        let mut other = Self::empty();
        // SAFETY: both frames are valid, and `other` is empty, as av_frame_ref demands.
        let code = unsafe { ffi::av_frame_ref(other.as_mut_ptr(), self.as_ptr()) };
        AvError::check("sharing a picture", code)?;
        other.scan = self.scan;
        Ok(other)
    }

    /// Gives it a time, and says whether it has to become an IDR. The kind that the source's encoder chose is
    /// forgotten: libx264 would obey it.
    pub(crate) fn mark(&mut self, pts: i64, idr: bool) {
        self.frame.set_pts(Some(pts));
        self.frame.set_kind(if idr { av::picture::Type::I } else { av::picture::Type::None });
    }

    /// Sets its time.
    pub(crate) fn set_pts(&mut self, pts: i64) {
        self.frame.set_pts(Some(pts));
    }

    /// Its time, as the packet that it came from had it.
    pub(crate) fn pts(&self) -> Option<i64> {
        self.frame.pts()
    }

    /// It was not decoded whole: slices are missing, or what it refers to is (AVP-18).
    pub(crate) fn is_damaged(&self) -> bool {
        self.frame.is_corrupt() || self.frame.has_decode_errors()
    }

    /// It is two fields: by what is known of it, else by its flag.
    pub(crate) fn is_interlaced(&self) -> bool {
        self.scan.map_or_else(|| self.is_flagged_interlaced(), |scan| scan != Scan::Progressive)
    }

    /// Its flag says that it is two fields.
    pub(crate) fn is_flagged_interlaced(&self) -> bool {
        self.frame.is_interlaced()
    }

    /// Says how it was taken, whatever its flag says.
    pub(crate) const fn set_scan(&mut self, scan: Scan) {
        self.scan = Some(scan);
    }

    /// What a filter of libav noted on it under this key.
    pub(crate) fn note(&self, key: &str) -> Option<String> {
        self.frame.metadata().get(key).map(str::to_owned)
    }

    /// The device that it lies on; `None` in memory.
    pub(crate) fn device(&self) -> Option<Backend> {
        match self.frame.format() {
            Pixel::CUDA => Some(Backend::Nvidia),
            Pixel::VAAPI => Some(Backend::Vaapi),
            Pixel::QSV => Some(Backend::Qsv),
            Pixel::VIDEOTOOLBOX => Some(Backend::VideoToolbox),
            _ => None,
        }
    }

    pub(super) fn device_frames(&self) -> *mut ffi::AVBufferRef {
        // SAFETY: reads a field of a valid frame; who keeps the reference takes one of its own.
        unsafe { (*self.as_ptr()).hw_frames_ctx }
    }

    /// What a filter graph has to know of it.
    pub(crate) fn shape(&self) -> Shape {
        let sar = self.frame.aspect_ratio();
        // SAFETY: reads fields of a valid frame; the descriptor is a static table of libav or null.
        let (colour, full_range, depth) = unsafe {
            let frame = &*self.as_ptr();
            let colour = (frame.color_primaries as u32, frame.color_trc as u32, frame.colorspace as u32);
            let full = frame.color_range == ffi::AVColorRange::AVCOL_RANGE_JPEG;
            let format = surface_format(frame);
            let descriptor = ffi::av_pix_fmt_desc_get(format);
            let depth = if descriptor.is_null() { 8 } else { (*descriptor).comp[0].depth as u32 };
            (colour, full, depth)
        };
        Shape {
            width: self.frame.width(),
            height: self.frame.height(),
            format: self.frame.format(),
            sar: (sar.numerator(), sar.denominator()),
            colour,
            full_range,
            depth,
            scan: self.scan,
        }
    }

    /// Rows of luma, and the distance from one to the next; `None` on a device and for other than 8 bits.
    pub(crate) fn luma(&self) -> Option<(&[u8], usize)> {
        let planar = matches!(self.frame.format(), Pixel::YUV420P | Pixel::YUVJ420P | Pixel::NV12);
        // A negative stride reads upwards; nothing here makes one.
        // SAFETY: reads a field of a valid frame.
        let stride = unsafe { (*self.as_ptr()).linesize[0] };
        (planar && stride > 0).then(|| (self.frame.data(0), self.frame.stride(0)))
    }

    /// Pixels across.
    pub(crate) fn width(&self) -> u32 {
        self.frame.width()
    }

    /// Pixels down.
    pub(crate) fn height(&self) -> u32 {
        self.frame.height()
    }

    /// The picture in memory, in the device's own layout (NV12 as a rule).
    pub(crate) fn download(&self) -> Result<Self, AvError> {
        let mut local = Self::empty();
        // SAFETY: `self` is a valid frame on a device, `local` an empty one that libav allocates.
        unsafe {
            let code = ffi::av_hwframe_transfer_data(local.as_mut_ptr(), self.as_ptr(), 0);
            AvError::check("fetching a picture from the device", code)?;
            let code = ffi::av_frame_copy_props(local.as_mut_ptr(), self.as_ptr());
            AvError::check("fetching a picture's properties", code)?;
        }
        local.scan = self.scan;
        Ok(local)
    }
}

/// The format of the pixels: a device's frames have it behind their context.
///
/// # Safety
/// `frame` must be a valid frame.
unsafe fn surface_format(frame: &ffi::AVFrame) -> ffi::AVPixelFormat {
    // SAFETY: a frame's context, where it has one, is an AVHWFramesContext; formats come from libav itself.
    unsafe {
        if frame.hw_frames_ctx.is_null() {
            std::mem::transmute::<i32, ffi::AVPixelFormat>(frame.format)
        } else {
            (*(*frame.hw_frames_ctx).data.cast::<ffi::AVHWFramesContext>()).sw_format
        }
    }
}
