//! LiteRT, Google's successor of TensorFlow Lite, through its own C interface (2.1 and later).

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use super::Backend;
use super::quiet::quietly;
use crate::runtime::library::{self, Opened, Wanted, functions};
use crate::runtime::port::Port;

/// Where it is found.
pub(super) const LIBRARY: Wanted = Wanted {
    stem: "LiteRt",
    below: &["ai_edge_litert", "lib"],
    usual: &["/opt/litert*", "/usr/local/lib/python3*/dist-packages", "/usr/lib/python3*/dist-packages"],
    install: "install LiteRT (pip install ai-edge-litert)",
};

/// Most axes of a tensor.
const MAX_RANK: usize = 8;
/// `kLiteRtHwAcceleratorCpu`
const CPU: c_int = 1;
/// `kLiteRtEnvOptionTagAutoRegisterAccelerators`, `kLiteRtEnvOptionTagMinLoggerSeverity`
const TAGS: [c_int; 2] = [24, 25];
/// `kLiteRtAnyTypeInt`
const ANY_INT: c_int = 2;
/// Errors alone.
const LOG_ERRORS: i64 = 3;

type Object = *mut c_void;

#[repr(C)]
struct EnvOption {
    tag: c_int,
    // The value's structure holds 64 bits and starts on as many.
    padding: c_int,
    kind: c_int,
    value: i64,
}

/// `LiteRtRankedTensorType`: the rank has seven bits, and a bit says whether there are strides.
#[repr(C)]
struct TensorType {
    element: c_int,
    rank: u32,
    dimensions: [i32; MAX_RANK],
    strides: [u32; MAX_RANK],
}

functions! {
    struct Functions {
        environment: "LiteRtCreateEnvironment" = fn(c_int, *const EnvOption, *mut Object) -> c_int;
        environment_free: "LiteRtDestroyEnvironment" = fn(Object);
        model: "LiteRtCreateModelFromBuffer" = fn(Object, *const c_void, usize, *mut Object) -> c_int;
        model_free: "LiteRtDestroyModel" = fn(Object);
        signature: "LiteRtGetModelSignature" = fn(Object, usize, *mut Object) -> c_int;
        outputs: "LiteRtGetNumSignatureOutputs" = fn(Object, *mut usize) -> c_int;
        output_name: "LiteRtGetSignatureOutputName" = fn(Object, usize, *mut *const c_char) -> c_int;
        options: "LiteRtCreateOptions" = fn(*mut Object) -> c_int;
        options_free: "LiteRtDestroyOptions" = fn(Object);
        accelerators: "LiteRtSetOptionsHardwareAccelerators" = fn(Object, c_int) -> c_int;
        opaque: "LiteRtCreateOpaqueOptions" = fn(*const c_char, *mut c_void, extern "C" fn(*mut c_void), *mut Object) -> c_int;
        add_opaque: "LiteRtAddOpaqueOptions" = fn(Object, Object) -> c_int;
        compile: "LiteRtCreateCompiledModel" = fn(Object, Object, Object, *mut Object) -> c_int;
        compiled_free: "LiteRtDestroyCompiledModel" = fn(Object);
        buffer: "LiteRtCreateTensorBufferFromHostMemory" = fn(*const TensorType, *mut c_void, usize, Option<extern "C" fn(*mut c_void)>, *mut Object) -> c_int;
        buffer_free: "LiteRtDestroyTensorBuffer" = fn(Object);
        run: "LiteRtRunCompiledModel" = fn(Object, usize, usize, *mut Object, usize, *mut Object) -> c_int;
    }
}

/// An object that the library made, and how it is freed.
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

/// A compiled model. Freed in this order: buffers, model, environment; the file's bytes last.
pub(super) struct LiteRt {
    functions: Functions,
    input: Handle,
    outputs: Vec<Handle>,
    compiled: Handle,
    _model: Handle,
    _environment: Handle,
    _bytes: Vec<u8>,
    version: Option<String>,
}

// SAFETY: a compiled model may be used by any thread, one at a time, and is reached through this value alone.
unsafe impl Send for LiteRt {}

fn check(what: &str, status: c_int) -> Result<(), String> {
    if status == 0 { Ok(()) } else { Err(format!("{what} failed with status {status}")) }
}

/// Opens the library.
pub(super) fn library(named: &[std::path::PathBuf]) -> Result<Opened, String> {
    library::open(&LIBRARY, named)
}

/// The library does not say its version; the Python package that it came in does.
pub(super) fn version(library: &Opened) -> Option<String> {
    let package = library.path.parent()?;
    let prefix = format!("{}-", package.file_name()?.to_str()?);
    let siblings = std::fs::read_dir(package.parent().filter(|p| *p != Path::new(""))?).ok()?;
    siblings.filter_map(Result::ok).find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_prefix(&prefix)?.strip_suffix(".dist-info")?.to_owned())
    })
}

