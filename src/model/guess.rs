//! A manifest for a bare `.onnx` file, from its shapes.
//!
//! What shapes cannot tell is the commonest convention: RGB, ImageNet's mean and deviation for networks
//! that segment, plain 0..1 for YOLO's boxes, letterboxing, a mask of logits. A `model.json` says otherwise.

use super::manifest::{
    Activation, ColorOrder, Fit, InputSpec, Layout, Manifest, OutputKind, OutputSpec, Task, Thresholds,
};
use crate::graph::{Graph, Op, Unary};

/// Mean of ImageNet's pictures per channel, in 0..1.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of ImageNet's pictures per channel.
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];
/// Grey that YOLO's own preprocessing pads with.
const YOLO_PAD: [u8; 3] = [114; 3];
/// Fewest boxes of an output that is taken for YOLO's.
const MIN_BOXES: usize = 16;

/// The order of a network's input, as far as its shape tells: TensorFlow puts channels last.
pub fn layout(graph: &Graph) -> Layout {
    match graph.inputs.first().map(|&input| graph.shape(input)) {
        Some(&[_, first, _, 3]) if first != 3 => Layout::Nhwc,
        _ => Layout::Nchw,
    }
}

/// Works out the manifest, or says what is in the way. The graph's input is `[1, 3, rows, columns]` by now, whatever
/// the file's `layout`, and `squashed` by which operator the values of its output are brought into 0..1.
pub fn manifest(
    name: &str,
    artifact: &str,
    graph: &Graph,
    layout: Layout,
    squashed: Option<&Op>,
) -> Result<Manifest, String> {
    let hint = "write a model.json beside it";
    let [input] = graph.inputs[..] else {
        return Err(format!("has {} inputs: {hint}", graph.inputs.len()));
    };
    let &[1, 3, height, width] = graph.shape(input) else {
        return Err(format!("its input {:?} is not [1, 3, rows, columns]: {hint}", graph.shape(input)));
    };
    let [output] = graph.outputs[..] else {
        return Err(format!(
            "has {} outputs, and their meaning cannot be guessed: {hint}",
            graph.outputs.len()
        ));
    };
    let shape = graph.shape(output);
    let (kind, classes) = match *shape {
        // The output may be turned too, or not: there are always fewer classes than rows and columns.
        [1, h, w, classes]
            if layout == Layout::Nhwc && (1..=h.min(w)).contains(&classes) && h <= height && w <= width =>
        {
            (OutputKind::Mask, classes)
        }
        [1, classes, h, w] if classes > 0 && h <= height && w <= width => (OutputKind::Mask, classes),
        // There are always many more boxes than features of a box. Fields first is how YOLOv8 and its successors write
        // them; a box per row may hold an objectness (YOLOv5), or boxes that are chosen already.
        [1, fields, boxes] if fields > 4 && boxes >= MIN_BOXES && fields < boxes => {
            (OutputKind::Yolo, fields - 4)
        }
        [1, boxes, fields] if fields > 4 && boxes >= MIN_BOXES => {
            return Err(format!(
                "its output {shape:?} has a box per row, and what the fields mean cannot be guessed: {hint} \
                 (its kind is yolo_objectness where the fifth field is one)"
            ));
        }
        _ => return Err(format!("its output {shape:?} is neither a mask nor YOLO's boxes: {hint}")),
    };
    let mask = kind == OutputKind::Mask;
    if mask && classes > 1 && matches!(squashed, Some(Op::Softmax { .. })) {
        return Err(format!(
            "its output {shape:?} is a softmax over {classes} classes, one of which is at every pixel, and which of them \
             are findings cannot be guessed: export it with the channel of the polyps alone"
        ));
    }
    let probabilities = !mask || squashed.is_some();
    let (mean, std) = if mask { (IMAGENET_MEAN, IMAGENET_STD) } else { ([0.0; 3], [1.0; 3]) };
    Ok(Manifest {
        schema: 1,
        name: name.to_owned(),
        version: String::new(),
        task: if mask { Task::Segmentation } else { Task::Detection },
        artifact: artifact.to_owned(),
        files: Default::default(),
        input: InputSpec {
            name: graph.value(input).name.clone(),
            width,
            height,
            layout,
            color: ColorOrder::Rgb,
            mean,
            std,
            fit: Fit::Letterbox,
            pad: if mask { [0; 3] } else { YOLO_PAD },
        },
        outputs: vec![OutputSpec {
            name: graph.value(output).name.clone(),
            kind,
            activation: if probabilities { Activation::Probabilities } else { Activation::Logits },
        }],
        labels: labels(classes),
        thresholds: Thresholds::default(),
        provenance: serde_json::Value::Null,
        optimization: None,
    })
}

fn labels(classes: usize) -> Vec<String> {
    match classes {
        1 => vec!["polyp".to_owned()],
        n => (0..n).map(|i| format!("class {i}")).collect(),
    }
}

/// The operator that squashes the values of the only output into 0..1, if one does.
pub fn squashed(graph: &Graph) -> Option<&Op> {
    let mut value = *graph.outputs.first()?;
    loop {
        let last = graph.nodes.iter().find(|node| node.output == value)?;
        match last.op {
            Op::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }) | Op::Softmax { .. } => {
                return Some(&last.op);
            }
            // What moves values, picks some, or puts them onto an integer grid and back leaves them what they are.
            Op::Identity
            | Op::Quantize(_)
            | Op::Dequantize(_)
            | Op::Transpose { .. }
            | Op::Reshape { .. }
            | Op::Slice { .. }
            | Op::Gather { .. }
            | Op::Resize(_) => value = *last.inputs.first()?,
            _ => return None,
        }
    }
}
