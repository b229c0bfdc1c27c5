//! FFmpeg's option dictionary.

use std::ffi::CString;
use std::ptr;

use ffmpeg_next::ffi;

/// Options by name. FFmpeg removes those that it understood.
#[derive(Debug)]
pub(crate) struct Dict(*mut ffi::AVDictionary);

impl Dict {
    /// An empty dictionary.
    pub(crate) fn new() -> Self {
        Self(ptr::null_mut())
    }

    /// A dictionary of these options.
    pub(crate) fn of<const N: usize>(entries: [(&str, &str); N]) -> Self {
        let mut dict = Self::new();
        for (key, value) in entries {
            dict.set(key, value);
        }
        dict
    }

    /// Sets one option. Text with a NUL byte cannot be an option and is ignored.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        if let (Ok(key), Ok(value)) = (CString::new(key), CString::new(value)) {
            // SAFETY: both strings are NUL-terminated and copied; the dictionary pointer is ours.
            unsafe { ffi::av_dict_set(&raw mut self.0, key.as_ptr(), value.as_ptr(), 0) };
        }
    }

    /// For functions that take options and leave what they did not understand.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut *mut ffi::AVDictionary {
        &raw mut self.0
    }

    /// Lends the dictionary to FFmpeg, which may replace it; [`put_back`](Self::put_back) what it left.
    pub(crate) fn take(&mut self) -> *mut ffi::AVDictionary {
        std::mem::replace(&mut self.0, ptr::null_mut())
    }

    /// Owns again what was taken.
    pub(crate) fn put_back(&mut self, dict: *mut ffi::AVDictionary) {
        self.0 = dict;
    }
}

impl Drop for Dict {
    fn drop(&mut self) {
        // SAFETY: the dictionary is ours; freeing a null one is allowed.
        unsafe { ffi::av_dict_free(&raw mut self.0) };
    }
}