impl LiteRt {
    /// Compiles a file for the CPU and binds its input and outputs; `outputs` are tensors by name.
    pub(super) fn new(
        library: &Opened,
        bytes: Vec<u8>,
        threads: usize,
        input: &mut Port,
        outputs: &mut [(Vec<String>, &mut Port)],
    ) -> Result<Self, String> {
        let functions = Functions::load(library)?;
        let (made, log) = quietly(|| Self::build(functions, bytes, threads));
        // What the library wrote says more than its status.
        let mut built = made.map_err(|e| if log.is_empty() { e } else { format!("{e}: {log}") })?;
        let names = built.output_names()?;
        built.input = built.bind(input)?;
        for name in names {
            let (_, port) = outputs
                .iter_mut()
                .find(|(known, _)| known.contains(&name))
                .ok_or_else(|| format!("has the output {name:?}, which the file does not"))?;
            let buffer = built.bind(port)?;
            built.outputs.push(buffer);
        }
        built.version = version(library);
        Ok(built)
    }

    fn build(f: Functions, bytes: Vec<u8>, threads: usize) -> Result<Self, String> {
        // The CPU alone: looking for GPUs takes seconds.
        let settings = [(TAGS[0], i64::from(CPU)), (TAGS[1], LOG_ERRORS)].map(|(tag, value)| EnvOption {
            tag,
            padding: 0,
            kind: ANY_INT,
            value,
        });
        let mut object = ptr::null_mut();
        // SAFETY: all pointers are live for the calls; the model's bytes live as long as the model.
        unsafe {
            check("starting", (f.environment)(settings.len() as c_int, settings.as_ptr(), &raw mut object))?;
            let environment = Handle { pointer: object, free: f.environment_free };
            let status = (f.model)(environment.pointer, bytes.as_ptr().cast(), bytes.len(), &raw mut object);
            check("reading the model", status)?;
            let model = Handle { pointer: object, free: f.model_free };
            check("preparing", (f.options)(&raw mut object))?;
            let options = Handle { pointer: object, free: f.options_free };
            check("choosing the CPU", (f.accelerators)(options.pointer, CPU))?;
            if threads > 0 {
                set_threads(&f, &options, threads)?;
            }
            let status = (f.compile)(environment.pointer, model.pointer, options.pointer, &raw mut object);
            check("compiling the model", status)?;
            let compiled = Handle { pointer: object, free: f.compiled_free };
            Ok(Self {
                functions: f,
                input: Handle { pointer: ptr::null_mut(), free: nothing },
                outputs: vec![],
                compiled,
                _model: model,
                _environment: environment,
                _bytes: bytes,
                version: None,
            })
        }
    }

    fn output_names(&self) -> Result<Vec<String>, String> {
        let f = &self.functions;
        let (mut signature, mut count) = (ptr::null_mut(), 0);
        // SAFETY: the model is live, names are copied.
        unsafe {
            check("finding the signature", (f.signature)(self._model.pointer, 0, &raw mut signature))?;
            check("counting outputs", (f.outputs)(signature, &raw mut count))?;
            (0..count)
                .map(|i| {
                    let mut name = ptr::null();
                    check("naming outputs", (f.output_name)(signature, i, &raw mut name))?;
                    Ok(CStr::from_ptr(name).to_string_lossy().into_owned())
                })
                .collect()
        }
    }

    fn bind(&self, port: &mut Port) -> Result<Handle, String> {
        let shape = port.shape().to_vec();
        let mut kind = TensorType {
            element: port.element().litert(),
            rank: 0,
            dimensions: [0; MAX_RANK],
            strides: [0; MAX_RANK],
        };
        if shape.len() > MAX_RANK {
            return Err(format!("a tensor has {} axes", shape.len()));
        }
        kind.rank = shape.len() as u32;
        kind.dimensions.iter_mut().zip(&shape).for_each(|(d, &n)| *d = n as i32);
        let mut buffer = ptr::null_mut();
        // SAFETY: the port's memory stays where it is for as long as the engine that owns both.
        let status = unsafe {
            (self.functions.buffer)(&raw const kind, port.address(), port.bytes(), None, &raw mut buffer)
        };
        check("binding a tensor", status)?;
        Ok(Handle { pointer: buffer, free: self.functions.buffer_free })
    }
}

/// Frees what nobody made.
unsafe extern "C" fn nothing(_: Object) {}

/// The CPU's options are TOML under the name of its kernels.
fn set_threads(f: &Functions, options: &Handle, threads: usize) -> Result<(), String> {
    extern "C" fn free(text: *mut c_void) {
        // SAFETY: it is the string that was given away below.
        drop(unsafe { std::ffi::CString::from_raw(text.cast()) });
    }
    let text = std::ffi::CString::new(format!("num_threads = {threads}\n")).map_err(|e| e.to_string())?;
    let mut opaque = ptr::null_mut();
    // SAFETY: the library takes the text and frees it with the function that is given along.
    unsafe {
        check(
            "setting threads",
            (f.opaque)(c"xnnpack".as_ptr(), text.into_raw().cast(), free, &raw mut opaque),
        )?;
        check("setting threads", (f.add_opaque)(options.pointer, opaque))
    }
}

impl Backend for LiteRt {
    fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    fn run(&mut self, _: &mut Port, _: &mut [Port]) -> Result<(), String> {
        let mut inputs = [self.input.pointer];
        let mut outputs: Vec<Object> = self.outputs.iter().map(|o| o.pointer).collect();
        // SAFETY: buffers and model are live.
        let status = unsafe {
            (self.functions.run)(
                self.compiled.pointer,
                0,
                1,
                inputs.as_mut_ptr(),
                outputs.len(),
                outputs.as_mut_ptr(),
            )
        };
        check("running the model", status)
    }
}
