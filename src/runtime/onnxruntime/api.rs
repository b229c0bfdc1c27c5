//! ONNX Runtime's C interface: one table of functions whose order never changes.
//!
//! The positions are those of `onnxruntime_c_api.h`; entries are only ever added at its end. Asking for the
//! version of 1.12, the first with all that is used here, gets that table from any later library too.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use crate::runtime::library::Opened;

/// Version of the table that is asked for.
const API_VERSION: u32 = 12;

/// `OrtLoggingLevel`: errors alone.
const LOG_ERRORS: c_int = 3;

type Status = *mut c_void;
type Api = *const *const c_void;

#[repr(C)]
struct ApiBase {
    get_api: unsafe extern "C" fn(u32) -> Api,
    version: unsafe extern "C" fn() -> *const c_char,
}

/// The library, with its environment.
#[derive(Clone, Copy)]
pub struct Ort {
    api: Api,
    env: *mut c_void,
    /// Such as `1.22.0`.
    pub version: &'static str,
}

// SAFETY: the table is constant, and the environment may be used by any thread (ONNX Runtime's documentation).
unsafe impl Send for Ort {}
// SAFETY: as above.
unsafe impl Sync for Ort {}

/// Looks a function up and calls it: `call!(ort, 9, (ptr, usize) -> Status, (a, b))`.
macro_rules! call {
    ($ort:expr, $index:expr, ($($t:ty),*) $(-> $r:ty)?, ($($a:expr),*)) => {{
        type Function = unsafe extern "C" fn($($t),*) $(-> $r)?;
        // SAFETY: the table has more entries than `index`, and this one has that signature.
        let function = unsafe { std::mem::transmute::<*const c_void, Function>(*$ort.api.add($index)) };
        // SAFETY: each caller passes live objects of the kinds that the function takes.
        unsafe { function($($a),*) }
    }};
}

/// An object that the library made, and how it is released.
pub struct Handle {
    ort: Ort,
    /// The object.
    pub pointer: *mut c_void,
    release: usize,
}

impl Drop for Handle {
    fn drop(&mut self) {
        call!(self.ort, self.release, (*mut c_void), (self.pointer));
    }
}

impl Ort {
    /// Starts the library, once per process.
    pub fn start(library: &Opened) -> Result<Self, String> {
        // SAFETY: the signature is that of the public header.
        let base: unsafe extern "C" fn() -> *const ApiBase = unsafe { library.function("OrtGetApiBase")? };
        // SAFETY: it takes nothing and gives a constant structure.
        let base = unsafe { base().as_ref() }.ok_or("OrtGetApiBase gives nothing")?;
        // SAFETY: it gives a constant string.
        let version = unsafe { CStr::from_ptr((base.version)()) }.to_str().unwrap_or("unknown");
        // SAFETY: an unknown version gives a null pointer.
        let api = unsafe { (base.get_api)(API_VERSION) };
        if api.is_null() {
            return Err(format!("{} is version {version}; 1.12 or later is needed", library.path.display()));
        }
        let mut ort = Self { api, env: ptr::null_mut(), version };
        let name = c"endort";
        let status = call!(ort, 3, (c_int, *const c_char, *mut *mut c_void) -> Status,
            (LOG_ERRORS, name.as_ptr(), &raw mut ort.env));
        ort.check(status)?;
        Ok(ort)
    }

    fn check(&self, status: Status) -> Result<(), String> {
        if status.is_null() {
            return Ok(());
        }
        let message = call!(self, 2, (*const c_void) -> *const c_char, (status));
        // SAFETY: the message lives as long as the status.
        let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().replace('\n', " ");
        call!(self, 93, (*mut c_void), (status));
        Err(text)
    }

    fn handle(&self, pointer: *mut c_void, release: usize) -> Handle {
        Handle { ort: *self, pointer, release }
    }

