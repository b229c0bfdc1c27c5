//! From what the user names to the files behind it.

use std::path::Path;

use endort::Error;
use endort::source::{Location, expand};

/// A folder of empty files with these names.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"").unwrap();
    }
    folder
}

fn relative(spec: &Path) -> Vec<String> {
    let inputs = expand(spec.to_str().unwrap()).unwrap();
    inputs.iter().map(|input| input.relative.to_str().unwrap().replace('\\', "/")).collect()
}

#[test]
fn folders_are_searched_below_and_in_natural_order() {
    let names = [
        "b/frame10.png",
        "b/frame2.png",
        "b/notes.txt",
        "a/exam.MP4",
        "a/.hidden.mp4",
        ".git/x.mp4",
        "z.tiff",
    ];
    let folder = folder(&names);
    assert_eq!(relative(folder.path()), ["a/exam.MP4", "b/frame2.png", "b/frame10.png", "z.tiff"]);
}

#[test]
fn globs_keep_paths_below_their_fixed_part() {
    let folder = folder(&["day1/a.mp4", "day2/a.mp4", "day2/b.txt", "other/a.mp4", "day10/a.mp4"]);
    assert_eq!(relative(&folder.path().join("day*/*")), ["day1/a.mp4", "day2/a.mp4", "day10/a.mp4"]);
    assert_eq!(relative(&folder.path().join("**/*.txt")), ["day2/b.txt"]);
    assert_eq!(relative(&folder.path().join("day?")), ["day1/a.mp4", "day2/a.mp4"]);
}

#[test]
fn a_name_with_wildcards_is_a_name_first() {
    let folder = folder(&["exam[1].mp4", "exam1.mp4"]);
    assert_eq!(relative(&folder.path().join("exam[1].mp4")), ["exam[1].mp4"]);
}

#[test]
#[cfg(unix)]
fn links_that_lead_in_a_circle_end() {
    let folder = folder(&["a/exam.mp4"]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/again")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("a/gone.mp4")).unwrap();
    assert_eq!(relative(folder.path()), ["a/exam.mp4"]);
}

#[test]
fn nothing_found_is_said() {
    let folder = folder(&["notes.txt"]);
    let error = expand(folder.path().to_str().unwrap()).unwrap_err();
    assert!(matches!(&error, Error::NoInput { .. }), "{error}");
    let error = expand(folder.path().join("*.mp4").to_str().unwrap()).unwrap_err();
    assert!(matches!(&error, Error::NoInput { .. }), "{error}");
    let error = expand(folder.path().join("gone.mp4").to_str().unwrap()).unwrap_err();
    assert!(matches!(&error, Error::Read { .. }), "{error}");
}

#[test]
fn addresses_devices_and_streams_are_one_input() {
    for spec in ["-", "synthetic:64x64@5", "rtsp://a:b@host/s", "/dev/video3"] {
        let inputs = expand(spec).unwrap();
        assert_eq!(inputs.len(), 1, "{spec}");
        assert!(!matches!(inputs[0].location, Location::File(_)), "{spec}");
        assert!(!inputs[0].name().contains("a:b"), "{spec}");
    }
}
