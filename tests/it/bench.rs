//! `endort bench`: the report, the budget's verdict, accuracy and comparison.

use image::GrayImage;
use serde_json::Value;

use crate::media_clips::clip;
use crate::program::Sandbox;
use crate::small_model;

/// Runs a bench over a one-second clip and gives its JSON report.
fn report(sandbox: &Sandbox, extra: &[&str], code: i32) -> Value {
    let source = clip("h264.mp4").display().to_string();
    let args = ["bench", &source, "--warmup", "5", "--json", "-"];
    let run = sandbox.endort(args.into_iter().chain(extra.iter().copied())).finish().code(code).stderr("");
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stdout))
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} in {value:#}"))
}

#[test]
fn the_json_report_holds_what_the_contract_names() {
    let sandbox = Sandbox::new();
    let report = report(&sandbox, &["--runtime", "scripted:delay=5ms", "--pace", "max"], 0);
    assert_eq!(report["endort"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["source"]["width"], 160);
    assert_eq!(report["source"]["height"], 120);
    assert!(number(&report, "/host/cores") >= 1.0);
    let run = &report["runs"][0];
    assert_eq!(
        (&run["model"], &run["pace"], &run["streams"]),
        (&"polyp-lite".into(), &"max".into(), &1.into())
    );
    assert_eq!(run["model_sha256"].as_str().unwrap().len(), 64);
    assert_eq!((&run["frames"], &run["warmup_frames"]), (&25.into(), &5.into()));
    assert_eq!((&run["dropped"], &run["lost"]), (&0.into(), &0.into()));
    for distribution in ["/latency_ms", "/stages_ms/inference", "/stages_ms/preprocess", "/stages_ms/decode"]
    {
        let at = |figure: &str| number(run, &format!("{distribution}/{figure}"));
        assert!(at("p50") <= at("p95") && at("p95") <= at("p99") && at("p99") <= at("max"), "{run:#}");
        assert!(at("avg") <= at("max"));
    }
    assert!(number(run, "/stages_ms/inference/p50") >= 5.0);
    let counted: u64 = run["latency_histogram"].as_array().unwrap().iter().filter_map(Value::as_u64).sum();
    assert_eq!(counted, 25);
    for row in run["budget"].as_array().unwrap() {
        assert!(row["name"].is_string() && row["limit"].is_number() && row["met"].is_boolean());
    }
}

#[test]
fn a_model_that_is_too_slow_fails_and_check_turns_that_into_exit_code_3() {
    let sandbox = Sandbox::new();
    let slow = ["--runtime", "scripted:delay=250ms", "--pace", "camera"];
    let run = report(&sandbox, &slow, 0)["runs"][0].clone();
    assert_eq!(run["verdict"], "fail");
    assert!(number(&run, "/violations") >= 1.0 && number(&run, "/dropped") >= 1.0);
    // The picture did not wait: every frame of the clip was shown.
    assert_eq!((&run["frames"], &run["lost"]), (&25.into(), &0.into()));
    report(&sandbox, &[slow[0], slow[1], slow[2], slow[3], "--check"], 3);
}

#[test]
fn the_picture_goes_on_while_the_model_stalls() {
    let sandbox = Sandbox::new();
    let args = ["--runtime", "scripted:stall=2s@8", "--pace", "camera", "--duration", "3"];
    let run = report(&sandbox, &args, 0)["runs"][0].clone();
    assert!(number(&run, "/ai_off_frames") >= 20.0, "{run:#}");
    assert_eq!(run["lost"], 0);
    assert!(number(&run, "/frames") >= 85.0, "the clip is repeated for three seconds: {run:#}");
}

#[test]
fn a_model_that_dies_is_told_and_fails() {
    let sandbox = Sandbox::new();
    let args = ["--runtime", "scripted:panic@10", "--pace", "camera"];
    let source = clip("h264.mp4").display().to_string();
    let all = ["bench", &source, "--warmup", "5", "--json", "-", "--check"];
    let run = sandbox.endort(all.into_iter().chain(args)).env("RUST_BACKTRACE", "0").finish().code(3);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let failure = report["runs"][0]["ai_failure"].as_str().unwrap();
    assert!(failure.starts_with("stage ai panicked: "), "{failure}");
    assert_eq!(report["runs"][0]["verdict"], "fail");
}

#[test]
fn several_models_runtimes_and_paces_stand_in_one_report() {
    let sandbox = Sandbox::new();
    let args = [
        "--model",
        "none",
        "--model",
        "polyp-lite",
        "--runtime",
        "scripted:",
        "--runtime",
        "scripted:delay=2ms",
    ];
    let report = report(&sandbox, &args, 0);
    let runs: Vec<_> = report["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| format!("{} {} {}", run["model"], run["runtime"], run["pace"]).replace('"', ""))
        .collect();
    assert_eq!(runs.len(), 6, "{runs:?}");
    assert!(runs[0].starts_with("none none max") && runs[1].starts_with("none none camera"), "{runs:?}");
}

#[test]
fn tables_end_in_a_verdict_and_have_their_twins_in_files() {
    let sandbox = Sandbox::new();
    let source = clip("h264.mp4").display().to_string();
    let files = ["--json", "r.json", "--csv", "r.csv", "--markdown", "r.md"];
    let args = ["bench", &source, "--runtime", "scripted:", "--warmup", "5", "--pace", "camera"];
    let run = sandbox.endort(args.into_iter().chain(files)).finish().code(0).stderr("");
    for expected in
        ["source  h264.mp4, 160x120 at 30 fps, h264", "inference", "preprocess_p99_ms", "latency (ms)"]
    {
        assert!(run.stdout.contains(expected), "{expected}: {}", run.stdout);
    }
    let last = run.stdout.trim_end().lines().last().unwrap_or_default();
    // Whether it passes is the machine's affair; that the last word fits the report is ours.
    let json: Value = serde_json::from_str(&sandbox.read("r.json")).unwrap();
    let all_met = json["runs"][0]["budget"].as_array().unwrap().iter().all(|row| row["met"] == true);
    assert!(last.starts_with(if all_met { "verdict: pass" } else { "verdict: fail (" }), "{}", run.stdout);
    let csv = sandbox.read("r.csv");
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].len(), lines[1].len());
    assert!(sandbox.read("r.md").contains("| budget"));
    let fps = lines[0].iter().position(|name| *name == "frames").unwrap();
    assert_eq!(lines[1][fps], json["runs"][0]["frames"].to_string());
}

