//! What the user gets to see: a table, and its JSON twin that the manifest keeps.

use comfy_table::{Cell, CellAlignment, Color, Table, presets};
use serde::Serialize;

use super::Optimize;
use super::measure::Measured;
use crate::format::tflite;
use crate::format::tflite::edge_tpu::{self, Violation};
use crate::format::tflite::schema::Kind;
use crate::model::Package;
use crate::optimize::compare::Agreement;
use crate::optimize::engine::{Builder, Built};
use crate::optimize::sensitivity::LayerError;
use crate::optimize::{Made, Observed};
use crate::runtime;
use crate::vision::metrics::AccuracySummary;

/// Layers that the table lists.
const LISTED: usize = 8;

/// The report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of endort.
    pub endort: &'static str,
    /// The model's name.
    pub model: String,
    /// Digest of the original's artifact.
    pub source_sha256: String,
    /// Digest of the artifact that was made.
    pub artifact_sha256: String,
    /// The kind of device.
    pub target: &'static str,
    /// The number format.
    pub precision: &'static str,
    /// What executed both networks for the figures here.
    pub runtime: String,
    /// The original.
    pub before: Figures,
    /// What was made of it.
    pub after: Figures,
    /// Operators that the passes removed or fused.
    pub operators_fused: usize,
    /// How far the outputs differ on the same frames, from the original at the same input size.
    pub agreement: Agreement,
    /// How much of the network is on an 8-bit grid.
    pub low_precision: LowPrecision,
    /// What of the TFLite file computes on integers, for targets that take one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tflite: Option<TfliteShare>,
    /// Frames that ranges were found on.
    pub calibration_frames: usize,
    /// Drop in Dice, where there is ground truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dice_drop: Option<f64>,
    /// Largest drop allowed.
    pub max_dice_drop: f64,
    /// Layers by what quantizing each alone does, where that was asked for or explains a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<LayerError>>,
    /// The engine for this device, where one was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineReport>,
    /// What to mind.
    pub warnings: Vec<String>,
}

/// Figures of one network.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Size of the artifact.
    pub artifact_bytes: u64,
    /// Operators that compute.
    pub operators: usize,
    /// Multiply-accumulates per frame.
    pub macs: u64,
    /// Median time of one run.
    pub latency_ms: f64,
    /// Against ground truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<AccuracySummary>,
}

/// How much of the network is on an 8-bit grid, and how the figures here were computed.
#[derive(Debug, Clone, Serialize)]
pub struct LowPrecision {
    /// Operators with all activations on the grid.
    pub operators: usize,
    /// The same as a share of all operators.
    pub operator_share: f64,
    /// Their share of all multiply-accumulates.
    pub mac_share: f64,
    /// How `runtime` computed it.
    pub computed_in: &'static str,
}

/// What of a TFLite file computes on integers, and where.
#[derive(Debug, Clone, Serialize)]
pub struct TfliteShare {
    /// All operators of the file; one of the graph may have become several.
    pub operators: usize,
    /// Those that take and give integers alone.
    pub integer: usize,
    /// Those that keep to the Edge TPU's rules.
    pub for_edge_tpu: usize,
    /// Where the Edge TPU's compiler put them, if it ran: on the Edge TPU, and on the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compiled: Option<[usize; 2]>,
    /// Rules that are broken, operator by operator.
    #[serde(skip)]
    pub broken: Vec<Violation>,
}

impl TfliteShare {
    fn of(file: &[u8]) -> Option<Self> {
        let model = tflite::decode(file).ok()?;
        let on_integers = |operator: &&tflite::model::Operator| {
            let inputs = operator.inputs.iter().flatten();
            let mut tensors = inputs.chain(&operator.outputs).filter_map(|&i| model.tensors.get(i));
            tensors.all(|tensor| !matches!(tensor.kind, Kind::F32 | Kind::F16))
        };
        let broken = edge_tpu::check(&model);
        let operators = broken.iter().filter(|violation| violation.operator.is_some()).count();
        Some(Self {
            operators: model.operators.len(),
            integer: model.operators.iter().filter(on_integers).count(),
            for_edge_tpu: model.operators.len().saturating_sub(operators),
            compiled: None,
            broken,
        })
    }
}

/// An engine for this device.
#[derive(Debug, Clone, Serialize)]
pub struct EngineReport {
    /// The device.
    pub device: String,
    /// Its driver.
    pub driver: String,
    /// Size.
    pub bytes: u64,
    /// Whether it was there from an earlier time.
    pub cached: bool,
}

impl Report {
    /// Puts it together.
    pub fn new(
        o: &Optimize<'_>,
        package: &Package,
        made: &Made,
        observed: &Observed,
        measured: &Measured,
        layers: Option<Vec<LayerError>>,
    ) -> Self {
        let figures = |i: usize, artifact_bytes, operators, macs| Figures {
            artifact_bytes,
            operators,
            macs,
            latency_ms: measured.latency_ms[i],
            accuracy: measured.accuracy.as_ref().map(|a| a[i]),
        };
        let share = made.share;
        let written = made.tflite.as_ref().map_or(made.package.artifact.bytes.len(), Vec::len) as u64;
        let ratio = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
        Self {
            endort: env!("CARGO_PKG_VERSION"),
            model: package.manifest.name.clone(),
            source_sha256: package.sha256.clone(),
            artifact_sha256: made.package.sha256.clone(),
            target: o.target.as_str(),
            precision: o.precision.as_str(),
            runtime: measured.runtime.clone(),
            before: figures(
                0,
                package.artifact.bytes.len() as u64,
                package.graph.nodes.len(),
                package.graph.macs(),
            ),
            after: figures(1, written, share.operators, share.macs),
            operators_fused: package.graph.nodes.len().saturating_sub(share.operators),
            agreement: measured.agreement,
            low_precision: LowPrecision {
                operators: share.quantized,
                operator_share: ratio(share.quantized as u64, share.operators as u64),
                mac_share: ratio(share.quantized_macs, share.macs),
                computed_in: runtime::computed_in(&measured.runtime, o.precision),
            },
            calibration_frames: observed.calibrated.frames,
            dice_drop: measured.dice_drop(),
            max_dice_drop: o.args.max_dice_drop,
            layers,
            tflite: made.tflite.as_deref().and_then(TfliteShare::of),
            engine: None,
            warnings: o.warnings.clone(),
        }
    }

