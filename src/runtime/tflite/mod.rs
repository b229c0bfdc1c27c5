//! TFLite files on the CPU, by LiteRT or by TensorFlow Lite's classic C library, whichever is there; and on
//! Coral's Edge TPU, whose delegate speaks the classic interface. Both are opened at run time.
//!
//! A package that holds ONNX is written as TFLite on the way.

mod classic;
mod litert;
mod quiet;

use super::port::{Element, Port};
use super::{Engine, HostTensor, Options};
use crate::error::{Error, Result};
use crate::format::tflite::{self, model::Model, schema::Kind};
use crate::model::{Format, Package};

/// The runtime on the CPU.
pub const NAME: &str = "tflite";
/// As records show it.
const ON_CPU: &str = "tflite-cpu";
/// The runtime on Coral's Edge TPU.
pub const EDGE_TPU: &str = "edge-tpu";
/// The operator that the Edge TPU's compiler puts in the place of all that runs there.
const COMPILED: &str = "edgetpu-custom-op";

/// Who executes.
trait Backend: Send {
    /// The library's version, where it is known.
    fn version(&self) -> Option<&str>;

    /// Executes the model once, from the input's memory into that of the outputs.
    fn run(&mut self, input: &mut Port, outputs: &mut [Port]) -> std::result::Result<(), String>;
}

/// Loads a model.
///
/// # Errors
/// [`Error::Runtime`] where a library or the device is absent, or refuses the model;
/// [`Error::UnsupportedOperator`] for a network that cannot be written as TFLite.
pub fn open(package: &Package, options: &Options) -> Result<Box<dyn Engine>> {
    let edge_tpu = options.runtime == EDGE_TPU;
    let bytes = match package.artifact.format {
        Format::Tflite => match compiled_twin(package).filter(|_| edge_tpu) {
            Some(bytes) => bytes,
            None => package.artifact.bytes.clone(),
        },
        Format::Onnx => tflite::write(&package.graph, tflite::Options::default())?,
    };
    let known = edge_tpu || options.runtime == NAME || options.runtime == ON_CPU;
    let engine = if known {
        Interpreter::new(package, bytes, options, edge_tpu)
    } else {
        Err(format!("is unknown; there are {NAME}, {ON_CPU} and {EDGE_TPU}"))
    };
    let engine = engine.map_err(|detail| Error::Runtime { runtime: options.runtime.clone(), detail })?;
    Ok(Box::new(engine))
}

/// What Coral's compiler made of the package's file, under the name that the compiler gives it. The package's
/// manifest vouches for it.
fn compiled_twin(package: &Package) -> Option<Vec<u8>> {
    let path = package.artifact.path.as_ref()?;
    let name = format!("{}_edgetpu.tflite", path.file_stem()?.to_str()?);
    package.manifest.files.get(&name)?;
    std::fs::read(path.with_file_name(name)).ok()
}

/// A model on TFLite.
struct Interpreter {
    runtime: &'static str,
    shape: [usize; 4],
    // Freed before the memory that it is bound to.
    backend: Box<dyn Backend>,
    input: Port,
    ports: Vec<Port>,
    outputs: Vec<HostTensor>,
}

impl Interpreter {
    fn new(
        package: &Package,
        bytes: Vec<u8>,
        options: &Options,
        edge_tpu: bool,
    ) -> std::result::Result<Self, String> {
        let model = tflite::decode(&bytes)?;
        let compiled = model.operators.iter().any(|o| o.custom.as_deref() == Some(COMPILED));
        match (edge_tpu, compiled) {
            (true, false) => {
                return Err("the model is not compiled for the Edge TPU: make it with endort optimize --target coral \
                            --precision int8 where edgetpu_compiler is on the PATH"
                    .to_owned());
            }
            (false, true) => {
                return Err("the model is compiled for the Edge TPU; use --runtime edge-tpu".to_owned());
            }
            _ => {}
        }
        let graph = &package.graph;
        let shape = super::input_shape(graph).map_err(|e| e.to_string())?;
        let [input] = model.inputs[..] else { return Err(format!("has {} inputs", model.inputs.len())) };
        let mut input = port(&model, input, &shape)?;
        if model.outputs.len() != graph.outputs.len() {
            return Err(format!("has {} outputs instead of {}", model.outputs.len(), graph.outputs.len()));
        }
        let mut ports = vec![];
        let mut outputs = vec![];
        for (&tensor, &id) in model.outputs.iter().zip(&graph.outputs) {
            let value = graph.value(id);
            let port = port(&model, tensor, &value.shape)?;
            let data = vec![0.0; port.len()];
            outputs.push(HostTensor { name: value.name.clone(), shape: value.shape.clone(), data });
            ports.push(port);
        }
        let backend = start(&model, bytes, options, edge_tpu, &mut input, &mut ports)?;
        let runtime = if edge_tpu { EDGE_TPU } else { ON_CPU };
        Ok(Self { runtime, shape, backend, input, ports, outputs })
    }
}

