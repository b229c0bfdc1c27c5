//! `endort detect-device`: the captured trees below `tests/fixtures/devices`, damaged ones, and this machine.
//!
//! `ENDORT_UPDATE=1` writes the expected reports beside the trees anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use endort::device::info::{AcceleratorKind, Kind};
use endort::device::{Access, Build, DeviceInfo, Options, Target, detect};
use serde_json::Value;

use crate::program::Sandbox;
use crate::vendor::{site_packages, skipped};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/devices")
}

/// The trees by name.
fn trees() -> Vec<(String, PathBuf)> {
    let mut trees: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    trees.sort();
    trees
}

fn look(name: &str) -> DeviceInfo {
    detect(&Options::captured(&folder().join(name))).unwrap()
}

/// `name`'s problems, each as one line.
fn problems(info: &DeviceInfo) -> Vec<String> {
    info.machine.problems.iter().map(|p| format!("{}: {}: {}", p.what, p.why, p.remedy)).collect()
}

#[test]
fn every_device_gets_its_report() {
    if Build::current() != Build::default() {
        eprintln!("skipped: the expected reports are those of a build without GPU code");
        return;
    }
    let sandbox = Sandbox::new();
    let trees = trees();
    assert!(trees.len() >= 15, "{trees:?}");
    for (name, tree) in trees {
        let run =
            sandbox.endort(["detect-device", "--root", tree.to_str().unwrap()]).finish().code(0).stderr("");
        let kept = folder().join(format!("{name}.txt"));
        if std::env::var_os("ENDORT_UPDATE").is_some() {
            fs::write(&kept, &run.stdout).unwrap();
        }
        let expected = fs::read_to_string(&kept).unwrap_or_default();
        assert_eq!(run.stdout, expected, "{}", kept.display());
    }
}

#[test]
fn json_says_what_the_report_and_the_library_say() {
    let sandbox = Sandbox::new();
    for (name, tree) in trees() {
        let args = ["detect-device", "--json", "--root", tree.to_str().unwrap()];
        let run = sandbox.endort(args).finish().code(0).stderr("");
        let printed: DeviceInfo = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(printed, look(&name), "{name}");
        let report = fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
        for problem in &printed.machine.problems {
            assert!(report.contains(&problem.why) && report.contains(&problem.remedy), "{name}: {problem:?}");
        }
        for accelerator in &printed.machine.accelerators {
            assert!(report.contains(&accelerator.name), "{name}: {accelerator:?}");
        }
        assert!(report.contains(&printed.recommendation.next), "{name}");
        // Fields that hold a quantity say in what.
        let document: Value = serde_json::from_str(&run.stdout).unwrap();
        // A Mac keeps its clock to itself, and all else where nobody asked it.
        let is_mac = name.starts_with("mac");
        assert!(is_mac || document["cpu"]["max_mhz"].is_number(), "{name}");
        assert!(name == "mac-without-answers" || document["memory"]["total_mb"].is_u64(), "{name}");
        assert!(document["recommendation"]["input_width_px"].is_u64(), "{name}");
        assert!(document.get("video_decode").is_none(), "{name}: this machine's FFmpeg in another's report");
    }
}

#[test]
fn kinds_and_limits_are_told() {
    let kinds = BTreeMap::from([
        ("jetson-orin-nano", (Kind::Jetson, "aarch64", 6, 6)),
        ("jetson-agx-orin-container", (Kind::Jetson, "aarch64", 12, 8)),
        ("raspberry-pi-4", (Kind::RaspberryPi, "aarch64", 4, 4)),
        ("raspberry-pi-4-32-bit", (Kind::RaspberryPi, "arm", 4, 4)),
        ("raspberry-pi-5", (Kind::RaspberryPi, "aarch64", 4, 4)),
        ("nuc-openvino-npu", (Kind::Intel, "x86_64", 18, 18)),
        ("container-2cpu-4gb", (Kind::Intel, "x86_64", 32, 2)),
        ("amd-desktop", (Kind::X86, "x86_64", 16, 16)),
        ("arm-server", (Kind::Arm, "aarch64", 80, 80)),
        ("mac-mini-m2", (Kind::AppleSilicon, "aarch64", 8, 8)),
    ]);
    for (name, (kind, arch, online, usable)) in kinds {
        let machine = look(name).machine;
        let found =
            (machine.kind, machine.arch.as_str(), machine.cpu.threads_online, machine.cpu.threads_usable);
        assert_eq!(found, (kind, arch, online, usable), "{name}");
    }
    let machine = look("container-2cpu-4gb").machine;
    assert_eq!((machine.memory.total_mb, machine.memory.usable_mb), (Some(128_000), Some(4096)));
    assert!(machine.cpu.limited_by.unwrap().contains("cpu.max"));
    assert_eq!(look("nuc-openvino-npu").machine.cpu.cores_online, 14);
}