    /// What it can execute on, best first by its own account.
    pub fn providers(&self) -> Result<Vec<String>, String> {
        let (mut names, mut count): (*mut *mut c_char, c_int) = (ptr::null_mut(), 0);
        let status =
            call!(self, 125, (*mut *mut *mut c_char, *mut c_int) -> Status, (&raw mut names, &raw mut count));
        self.check(status)?;
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: the library gives `count` strings.
        let text = |i| unsafe { CStr::from_ptr(*names.add(i)) }.to_string_lossy().into_owned();
        let found = (0..count).map(text).collect();
        let status = call!(self, 126, (*mut *mut c_char, c_int) -> Status, (names, count as c_int));
        self.check(status)?;
        Ok(found)
    }

    /// Options of a session.
    pub fn options(&self, threads: usize) -> Result<Handle, String> {
        let mut options = ptr::null_mut();
        self.check(call!(self, 10, (*mut *mut c_void) -> Status, (&raw mut options)))?;
        let handle = self.handle(options, 100);
        let threads = c_int::try_from(threads).map_err(|_| format!("{threads} threads are too many"))?;
        self.check(call!(self, 24, (*mut c_void, c_int) -> Status, (options, threads)))?;
        Ok(handle)
    }

    /// Adds CUDA or TensorRT, with its own options.
    pub fn add_nvidia(
        &self,
        options: &Handle,
        tensorrt: bool,
        settings: &[(&str, String)],
    ) -> Result<(), String> {
        let [create, update, release, append] =
            if tensorrt { [171, 172, 174, 170] } else { [205, 206, 208, 204] };
        let mut provider = ptr::null_mut();
        self.check(call!(self, create, (*mut *mut c_void) -> Status, (&raw mut provider)))?;
        let provider = self.handle(provider, release);
        let (keys, values) = strings(settings)?;
        let (keys, values) = (pointers(&keys), pointers(&values));
        let status = call!(self, update, (*mut c_void, *const *const c_char, *const *const c_char, usize) -> Status,
            (provider.pointer, keys.as_ptr(), values.as_ptr(), keys.len()));
        self.check(status)?;
        self.check(
            call!(self, append, (*mut c_void, *const c_void) -> Status, (options.pointer, provider.pointer)),
        )
    }

    /// Adds any other provider, by the name that it goes by in `SessionOptionsAppendExecutionProvider`.
    pub fn add_provider(
        &self,
        options: &Handle,
        name: &str,
        settings: &[(&str, String)],
    ) -> Result<(), String> {
        let name = CString::new(name).map_err(|e| e.to_string())?;
        let (keys, values) = strings(settings)?;
        let (keys, values) = (pointers(&keys), pointers(&values));
        let status = call!(self, 216,
            (*mut c_void, *const c_char, *const *const c_char, *const *const c_char, usize) -> Status,
            (options.pointer, name.as_ptr(), keys.as_ptr(), values.as_ptr(), keys.len()));
        self.check(status)
    }

    /// Compiles a model that lies in memory. The session keeps nothing of `bytes`.
    pub fn session(&self, bytes: &[u8], options: &Handle) -> Result<Handle, String> {
        let mut session = ptr::null_mut();
        let status = call!(self, 8, (*const c_void, *const c_void, usize, *const c_void, *mut *mut c_void) -> Status,
            (self.env, bytes.as_ptr().cast(), bytes.len(), options.pointer, &raw mut session));
        self.check(status)?;
        Ok(self.handle(session, 95))
    }

    /// Compiles a model from its file, so that external data beside it is found.
    #[cfg(unix)]
    pub fn session_from_file(&self, path: &std::path::Path, options: &Handle) -> Result<Handle, String> {
        use std::os::unix::ffi::OsStrExt;
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
        let mut session = ptr::null_mut();
        let status = call!(self, 7, (*const c_void, *const c_char, *const c_void, *mut *mut c_void) -> Status,
            (self.env, path.as_ptr(), options.pointer, &raw mut session));
        self.check(status)?;
        Ok(self.handle(session, 95))
    }

    /// Number of inputs and outputs.
    pub fn counts(&self, session: &Handle) -> Result<[usize; 2], String> {
        let mut counts = [0; 2];
        for (count, index) in counts.iter_mut().zip([30, 31]) {
            self.check(
                call!(self, index, (*const c_void, *mut usize) -> Status, (session.pointer, &raw mut *count)),
            )?;
        }
        Ok(counts)
    }

