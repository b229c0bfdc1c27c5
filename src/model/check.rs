//! Whether a manifest makes sense, and whether its network keeps what it promises.

use super::manifest::{Layout, Manifest, OutputKind, Thresholds};
use crate::graph::Graph;

/// Largest width and height of a network's input.
pub const MAX_INPUT_SIDE: usize = 8192;
/// Largest number of labels.
const MAX_LABELS: usize = 10_000;

/// Checks the manifest by itself. An error says what is wrong with which entry.
pub fn manifest(m: &Manifest) -> Result<(), String> {
    if m.schema != 1 {
        return Err(format!("model.json has schema {}; this version reads 1", m.schema));
    }
    if m.name.is_empty() || m.artifact.is_empty() {
        return Err("model.json lacks its name or artifact".into());
    }
    for (axis, side) in [("width", m.input.width), ("height", m.input.height)] {
        if !(1..=MAX_INPUT_SIDE).contains(&side) {
            return Err(format!("input {axis} {side} is not within 1..={MAX_INPUT_SIDE}"));
        }
    }
    if !m.input.mean.iter().chain(&m.input.std).all(|v| v.is_finite()) || m.input.std.contains(&0.0) {
        return Err("mean and std must be finite, and std not 0".into());
    }
    if m.outputs.is_empty() {
        return Err("model.json names no outputs".into());
    }
    if !(1..=MAX_LABELS).contains(&m.labels.len()) {
        return Err(format!("{} labels; 1 to {MAX_LABELS} are allowed", m.labels.len()));
    }
    thresholds(&m.thresholds)?;
    let count = |kind: &OutputKind| m.outputs.iter().filter(|o| o.kind == *kind).count();
    if count(&OutputKind::SsdBoxes) != count(&OutputKind::SsdScores) {
        return Err("ssd_boxes and ssd_scores must come together".into());
    }
    if count(&OutputKind::FrameScore) == m.outputs.len() {
        return Err("a frame score alone finds nothing: add a mask or boxes".into());
    }
    Ok(())
}

fn thresholds(t: &Thresholds) -> Result<(), String> {
    let all = [
        ("mask", t.mask),
        ("frame", t.frame),
        ("score", t.score),
        ("nms_iou", t.nms_iou),
        ("min_area", t.min_area),
    ];
    match all.into_iter().find(|(_, v)| !(0.0..=1.0).contains(v)) {
        Some((name, v)) => Err(format!("threshold {name} = {v} is not within 0..=1")),
        None => Ok(()),
    }
}

/// Checks the network against the manifest.
pub fn graph(m: &Manifest, g: &Graph) -> Result<(), String> {
    let [input] = g.inputs[..] else {
        return Err(format!("has {} inputs; networks with one are supported", g.inputs.len()));
    };
    let name = &g.value(input).name;
    if *name != m.input.name {
        return Err(format!("the network's input is {name:?}, model.json says {:?}", m.input.name));
    }
    let expected = [1, 3, m.input.height, m.input.width];
    if g.shape(input) != expected {
        let layout = if m.input.layout == Layout::Nhwc { " (as NCHW)" } else { "" };
        return Err(format!("the input has shape {:?}{layout}, not {expected:?}", g.shape(input)));
    }
    for spec in &m.outputs {
        let id = g.outputs.iter().find(|&&id| g.value(id).name == spec.name);
        let id = id.ok_or_else(|| {
            let names: Vec<&str> = g.outputs.iter().map(|&id| g.value(id).name.as_str()).collect();
            format!("there is no output {:?}; the network has {names:?}", spec.name)
        })?;
        if !fits(&spec.kind, g.shape(*id), m) {
            return Err(format!(
                "output {:?} of shape {:?} cannot be read as {:?} with {} labels",
                spec.name,
                g.shape(*id),
                spec.kind,
                m.labels.len()
            ));
        }
    }
    let boxes = |kind: OutputKind| {
        let spec = m.outputs.iter().find(|o| o.kind == kind)?;
        let id = g.outputs.iter().find(|&&id| g.value(id).name == spec.name)?;
        g.shape(*id).get(1).copied()
    };
    if boxes(OutputKind::SsdBoxes) != boxes(OutputKind::SsdScores) {
        return Err("ssd_boxes and ssd_scores differ in number".into());
    }
    Ok(())
}

fn fits(kind: &OutputKind, shape: &[usize], m: &Manifest) -> bool {
    let labels = m.labels.len();
    match (kind, shape) {
        (OutputKind::Mask, &[1, c, h, w]) => {
            let of = |c: usize, h: usize, w: usize| {
                c == labels && (1..=m.input.height).contains(&h) && (1..=m.input.width).contains(&w)
            };
            of(c, h, w) || of(w, c, h)
        }
        (OutputKind::FrameScore, shape) => shape.first() == Some(&1) && shape.iter().product::<usize>() == 1,
        (OutputKind::Yolo, &[1, a, b]) => (a == 4 + labels && b > 0) || (b == 4 + labels && a > 0),
        (OutputKind::YoloObjectness, &[1, n, f]) => f == 5 + labels && n > 0,
        (OutputKind::SsdBoxes, &[1, n, 4]) => n > 0,
        (OutputKind::SsdScores, &[1, n, c]) => n > 0 && (c == labels || c == labels + 1),
        _ => false,
    }
}