/// A copy of a captured tree, with these files in it: the head of a library for 64-bit ARM, or for x86-64.
fn with_libraries(sandbox: &Sandbox, tree: &str, files: &[&str]) -> DeviceInfo {
    let from = folder().join(tree);
    for entry in walkdir::WalkDir::new(&from).into_iter().map(Result::unwrap) {
        let to = sandbox.file("root").join(entry.path().strip_prefix(&from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(to).unwrap();
        } else if entry.path_is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), to).unwrap();
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
    // ELF: 64 bits, little-endian, shared object; its machine.
    let machine = if tree.starts_with("nuc") { 62 } else { 183 };
    let mut head = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, machine, 0];
    head.resize(64, 0);
    for file in files {
        sandbox.write(&format!("root/{file}"), &head);
    }
    detect(&Options::captured(&sandbox.file("root"))).unwrap()
}

#[test]
fn a_jetson_is_known_in_a_container_that_hides_the_device_tree() {
    let sandbox = Sandbox::new();
    with_libraries(&sandbox, "jetson-agx-orin-container", &[]);
    let look = || detect(&Options::captured(&sandbox.file("root"))).unwrap();
    fs::remove_dir_all(sandbox.file("root/sys/firmware")).unwrap();
    assert_eq!(look().machine.kind, Kind::Arm);
    for (file, text) in [("sys/devices/soc0/family", "Tegra\n"), ("etc/nv_tegra_release", "# R36\n")] {
        sandbox.write(&format!("root/{file}"), text);
        let info = look();
        assert_eq!(info.machine.kind, Kind::Jetson, "{file}");
        assert!(
            problems(&info).iter().any(|text| text.contains("--runtime nvidia")),
            "{file}: {:?}",
            problems(&info)
        );
        fs::remove_file(sandbox.file("root").join(file)).unwrap();
    }
}

#[test]
fn a_captured_tree_does_not_spare_the_settings_file() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.file("empty")).unwrap();
    sandbox.write("bad.toml", "fps = \"many\"\n");
    let run = sandbox.endort(["detect-device", "--root", "empty", "--config", "bad.toml"]).finish().code(2);
    assert!(run.stdout.is_empty() && run.stderr.contains("bad.toml"), "{run:?}");
}

#[test]
fn a_library_of_the_wrong_kind_does_not_hide_the_right_one() {
    let debian = "usr/lib/aarch64-linux-gnu";
    let coral = [
        format!("{debian}/libedgetpu.so.1"),
        format!("{debian}/libtensorflow-lite.so.2.11.0"),
        "usr/local/lib/libtensorflowlite_c.so".to_owned(),
    ];
    let coral: Vec<&str> = coral.iter().map(String::as_str).collect();
    let info = with_libraries(&Sandbox::new(), "raspberry-pi-5-coral-usb", &coral);
    assert_eq!(info.recommendation.runtime, "edge-tpu", "{:?}", problems(&info));
    let before = look("nuc-openvino-npu").recommendation.runtime;
    let cpp = ["usr/lib/x86_64-linux-gnu/libopenvino.so.2440"];
    let info = with_libraries(&Sandbox::new(), "nuc-openvino-npu", &cpp);
    assert_eq!(info.recommendation.runtime, before, "{:?}", problems(&info));
}

