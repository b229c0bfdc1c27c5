//! OpenVINO's C interface, as far as it is used: 2023.0 and later.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use crate::runtime::library::{Opened, functions};

/// `ov_shape_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Shape {
    rank: i64,
    dims: *mut i64,
}

#[repr(C)]
struct Version {
    build: *const c_char,
    description: *const c_char,
}

#[repr(C)]
struct Devices {
    names: *mut *mut c_char,
    count: usize,
}

type Object = *mut c_void;

functions! {
    struct Functions {
        version: "ov_get_openvino_version" = fn(*mut Version) -> c_int;
        version_free: "ov_version_free" = fn(*mut Version);
        error: "ov_get_error_info" = fn(c_int) -> *const c_char;
        core_create: "ov_core_create" = fn(*mut Object) -> c_int;
        devices: "ov_core_get_available_devices" = fn(Object, *mut Devices) -> c_int;
        devices_free: "ov_available_devices_free" = fn(*mut Devices);
        read: "ov_core_read_model" = fn(Object, *const c_char, *const c_char, *mut Object) -> c_int;
        model_free: "ov_model_free" = fn(Object);
        compiled_free: "ov_compiled_model_free" = fn(Object);
        inputs: "ov_compiled_model_inputs_size" = fn(Object, *mut usize) -> c_int;
        outputs: "ov_compiled_model_outputs_size" = fn(Object, *mut usize) -> c_int;
        input: "ov_compiled_model_input_by_index" = fn(Object, usize, *mut Object) -> c_int;
        output: "ov_compiled_model_output_by_index" = fn(Object, usize, *mut Object) -> c_int;
        port_name: "ov_port_get_any_name" = fn(Object, *mut *mut c_char) -> c_int;
        port_shape: "ov_const_port_get_shape" = fn(Object, *mut Shape) -> c_int;
        port_element: "ov_port_get_element_type" = fn(Object, *mut c_int) -> c_int;
        port_free: "ov_output_const_port_free" = fn(Object);
        shape_free: "ov_shape_free" = fn(*mut Shape) -> c_int;
        free: "ov_free" = fn(*const c_char);
        request: "ov_compiled_model_create_infer_request" = fn(Object, *mut Object) -> c_int;
        request_free: "ov_infer_request_free" = fn(Object);
        set_input: "ov_infer_request_set_input_tensor_by_index" = fn(Object, usize, Object) -> c_int;
        set_output: "ov_infer_request_set_output_tensor_by_index" = fn(Object, usize, Object) -> c_int;
        infer: "ov_infer_request_infer" = fn(Object) -> c_int;
        tensor: "ov_tensor_create_from_host_ptr" = fn(c_int, Shape, *mut c_void, *mut Object) -> c_int;
        tensor_bytes: "ov_tensor_get_byte_size" = fn(Object, *mut usize) -> c_int;
        tensor_free: "ov_tensor_free" = fn(Object);
    }
}

/// `ov_core_set_property(core, device, key, value)`
type SetProperty = unsafe extern "C" fn(Object, *const c_char, ...) -> c_int;
/// `ov_core_compile_model(core, model, device, number of arguments that follow, compiled, ...)`
type Compile = unsafe extern "C" fn(Object, Object, *const c_char, usize, *mut Object, ...) -> c_int;
/// `ov_get_last_err_msg()`, from 2023.1 on
type LastError = unsafe extern "C" fn() -> *const c_char;

/// The library, with its core object, which lives as long as the program.
#[derive(Clone, Copy)]
pub struct OpenVino {
    functions: Functions,
    set_property: SetProperty,
    compile: Compile,
    last_error: Option<LastError>,
    core: Object,
}

// SAFETY: the core and compiled models may be used by any thread (OpenVINO's documentation).
unsafe impl Send for OpenVino {}
// SAFETY: as above.
unsafe impl Sync for OpenVino {}

/// An object that the library made, and how it is freed.
pub struct Handle {
    pointer: Object,
    free: unsafe extern "C" fn(Object),
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the object is live and freed once.
        unsafe { (self.free)(self.pointer) }
    }
}

