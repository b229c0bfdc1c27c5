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