#[test]
fn what_is_there_but_not_usable_says_what_to_do() {
    let expected = [
        ("raspberry-pi-5-coral-usb", ["libedgetpu.so.1, is not installed", "USB 3 port"].as_slice()),
        ("pc-coral-m2-without-driver", &["gasket and apex are not loaded", "gasket-dkms"]),
        ("nuc-without-drivers", &["no driver is loaded for it", "/dev/dri/renderD*"]),
        ("pc-nvidia-without-driver", &["nouveau", "akmod-nvidia"]),
        ("jetson-agx-orin-container", &["nv_tegra_release", "--runtime nvidia"]),
        ("jetson-nano", &["CUDA 10.2 is older than the 11.4"]),
        ("jetson-orin-nano", &["25W holds the module below", "sudo nvpmodel -m 2"]),
        ("raspberry-pi-4", &["under-voltage since it was started", "power supply"]),
        ("raspberry-pi-4-32-bit", &["under-voltage now", "64-bit edition"]),
        ("amd-desktop", &["it is made for aarch64", "the link leads nowhere"]),
        ("jetson-orin-nano", &["no ONNX Runtime with its cuda provider", "NVIDIA's onnxruntime-gpu"]),
        ("pc-nvidia-driver-only", &["no ONNX Runtime with its cuda provider", "pip install onnxruntime-gpu"]),
        ("pc-coral-m2", &["OpenVINO was not found", "pip install openvino"]),
        ("mac-mini-m2", &["libopenvino_c.2450.dylib cannot be loaded: it is made for x86_64"]),
        ("mac-without-answers", &["is not in its files", "sysctl hw machdep.cpu.brand_string"]),
    ];
    for (name, parts) in expected {
        let said = problems(&look(name)).join("\n");
        for part in parts {
            // A build with CUDA has nothing to say of its lack.
            assert!(
                said.contains(part) || (name == "pc-nvidia" && Build::current().cuda),
                "{name}: {part}: {said}"
            );
        }
    }
    let lacks_cuda = problems(
        &detect(&Options {
            build: Build::default(),
            ..Options::captured(&folder().join("pc-nvidia-driver-only"))
        })
        .unwrap(),
    );
    assert!(lacks_cuda.join("\n").contains("cargo build --release --features cuda"), "{lacks_cuda:?}");
    for name in ["raspberry-pi-5", "pc-coral-m2", "nuc-openvino-npu", "jetson-agx-xavier"] {
        let ready = look(name)
            .machine
            .accelerators
            .iter()
            .filter(|a| a.kind != AcceleratorKind::IntelGpu)
            .all(|a| a.ready);
        assert!(ready, "{name}");
    }
}

#[test]
fn the_recommendation_names_a_runtime_that_endort_has() {
    for (name, tree) in trees() {
        for (cuda, metal) in [(false, false), (true, false), (true, true)] {
            let options = Options { build: Build { cuda, metal }, ..Options::captured(&tree) };
            let advice = detect(&options).unwrap().recommendation;
            assert!(endort::runtime::each().contains(&advice.runtime.as_str()), "{name}: {advice:?}");
            assert!(cuda || advice.runtime != "candle-cuda", "{name}: {advice:?}");
            let (made, measured) = advice.next.split_once(" && ").unwrap_or(("", &advice.next));
            // On the processor, whatever is there is measured side by side.
            let named = measured.contains(&format!("--runtime {}", advice.runtime));
            let all = measured.contains("--runtime all") && advice.runtime == "candle-cpu";
            assert!(measured.starts_with("endort bench ") && (named || all), "{name}: {advice:?}");
            let made_for = format!("--target {} --precision {}", advice.target, advice.precision);
            assert!(made.is_empty() || made.contains(&made_for), "{name}: {advice:?}");
            assert!((1..=8).contains(&advice.threads), "{name}: {advice:?}");
            assert!(
                advice.input_width_px.is_multiple_of(32) && advice.input_height_px.is_multiple_of(32),
                "{name}: {advice:?}"
            );
        }
    }
    let runtime = |name: &str, cuda| {
        let build = Build { cuda, metal: false };
        detect(&Options { build, ..Options::captured(&folder().join(name)) }).unwrap().recommendation.runtime
    };
    for (name, without_cuda, with_cuda) in [
        ("pc-nvidia", "onnxruntime-cuda", "onnxruntime-cuda"),
        ("pc-nvidia-driver-only", "candle-cpu", "candle-cuda"),
        ("jetson-orin-nano", "candle-cpu", "candle-cuda"),
        ("jetson-agx-xavier", "onnxruntime-tensorrt", "onnxruntime-tensorrt"),
        ("nuc-openvino-npu", "openvino-gpu", "openvino-gpu"),
        ("pc-coral-m2", "edge-tpu", "edge-tpu"),
        ("mac-mini-m2", "onnxruntime-coreml", "onnxruntime-coreml"),
        ("raspberry-pi-5-coral-usb", "candle-cpu", "candle-cpu"),
        // CUDA 10 is too old, nouveau cannot compute, and this container has no GPU.
        ("jetson-nano", "candle-cpu", "candle-cpu"),
        ("pc-nvidia-without-driver", "candle-cpu", "candle-cpu"),
        ("jetson-agx-orin-container", "candle-cpu", "candle-cpu"),
    ] {
        assert_eq!(
            (runtime(name, false).as_str(), runtime(name, true).as_str()),
            (without_cuda, with_cuda),
            "{name}"
        );
    }
}