    /// Name of an input or output.
    pub fn name(&self, session: &Handle, output: bool, at: usize) -> Result<CString, String> {
        let mut allocator = ptr::null_mut();
        self.check(call!(self, 78, (*mut *mut c_void) -> Status, (&raw mut allocator)))?;
        let mut name: *mut c_char = ptr::null_mut();
        let index = if output { 37 } else { 36 };
        let status = call!(self, index, (*const c_void, usize, *mut c_void, *mut *mut c_char) -> Status,
            (session.pointer, at, allocator, &raw mut name));
        self.check(status)?;
        // SAFETY: a string that the library allocated; it is copied before it is freed.
        let text = unsafe { CStr::from_ptr(name) }.to_owned();
        self.check(call!(self, 76, (*mut c_void, *mut c_void) -> Status, (allocator, name.cast())))?;
        Ok(text)
    }

    /// `ONNXTensorElementDataType` of an input or output.
    pub fn element(&self, session: &Handle, output: bool, at: usize) -> Result<c_int, String> {
        let mut info = ptr::null_mut();
        let index = if output { 34 } else { 33 };
        let status = call!(self, index, (*const c_void, usize, *mut *mut c_void) -> Status,
            (session.pointer, at, &raw mut info));
        self.check(status)?;
        let info = self.handle(info, 98);
        let mut tensor = ptr::null();
        self.check(
            call!(self, 55, (*const c_void, *mut *const c_void) -> Status, (info.pointer, &raw mut tensor)),
        )?;
        if tensor.is_null() {
            return Err("an input or output is no tensor".to_owned());
        }
        let mut element = 0;
        self.check(call!(self, 60, (*const c_void, *mut c_int) -> Status, (tensor, &raw mut element)))?;
        Ok(element)
    }

    /// A tensor over memory that stays where it is for as long as the tensor is used.
    pub fn tensor(
        &self,
        address: *mut c_void,
        bytes: usize,
        shape: &[usize],
        element: c_int,
    ) -> Result<Handle, String> {
        let mut memory = ptr::null_mut();
        // OrtDeviceAllocator, OrtMemTypeDefault.
        self.check(call!(self, 69, (c_int, c_int, *mut *mut c_void) -> Status, (0, 0, &raw mut memory)))?;
        let memory = self.handle(memory, 94);
        let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        let mut value = ptr::null_mut();
        let status = call!(self, 49,
            (*const c_void, *mut c_void, usize, *const i64, usize, c_int, *mut *mut c_void) -> Status,
            (memory.pointer, address, bytes, shape.as_ptr(), shape.len(), element, &raw mut value));
        self.check(status)?;
        Ok(self.handle(value, 96))
    }

    /// Executes the model once. Outputs are written into the tensors given.
    pub fn run(
        &self,
        session: &Handle,
        input: (&CString, &Handle),
        outputs: &[(CString, Handle)],
    ) -> Result<(), String> {
        let input_names = [input.0.as_ptr()];
        let inputs = [input.1.pointer.cast_const()];
        let output_names: Vec<*const c_char> = outputs.iter().map(|(name, _)| name.as_ptr()).collect();
        let mut values: Vec<*mut c_void> = outputs.iter().map(|(_, value)| value.pointer).collect();
        let status = call!(self, 9,
            (*mut c_void, *const c_void, *const *const c_char, *const *const c_void, usize,
             *const *const c_char, usize, *mut *mut c_void) -> Status,
            (session.pointer, ptr::null(), input_names.as_ptr(), inputs.as_ptr(), 1,
             output_names.as_ptr(), outputs.len(), values.as_mut_ptr()));
        self.check(status)
    }
}

type Strings = (Vec<CString>, Vec<CString>);

fn strings(settings: &[(&str, String)]) -> Result<Strings, String> {
    let text = |s: &str| CString::new(s).map_err(|e| e.to_string());
    settings.iter().map(|(key, value)| Ok((text(key)?, text(value)?))).collect()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).collect()
}
