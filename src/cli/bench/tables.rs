//! The report for people: tables and a histogram in the terminal, and their Markdown and CSV twins.

use comfy_table::{Cell, CellAlignment, Color, Table, presets};

use super::compare::{Change, ChangeVerdict};
use super::fastest::FastestRuntime;
use super::report::{HISTOGRAM_BINS, Report, Run, Verdict};
use crate::pipeline::report::Stage;
use crate::pipeline::stats::Summary;

/// How tables are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Lines and, if set, colours.
    Terminal {
        /// Whether colours may be used.
        color: bool,
    },
    /// GitHub's Markdown.
    Markdown,
}

impl Style {
    fn table(self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(match self {
            Self::Terminal { .. } => presets::UTF8_FULL_CONDENSED,
            Self::Markdown => presets::ASCII_MARKDOWN,
        });
        table.set_header(header);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn judged(self, text: &str, good: bool) -> Cell {
        let color = if good { Color::Green } else { Color::Red };
        let cell = Cell::new(text);
        if self == (Self::Terminal { color: true }) { cell.fg(color) } else { cell }
    }
}

/// The whole report.
pub fn render(report: &Report, style: Style) -> String {
    let mut parts = vec![heading(report)];
    for run in &report.runs {
        parts.push(format!("{}{}", if style == Style::Markdown { "## " } else { "" }, run.title()));
        parts.push(run_line(run));
        parts.push(stage_table(run, style));
        parts.push(fence(histogram(run), style));
        parts.push(budget_table(run, style));
        if let Some(failure) = &run.ai_failure {
            parts.push(format!("The AI lane ended early: {failure}"));
        }
        parts.push(verdict_line(run));
    }
    if report.runs.len() > 1 {
        parts.push(overview(report, style));
    }
    parts.extend(report.fastest.iter().map(|fastest| fastest_table(fastest, style)));
    parts.join("\n\n")
}

fn heading(report: &Report) -> String {
    let (host, source) = (&report.host, &report.source);
    let memory = host.memory_mb.map_or_else(String::new, |mb| format!(", {:.1} GB", mb as f64 / 1024.0));
    let fps = source.fps.map_or_else(String::new, |fps| format!(" at {} fps", (fps * 1e3).round() / 1e3));
    format!(
        "endort {}\nhost    {}, {}, {} cores{memory}, {}\nsource  {}, {}x{}{fps}, {}",
        report.endort,
        host.device,
        host.cpu,
        host.cores,
        host.os,
        source.name,
        source.width,
        source.height,
        source.codec
    )
}

fn run_line(run: &Run) -> String {
    let memory = run.peak_rss_mb.map_or_else(String::new, |mb| format!(", peak memory {mb:.0} MB"));
    let version = run.runtime_version.as_ref().map_or_else(String::new, |v| format!("{} {v}, ", run.runtime));
    format!(
        "{version}{} frames after {} of warm-up, cold start {:.0} ms, {:.1} fps, {} dropped, {} lost, {} violations ({:.2} %){memory}",
        run.frames,
        run.warmup_frames,
        run.cold_start_ms,
        run.fps,
        run.dropped,
        run.lost,
        run.violations,
        run.violation_rate * 100.0
    )
}

fn stage_table(run: &Run, style: Style) -> String {
    let mut table = style.table(&["ms", "avg", "p50", "p95", "p99", "max"]);
    let mut row = |name: &str, s: &Summary| {
        table.add_row([name.to_owned(), ms(s.avg), ms(s.p50), ms(s.p95), ms(s.p99), ms(s.max)]);
    };
    for name in Stage::ALL.map(Stage::name) {
        if let Some(summary) = run.stages_ms.get(name) {
            row(name, summary);
        }
    }
    row("video delay", &run.video_delay_ms);
    if run.model != "none" {
        row("annotation delay", &run.annotation_delay_ms);
    }
    row("latency", &run.latency_ms);
    table.to_string()
}

fn budget_table(run: &Run, style: Style) -> String {
    let mut table = style.table(&["budget", "limit", "measured", "met"]);
    for row in &run.budget {
        let sign = if row.name == "fps" { "≥" } else { "<" };
        table.add_row([
            Cell::new(&row.name),
            Cell::new(format!("{sign} {}", figure(row.limit))).set_alignment(CellAlignment::Right),
            Cell::new(figure(row.value)).set_alignment(CellAlignment::Right),
            style.judged(if row.met { "yes" } else { "NO" }, row.met).set_alignment(CellAlignment::Right),
        ]);
    }
    let mut text = table.to_string();
    if let Some(accuracy) = &run.accuracy {
        let mut table = style.table(&["accuracy", "value"]);
        let percent = |value: f64| format!("{:.1} %", value * 100.0);
        let four = |value: f64| format!("{value:.4}");
        let cell = |value: Option<f64>, show: &dyn Fn(f64) -> String| value.map_or("-".to_owned(), show);
        table.add_row(["images".to_owned(), accuracy.images.to_string()]);
        table.add_row(["images with a polyp".to_owned(), accuracy.positive_images.to_string()]);
        table.add_row(["dice".to_owned(), cell(accuracy.dice, &four)]);
        table.add_row(["iou".to_owned(), cell(accuracy.iou, &four)]);
        table.add_row(["sensitivity".to_owned(), cell(accuracy.sensitivity, &percent)]);
        table.add_row(["false-positive frames".to_owned(), cell(accuracy.false_positive_frames, &percent)]);
        let negatives = format!("  among {} without a polyp", accuracy.negative_images);
        table.add_row([negatives, cell(accuracy.false_positive_negatives, &percent)]);
        text.push_str("\n\n");
        text.push_str(&table.to_string());
    }
    text
}

/// One line per step of latency, its bar as long as its share.
fn histogram(run: &Run) -> String {
    const WIDTH: u64 = 48;
    let most = run.latency_histogram.iter().copied().max().unwrap_or(0).max(1);
    let step = run.max_latency_ms / HISTOGRAM_BINS as f64;
    let filled = |&count: &u64| count > 0;
    let first = run.latency_histogram.iter().position(filled).unwrap_or(0);
    let last = run.latency_histogram.iter().rposition(filled).unwrap_or(0);
    let mut lines = vec!["latency (ms)      frames".to_owned()];
    for (bin, &count) in run.latency_histogram.iter().enumerate().take(last + 1).skip(first) {
        let from = step * bin as f64;
        let label = if bin + 1 == HISTOGRAM_BINS {
            format!("{from:>5.0} and more")
        } else {
            format!("{from:>5.0} – {:<5.0}  ", from + step)
        };
        // A bin with anything in it shows at least a sliver.
        let length = (count * WIDTH).div_ceil(most) as usize;
        lines.push(format!("{label} {count:>7} {}", "█".repeat(length)).trim_end().to_owned());
    }
    lines.join("\n")
}

fn fence(text: String, style: Style) -> String {
    if style == Style::Markdown { format!("```text\n{text}\n```") } else { text }
}

fn verdict_line(run: &Run) -> String {
    let missed: Vec<_> = run.budget.iter().filter(|row| !row.met).map(|row| row.name.as_str()).collect();
    match run.verdict {
        Verdict::Pass => "verdict: pass".to_owned(),
        Verdict::Fail => format!("verdict: fail ({})", missed.join(", ")),
    }
}

/// All runs, a line each.
fn overview(report: &Report, style: Style) -> String {
    let header = [
        "run",
        "fps",
        "avg",
        "p50",
        "p95",
        "p99",
        "inference p50",
        "dropped",
        "violations",
        "dice",
        "verdict",
    ];
    let mut table = style.table(&header);
    for run in &report.runs {
        let latency = &run.latency_ms;
        let inference = run.stages_ms.get("inference").map_or_else(|| "-".to_owned(), |s| ms(s.p50));
        let dice =
            run.accuracy.and_then(|a| a.dice).map_or_else(|| "-".to_owned(), |dice| format!("{dice:.4}"));
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let pass = run.verdict == Verdict::Pass;
        table.add_row([
            Cell::new(run.title()),
            right(format!("{:.1}", run.fps)),
            right(ms(latency.avg)),
            right(ms(latency.p50)),
            right(ms(latency.p95)),
            right(ms(latency.p99)),
            right(inference),
            right(run.dropped.to_string()),
            right(run.violations.to_string()),
            right(dice),
            style.judged(if pass { "pass" } else { "fail" }, pass).set_alignment(CellAlignment::Right),
        ]);
    }
    table.to_string()
}

/// The runtimes side by side, and which of them `auto` takes.
fn fastest_table(fastest: &FastestRuntime, style: Style) -> String {
    let by_dice = fastest.candidates.iter().any(|c| c.dice_drop.is_some());
    let accuracy = if by_dice { "dice below the best" } else { "outputs differ by" };
    let mut table =
        style.table(&["runtime", "inference p50 (ms)", "fps at full pace", accuracy, "within limit"]);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    for c in &fastest.candidates {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let differ = c.agreement.map(|a| format!("{:.4} %", a.relative_error * 100.0));
        table.add_row([
            Cell::new(&c.runtime),
            right(or_dash(c.inference_p50_ms.map(ms))),
            right(or_dash(c.fps.map(|fps| format!("{fps:.1}")))),
            right(or_dash(c.dice_drop.map(|drop| format!("{drop:.4}")).or(differ))),
            style
                .judged(if c.within_limit { "yes" } else { "NO" }, c.within_limit)
                .set_alignment(CellAlignment::Right),
        ]);
    }
    let model = &fastest.model;
    let choice = match &fastest.runtime {
        Some(runtime) if fastest.remembered => {
            format!("fastest for {model}: {runtime}; --runtime auto takes it on this box from now on")
        }
        Some(runtime) => format!("fastest for {model}: {runtime}"),
        None => format!("no runtime keeps the limit for {model}"),
    };
    format!("{table}\nlimit: {}\n{choice}", fastest.limit)
}

/// What changed since an earlier report.
pub fn changes(changes: &[Change], style: Style) -> String {
    let mut table = style.table(&["run", "figure", "before", "after", "ratio", "change"]);
    for change in changes {
        let ratio = if change.before == 0.0 {
            "-".to_owned()
        } else {
            format!("{:.3}", change.after / change.before)
        };
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let verdict = match change.verdict {
            ChangeVerdict::Same => Cell::new("within noise"),
            ChangeVerdict::Better => style.judged("better", true),
            ChangeVerdict::Worse => style.judged("WORSE", false),
        };
        table.add_row([
            Cell::new(&change.run),
            Cell::new(change.figure),
            right(figure(change.before)),
            right(figure(change.after)),
            right(ratio),
            verdict.set_alignment(CellAlignment::Right),
        ]);
    }
    table.to_string()
}

/// The report as CSV, a line per run.
pub fn csv(report: &Report) -> String {
    let mut header: Vec<String> = [
        "model",
        "runtime",
        "precision",
        "pace",
        "streams",
        "cold_start_ms",
        "warmup_frames",
        "frames",
        "dropped",
        "lost",
        "fps",
        "video_fps",
        "violations",
        "violation_rate",
        "peak_rss_mb",
        "dice",
        "iou",
        "sensitivity",
        "false_positive_frames",
        "false_positive_negatives",
        "verdict",
    ]
    .map(str::to_owned)
    .to_vec();
    let figures = ["avg", "p50", "p95", "p99", "p999", "max"];
    let distributions: Vec<&str> = ["latency", "video_delay", "annotation_delay"]
        .into_iter()
        .chain(Stage::ALL.map(Stage::name))
        .collect();
    for name in &distributions {
        header.extend(figures.iter().map(|figure| format!("{name}_{figure}_ms")));
    }
    let mut lines = vec![header.join(",")];
    for run in &report.runs {
        let option = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let accuracy = run.accuracy.as_ref();
        let mut row = vec![
            field(&run.model),
            field(&run.runtime),
            field(&run.precision),
            field(&run.pace),
            run.streams.to_string(),
            run.cold_start_ms.to_string(),
            run.warmup_frames.to_string(),
            run.frames.to_string(),
            run.dropped.to_string(),
            run.lost.to_string(),
            run.fps.to_string(),
            run.video_fps.to_string(),
            run.violations.to_string(),
            run.violation_rate.to_string(),
            option(run.peak_rss_mb),
            option(accuracy.and_then(|a| a.dice)),
            option(accuracy.and_then(|a| a.iou)),
            option(accuracy.and_then(|a| a.sensitivity)),
            option(accuracy.and_then(|a| a.false_positive_frames)),
            option(accuracy.and_then(|a| a.false_positive_negatives)),
            if run.verdict == Verdict::Pass { "pass" } else { "fail" }.to_owned(),
        ];
        let nothing = Summary::default();
        for name in &distributions {
            let s = match *name {
                "latency" => &run.latency_ms,
                "video_delay" => &run.video_delay_ms,
                "annotation_delay" => &run.annotation_delay_ms,
                stage => run.stages_ms.get(stage).unwrap_or(&nothing),
            };
            row.extend([s.avg, s.p50, s.p95, s.p99, s.p999, s.max].map(|value| value.to_string()));
        }
        lines.push(row.join(","));
    }
    lines.join("\n") + "\n"
}

/// A CSV field, quoted where RFC 4180 asks for it.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn ms(value: f64) -> String {
    format!("{value:.2}")
}

/// A figure with as many digits as its size deserves.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