#[test]
fn a_mac_takes_metal_where_it_is_built_in_and_coreml_where_it_is_not() {
    let runtime = |metal, change: fn(&Path)| {
        let sandbox = Sandbox::new();
        let tree = sandbox.file("mac");
        copy(&folder().join("mac-mini-m2"), &tree);
        change(&tree);
        let build = Build { cuda: false, metal };
        let info = detect(&Options { build, ..Options::captured(&tree) }).unwrap();
        (info.recommendation.runtime.clone(), info.recommendation.target, problems(&info).join("\n"))
    };
    let (name, target, _) = runtime(true, |_| ());
    assert_eq!((name.as_str(), target), ("candle-metal", Target::Apple));
    // A library that was built without CoreML.
    let plain = |tree: &Path| {
        let library = tree.join("opt/homebrew/Cellar/onnxruntime/1.20.1/lib/libonnxruntime.1.20.1.dylib");
        let bytes = fs::read(&library).unwrap();
        fs::write(&library, &bytes[..32]).unwrap();
    };
    let (name, _, said) = runtime(false, plain);
    assert_eq!(name, "candle-cpu");
    for words in ["no ONNX Runtime with its coreml provider", "--features metal, or pip install onnxruntime"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn the_recommended_commands_do_what_they_say() {
    // One that measures the model as it is, and one that first makes a smaller one.
    for (name, steps) in [("container-2cpu-4gb", 1), ("raspberry-pi-4", 2)] {
        let sandbox = Sandbox::new();
        image::RgbImage::new(64, 48).save(sandbox.file("one.png")).unwrap();
        let next = look(name).recommendation.next;
        let commands: Vec<&str> = next.split(" && ").collect();
        assert_eq!(commands.len(), steps, "{next}");
        for command in commands {
            let mut args: Vec<&str> = command.split(' ').collect();
            assert_eq!(args.remove(0), "endort", "{next}");
            // Little to measure, and one small picture to compare on.
            args.extend(match args[0] {
                "bench" => ["synthetic:320x240@30,frames=4", "--warmup", "1", "--pace", "max", "--json", "-"]
                    .as_slice(),
                _ => &["--calibration", "one.png"],
            });
            sandbox.endort(args).finish().code(0);
        }
    }
}

#[test]
fn the_default_workload_is_the_built_in_model() {
    let manifest: Value = serde_json::from_str(include_str!("../../models/polyp-lite/model.json")).unwrap();
    let workload = endort::device::Workload::default();
    assert_eq!(manifest["name"], workload.model.as_str());
    assert_eq!(manifest["input"]["width"], workload.width_px);
    assert_eq!(manifest["input"]["height"], workload.height_px);
    assert_eq!(manifest["provenance"]["macs"], workload.macs);
}

#[test]
fn nothing_of_this_machine_is_in_another_ones_report() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.file("empty")).unwrap();
    let expected = "\
unknown computer (unknown kind, unknown)
unknown system

┌──────────────┬───────────────────────────────────────┐
│ processor    ┆ unknown, 1 core                       │
│              ┆ no wide instructions that endort uses │
│ memory       ┆ unknown                               │
│ accelerators ┆ none found                            │
│ runtimes     ┆ candle-cpu (built in)                 │
│ cameras      ┆ none found                            │
└──────────────┴───────────────────────────────────────┘

recommended: candle-cpu, fp32, input 352x288, 1 thread
  because no accelerator was found; nothing is known of the processor
next: endort bench --runtime candle-cpu --threads 1
";
    sandbox
        .endort(["detect-device", "--root", "empty"])
        .env("ORT_DYLIB_PATH", env!("CARGO_BIN_EXE_endort"))
        .env("LD_LIBRARY_PATH", "/usr/lib")
        .finish()
        .code(0)
        .stdout(expected)
        .stderr("");
}

