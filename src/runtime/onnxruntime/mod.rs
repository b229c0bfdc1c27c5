//! ONNX Runtime, opened at run time: the CPU, and TensorRT, CUDA or CoreML where its library has them.

mod api;

use std::collections::HashMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::library::{self, Wanted};
use super::port::{Element, Port};
use super::{Engine, HostTensor, Options, Placement};
use crate::error::{Error, Result};
use crate::model::{Format, Layout, Package};
use api::{Handle, Ort};

/// The runtime's name; a provider may follow: `onnxruntime-cuda`.
pub const NAME: &str = "onnxruntime";

const LIBRARY: Wanted = Wanted {
    stem: "onnxruntime",
    below: &["onnxruntime/capi", "lib", "runtimes/linux-x64/native"],
    usual: &[
        "/opt/onnxruntime*/lib",
        "/usr/local/lib/python3*/dist-packages",
        "/usr/lib/python3*/dist-packages",
    ],
    install: "install it (pip install onnxruntime, or onnxruntime-gpu for CUDA and TensorRT)",
};

/// `ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT`
const FLOAT: i32 = 1;
/// `ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16`
const FLOAT16: i32 = 10;

/// Where a session executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Provider {
    TensorRt,
    Cuda,
    CoreMl,
    Cpu,
}

impl Provider {
    /// The GPUs' before the CPU; TensorRT before CUDA, because it is faster once its engine is built.
    const BY_SPEED: [Self; 4] = [Self::TensorRt, Self::Cuda, Self::CoreMl, Self::Cpu];

    /// What follows `onnxruntime-`, and how records name it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::TensorRt => ("tensorrt", "onnxruntime-tensorrt"),
            Self::Cuda => ("cuda", "onnxruntime-cuda"),
            Self::CoreMl => ("coreml", "onnxruntime-coreml"),
            Self::Cpu => ("cpu", "onnxruntime-cpu"),
        }
    }

    /// How `GetAvailableProviders` names it.
    fn listed(self) -> &'static str {
        match self {
            Self::TensorRt => "TensorrtExecutionProvider",
            Self::Cuda => "CUDAExecutionProvider",
            Self::CoreMl => "CoreMLExecutionProvider",
            Self::Cpu => "CPUExecutionProvider",
        }
    }
}

/// Which providers a runtime's name and the device ask for, best first.
fn wanted(name: &str, device: Placement) -> Result<Vec<Provider>, String> {
    if let Some(provider) = name.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('-')) {
        let known = Provider::BY_SPEED.iter().find(|p| p.names().0 == provider);
        return known.map(|p| vec![*p]).ok_or_else(|| {
            let names = Provider::BY_SPEED.map(|p| p.names().1);
            format!("is unknown; there are {} and {NAME}", names.join(", "))
        });
    }
    Ok(match device {
        Placement::Auto => Provider::BY_SPEED.to_vec(),
        Placement::Cpu => vec![Provider::Cpu],
        Placement::Cuda(_) => vec![Provider::TensorRt, Provider::Cuda],
        Placement::Metal => vec![Provider::CoreMl],
    })
}

/// The library's version, if it can be opened.
///
/// # Errors
/// Where it was looked for, and what to install.
pub fn version(options: &Options) -> Result<String, String> {
    Ok(start(options)?.version.to_owned())
}

/// Compiles a model.
///
/// # Errors
/// [`Error::Runtime`] where the library or the provider is absent, or refuses the model.
pub fn open(package: &Package, options: &Options) -> Result<Box<dyn Engine>> {
    let engine = Session::new(package, options)
        .map_err(|detail| Error::Runtime { runtime: options.runtime.clone(), detail })?;
    Ok(Box::new(engine))
}

fn start(options: &Options) -> Result<Ort, String> {
    static STARTED: OnceLock<Mutex<HashMap<&'static Path, Ort>>> = OnceLock::new();
    let library = library::open(&LIBRARY, &options.libraries)?;
    let mut started = STARTED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(ort) = started.get(library.path) {
        return Ok(*ort);
    }
    let ort = Ort::start(&library)?;
    started.insert(library.path, ort);
    Ok(ort)
}

