//! OpenVINO, opened at run time: Intel's CPUs, GPUs and NPUs; it reads ONNX and TFLite alike.
//!
//! Left alone it computes in bf16 where the CPU can; it is told to compute in f32, so that a model gives the
//! same result on every runtime.

mod api;

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::library::{self, Wanted};
use super::port::{Element, Port};
use super::{Engine, HostTensor, Options, Placement};
use crate::error::{Error, Result};
use crate::format::tflite::{self, schema::Kind};
use crate::model::{Format, Layout, Package};
use api::{Handle, OpenVino, PortInfo};

/// The runtime's name; a device may follow: `openvino-npu`.
pub const NAME: &str = "openvino";

const LIBRARY: Wanted = Wanted {
    stem: "openvino_c",
    below: &[
        "openvino/libs",
        "runtime/lib/intel64",
        "runtime/lib/aarch64",
        "runtime/lib/arm64/Release",
        "lib",
    ],
    usual: &[
        "/opt/intel/openvino*",
        "/usr/local/lib/python3*/dist-packages",
        "/usr/lib/python3*/dist-packages",
    ],
    install: "install OpenVINO (pip install openvino)",
};

/// What may follow `openvino-`, and how records name it.
const DEVICES: [(&str, &str, &str); 4] = [
    ("auto", "AUTO", "openvino-auto"),
    ("cpu", "CPU", "openvino-cpu"),
    ("gpu", "GPU", "openvino-gpu"),
    ("npu", "NPU", "openvino-npu"),
];

/// The library's version, if it can be opened.
///
/// # Errors
/// Where it was looked for, and what to install.
pub fn version(options: &Options) -> Result<String, String> {
    start(options)?.version()
}

/// Compiles a model.
///
/// # Errors
/// [`Error::Runtime`] where the library or the device is absent, or refuses the model.
pub fn open(package: &Package, options: &Options) -> Result<Box<dyn Engine>> {
    let engine = Request::new(package, options)
        .map_err(|detail| Error::Runtime { runtime: options.runtime.clone(), detail })?;
    Ok(Box::new(engine))
}

fn start(options: &Options) -> Result<OpenVino, String> {
    static STARTED: OnceLock<Mutex<HashMap<&'static Path, OpenVino>>> = OnceLock::new();
    let library = library::open(&LIBRARY, &options.libraries)?;
    let mut started = STARTED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(openvino) = started.get(library.path) {
        return Ok(*openvino);
    }
    let openvino = OpenVino::start(&library)?;
    started.insert(library.path, openvino);
    Ok(openvino)
}

/// OpenVINO's name of the device, and the runtime's.
fn device(options: &Options, present: &[String]) -> Result<(&'static str, &'static str), String> {
    let asked = options.runtime.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('-'));
    let word = match (asked, options.device) {
        (Some(word), _) => word,
        (None, Placement::Cpu) => "cpu",
        // With a CPU alone there is nothing to choose from, and AUTO would only stand in between.
        (None, Placement::Auto) if present.iter().all(|d| d == "CPU") => "cpu",
        (None, Placement::Auto) => "auto",
        (None, _) => return Err("does not run on this device; use --device auto or cpu".to_owned()),
    };
    let known = DEVICES
        .iter()
        .find(|d| d.0 == word)
        .ok_or_else(|| format!("is unknown; there are {} and {NAME}", DEVICES.map(|d| d.2).join(", ")))?;
    let there = known.1 == "AUTO" || present.iter().any(|d| d.split('.').next() == Some(known.1));
    if !there {
        let install = match known.1 {
            "GPU" => "; install Intel's compute runtime (intel-opencl-icd) and join the group render",
            "NPU" => "; install Intel's NPU driver (intel-level-zero-npu)",
            _ => "",
        };
        return Err(format!("sees no {} here, only {}{install}", known.1, present.join(", ")));
    }
    Ok((known.1, known.2))
}

/// A model on OpenVINO. Tensors are bound to their memory once.
struct Request {
    openvino: OpenVino,
    version: String,
    runtime: &'static str,
    shape: [usize; 4],
    // Freed in this order: the request, its tensors, the model; the memory last.
    request: Handle,
    _tensors: Vec<Handle>,
    _compiled: Handle,
    input: Port,
    ports: Vec<Port>,
    outputs: Vec<HostTensor>,
}

// SAFETY: a request may be used by any thread, one at a time, and is reached through this value alone.
unsafe impl Send for Request {}