#[test]
fn this_machine_is_described() {
    let sandbox = Sandbox::new();
    let library = sandbox.file("libonnxruntime.so").display().to_string();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_endort"), &library).unwrap();
    let run = sandbox
        .endort(["detect-device", "--json"])
        .env("ORT_DYLIB_PATH", &library)
        .finish()
        .code(0)
        .stderr("");
    let info: DeviceInfo = serde_json::from_str(&run.stdout).unwrap();
    let machine = &info.machine;
    assert_eq!(machine.arch, std::env::consts::ARCH);
    let threads = std::thread::available_parallelism().unwrap().get();
    assert_eq!(machine.cpu.threads_usable, threads);
    assert!(machine.memory.usable_mb.unwrap() > 100 && !machine.os.is_empty(), "{machine:#?}");
    assert!(!machine.video_decode.as_ref().unwrap().ffmpeg.is_empty());
    let named = machine.runtimes.iter().find(|runtime| runtime.found_by == "ORT_DYLIB_PATH").unwrap();
    assert_eq!((named.name.as_str(), named.path.as_deref()), ("ONNX Runtime", Some(library.as_str())));
    assert_eq!(machine.runtimes[0].name, "candle-cpu");

    let run = sandbox.endort(["detect-device"]).finish().code(0).stderr("");
    assert!(run.stdout.contains("recommended: ") && run.stdout.contains("video decoding"), "{}", run.stdout);
}

#[test]
fn the_vendors_own_packages_are_found_with_their_versions() {
    let Some(packages) = site_packages().or_else(skipped) else { return };
    let sandbox = Sandbox::new();
    let run =
        sandbox.endort(["detect-device", "--json"]).env("REALTIME_RUNTIME_PATH", &packages).finish().code(0);
    let info: DeviceInfo = serde_json::from_str(&run.stdout).unwrap();
    for (name, package) in
        [("ONNX Runtime", "onnxruntime"), ("OpenVINO", "openvino"), ("LiteRT", "ai_edge_litert")]
    {
        let found = info.machine.runtimes.iter().find(|runtime| runtime.name == name).unwrap();
        let version = found.version.as_deref().unwrap();
        assert!(packages.join(format!("{package}-{version}.dist-info")).is_dir(), "{found:?}");
        assert_eq!((found.found_by.as_str(), found.unusable.as_deref()), ("runtime path", None), "{found:?}");
    }
}

#[test]
fn a_root_that_is_no_folder_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "text");
    for root in ["none", "file"] {
        let run = sandbox.endort(["detect-device", "--root", root]).finish().code(1).stdout("");
        assert!(run.stderr.starts_with(&format!("endort: cannot read {root}: ")), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
    sandbox.endort(["detect-device", "--root"]).finish().code(2).stdout("");
}

/// A copy of a tree, links as they are.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path).unwrap(), target).unwrap();
        } else if kind.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

/// Ordinary files of a tree.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir(folder);
    entries.into_iter().filter(|path| fs::symlink_metadata(path).unwrap().is_file()).collect()
}