/// A model on ONNX Runtime. Tensors are bound to their memory once.
struct Session {
    ort: Ort,
    runtime: &'static str,
    shape: [usize; 4],
    // Tensors come before the memory that they point to, so that they are released first.
    input_tensor: Handle,
    output_tensors: Vec<(CString, Handle)>,
    session: Handle,
    input_name: CString,
    input: Port,
    ports: Vec<Port>,
    outputs: Vec<HostTensor>,
}

// SAFETY: a session may be used by any thread, and its tensors are reached through this value alone.
unsafe impl Send for Session {}

impl Session {
    fn new(package: &Package, options: &Options) -> Result<Self, String> {
        if package.artifact.format != Format::Onnx && onnx_twin(package).is_none() {
            return Err("executes ONNX alone; this package holds TFLite: use --runtime tflite".to_owned());
        }
        let ort = start(options)?;
        let offered = ort.providers()?;
        let wanted = wanted(&options.runtime, options.device)?;
        let (present, absent): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|p| offered.iter().any(|o| o == p.listed()));
        if present.is_empty() {
            let names: Vec<&str> = absent.iter().map(|p| p.listed()).collect();
            return Err(format!(
                "this ONNX Runtime {} has no {}, only {}; install a build that has",
                ort.version,
                names.join(" or "),
                offered.join(", ")
            ));
        }
        let mut refused = vec![];
        for provider in present {
            match Self::on(&ort, provider, package, options).and_then(|mut session| {
                super::open::ready(&mut session).map_err(|e| e.to_string())?;
                Ok(session)
            }) {
                Ok(session) => return Ok(session),
                Err(e) => refused.push(format!("{}: {e}", provider.listed())),
            }
        }
        Err(refused.join("; "))
    }

    fn on(ort: &Ort, provider: Provider, package: &Package, options: &Options) -> Result<Self, String> {
        let session = compile(ort, provider, package, options)?;
        let graph = &package.graph;
        let [inputs, outputs] = ort.counts(&session)?;
        if inputs != 1 || outputs != graph.outputs.len() {
            return Err(format!("sees {inputs} inputs and {outputs} outputs in this model"));
        }
        let shape = super::input_shape(graph).map_err(|e| e.to_string())?;
        let [n, c, h, w] = shape;
        let nhwc = package.manifest.input.layout == Layout::Nhwc;
        let file_shape = if nhwc { vec![n, h, w, c] } else { shape.to_vec() };
        let (mut input, element) = port(ort, &session, false, 0, file_shape, nhwc)?;
        let input_tensor = ort.tensor(input.address(), input.bytes(), input.shape(), element)?;
        let mut ports = vec![];
        let mut tensors = vec![];
        let mut host = vec![];
        for (at, &id) in graph.outputs.iter().enumerate() {
            let value = graph.value(id);
            let (mut port, element) = port(ort, &session, true, at, value.shape.clone(), false)?;
            let tensor = ort.tensor(port.address(), port.bytes(), &value.shape, element)?;
            tensors.push((ort.name(&session, true, at)?, tensor));
            let data = vec![0.0; port.len()];
            host.push(HostTensor { name: value.name.clone(), shape: value.shape.clone(), data });
            ports.push(port);
        }
        Ok(Self {
            ort: *ort,
            runtime: provider.names().1,
            shape,
            input_tensor,
            output_tensors: tensors,
            input_name: ort.name(&session, false, 0)?,
            session,
            input,
            ports,
            outputs: host,
        })
    }
}

/// The ONNX file of a package that holds the same network as TFLite, too.
fn onnx_twin(package: &Package) -> Option<PathBuf> {
    let both = package.artifact.format == Format::Tflite && !package.graph.nodes.is_empty();
    both.then(|| Some(package.folder.as_ref()?.join(&package.manifest.artifact))).flatten()
}

