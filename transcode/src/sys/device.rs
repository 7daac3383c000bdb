//! Device contexts: CUDA, VAAPI, Quick Sync, VideoToolbox.

use std::ffi::CString;
use std::ptr;
use std::sync::OnceLock;

use av::ffi;
use ffmpeg_next as av;

use super::decoder::c_string;
use super::{AvError, Picture};
use crate::hardware::Backend;

/// The device by name, once for the process: a worker and a probe have one.
static CHOSEN: OnceLock<CString> = OnceLock::new();

/// Names the device that is opened from here on: a number for NVIDIA, a node for VAAPI and Quick Sync. Empty is the
/// first one; only the first call counts.
pub(crate) fn choose_device(name: &str) {
    if let Some(name) = c_string(name).filter(|name| !name.is_empty()) {
        let _ = CHOSEN.set(name);
    }
}

/// A device that decodes, scales or encodes. Sharing it counts a reference.
pub(crate) struct Device {
    backend: Backend,
    context: *mut ffi::AVBufferRef,
}

// SAFETY: an AVBufferRef may be used and freed on any thread; its count is atomic, and libav locks the device within.
unsafe impl Send for Device {}

impl Device {
    /// Opens the device that [`choose_device`] named, or the first of its kind.
    pub(crate) fn open(backend: Backend) -> Result<Self, AvError> {
        let what = format!("opening a device of {backend}");
        let Some((kind, _)) = table(backend) else {
            return Err(AvError::new(what, "software needs none"));
        };
        let mut context = ptr::null_mut();
        let name = CHOSEN.get().map_or(ptr::null(), |name| name.as_ptr());
        // SAFETY: `context` receives a reference that this value then owns; the name is static or null, the options
        // may be null, and are freed after the call, which copies them.
        let code = unsafe {
            let mut options = ptr::null_mut();
            // Quick Sync names its device by the node below it.
            let of_qsv = backend == Backend::Qsv && !name.is_null();
            if of_qsv {
                ffi::av_dict_set(&raw mut options, c"child_device".as_ptr(), name, 0);
            }
            let name = if of_qsv { ptr::null() } else { name };
            let code = ffi::av_hwdevice_ctx_create(&raw mut context, kind, name, options, 0);
            ffi::av_dict_free(&raw mut options);
            code
        };
        AvError::check(&what, code)?;
        Ok(Self { backend, context })
    }

    /// What it is a device of.
    pub(crate) const fn backend(&self) -> Backend {
        self.backend
    }

    /// A new reference, which the caller owns.
    pub(super) fn reference(&self) -> Result<*mut ffi::AVBufferRef, AvError> {
        // SAFETY: `context` is a live reference for as long as `self` is.
        let reference = unsafe { ffi::av_buffer_ref(self.context) };
        if reference.is_null() {
            Err(AvError::new("sharing a device", "out of memory"))
        } else {
            Ok(reference)
        }
    }

    /// The pixel format of its surfaces.
    pub(super) fn surface(&self) -> ffi::AVPixelFormat {
        table(self.backend).map_or(ffi::AVPixelFormat::AV_PIX_FMT_NONE, |(_, format)| format)
    }

    /// A pool of NV12 surfaces to upload to.
    pub(crate) fn pool(&self, width: u32, height: u32) -> Result<Pool, AvError> {
        // SAFETY: the context is live; what is allocated is freed by `Pool`, also where init fails. The fields are
        // set before init, as its documentation demands.
        unsafe {
            let frames = ffi::av_hwframe_ctx_alloc(self.context);
            if frames.is_null() {
                return Err(AvError::new("making a pool of surfaces", "out of memory"));
            }
            let pool = Pool { frames };
            let context = (*frames).data.cast::<ffi::AVHWFramesContext>();
            (*context).format = self.surface();
            (*context).sw_format = ffi::AVPixelFormat::AV_PIX_FMT_NV12;
            (*context).width = i32::try_from(width).unwrap_or_default();
            (*context).height = i32::try_from(height).unwrap_or_default();
            (*context).initial_pool_size = 8;
            AvError::check("making a pool of surfaces", ffi::av_hwframe_ctx_init(frames))?;
            Ok(pool)
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference that this value owns.
        unsafe { ffi::av_buffer_unref(&raw mut self.context) };
    }
}

/// Surfaces of a device, for pictures that come from memory.
pub(crate) struct Pool {
    frames: *mut ffi::AVBufferRef,
}

// SAFETY: as for `Device`.
unsafe impl Send for Pool {}

impl Pool {
    /// Puts a picture (NV12) on the device.
    pub(crate) fn upload(&self, picture: &Picture) -> Result<Picture, AvError> {
        let mut surface = Picture::empty();
        // SAFETY: `frames` is a live pool, `surface` an empty frame, `picture` a valid one.
        unsafe {
            let code = ffi::av_hwframe_get_buffer(self.frames, surface.as_mut_ptr(), 0);
            AvError::check("taking a surface", code)?;
            let code = ffi::av_hwframe_transfer_data(surface.as_mut_ptr(), picture.as_ptr(), 0);
            AvError::check("putting a picture on the device", code)?;
            let code = ffi::av_frame_copy_props(surface.as_mut_ptr(), picture.as_ptr());
            AvError::check("putting a picture's properties on the device", code)?;
        }
        Ok(surface)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference that this value owns.
        unsafe { ffi::av_buffer_unref(&raw mut self.frames) };
    }
}

/// libav's device type and surface format of a backend.
const fn table(backend: Backend) -> Option<(ffi::AVHWDeviceType, ffi::AVPixelFormat)> {
    use ffi::AVHWDeviceType as Kind;
    use ffi::AVPixelFormat as Format;
    match backend {
        Backend::Software => None,
        Backend::Nvidia => Some((Kind::AV_HWDEVICE_TYPE_CUDA, Format::AV_PIX_FMT_CUDA)),
        Backend::Vaapi => Some((Kind::AV_HWDEVICE_TYPE_VAAPI, Format::AV_PIX_FMT_VAAPI)),
        Backend::Qsv => Some((Kind::AV_HWDEVICE_TYPE_QSV, Format::AV_PIX_FMT_QSV)),
        Backend::VideoToolbox => Some((Kind::AV_HWDEVICE_TYPE_VIDEOTOOLBOX, Format::AV_PIX_FMT_VIDEOTOOLBOX)),
    }
}