/// What the library says of an input or output.
pub struct PortInfo {
    /// Its name.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// `ov_element_type_e`, whose numbers differ between versions.
    pub element: c_int,
}

impl OpenVino {
    /// Starts the library.
    pub fn start(library: &Opened) -> Result<Self, String> {
        // SAFETY: the signatures are those of the public headers.
        let mut ov = unsafe {
            Self {
                functions: Functions::load(library)?,
                set_property: library.function("ov_core_set_property")?,
                compile: library.function("ov_core_compile_model")?,
                last_error: library.function("ov_get_last_err_msg").ok(),
                core: ptr::null_mut(),
            }
        };
        // SAFETY: the pointer to be filled is live.
        let status = unsafe { (ov.functions.core_create)(&raw mut ov.core) };
        ov.check(status)?;
        Ok(ov)
    }

    fn check(&self, status: c_int) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: both give a string that stays, or nothing.
        let texts = unsafe { [self.last_error.map_or(ptr::null(), |f| f()), (self.functions.error)(status)] };
        let text = texts.into_iter().filter(|t| !t.is_null()).map(|t| {
            // SAFETY: it is not null, and ends.
            unsafe { CStr::from_ptr(t) }.to_string_lossy().split_whitespace().collect::<Vec<_>>().join(" ")
        });
        Err(text.into_iter().find(|t| !t.is_empty()).unwrap_or_else(|| format!("error {status}")))
    }

    /// Such as `2024.6.0`.
    pub fn version(&self) -> Result<String, String> {
        let mut version = Version { build: ptr::null(), description: ptr::null() };
        // SAFETY: the structure is live; its strings are copied before they are freed.
        unsafe {
            self.check((self.functions.version)(&raw mut version))?;
            let text = CStr::from_ptr(version.build).to_string_lossy().into_owned();
            (self.functions.version_free)(&raw mut version);
            // The build's number and branch follow.
            Ok(text.split('-').next().unwrap_or_default().to_owned())
        }
    }

    /// Devices that it sees, such as `CPU`, `GPU.0` and `NPU`.
    pub fn devices(&self) -> Result<Vec<String>, String> {
        let mut devices = Devices { names: ptr::null_mut(), count: 0 };
        // SAFETY: the structure is live; its strings are copied before they are freed.
        unsafe {
            self.check((self.functions.devices)(self.core, &raw mut devices))?;
            let text = |i| CStr::from_ptr(*devices.names.add(i)).to_string_lossy().into_owned();
            let found = (0..devices.count).map(text).collect();
            (self.functions.devices_free)(&raw mut devices);
            Ok(found)
        }
    }

    /// Sets a property of a device.
    pub fn set(&self, device: &str, key: &str, value: &str) -> Result<(), String> {
        let text = |s: &str| CString::new(s).map_err(|e| e.to_string());
        let (device, key, value) = (text(device)?, text(key)?, text(value)?);
        // SAFETY: one key and one value follow, as the function wants.
        self.check(unsafe { (self.set_property)(self.core, device.as_ptr(), key.as_ptr(), value.as_ptr()) })
    }

    /// Reads a model file of any format that the library knows, and compiles it.
    pub fn compile(&self, path: &Path, device: &str) -> Result<Handle, String> {
        let text = |s: &str| CString::new(s).map_err(|e| e.to_string());
        let path = text(path.to_str().ok_or("its path is not Unicode")?)?;
        let device = text(device)?;
        let (mut model, mut compiled) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: strings and pointers are live; no weights' file; no property follows.
        unsafe {
            self.check((self.functions.read)(self.core, path.as_ptr(), ptr::null(), &raw mut model))?;
            let model = Handle { pointer: model, free: self.functions.model_free };
            let status = (self.compile)(self.core, model.pointer, device.as_ptr(), 0, &raw mut compiled);
            self.check(status)?;
        }
        Ok(Handle { pointer: compiled, free: self.functions.compiled_free })
    }

    /// The compiled model's inputs, or its outputs.
    pub fn ports(&self, compiled: &Handle, outputs: bool) -> Result<Vec<PortInfo>, String> {
        let f = &self.functions;
        let (size, get) = if outputs { (f.outputs, f.output) } else { (f.inputs, f.input) };
        let mut count = 0;
        // SAFETY: the compiled model is live.
        self.check(unsafe { size(compiled.pointer, &raw mut count) })?;
        (0..count)
            .map(|i| {
                let mut port = ptr::null_mut();
                // SAFETY: the compiled model is live and has this port.
                self.check(unsafe { get(compiled.pointer, i, &raw mut port) })?;
                self.describe(&Handle { pointer: port, free: f.port_free })
            })
            .collect()
    }

    fn describe(&self, port: &Handle) -> Result<PortInfo, String> {
        let f = &self.functions;
        let mut name: *mut c_char = ptr::null_mut();
        let mut shape = Shape { rank: 0, dims: ptr::null_mut() };
        let mut element = 0;
        // SAFETY: the port is live; strings and extents are copied before they are freed.
        unsafe {
            // A port without a name is an error; names are compared by the caller.
            let named = self.check((f.port_name)(port.pointer, &raw mut name)).is_ok() && !name.is_null();
            let text =
                if named { CStr::from_ptr(name).to_string_lossy().into_owned() } else { String::new() };
            if named {
                (f.free)(name);
            }
            self.check((f.port_element)(port.pointer, &raw mut element))?;
            self.check((f.port_shape)(port.pointer, &raw mut shape))?;
            let rank = usize::try_from(shape.rank).unwrap_or(0);
            let extents = (0..rank).map(|i| usize::try_from(*shape.dims.add(i)).unwrap_or(0)).collect();
            (f.shape_free)(&raw mut shape);
            Ok(PortInfo { name: text, shape: extents, element })
        }
    }

    /// A tensor over memory that stays where it is for as long as the tensor is used.
    pub fn tensor(&self, info: &PortInfo, address: *mut c_void) -> Result<Handle, String> {
        let mut extents: Vec<i64> = info.shape.iter().map(|&n| n as i64).collect();
        let shape = Shape { rank: extents.len() as i64, dims: extents.as_mut_ptr() };
        let mut tensor = ptr::null_mut();
        // SAFETY: the caller's memory holds a tensor of this type and shape; the extents are copied.
        self.check(unsafe { (self.functions.tensor)(info.element, shape, address, &raw mut tensor) })?;
        Ok(Handle { pointer: tensor, free: self.functions.tensor_free })
    }

    /// Bytes of one element of a port's type: the type's numbers differ between versions, sizes do not.
    pub fn element_size(&self, info: &PortInfo) -> Result<usize, String> {
        let mut value = [0u64; 2];
        let one = PortInfo { name: String::new(), shape: vec![1], element: info.element };
        let tensor = self.tensor(&one, value.as_mut_ptr().cast())?;
        let mut bytes = 0;
        // SAFETY: the tensor is live.
        self.check(unsafe { (self.functions.tensor_bytes)(tensor.pointer, &raw mut bytes) })?;
        Ok(bytes)
    }

    /// A request, with its input and outputs bound to tensors.
    pub fn request(&self, compiled: &Handle, input: &Handle, outputs: &[Handle]) -> Result<Handle, String> {
        let f = &self.functions;
        let mut request = ptr::null_mut();
        // SAFETY: the compiled model and the tensors are live.
        unsafe {
            self.check((f.request)(compiled.pointer, &raw mut request))?;
            let request = Handle { pointer: request, free: f.request_free };
            self.check((f.set_input)(request.pointer, 0, input.pointer))?;
            for (i, output) in outputs.iter().enumerate() {
                self.check((f.set_output)(request.pointer, i, output.pointer))?;
            }
            Ok(request)
        }
    }

    /// Executes the model once.
    pub fn infer(&self, request: &Handle) -> Result<(), String> {
        // SAFETY: the request is live, and used by one thread at a time.
        self.check(unsafe { (self.functions.infer)(request.pointer) })
    }
}