#[test]
fn compare_tells_a_change_from_noise() {
    let sandbox = Sandbox::new();
    let source = clip("h264.mp4").display().to_string();
    let bench = |delay: &str, file: &str, extra: &[&str]| {
        let runtime = format!("scripted:delay={delay}");
        let args =
            ["bench", &source, "--runtime", &runtime, "--pace", "max", "--warmup", "5", "--json", file];
        sandbox.endort(args.into_iter().chain(extra.iter().copied())).finish().code(0)
    };
    bench("2ms", "before.json", &[]);
    let worse = bench("40ms", "after.json", &["--compare", "before.json"]);
    let row = |run: &str, figure: &str| {
        run.lines().find(|line| line.contains(figure)).unwrap_or_else(|| panic!("{figure}: {run}")).to_owned()
    };
    assert!(row(&worse.stdout, "inference p50 (ms)").contains("WORSE"), "{}", worse.stdout);
    let better = bench("2ms", "again.json", &["--compare", "after.json"]);
    assert!(row(&better.stdout, "inference p50 (ms)").contains("better"), "{}", better.stdout);
    // Another model has nothing to be compared with, and that is said.
    let other = bench("2ms", "none.json", &["--compare", "before.json", "--model", "none"]);
    assert!(other.stdout.contains("nothing to compare"), "{}", other.stdout);
    sandbox.write("other.json", "{\"no\": \"report\"}");
    let args = ["bench", &source, "--compare", "other.json"];
    let run = sandbox.endort(args).finish().code(1).stdout("");
    let told = &run.stderr;
    assert!(told.starts_with("endort: other.json: is not a report of endort bench --json"), "{told}");
    assert!(told.ends_with("; make one with endort bench --json FILE\n"), "{told}");
}

#[test]
fn ground_truth_adds_accuracy() {
    let sandbox = Sandbox::new();
    let square = |inside: u8| {
        GrayImage::from_fn(64, 48, |x, y| image::Luma([if x < 20 && y < 20 { inside } else { 0 }]))
    };
    for (stem, inside) in [("a", 255), ("b", 255), ("c", 0)] {
        for folder in ["truth/images", "truth/masks"] {
            let path = sandbox.write(&format!("{folder}/{stem}.png"), "");
            square(inside).save(path).unwrap();
        }
    }
    // The script finds nothing anywhere: two polyps missed, no false alarm.
    let args = ["--runtime", "scripted:", "--pace", "max", "--ground-truth", "truth"];
    let accuracy = report(&sandbox, &args, 0)["runs"][0]["accuracy"].clone();
    assert_eq!((&accuracy["images"], &accuracy["positive_images"]), (&3.into(), &2.into()));
    assert_eq!(number(&accuracy, "/dice"), 0.0);
    assert_eq!(number(&accuracy, "/sensitivity"), 0.0);
    assert_eq!(accuracy["negative_images"], 1);
    assert_eq!(number(&accuracy, "/false_positive_frames"), 0.0);
    assert_eq!(number(&accuracy, "/false_positive_negatives"), 0.0);

    std::fs::remove_file(sandbox.file("truth/masks/b.png")).unwrap();
    let source = clip("h264.mp4").display().to_string();
    let run = sandbox.endort(["bench", &source].into_iter().chain(args)).finish().code(1).stdout("");
    let remedy = "has images/ and masks/ with equal names and sizes\n";
    assert!(run.stderr.contains("holds no mask for") && run.stderr.ends_with(remedy), "{}", run.stderr);
    let path = sandbox.file("truth/masks/b.png");
    GrayImage::new(20, 10).save(path).unwrap();
    let run = sandbox.endort(["bench", &source].into_iter().chain(args)).finish().code(1).stdout("");
    assert!(run.stderr.contains("b.png: is 20x10, its picture 64x48"), "{}", run.stderr);
}

