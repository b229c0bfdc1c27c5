//! The machine's own video decoders: NVIDIA, VAAPI, VideoToolbox, through FFmpeg's device contexts.
//!
//! Decoded pictures are copied back to main memory, because everything behind works there.

use std::ffi::{CStr, c_int};
use std::ptr;

use ffmpeg_next::ffi::{self, AVCodecID, AVHWDeviceType, AVPixelFormat};

use super::error::{AvError, check};
use super::frame::AvFrame;

/// Kinds of device that are tried, in this order.
const DEVICES: [AVHWDeviceType; 3] = [
    AVHWDeviceType::AV_HWDEVICE_TYPE_CUDA,
    AVHWDeviceType::AV_HWDEVICE_TYPE_VAAPI,
    AVHWDeviceType::AV_HWDEVICE_TYPE_VIDEOTOOLBOX,
];

/// A device that decodes.
pub(crate) struct Hardware {
    device: *mut ffi::AVBufferRef,
    /// The format in which its frames arrive; boxed because the decoder keeps its address.
    format: Box<AVPixelFormat>,
}

/// A device that can decode `codec`: `None` if FFmpeg knows no way for this codec, an error with the reasons
/// if it does, but no device can be opened.
pub(crate) fn create(codec: *const ffi::AVCodec) -> Result<Option<Hardware>, String> {
    let mut reasons = Vec::new();
    for kind in DEVICES {
        let Some(format) = device_format(codec, kind) else { continue };
        let mut device = ptr::null_mut();
        // SAFETY: the default device is asked for (no name, no options); the result is checked.
        let created =
            unsafe { ffi::av_hwdevice_ctx_create(&raw mut device, kind, ptr::null(), ptr::null_mut(), 0) };
        match check(created) {
            Ok(_) => return Ok(Some(Hardware { device, format: Box::new(format) })),
            Err(e) => reasons.push(format!("{}: {e}", kind_name(kind))),
        }
    }
    if reasons.is_empty() { Ok(None) } else { Err(reasons.join("; ")) }
}

/// A way to decode in hardware.
pub(crate) struct Way {
    /// FFmpeg's name for it.
    pub api: String,
    /// Codecs that FFmpeg can hand to it; the device may take fewer.
    pub codecs: Vec<String>,
    /// Why no device could be opened; `None` where one could.
    pub reason: Option<String>,
}

/// Codecs of recordings and cameras.
const CODECS: [AVCodecID; 6] = [
    AVCodecID::AV_CODEC_ID_H264,
    AVCodecID::AV_CODEC_ID_HEVC,
    AVCodecID::AV_CODEC_ID_AV1,
    AVCodecID::AV_CODEC_ID_VP9,
    AVCodecID::AV_CODEC_ID_MPEG2VIDEO,
    AVCodecID::AV_CODEC_ID_MJPEG,
];

/// Ways to decode in hardware that this FFmpeg was built with, and whether the machine has a device for them.
pub(crate) fn decoders() -> Vec<Way> {
    super::init();
    let mut ways = Vec::new();
    for kind in DEVICES {
        let codecs: Vec<String> = CODECS.iter().filter_map(|&id| codec_name(id, kind)).collect();
        if codecs.is_empty() {
            continue;
        }
        let mut device = ptr::null_mut();
        // SAFETY: the default device is asked for (no name, no options); the reference is given back at once.
        let created = unsafe {
            let created = ffi::av_hwdevice_ctx_create(&raw mut device, kind, ptr::null(), ptr::null_mut(), 0);
            ffi::av_buffer_unref(&raw mut device);
            created
        };
        let reason = check(created).err().map(|error| error.to_string());
        ways.push(Way { api: kind_name(kind), codecs, reason });
    }
    ways
}

/// The name of a codec, if FFmpeg can decode it on a device of this kind.
fn codec_name(id: AVCodecID, kind: AVHWDeviceType) -> Option<String> {
    // SAFETY: the decoder is null or a static description, and so is its name.
    unsafe {
        let codec = ffi::avcodec_find_decoder(id);
        if codec.is_null() || device_format(codec, kind).is_none() {
            return None;
        }
        Some(CStr::from_ptr(ffi::avcodec_get_name(id)).to_string_lossy().into_owned())
    }
}

fn kind_name(kind: AVHWDeviceType) -> String {
    // SAFETY: the name is null or a static string.
    unsafe {
        let name = ffi::av_hwdevice_get_type_name(kind);
        if name.is_null() { String::new() } else { CStr::from_ptr(name).to_string_lossy().into_owned() }
    }
}

/// The format in which `codec` decodes on a device of this kind.
fn device_format(codec: *const ffi::AVCodec, kind: AVHWDeviceType) -> Option<AVPixelFormat> {
    (0..)
        .map_while(|index| {
            // SAFETY: the codec is a static description; null ends the list.
            unsafe { ffi::avcodec_get_hw_config(codec, index).as_ref() }
        })
        .find(|config| {
            config.device_type == kind
                && config.methods & ffi::AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX as c_int != 0
        })
        .map(|config| config.pix_fmt)
}

impl Hardware {
    /// Makes a decoder that is not yet open use this device.
    ///
    /// # Safety
    /// `context` is valid, not yet open, and freed before `self`.
    pub(crate) unsafe fn attach(&self, context: *mut ffi::AVCodecContext) -> Result<(), AvError> {
        // SAFETY: the device is ours, and the context is valid by contract.
        unsafe {
            let device = ffi::av_buffer_ref(self.device);
            if device.is_null() {
                return Err(AvError::NO_MEMORY);
            }
            (*context).hw_device_ctx = device;
            (*context).opaque = ptr::from_ref(&*self.format).cast_mut().cast();
            (*context).get_format = Some(choose);
        }
        Ok(())
    }

    /// The frame in main memory. Frames that the decoder made in software pass unchanged.
    pub(crate) fn download(&self, frame: AvFrame) -> Result<AvFrame, AvError> {
        if frame.format() != Some(*self.format) {
            return Ok(frame);
        }
        let mut copy = AvFrame::empty()?;
        // SAFETY: both frames are valid and the target is empty.
        unsafe {
            check(ffi::av_hwframe_transfer_data(copy.as_mut_ptr(), frame.as_ptr(), 0))?;
            check(ffi::av_frame_copy_props(copy.as_mut_ptr(), frame.as_ptr()))?;
        }
        Ok(copy)
    }
}

impl Drop for Hardware {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { ffi::av_buffer_unref(&raw mut self.device) };
    }
}

/// Takes the device's format if it is offered, else the decoder's best one in software.
unsafe extern "C" fn choose(
    context: *mut ffi::AVCodecContext,
    offered: *const AVPixelFormat,
) -> AVPixelFormat {
    // SAFETY: FFmpeg offers a list that ends in `NONE`; `opaque` is the format that `attach` set.
    unsafe {
        let wanted = *(*context).opaque.cast_const().cast::<AVPixelFormat>();
        let mut candidate = offered;
        while *candidate != AVPixelFormat::AV_PIX_FMT_NONE {
            if *candidate == wanted {
                return wanted;
            }
            candidate = candidate.add(1);
        }
        ffi::avcodec_default_get_format(context, offered)
    }
}