fn start(
    model: &Model,
    bytes: Vec<u8>,
    options: &Options,
    edge_tpu: bool,
    input: &mut Port,
    ports: &mut [Port],
) -> std::result::Result<Box<dyn Backend>, String> {
    let (named, threads) = (&options.libraries, options.threads);
    if edge_tpu {
        return Ok(Box::new(classic::Classic::new(bytes, threads, named, true)?));
    }
    let library = match litert::library(named) {
        Ok(library) => library,
        Err(absent) => {
            // Either will do; where neither is there, LiteRT is the easier to get.
            return match classic::Classic::new(bytes, threads, named, false) {
                Ok(backend) => Ok(Box::new(backend)),
                Err(_) if classic::library(named).is_err() => Err(absent),
                Err(e) => Err(e),
            };
        }
    };
    // LiteRT goes by the signature's names, where there is one, else by the tensors'.
    let signature = tflite::signature_outputs(&bytes)?;
    let mut outputs: Vec<(Vec<String>, &mut Port)> = model
        .outputs
        .iter()
        .zip(ports)
        .map(|(&tensor, port)| {
            let named = signature.iter().filter(|(_, id)| *id == tensor).map(|(name, _)| name.clone());
            (named.chain([model.tensors[tensor].name.clone()]).collect(), port)
        })
        .collect();
    Ok(Box::new(litert::LiteRt::new(&library, bytes, threads, input, &mut outputs)?))
}

fn port(model: &Model, tensor: usize, expected: &[usize]) -> std::result::Result<Port, String> {
    let tensor = &model.tensors[tensor];
    let seen = tflite::channels_first(&tensor.shape);
    if seen != expected {
        return Err(format!("{:?} has shape {seen:?}, not {expected:?}", tensor.name));
    }
    let grid = || {
        let q = tensor.quantization.as_ref();
        let q = q.ok_or_else(|| format!("{:?} holds integers without a scale", tensor.name))?;
        Ok::<_, String>((q.scales[0], q.zeros[0] as i32))
    };
    let element = match tensor.kind {
        Kind::F32 => Element::F32,
        Kind::F16 => Element::F16,
        Kind::I8 => grid().map(|(scale, zero)| Element::I8 { scale, zero })?,
        Kind::U8 => grid().map(|(scale, zero)| Element::U8 { scale, zero })?,
        other => return Err(format!("{:?} holds numbers of the type {other:?}", tensor.name)),
    };
    Ok(Port::new(element, tensor.shape.clone(), true))
}

impl Engine for Interpreter {
    fn runtime(&self) -> &str {
        self.runtime
    }

    fn version(&self) -> Option<&str> {
        self.backend.version()
    }

    fn input_shape(&self) -> [usize; 4] {
        self.shape
    }

    fn input(&mut self) -> &mut [f32] {
        self.input.values()
    }

    fn run(&mut self) -> Result<&[HostTensor]> {
        self.input.send();
        self.backend
            .run(&mut self.input, &mut self.ports)
            .map_err(|detail| Error::Runtime { runtime: self.runtime.to_owned(), detail })?;
        for (port, output) in self.ports.iter_mut().zip(&mut self.outputs) {
            port.receive(&mut output.data);
        }
        Ok(&self.outputs)
    }
}
