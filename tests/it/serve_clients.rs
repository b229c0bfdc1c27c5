//! Clients that others wrote: Python's `websockets` and `http.client`, curl, Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::Sandbox;
use crate::serve::Server;

/// The Python with the packages of `tests/requirements.txt`, if there is one.
fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("ENDORT_PYTHON").map(PathBuf::from);
    named.or_else(|| Some(root.join(".venv/bin/python")).filter(|path| path.exists()))
}

/// Runs a script against a server, and gives what it printed; `None` where it cannot be run here.
pub fn run(script: &str, args: &[&str], server: &Server) -> Option<String> {
    let Some(python) = python() else {
        eprintln!("skipped: set ENDORT_PYTHON, or make test builds .venv with tests/requirements.txt");
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let output = Command::new(python)
        .arg(script)
        .arg(server.address.to_string())
        .args(args)
        .current_dir(server.sandbox.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        eprintln!("skipped: {said}");
        return None;
    }
    assert!(output.status.success(), "{said}\n{}", server.log());
    let printed = String::from_utf8(output.stdout).unwrap();
    eprint!("{printed}");
    Some(printed)
}

fn case(name: &str) {
    run("serve_clients.py", &[name], &Server::start(&[]));
}

#[test]
fn a_client_at_camera_rate_gets_every_frame_answered_in_order() {
    case("camera_rate");
}

#[test]
fn a_client_that_floods_gets_the_newest_answered_and_the_rest_told() {
    case("flood");
}

#[test]
fn a_client_that_floods_a_slow_ai_is_held_back_and_told_of_every_picture() {
    // More pictures than a mailbox holds come while one is analysed.
    run("serve_clients.py", &["flood"], &Server::start(&["--runtime", "scripted:delay=400ms"]));
}

#[test]
fn a_client_that_reads_late_misses_no_answer() {
    case("late_reader");
}

#[test]
fn a_client_may_send_any_picture_and_is_told_what_is_none() {
    case("formats_and_errors");
}

#[test]
fn a_room_is_filled_by_one_client_and_watched_by_many() {
    case("room");
}

#[test]
fn a_room_answers_each_picture_of_its_camera_in_order_and_counts_it() {
    case("flooded_room");
}

#[test]
fn a_session_that_breaks_its_bounds_is_closed_with_the_right_code() {
    case("limits");
}

#[test]
fn a_viewer_that_reads_nothing_holds_nobody_up() {
    case("slow_viewer");
}

#[test]
fn schemathesis_finds_nothing() {
    let Some(python) = python() else { return eprintln!("skipped: there is no .venv") };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/serve_schemathesis.py");
    let output =
        Command::new(python).arg(script).args([env!("CARGO_BIN_EXE_endort"), "10"]).output().unwrap();
    if output.status.code() == Some(77) {
        return eprintln!("skipped: install tests/requirements.txt");
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_page_shows_findings_on_the_right_spot_of_the_right_frame() {
    let sandbox = Sandbox::new();
    crate::small_model::write(&sandbox);
    let server = Server::start_in(sandbox, &["--model", "red.onnx", "--threads", "1"]);
    run("serve_browser.py", &["findings_on_the_right_spot"], &server);
}

#[test]
fn the_page_plays_h264_as_it_came_with_findings_on_the_right_frame() {
    let sandbox = Sandbox::new();
    crate::small_model::write(&sandbox);
    let server = Server::start_in(sandbox, &["--model", "red.onnx", "--threads", "1"]);
    run("serve_browser.py", &["h264_as_it_came"], &server);
}

#[test]
fn the_page_says_within_a_second_that_the_ai_is_off() {
    let stalls = ["--runtime", "scripted:delay=1ms,stall=6s@150", "--room", "or-1=synthetic:320x240@30"];
    run("serve_browser.py", &["ai_off"], &Server::start(&stalls));
}

#[test]
fn the_pages_work_in_a_browser_in_both_languages() {
    let rooms = ["--room", "or-1=synthetic:640x480@15", "--room", "or-2=synthetic:640x360@15"];
    run("serve_browser.py", &["pages"], &Server::start(&rooms));
}

#[test]
fn a_page_that_was_left_does_not_watch_on() {
    run("serve_browser.py", &["left_behind"], &Server::start(&["--room", "or-1=synthetic:640x480@15"]));
}

#[test]
fn the_pages_ask_no_pictures_of_a_room_that_is_over() {
    run("serve_browser.py", &["over"], &Server::start(&["--room", "or-1=synthetic:640x480@15"]));
}

#[test]
fn the_page_says_that_the_server_is_gone_and_recovers_once_it_is_back() {
    run("serve_browser.py", &["gone"], &Server::start(&["--room", "or-1=synthetic:320x240@15"]));
}

#[test]
fn a_browser_asks_for_a_token() {
    let sandbox = Sandbox::new();
    sandbox.write("tokens", "view door view-token-0123456789\n");
    let args = ["--token-file", "tokens", "--room", "or-1=synthetic:640x480@15"];
    run("serve_browser.py", &["sign_in"], &Server::start_in(sandbox, &args));
}