#[test]
fn streams_run_side_by_side() {
    let sandbox = Sandbox::new();
    let args = ["--runtime", "scripted:", "--pace", "camera", "--streams", "3"];
    let run = report(&sandbox, &args, 0)["runs"][0].clone();
    assert_eq!((&run["streams"], &run["frames"]), (&3.into(), &75.into()));
}

#[test]
fn a_source_that_ends_within_the_warm_up_is_refused() {
    let sandbox = Sandbox::new();
    let source = clip("h264.mp4").display().to_string();
    let run = sandbox.endort(["bench", &source, "--runtime", "scripted:"]).finish().code(1).stdout("");
    assert!(
        run.stderr.starts_with("endort: h264.mp4: gave 30 frames, none beyond the warm-up of 30"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_cannot_be_measured_is_one_line_and_exit_code_1() {
    let sandbox = Sandbox::new();
    sandbox.write("empty.mp4", "");
    sandbox.write("text.mp4", "this is not a video");
    let clip = clip("h264.mp4").display().to_string();
    for (args, cause) in [
        (&["bench", "missing.mp4"][..], "missing.mp4"),
        (&["bench", "empty.mp4"], "empty.mp4"),
        (&["bench", "text.mp4"], "text.mp4"),
        (&["bench", &clip, "--model", "no-such-model"], "no-such-model"),
        (&["bench", &clip, "--runtime", "no-such-runtime"], "no-such-runtime"),
        (&["bench", &clip, "--compare", "no-such-report.json"], "no-such-report.json"),
    ] {
        let run = sandbox.endort(args).finish().code(1).stdout("");
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.starts_with("endort: ") && run.stderr.contains(cause), "{}", run.stderr);
    }
}

#[test]
fn what_was_measured_is_told_although_a_later_model_fails() {
    let sandbox = Sandbox::new();
    let source = clip("h264.mp4").display().to_string();
    let args = ["bench", &source, "--pace", "max", "--warmup", "5", "--runtime", "scripted:"];
    let models = ["--model", "polyp-lite", "--model", "no-such-model", "--json", "r.json"];
    let run = sandbox.endort(args.into_iter().chain(models)).finish().code(1);
    assert!(run.stderr.contains("no-such-model"), "{}", run.stderr);
    let report: Value = serde_json::from_str(&sandbox.read("r.json")).unwrap();
    assert_eq!(report["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_report_s_place_is_looked_at_before_anything_is_measured() {
    let sandbox = Sandbox::new();
    for flag in ["--json", "--csv", "--markdown"] {
        let run =
            sandbox.endort(["bench", "missing.mp4", flag, "no/such/report"]).finish().code(1).stdout("");
        assert!(run.stderr.starts_with("endort: cannot write no/such/report: "), "{}", run.stderr);
    }
}

#[test]
fn streams_have_a_limit_and_auto_passes_where_one_is_held() {
    let sandbox = Sandbox::new();
    let run = sandbox.endort(["bench", "--streams", "33"]).finish().code(2).stdout("");
    assert!(run.stderr.contains("must be a number from 1 to 32, or auto"), "{}", run.stderr);
    // One room is a matter of the machine; that the report and the exit code agree is ours.
    let source = clip("h264.mp4").display().to_string();
    let args = ["bench", &source, "--streams", "auto", "--check", "--warmup", "5", "--json", "-"];
    let run = sandbox.endort(args.into_iter().chain(["--runtime", "scripted:delay=60ms"])).finish();
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let runs = report["runs"].as_array().unwrap();
    assert_ne!(runs.last().unwrap()["verdict"], "pass", "{report:#}");
    assert_eq!(run.code, Some(if runs[0]["verdict"] == "pass" { 0 } else { 3 }), "{report:#}");
}

#[test]
fn how_many_streams_are_held_is_told_of_each_model() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    // A runtime that takes longer than a frame may: not even one stream is held.
    let args = ["bench", "synthetic:64x64@30", "--streams", "auto", "--warmup", "0", "--duration", "0.7"];
    let args = [&args[..], &["--runtime", "scripted:delay=300ms", "--model", "red.onnx"]].concat();
    let one = sandbox.endort(&args).finish().code(0);
    assert!(
        one.stdout.ends_with("\nThis box holds 0 stream(s) of this kind within the budget.\n"),
        "{one:?}"
    );
    let two = sandbox.endort([&args[..], &["--model", "polyp-lite"]].concat()).finish().code(0);
    let told = "\nThis box holds 0 stream(s) of red on scripted (fp32) within the budget.\n\
                This box holds 0 stream(s) of polyp-lite on scripted (fp32) within the budget.\n";
    assert!(two.stdout.ends_with(told), "{two:?}");
    // Two files of one name are two models.
    std::fs::create_dir(sandbox.file("other")).unwrap();
    std::fs::rename(small_model::write_in_two_steps(&sandbox), sandbox.file("other/red.onnx")).unwrap();
    small_model::write(&sandbox);
    let two = sandbox.endort([&args[..], &["--model", "other/red.onnx"]].concat()).finish().code(0);
    let told: Vec<&str> = two.stdout.lines().rev().take(2).collect();
    assert!(told.iter().all(|line| line.starts_with("This box holds 0 stream(s) of red ")), "{told:?}");
    assert!(told[0] != told[1] && told[0].contains("… on scripted"), "{told:?}");
}

#[test]
fn what_auto_goes_by_names_the_flags_that_belong_to_it() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    let args = ["bench", "synthetic:64x64@30", "--warmup", "0", "--duration", "0.3", "--pace", "max"];
    let args = [&args[..], &["--model", "red.onnx", "--runtime", "all"]].concat();
    let threads = (std::thread::available_parallelism().unwrap().get() + 1).to_string();
    let run = sandbox
        .endort([&args[..], &["--threads", &threads, "--runtime-path", "."]].concat())
        .finish()
        .code(0);
    let said = format!("auto goes by that where --threads {threads} and --runtime-path is given as well\n");
    assert!(run.stderr.ends_with(&said), "{run:?}");
    let run = sandbox.endort(args).finish().code(0);
    assert!(!run.stderr.contains("goes by that"), "{run:?}");
}

#[test]
fn a_still_that_is_repeated_keeps_to_the_rate_that_is_wanted() {
    let sandbox = Sandbox::new();
    GrayImage::new(64, 48).save(sandbox.file("still.png")).unwrap();
    let args = ["bench", "still.png", "--pace", "camera", "--warmup", "0", "--duration", "1", "--json", "-"];
    let run = sandbox.endort(args.into_iter().chain(["--model", "none"])).finish().code(0);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let frames = number(&report, "/runs/0/frames") + number(&report, "/runs/0/lost");
    assert!((29.0..=31.0).contains(&frames), "{report:#}");
}

/// A report and a changed copy of it, compared; the rows of the comparison.
fn compared(sandbox: &Sandbox, models: &[&str], change: impl FnOnce(&mut Value)) -> String {
    let source = clip("h264.mp4").display().to_string();
    let args = ["bench", &source, "--pace", "max", "--warmup", "5", "--runtime", "candle-cpu"];
    let args: Vec<&str> = args.into_iter().chain(models.iter().flat_map(|m| ["--model", m])).collect();
    sandbox.endort(args.iter().copied().chain(["--json", "r.json"])).finish().code(0);
    let mut before: Value = serde_json::from_str(&sandbox.read("r.json")).unwrap();
    change(&mut before);
    sandbox.write("before.json", before.to_string());
    let run = sandbox.endort(args.iter().copied().chain(["--compare", "before.json"])).finish().code(0);
    run.stdout
}

#[test]
fn a_single_late_frame_is_no_change_and_models_of_one_name_are_told_apart() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    for (folder, padding) in [("one", 0), ("two", 1)] {
        let mut bytes = std::fs::read(sandbox.file("red.onnx")).unwrap();
        // An unknown field of the file, so that the two are not the same.
        bytes.extend([0xa2, 0x06, 1, padding]);
        sandbox.write(&format!("{folder}/best.onnx"), bytes);
    }
    let text = compared(&sandbox, &["one/best.onnx", "two/best.onnx"], |before| {
        before["runs"][0]["violation_rate"] = (1.0 / 25.0).into();
        before["runs"][0]["violations"] = 1.into();
        before["runs"][0]["frames"] = 25.into();
        before["runs"][1]["latency_ms"]["p50"] = 1e6.into();
    });
    let rows: Vec<&str> = text.lines().filter(|line| line.contains("latency p50 (ms)")).collect();
    assert_eq!(rows.len(), 2, "{text}");
    assert!(!rows[0].contains("1000000") && rows[1].contains("1000000"), "{text}");
    // A rate of nothing in the run that was made is no better than one frame of 25 before.
    let late = text.lines().find(|line| line.contains("violation rate")).unwrap();
    assert!(late.contains("within noise"), "{text}");
}