    /// Notes where the Edge TPU's compiler put the operators.
    pub fn compiled(&mut self, operators: Option<[usize; 2]>) {
        if let Some(tflite) = &mut self.tflite {
            tflite.compiled = operators;
        }
    }

    /// Notes the engine that was built.
    pub fn engine(&mut self, builder: &Builder, built: &Built) {
        self.engine = Some(EngineReport {
            device: builder.device.clone(),
            driver: builder.driver.clone(),
            bytes: built.bytes.len() as u64,
            cached: built.cached,
        });
    }

    /// For people.
    pub fn table(&self, color: bool) -> String {
        let mut parts = vec![format!("{} for {} in {}", self.model, self.target, self.precision)];
        parts.push(self.figures());
        parts.push(self.lines().join("\n"));
        if let Some(layers) = self.layers.as_ref().filter(|l| !l.is_empty()) {
            parts.push(layer_table(layers));
        }
        if let Some(drop) = self.dice_drop {
            let met = drop <= self.max_dice_drop;
            let verdict = if met { "met" } else { "MISSED" };
            let text = format!("dice drop {drop:.4}, limit {}: {verdict}", self.max_dice_drop);
            parts.push(paint(&text, color, met));
        }
        parts.join("\n\n")
    }

    fn figures(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["", "before", "after"]);
        let mut row = |name: &str, of: &dyn Fn(&Figures) -> String| {
            table.add_row([name.to_owned(), of(&self.before), of(&self.after)]);
        };
        row("artifact (MB)", &|f| format!("{:.2}", f.artifact_bytes as f64 / 1e6));
        row("operators", &|f| f.operators.to_string());
        row("multiply-accumulates (M)", &|f| format!("{:.1}", f.macs as f64 / 1e6));
        row("latency (ms)", &|f| format!("{:.2}", f.latency_ms));
        if self.before.accuracy.is_some() {
            let four = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.4}"));
            row("dice", &|f| four(f.accuracy.and_then(|a| a.dice)));
            row("sensitivity", &|f| four(f.accuracy.and_then(|a| a.sensitivity)));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }

    /// Where the speed of 8 bits shows, if not here.
    fn own_runtime(&self) -> String {
        let runtime = match self.target {
            "coral" | "raspberry-pi" => "tflite",
            "intel" => "openvino",
            _ => "onnxruntime",
        };
        match self.precision == "int8" && self.runtime.starts_with("candle") {
            true => format!("; it rounds to 8 bits in floats, and --runtime {runtime} shows what they gain"),
            false => String::new(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let (a, low) = (&self.agreement, &self.low_precision);
        let dice = a.mask_dice.map_or_else(String::new, |d| format!("; masks agree with Dice {d:.4}"));
        let mut lines = vec![
            format!(
                "outputs on {} frame{} differ by {} (relative error), a single value by up to {} of the largest{dice}",
                a.frames,
                plural(a.frames),
                percent(a.relative_error),
                percent(a.max_difference)
            ),
            format!("latency measured on {}, one network at a time{}", self.runtime, self.own_runtime()),
        ];
        if self.precision == "int8" {
            lines.push(format!(
                "on the 8-bit grid: {} of {} operators ({:.1} %), {:.1} % of the multiply-accumulates; {} computes in {}",
                low.operators,
                self.after.operators,
                low.operator_share * 100.0,
                low.mac_share * 100.0,
                self.runtime,
                low.computed_in
            ));
            let frames = self.calibration_frames;
            lines.push(format!("calibrated on {frames} frame{}", plural(frames)));
        }
        if let Some(t) = self.tflite.as_ref().filter(|_| self.precision == "int8") {
            let mut line =
                format!("model.tflite: {} of {} operators on integers alone", t.integer, t.operators);
            if self.target == "coral" {
                line += &format!(", {} by the Edge TPU's rules", t.for_edge_tpu);
            }
            if let Some([tpu, cpu]) = t.compiled {
                line += &format!("; its compiler put {tpu} on the Edge TPU and {cpu} on the processor");
            }
            lines.push(line);
        }
        if let Some(engine) = &self.engine {
            let how = if engine.cached { "from an earlier run" } else { "built" };
            let (device, driver) = (&engine.device, &engine.driver);
            lines.push(format!(
                "engine for {device} (driver {driver}): {how}, {:.2} MB",
                engine.bytes as f64 / 1e6
            ));
        }
        lines
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A small share.
fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p >= 1.0 => format!("{p:.1} %"),
        p if p >= 1e-4 => format!("{p:.4} %"),
        p => format!("{p:.0e} %"),
    }
}

fn layer_table(layers: &[LayerError]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["layers that hurt most, each quantized alone", "relative error"]);
    for layer in layers.iter().take(LISTED) {
        table.add_row([
            Cell::new(&layer.layer),
            Cell::new(format!("{:.2e}", layer.relative_error)).set_alignment(CellAlignment::Right),
        ]);
    }
    table.to_string()
}

fn paint(text: &str, color: bool, good: bool) -> String {
    if !color {
        return text.to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.add_row([Cell::new(text).fg(if good { Color::Green } else { Color::Red })]);
    table.to_string().trim().to_owned()
}
