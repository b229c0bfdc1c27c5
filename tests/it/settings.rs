//! Usage errors and global flags.

use crate::program::Sandbox;

#[test]
fn help_and_version_go_to_standard_output() {
    let sandbox = Sandbox::new();
    let version = format!("endort {}\n", env!("CARGO_PKG_VERSION"));
    sandbox.endort(["--version"]).finish().code(0).stdout(&version).stderr("");
    let help = sandbox.endort(["--help"]).finish().code(0).stderr("");
    assert!(help.stdout.contains("not a medical device"), "{}", help.stdout);
}

#[test]
fn wrong_usage_exits_with_2_and_says_so_on_standard_error() {
    let sandbox = Sandbox::new();
    for args in [&["no-such-command"][..], &["--no-such-flag"], &["-q", "-v"]] {
        let run = sandbox.endort(args).finish().code(2).stdout("");
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    }
}

/// A command that reads its settings and then finds that there is nothing to do.
const NOTHING: [&str; 2] = ["stream", "missing.mp4"];

#[test]
fn verbose_says_each_value_and_where_it_came_from() {
    let sandbox = Sandbox::new();
    sandbox
        .write("endort.toml", "# this box\n[realtime]\ntarget_fps = 25\nbuffer_size = 7\nuse_gpu = false\n");
    let run = sandbox
        .endort([&NOTHING[..], &["-v", "--max-latency-ms", "90.5"]].concat())
        .env("REALTIME_BUFFER_SIZE", "9")
        .finish()
        .code(1)
        .stdout("");
    let said: Vec<_> = run.stderr.lines().take(8).collect();
    assert_eq!(
        said,
        [
            "endort: enabled = true (default)",
            "endort: target_fps = 25 (endort.toml:3)",
            "endort: max_latency_ms = 90.5 (--max-latency-ms)",
            "endort: buffer_size = 9 (REALTIME_BUFFER_SIZE)",
            "endort: device = cpu (endort.toml:5)",
            "endort: runtime = auto (default)",
            "endort: optimization_level = high (default)",
            "endort: runtime_path = none (default)",
        ]
    );
}

#[test]
fn a_wrong_settings_file_is_told_by_every_command() {
    let sandbox = Sandbox::new();
    sandbox.write("endort.toml", "[realtime]\nbufer_size = 3\n");
    let told = "endort: endort.toml:2: realtime.bufer_size = 3: unknown, did you mean buffer_size?\n";
    let commands: [&[&str]; 7] = [
        &["detect-device", "--json"],
        &["process-frame", "missing.jpg"],
        &NOTHING,
        &["bench", "missing.mp4"],
        &["optimize", "--target", "cpu", "--precision", "fp16"],
        &["render", "-o", "out"],
        &["serve", "--listen", "127.0.0.1:0"],
    ];
    for command in commands {
        let run = sandbox.endort(command).finish().code(2).stdout("");
        assert_eq!(run.stderr, told, "{command:?}");
    }
    assert_eq!(sandbox.names("."), ["endort.toml"], "nothing was begun");
}

#[test]
fn a_wrong_setting_is_wrong_usage_wherever_it_is_written() {
    let sandbox = Sandbox::new();
    let other = sandbox.write("other.toml", "[realtime]\nbufer_size = 3\n");
    let config = [&NOTHING[..], &["--config", other.to_str().unwrap(), "-q"]].concat();
    sandbox.endort(config).finish().code(2).stdout("").stderr(&format!(
        "endort: {}:2: realtime.bufer_size = 3: unknown, did you mean buffer_size?\n",
        other.display()
    ));
    sandbox
        .endort(NOTHING)
        .env("REALTIME_TARGET_FPS", "fast")
        .finish()
        .code(2)
        .stderr("endort: environment: REALTIME_TARGET_FPS = fast: must be a number from 0.1 to 1000\n");
    let flag = sandbox.endort([&NOTHING[..], &["--target-fps", "0"]].concat()).finish().code(2);
    assert!(
        flag.stderr.contains("'--target-fps <FPS>': must be a number from 0.1 to 1000"),
        "{}",
        flag.stderr
    );
}

#[test]
fn a_settings_file_that_is_named_must_be_there() {
    let sandbox = Sandbox::new();
    let run = sandbox.endort([&NOTHING[..], &["--config", "nowhere.toml"]].concat()).finish().code(1);
    assert!(run.stderr.starts_with("endort: cannot read nowhere.toml: "), "{}", run.stderr);
}

#[test]
fn a_reader_that_leaves_ends_a_command_quietly() {
    let sandbox = Sandbox::new();
    let args = ["stream", "synthetic:64x64@30", "--model", "none", "--results", "-"];
    let run = sandbox.endort(args).pipe_into_reader_of_one_line();
    run.code(0).stderr("");
}