impl Request {
    fn new(package: &Package, options: &Options) -> Result<Self, String> {
        let openvino = start(options)?;
        let present = openvino.devices()?;
        let (device, runtime) = device(options, &present)?;
        let compiled = {
            // What is set is set for the whole process, until the next engine sets it.
            static COMPILING: Mutex<()> = Mutex::new(());
            let _one_at_a_time = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
            configure(&openvino, device, &present, computes_in(package, device), options)?;
            compile(&openvino, package, device)?
        };
        let graph = &package.graph;
        let moved = package.artifact.format == Format::Tflite;
        let inputs = openvino.ports(&compiled, false)?;
        let found = openvino.ports(&compiled, true)?;
        let [input_info] = &inputs[..] else { return Err(format!("sees {} inputs", inputs.len())) };
        if found.len() != graph.outputs.len() {
            return Err(format!("sees {} outputs instead of {}", found.len(), graph.outputs.len()));
        }
        let shape = super::input_shape(graph).map_err(|e| e.to_string())?;
        let nhwc = package.manifest.input.layout == Layout::Nhwc || moved;
        let seen = if nhwc { tflite::channels_first(&input_info.shape) } else { input_info.shape.clone() };
        let grids = grids(package)?;
        let mut input = port(&openvino, input_info, nhwc, [&seen, &shape], grids.0)?;
        let mut tensors = vec![openvino.tensor(input_info, input.address())?];
        let mut ports = vec![];
        let mut outputs = vec![];
        for ((at, info), &id) in found.iter().enumerate().zip(&graph.outputs) {
            let value = graph.value(id);
            let seen = if moved { tflite::channels_first(&info.shape) } else { info.shape.clone() };
            let mut port =
                port(&openvino, info, moved, [&seen, &value.shape], grids.1.get(at).copied().flatten())?;
            tensors.push(openvino.tensor(info, port.address())?);
            let data = vec![0.0; port.len()];
            outputs.push(HostTensor { name: value.name.clone(), shape: value.shape.clone(), data });
            ports.push(port);
        }
        let request = openvino.request(&compiled, &tensors[0], &tensors[1..])?;
        let version = openvino.version()?;
        Ok(Self {
            openvino,
            version,
            runtime,
            shape,
            request,
            _tensors: tensors,
            _compiled: compiled,
            input,
            ports,
            outputs,
        })
    }
}

/// What a device is asked to compute in. A package in 16 bits is made for GPUs that are twice as fast in them.
fn computes_in(package: &Package, device: &str) -> &'static str {
    let half = package.manifest.optimization.as_ref().is_some_and(|made| made.precision == "fp16");
    if half && device == "GPU" { "f16" } else { "f32" }
}

fn configure(
    openvino: &OpenVino,
    device: &str,
    present: &[String],
    precision: &str,
    options: &Options,
) -> Result<(), String> {
    for part in present.iter().filter(|p| device == "AUTO" || p.split('.').next() == Some(device)) {
        // An NPU has no f32 and computes in f16.
        if !part.starts_with("NPU") {
            openvino.set(part, "INFERENCE_PRECISION_HINT", precision)?;
        }
        openvino.set(part, "PERFORMANCE_HINT", "LATENCY")?;
        // The library's core is one for the process and remembers what the last engine asked for; 0 is its own choice.
        if part == "CPU" {
            openvino.set(part, "INFERENCE_NUM_THREADS", &options.threads.to_string())?;
        }
        // Compiling for a GPU or an NPU takes seconds; what comes of it is kept.
        if let Some(cache) = options.cache.as_ref().filter(|_| part != "CPU") {
            let folder = cache.join("openvino");
            openvino.set(part, "CACHE_DIR", &folder.display().to_string())?;
        }
    }
    Ok(())
}

fn compile(openvino: &OpenVino, package: &Package, device: &str) -> Result<Handle, String> {
    if let Some(path) = &package.artifact.path {
        return openvino.compile(path, device);
    }
    // Its readers take files; the ending tells them the format.
    let ending = match package.artifact.format {
        Format::Onnx => ".onnx",
        Format::Tflite => ".tflite",
    };
    let mut file = tempfile::Builder::new().suffix(ending).tempfile().map_err(|e| e.to_string())?;
    file.write_all(&package.artifact.bytes).and_then(|()| file.flush()).map_err(|e| e.to_string())?;
    openvino.compile(file.path(), device)
}

/// What 8-bit inputs and outputs mean, which the library does not tell: in the order of the file.
type Grids = (Option<Element>, Vec<Option<Element>>);

fn grids(package: &Package) -> Result<Grids, String> {
    if package.artifact.format != Format::Tflite {
        return Ok((None, vec![]));
    }
    let model = tflite::decode(&package.artifact.bytes)?;
    let grid = |&id: &usize| {
        let tensor = &model.tensors[id];
        let q = tensor.quantization.as_ref()?;
        let (scale, zero) = (*q.scales.first()?, *q.zeros.first()? as i32);
        match tensor.kind {
            Kind::I8 => Some(Element::I8 { scale, zero }),
            Kind::U8 => Some(Element::U8 { scale, zero }),
            _ => None,
        }
    };
    Ok((model.inputs.first().and_then(grid), model.outputs.iter().map(grid).collect()))
}

fn port(
    openvino: &OpenVino,
    info: &PortInfo,
    channels_last: bool,
    [seen, expected]: [&[usize]; 2],
    grid: Option<Element>,
) -> Result<Port, String> {
    if seen != expected {
        return Err(format!("{:?} has shape {seen:?}, not {expected:?}", info.name));
    }
    let element = match (openvino.element_size(info)?, grid) {
        (4, _) => Element::F32,
        (2, _) => Element::F16,
        (1, Some(grid)) => grid,
        (size, _) => {
            return Err(format!(
                "{:?} holds elements of {size} byte(s), and nothing says what they mean",
                info.name
            ));
        }
    };
    Ok(Port::new(element, info.shape.clone(), channels_last))
}

impl Engine for Request {
    fn runtime(&self) -> &str {
        self.runtime
    }

    fn version(&self) -> Option<&str> {
        Some(&self.version)
    }

    fn input_shape(&self) -> [usize; 4] {
        self.shape
    }

    fn input(&mut self) -> &mut [f32] {
        self.input.values()
    }

    fn run(&mut self) -> Result<&[HostTensor]> {
        self.input.send();
        self.openvino
            .infer(&self.request)
            .map_err(|detail| Error::Runtime { runtime: self.runtime.to_owned(), detail })?;
        for (port, output) in self.ports.iter_mut().zip(&mut self.outputs) {
            port.receive(&mut output.data);
        }
        Ok(&self.outputs)
    }
}