fn walkdir(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            found.extend(walkdir(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The report of a damaged tree: whole, in time, and fit for a terminal.
fn examine(sandbox: &Sandbox, tree: &Path, what: &str) -> DeviceInfo {
    let started = Instant::now();
    let args = ["detect-device", "--json", "--root", tree.to_str().unwrap()];
    let run = sandbox.endort(args).finish().code(0).stderr("");
    assert!(started.elapsed() < Duration::from_secs(20), "{what}: {:?}", started.elapsed());
    assert!(!run.stdout.chars().any(|c| c.is_control() && c != '\n'), "{what}: {:?}", run.stdout);
    serde_json::from_str(&run.stdout).unwrap()
}

#[test]
fn garbage_in_every_file_is_survived() {
    let sandbox = Sandbox::new();
    for (name, tree) in trees() {
        let target = sandbox.file(&name);
        copy(&tree, &target);
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for (number, file) in files(&target).into_iter().enumerate() {
            let mut bytes = fs::read(&file).unwrap();
            match number % 4 {
                // Bits turned over, cut in half, noise, and the same line without end.
                0 => bytes.iter_mut().step_by(3).for_each(|byte| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    *byte ^= state as u8;
                }),
                1 => bytes.truncate(bytes.len() / 2),
                2 => bytes = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect(),
                _ => bytes = bytes.repeat(50),
            }
            fs::write(&file, bytes).unwrap();
        }
        examine(&sandbox, &target, &name);
    }
}

#[test]
fn each_file_can_be_missing() {
    let sandbox = Sandbox::new();
    for name in ["jetson-orin-nano", "nuc-openvino-npu", "raspberry-pi-5-coral-usb", "mac-mini-m2"] {
        let target = sandbox.file(name);
        copy(&folder().join(name), &target);
        for path in walkdir(&target) {
            let kept = sandbox.file("kept");
            fs::rename(&path, &kept).unwrap();
            detect(&Options::captured(&target)).unwrap();
            fs::rename(&kept, &path).unwrap();
        }
    }
}

#[test]
fn hostile_trees_neither_hang_nor_lead_out() {
    use std::os::unix::fs::symlink;
    let sandbox = Sandbox::new();
    let secret = "model name\t: SECRET OF THE HOST\nvendor_id\t: GenuineIntel\nprocessor\t: 0\n";
    sandbox.write("outside/cpuinfo", secret);
    sandbox.write("outside/name", "SECRET OF THE HOST");
    for (case, target) in [
        ("relative", "../../outside/cpuinfo".to_owned()),
        ("deep", "../".repeat(40) + &sandbox.file("outside/cpuinfo").to_string_lossy()[1..]),
        ("absolute", sandbox.file("outside/cpuinfo").to_string_lossy().into_owned()),
    ] {
        let tree = sandbox.file(case);
        fs::create_dir_all(tree.join("proc")).unwrap();
        symlink(target, tree.join("proc/cpuinfo")).unwrap();
        fs::create_dir_all(tree.join("sys/class")).unwrap();
        symlink("../../../outside", tree.join("sys/class/dmi")).unwrap();
        let info = examine(&sandbox, &tree, case);
        assert!(!format!("{info:?}").contains("SECRET"), "{case}: {info:?}");
    }

    let tree = sandbox.file("huge");
    for file in
        ["proc/cpuinfo", "proc/meminfo", "var/lib/dpkg/status", "usr/share/misc/pci.ids", "etc/ld.so.conf"]
    {
        let path = tree.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
    }
    examine(&sandbox, &tree, "huge");

    let tree = sandbox.file("loops");
    fs::create_dir_all(tree.join("sys/bus/pci/devices")).unwrap();
    fs::create_dir_all(tree.join("etc")).unwrap();
    symlink("proc", tree.join("proc")).unwrap();
    symlink("../devices", tree.join("sys/bus/pci/devices/loop")).unwrap();
    symlink("ld.so.conf", tree.join("etc/ld.so.conf.d")).unwrap();
    fs::write(tree.join("etc/ld.so.conf"), "include /etc/ld.so.*\ninclude /etc/ld.so.conf\n".repeat(1000))
        .unwrap();
    examine(&sandbox, &tree, "loops");

    let tree = sandbox.file("pipes");
    fs::create_dir_all(tree.join("proc")).unwrap();
    fs::create_dir_all(tree.join("etc/os-release")).unwrap();
    for file in ["proc/cpuinfo", "proc/meminfo"] {
        let made = std::process::Command::new("mkfifo").arg(tree.join(file)).status().unwrap();
        assert!(made.success());
    }
    examine(&sandbox, &tree, "pipes");
}

#[test]
fn rights_are_judged_for_whoever_asks() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    let stranger = Access::User { uid: 4242, gids: vec![4242] };
    for (name, node, remedy) in [
        ("nuc-openvino-npu", "dev/dri/renderD128", "render"),
        ("nuc-openvino-npu", "dev/accel/accel0", "render"),
        ("pc-coral-m2", "dev/apex_0", "65-apex.rules"),
        ("raspberry-pi-5-coral-usb", "dev/bus/usb/002/003", "99-edgetpu-accelerator.rules"),
        ("raspberry-pi-5-coral-usb", "dev/video0", "video"),
    ] {
        let tree = sandbox.file(&node.replace('/', "-"));
        copy(&folder().join(name), &tree);
        fs::set_permissions(tree.join(node), fs::Permissions::from_mode(0o600)).unwrap();
        let options = Options { access: stranger.clone(), ..Options::captured(&tree) };
        let said = problems(&detect(&options).unwrap());
        let fits = |line: &&String| line.contains(&format!("/{node} may be opened by root alone"));
        assert!(said.iter().find(fits).is_some_and(|line| line.contains(remedy)), "{node}: {said:#?}");
        // A captured tree as such has the rights of the copy, which say nothing.
        let said = problems(&detect(&Options::captured(&tree)).unwrap());
        assert!(!said.iter().any(|line| fits(&line)), "{node}: {said:#?}");
    }
}
