//! TensorRT's own parser on what `endort optimize --target jetson` writes, where a Python has it.

use std::path::Path;
use std::process::Command;

use crate::engine::python;
use crate::optimize::json;
use crate::program::Sandbox;

#[test]
fn tensorrt_takes_what_is_made_for_the_jetson() {
    let has = |python: &Path| {
        let run = Command::new(python).args(["-c", "import tensorrt_rtx"]).output();
        run.is_ok_and(|output| output.status.success())
    };
    let Some(python) = python().filter(|python| has(python)) else {
        eprintln!(
            "skipped: pip install tensorrt_rtx_cu13 (95 MB) into the Python of the tests, or set ENDORT_PYTHON"
        );
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sandbox = Sandbox::new();
    let stills = root.join("samples/ground-truth/images").display().to_string();
    let foreign = |name: &str| root.join("tests/networks").join(name).display().to_string();
    let models = [
        "polyp-lite".to_owned(),
        foreign("torch_unet.onnx"),
        foreign("torch_mobilenet_v3.onnx"),
        foreign("torch_yolo.onnx"),
    ];
    for (i, model) in models.iter().enumerate() {
        for precision in ["fp16", "int8"] {
            let place = format!("{precision}-{i}");
            let args =
                ["optimize", model, "--target", "jetson", "--precision", precision, "-o", &place, "-q"];
            let more = ["--calibration", &stills, "--calibration-frames", "4"];
            sandbox.endort(args.into_iter().chain(more)).finish().code(0);
            let script = root.join("tests/peers/tensorrt_parse.py");
            let mut command = Command::new(&python);
            // Building is slow, and one network of each kind says enough.
            command
                .arg(script)
                .args((i == 0).then_some("--build"))
                .arg(sandbox.file(&place).join("model.onnx"));
            let output = command.output().unwrap();
            let report = json(std::str::from_utf8(&output.stdout).unwrap());
            assert!(
                output.status.success() && report["parsed"] == true,
                "{model} in {precision}: {report:#}"
            );
            let grids = report["layers"]["QUANTIZE"].as_u64().unwrap_or(0);
            assert_eq!(grids > 0, precision == "int8", "{report:#}");
            assert!(i > 0 || report["engine_bytes"].as_u64().unwrap() > 1_000_000, "{report:#}");
        }
    }
}
