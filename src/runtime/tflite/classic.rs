//! TensorFlow Lite through its classic C interface (`libtensorflowlite_c`), alone or with the Edge TPU's
//! delegate. It applies XNNPACK by itself where it was built with it.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::PathBuf;
use std::ptr;

use super::Backend;
use super::quiet::quietly;
use crate::runtime::library::{self, Opened, Wanted, functions};
use crate::runtime::port::Port;

/// Where TensorFlow Lite is found.
pub(super) const LIBRARY: Wanted = Wanted {
    stem: "tensorflowlite_c",
    below: &["lib", "tflite", "tensorflow/lite/c"],
    usual: &["/opt/tflite*", "/opt/tensorflow*/lib"],
    install: "install TensorFlow Lite's C library (libtensorflowlite_c.so)",
};

/// Where the Edge TPU's library is found.
pub(super) const EDGE_TPU: Wanted = Wanted {
    stem: "edgetpu",
    below: &["lib", "direct", "throttled"],
    usual: &[],
    install: "install the Edge TPU's runtime (apt install libedgetpu1-std, from Coral's package sources)",
};

type Object = *mut c_void;

functions! {
    struct Functions {
        version: "TfLiteVersion" = fn() -> *const c_char;
        model: "TfLiteModelCreate" = fn(*const c_void, usize) -> Object;
        model_free: "TfLiteModelDelete" = fn(Object);
        options: "TfLiteInterpreterOptionsCreate" = fn() -> Object;
        options_free: "TfLiteInterpreterOptionsDelete" = fn(Object);
        threads: "TfLiteInterpreterOptionsSetNumThreads" = fn(Object, i32);
        add_delegate: "TfLiteInterpreterOptionsAddDelegate" = fn(Object, Object);
        interpreter: "TfLiteInterpreterCreate" = fn(Object, Object) -> Object;
        interpreter_free: "TfLiteInterpreterDelete" = fn(Object);
        allocate: "TfLiteInterpreterAllocateTensors" = fn(Object) -> c_int;
        inputs: "TfLiteInterpreterGetInputTensorCount" = fn(Object) -> i32;
        outputs: "TfLiteInterpreterGetOutputTensorCount" = fn(Object) -> i32;
        input: "TfLiteInterpreterGetInputTensor" = fn(Object, i32) -> Object;
        output: "TfLiteInterpreterGetOutputTensor" = fn(Object, i32) -> Object;
        bytes: "TfLiteTensorByteSize" = fn(Object) -> usize;
        copy_in: "TfLiteTensorCopyFromBuffer" = fn(Object, *const c_void, usize) -> c_int;
        copy_out: "TfLiteTensorCopyToBuffer" = fn(Object, *mut c_void, usize) -> c_int;
        invoke: "TfLiteInterpreterInvoke" = fn(Object) -> c_int;
    }
}

#[repr(C)]
struct Device {
    kind: c_int,
    path: *const c_char,
}

functions! {
    struct EdgeTpu {
        devices: "edgetpu_list_devices" = fn(*mut usize) -> *mut Device;
        devices_free: "edgetpu_free_devices" = fn(*mut Device);
        delegate: "edgetpu_create_delegate" = fn(c_int, *const c_char, *const c_void, usize) -> Object;
        delegate_free: "edgetpu_free_delegate" = fn(Object);
    }
}

/// An object that a library made, and how it is freed.
struct Handle {
    pointer: Object,
    free: unsafe extern "C" fn(Object),
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the object is live and freed once.
        unsafe { (self.free)(self.pointer) }
    }
}

/// An interpreter. Freed in this order: itself, the delegate, the model; the file's bytes last.
pub(super) struct Classic {
    functions: Functions,
    interpreter: Handle,
    _delegate: Option<Handle>,
    _model: Handle,
    _bytes: Vec<u8>,
    version: String,
}

// SAFETY: an interpreter may be used by any thread, one at a time, and is reached through this value alone.
unsafe impl Send for Classic {}

/// The library, and its version.
pub(super) fn library(named: &[PathBuf]) -> Result<(Opened, String), String> {
    let library = library::open(&LIBRARY, named)?;
    let functions = Functions::load(&library)?;
    // SAFETY: it takes nothing and gives a constant string.
    let version = unsafe { CStr::from_ptr((functions.version)()) }.to_string_lossy().into_owned();
    Ok((library, version))
}

