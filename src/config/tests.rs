use std::path::Path;

use super::*;

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolve(text: &str, pairs: &[(&str, &str)], flags: &Flags) -> Result<Realtime, String> {
    let file = File { path: Path::new("endort.toml"), text };
    Realtime::resolve(Some(file), &variables(pairs), flags).map_err(|error| error.to_string())
}

fn file_error(text: &str) -> String {
    resolve(text, &[], &Flags::default()).unwrap_err()
}

fn variable_error(name: &str, value: &str) -> String {
    resolve("", &[(name, value)], &Flags::default()).unwrap_err()
}

#[test]
fn nobody_sets_anything() {
    let settings = resolve("", &[], &Flags::default()).unwrap();
    assert_eq!(settings, Realtime::default());
    assert!(settings.rows().iter().all(|(_, _, origin)| **origin == Origin::Default));
}

#[test]
fn each_layer_covers_the_one_below_and_is_remembered() {
    let text = "[realtime]\nenabled = false\ntarget_fps = 25\nmax_latency_ms = 1_50.5\nbuffer_size = 7\n";
    let pairs = [("REALTIME_TARGET_FPS", "50"), ("REALTIME_BUFFER_SIZE", "9"), ("PATH", "/bin")];
    let flags = Flags { buffer_size: Some(3), device: Some(Device::Cuda(1)), ..Flags::default() };
    let settings = resolve(text, &pairs, &flags).unwrap();

    let line = |line| Origin::File { path: "endort.toml".into(), line };
    assert_eq!(settings.enabled, Setting { value: false, origin: line(2) });
    assert_eq!(settings.target_fps, Setting { value: 50.0, origin: Origin::Variable("REALTIME_TARGET_FPS") });
    assert_eq!(settings.max_latency_ms, Setting { value: 150.5, origin: line(4) });
    assert_eq!(settings.buffer_size, Setting { value: 3, origin: Origin::Flag("--buffer-size") });
    assert_eq!(settings.device, Setting { value: Device::Cuda(1), origin: Origin::Flag("--device") });
    assert_eq!(settings.optimization_level.origin, Origin::Default);
}

#[test]
fn the_switches_for_gpu_and_tpu_choose_device_and_runtime() {
    let pairs = [("REALTIME_USE_GPU", "False"), ("REALTIME_USE_TPU", "1")];
    let settings = resolve("[realtime]\nuse_gpu = true", &pairs, &Flags::default()).unwrap();
    assert_eq!(settings.device.value, Device::Cpu);
    assert_eq!(settings.runtime.value, "edge-tpu");
    let flags = Flags { runtime: Some("candle-cpu".to_owned()), ..Flags::default() };
    assert_eq!(resolve("", &pairs, &flags).unwrap().runtime.value, "candle-cpu");
}

#[test]
fn a_file_error_names_line_key_value_and_what_is_allowed() {
    assert_eq!(
        file_error("# budget\n[realtime]\ntarget_fps = -4\n"),
        "endort.toml:3: realtime.target_fps = -4: must be a number from 0.1 to 1000"
    );
    assert_eq!(
        file_error("[realtime]\nbuffer_size = 2.5"),
        "endort.toml:2: realtime.buffer_size = 2.5: must be a whole number from 1 to 1024"
    );
    assert_eq!(
        file_error("[realtime]\n\nmax_latency_ms = \"fast\""),
        "endort.toml:3: realtime.max_latency_ms = \"fast\": must be a number, without quotes"
    );
    assert_eq!(
        file_error("[realtime]\noptimization_level = 'extreme'"),
        "endort.toml:2: realtime.optimization_level = 'extreme': must be off, low, medium or high"
    );
    assert_eq!(
        file_error("[realtime]\ntarget_fps = nan"),
        "endort.toml:2: realtime.target_fps = nan: must be a number from 0.1 to 1000"
    );
}

#[test]
fn unknown_keys_are_errors_with_a_suggestion() {
    assert_eq!(
        file_error("[realtime]\ntarget_fsp = 30"),
        "endort.toml:2: realtime.target_fsp = 30: unknown, did you mean target_fps?"
    );
    assert!(file_error("[realtime]\ncolour = 1").ends_with(
        "realtime.colour = 1: unknown, known are enabled, target_fps, max_latency_ms, buffer_size, \
         use_gpu, use_tpu, optimization_level, runtime_path"
    ));
    assert_eq!(
        file_error("[camera]\nport = 1"),
        "endort.toml:1: camera = [camera]: unknown, known are the tables [realtime] and [server]"
    );
    assert_eq!(
        file_error("realtime = 3"),
        "endort.toml:1: realtime = 3: must be a table: put [realtime] on a line of its own"
    );
    assert_eq!(
        variable_error("REALTIME_TARGT_FPS", "30"),
        "environment: REALTIME_TARGT_FPS = 30: unknown, did you mean REALTIME_TARGET_FPS?"
    );
}

#[test]
fn a_variable_error_names_the_variable() {
    assert_eq!(
        variable_error("REALTIME_MAX_LATENCY_MS", "inf"),
        "environment: REALTIME_MAX_LATENCY_MS = inf: must be a number from 1 to 60000"
    );
    assert_eq!(
        variable_error("REALTIME_ENABLED", ""),
        "environment: REALTIME_ENABLED = : must be true or false"
    );
    assert_eq!(
        variable_error("REALTIME_BUFFER_SIZE", "-1"),
        "environment: REALTIME_BUFFER_SIZE = -1: must be a whole number from 1 to 1024"
    );
}

#[test]
fn broken_toml_names_its_line() {
    let message = file_error("[realtime]\ntarget_fps = \n");
    assert!(message.starts_with("endort.toml:2: not valid TOML: "), "{message}");
    let message = file_error("[realtime]\ntarget_fps = 1\ntarget_fps = 2\n");
    assert!(message.starts_with("endort.toml:3: not valid TOML: "), "{message}");
}

#[test]
fn devices_are_spelled_one_way_out_and_read_back() {
    for device in [Device::Auto, Device::Cpu, Device::Cuda(0), Device::Cuda(3), Device::Metal] {
        assert_eq!(device.to_string().parse(), Ok(device));
    }
    for bad in ["", "gpu", "cuda:", "cuda:x", "CPU"] {
        assert!(bad.parse::<Device>().is_err(), "{bad}");
    }
}