fn compile(ort: &Ort, provider: Provider, package: &Package, options: &Options) -> Result<Handle, String> {
    let session_options = ort.options(options.threads)?;
    let device = match options.device {
        Placement::Cuda(index) => index,
        _ => 0,
    };
    let device_id = ("device_id", device.to_string());
    match provider {
        Provider::TensorRt => {
            let precision = package.manifest.optimization.as_ref().map(|made| made.precision.as_str());
            let settings = tensorrt_settings(precision, options.cache.as_deref());
            let settings: Vec<_> = std::iter::once(device_id.clone()).chain(settings).collect();
            ort.add_nvidia(&session_options, true, &settings)?;
            // What TensorRT does not take falls to CUDA instead of the CPU.
            ort.add_nvidia(&session_options, false, &[device_id])?;
        }
        Provider::Cuda => ort.add_nvidia(&session_options, false, &[device_id])?,
        Provider::CoreMl => ort.add_provider(&session_options, "CoreML", &[])?,
        Provider::Cpu => {}
    }
    #[cfg(unix)]
    if let Some(path) = onnx_twin(package).or_else(|| package.artifact.path.clone()) {
        return ort.session_from_file(&path, &session_options);
    }
    ort.session(&package.artifact.bytes, &session_options)
}

/// TensorRT's settings, of those that every ONNX Runtime since 1.12 knows: it refuses names that it does not.
fn tensorrt_settings(precision: Option<&str>, cache: Option<&Path>) -> Vec<(&'static str, String)> {
    let on = || "1".to_owned();
    // Left alone TensorRT computes in fp32, and refuses a network on an 8-bit grid.
    let mut settings = match precision {
        Some("fp16") => vec![("trt_fp16_enable", on())],
        Some("int8") => vec![("trt_fp16_enable", on()), ("trt_int8_enable", on())],
        _ => vec![],
    };
    // It makes this folder, but none above it; where that cannot be done, engines are built each time.
    if let Some(folder) = cache.map(|cache| cache.join("tensorrt"))
        && std::fs::create_dir_all(&folder).is_ok()
    {
        settings.push(("trt_engine_cache_enable", on()));
        settings.push(("trt_engine_cache_path", folder.display().to_string()));
    }
    settings
}

fn port(
    ort: &Ort,
    session: &Handle,
    output: bool,
    at: usize,
    shape: Vec<usize>,
    nhwc: bool,
) -> Result<(Port, i32), String> {
    let code = ort.element(session, output, at)?;
    let element = match code {
        FLOAT => Element::F32,
        FLOAT16 => Element::F16,
        _ => return Err(format!("an input or output holds elements of type {code}; floats are supported")),
    };
    Ok((Port::new(element, shape, nhwc), code))
}

impl Engine for Session {
    fn runtime(&self) -> &str {
        self.runtime
    }

    fn version(&self) -> Option<&str> {
        Some(self.ort.version)
    }

    fn input_shape(&self) -> [usize; 4] {
        self.shape
    }

    fn input(&mut self) -> &mut [f32] {
        self.input.values()
    }

    fn run(&mut self) -> Result<&[HostTensor]> {
        self.input.send();
        self.ort
            .run(&self.session, (&self.input_name, &self.input_tensor), &self.output_tensors)
            .map_err(|detail| Error::Runtime { runtime: self.runtime.to_owned(), detail })?;
        for (port, output) in self.ports.iter_mut().zip(&mut self.outputs) {
            port.receive(&mut output.data);
        }
        Ok(&self.outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensorrt_is_told_what_old_libraries_know_and_where_a_folder_is() {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().join(".cache/endort");
        let settings = tensorrt_settings(Some("int8"), Some(&cache));
        let names: Vec<&str> = settings.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            ["trt_fp16_enable", "trt_int8_enable", "trt_engine_cache_enable", "trt_engine_cache_path"]
        );
        assert!(Path::new(&settings[3].1).is_dir());
        // A file is where the folder should be.
        std::fs::write(home.path().join("file"), "").unwrap();
        assert_eq!(tensorrt_settings(None, Some(&home.path().join("file"))), []);
    }

    #[test]
    fn names_and_devices_choose_providers() {
        let all = Provider::BY_SPEED.to_vec();
        assert_eq!(wanted("onnxruntime", Placement::Auto), Ok(all));
        assert_eq!(wanted("onnxruntime", Placement::Cpu), Ok(vec![Provider::Cpu]));
        assert_eq!(wanted("onnxruntime", Placement::Cuda(1)), Ok(vec![Provider::TensorRt, Provider::Cuda]));
        assert_eq!(wanted("onnxruntime-cuda", Placement::Auto), Ok(vec![Provider::Cuda]));
        let e = wanted("onnxruntime-vulkan", Placement::Auto).unwrap_err();
        assert!(e.contains("onnxruntime-tensorrt"), "{e}");
    }
}