/// The Edge TPU's delegate, on the first device there is.
fn delegate(named: &[PathBuf]) -> Result<Handle, String> {
    let library = library::open(&EDGE_TPU, named)?;
    let functions = EdgeTpu::load(&library)?;
    let mut count = 0;
    // SAFETY: the list is read before it is freed; the first device's path is null for the library's choice.
    unsafe {
        let devices = (functions.devices)(&raw mut count);
        if devices.is_null() || count == 0 {
            return Err(
                "sees no Edge TPU: plug it in, and check the rights to it (udev rule, group plugdev)"
                    .to_owned(),
            );
        }
        let kind = (*devices).kind;
        let pointer = (functions.delegate)(kind, (*devices).path, ptr::null(), 0);
        (functions.devices_free)(devices);
        if pointer.is_null() {
            return Err("cannot open the Edge TPU: another program may be using it".to_owned());
        }
        Ok(Handle { pointer, free: functions.delegate_free })
    }
}

impl Classic {
    /// Makes an interpreter for a file.
    pub(super) fn new(
        bytes: Vec<u8>,
        threads: usize,
        named: &[PathBuf],
        edge_tpu: bool,
    ) -> Result<Self, String> {
        let (library, version) = library(named)?;
        let functions = Functions::load(&library)?;
        let delegate = if edge_tpu { Some(delegate(named)?) } else { None };
        let (made, log) = quietly(|| Self::build(functions, bytes, threads, delegate, version));
        made.map_err(|e| if log.is_empty() { e } else { format!("{e}: {log}") })
    }

    fn build(
        f: Functions,
        bytes: Vec<u8>,
        threads: usize,
        delegate: Option<Handle>,
        version: String,
    ) -> Result<Self, String> {
        // SAFETY: the model's bytes and the delegate live as long as the interpreter; options are copied.
        unsafe {
            let pointer = (f.model)(bytes.as_ptr().cast(), bytes.len());
            if pointer.is_null() {
                return Err("cannot read the model".to_owned());
            }
            let model = Handle { pointer, free: f.model_free };
            let options = Handle { pointer: (f.options)(), free: f.options_free };
            if threads > 0 {
                (f.threads)(options.pointer, i32::try_from(threads).unwrap_or(i32::MAX));
            }
            if let Some(delegate) = &delegate {
                (f.add_delegate)(options.pointer, delegate.pointer);
            }
            let pointer = (f.interpreter)(model.pointer, options.pointer);
            if pointer.is_null() {
                return Err("cannot execute the model".to_owned());
            }
            let interpreter = Handle { pointer, free: f.interpreter_free };
            if (f.allocate)(interpreter.pointer) != 0 {
                return Err("cannot prepare the model".to_owned());
            }
            Ok(Self { functions: f, interpreter, _delegate: delegate, _model: model, _bytes: bytes, version })
        }
    }
}

impl Backend for Classic {
    fn version(&self) -> Option<&str> {
        Some(&self.version)
    }

    fn run(&mut self, input: &mut Port, outputs: &mut [Port]) -> Result<(), String> {
        let (f, interpreter) = (&self.functions, self.interpreter.pointer);
        // SAFETY: the interpreter is live and has these tensors; sizes are checked by the library against its own.
        unsafe {
            if (f.inputs)(interpreter) != 1 || (f.outputs)(interpreter) != outputs.len() as i32 {
                return Err("has other inputs and outputs than its file".to_owned());
            }
            let tensor = (f.input)(interpreter, 0);
            if (f.bytes)(tensor) != input.bytes() || (f.copy_in)(tensor, input.address(), input.bytes()) != 0
            {
                return Err("does not take its input".to_owned());
            }
            if (f.invoke)(interpreter) != 0 {
                return Err("failed to run the model".to_owned());
            }
            for (i, port) in outputs.iter_mut().enumerate() {
                let tensor = (f.output)(interpreter, i as i32);
                if (f.bytes)(tensor) != port.bytes()
                    || (f.copy_out)(tensor, port.address(), port.bytes()) != 0
                {
                    return Err("does not give its output".to_owned());
                }
            }
        }
        Ok(())
    }
}
