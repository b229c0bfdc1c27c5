//! Recordings of rooms, set beside their sources by `ffprobe`.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::camera::Camera;
use crate::media_clips::{clip, ffmpeg, probe};
use crate::program::Sandbox;
use crate::serve::{API, Server};

/// Presentation times of a file's pictures, in seconds after the first.
pub fn times(path: &Path) -> Vec<f64> {
    let entries = ["-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time"];
    let out = probe(path, &entries);
    let values = out.lines().map(|line| line.trim_end_matches(',')).filter(|value| !value.is_empty());
    let found: Vec<f64> = values.map(|value| value.parse().unwrap()).collect();
    found.iter().map(|time| time - found[0]).collect()
}

/// A digest of each packet of the first video.
pub fn packets(path: &Path) -> Vec<String> {
    let out = probe(
        path,
        &[
            "-select_streams",
            "v:0",
            "-show_packets",
            "-show_data_hash",
            "md5",
            "-show_entries",
            "packet=data_hash",
        ],
    );
    out.lines().map(|line| line.trim_end_matches(',').to_owned()).filter(|line| !line.is_empty()).collect()
}

/// The units of an H.264 stream, whichever way its container separates them.
fn units(path: &Path) -> Vec<Vec<u8>> {
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-map", "0:v", "-c", "copy", "-f", "h264", "-"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let starts: Vec<usize> = (0..out.stdout.len() - 2)
        .filter(|&at| out.stdout[at..at + 3] == [0, 0, 1])
        .map(|at| at + 3)
        .collect();
    let ends = starts[1..].iter().map(|start| start - 3).chain([out.stdout.len()]);
    let unit = |(start, end): (&usize, usize)| {
        let unit = &out.stdout[*start..end];
        unit[..unit.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)].to_vec()
    };
    starts.iter().zip(ends).map(unit).collect()
}

/// Pictures, without the parameter sets that a container may repeat.
pub fn slices(path: &Path) -> Vec<Vec<u8>> {
    units(path).into_iter().filter(|unit| matches!(unit[0] & 31, 1 | 5)).collect()
}

/// The records beside a recording.
pub fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Names of the newest files of a room, once its recording is in this state.
pub fn files(server: &Server, room: &str, state: &str) -> [String; 2] {
    let room = server.wait_for(room, |room| room["recording"]["state"] == state);
    let names: Vec<String> = serde_json::from_value(room["recording"]["files"].clone()).unwrap();
    names.try_into().unwrap()
}

pub fn stop(server: &Server, room: &str) -> Value {
    server.post(&format!("{API}/video/stop-stream"), &json!({ "room": room })).status(200).json()
}

pub fn port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn coded_video_is_kept_as_it_is_with_its_findings_beside_it() {
    let sandbox = Sandbox::new();
    let clips =
        ["h264.mp4", "h264_bframes.mkv", "h264.ts", "hevc.mp4", "mjpeg.avi", "vfr.mp4", "late_start.mkv"];
    let rooms: Vec<String> = clips.iter().map(|file| format!("{file}={}", clip(file).display())).collect();
    let mut args = vec!["--record", "kept", "--audit-log", "audit.jsonl"];
    rooms.iter().for_each(|room| args.extend(["--room", room]));
    let server = Server::start_in(sandbox, &args);
    for file in clips {
        let names = files(&server, file, "finished");
        let [video, found] = names.clone().map(|name| server.sandbox.file("kept").join(name));
        let source = clip(file);
        assert!(names[0].starts_with(&format!("{file}-2")) && names[0].ends_with("Z.mkv"), "{names:?}");
        let (expected, kept) = (times(&source), times(&video));
        assert_eq!(kept.len(), expected.len(), "{file}: frames");
        assert_eq!(server.room(file)["recording"]["frames"], expected.len(), "{file}");
        for (kept, expected) in kept.iter().zip(&expected) {
            assert!((kept - expected).abs() < 0.0011, "{file}: at {kept} s, not {expected} s");
        }
        match file {
            "h264.ts" => assert!(slices(&video) == slices(&source), "{file}"),
            _ => assert_eq!(packets(&video), packets(&source), "{file}"),
        }
        let records = records(&found);
        assert!(!records.is_empty(), "{file}");
        for record in &records {
            let at = record["pts_ms"].as_f64().unwrap() / 1e3;
            assert!(kept.iter().any(|time| (time - at).abs() < 0.0011), "{file}: {record}");
            assert_eq!((&record["width"], &record["model"]), (&160.into(), &"polyp-lite".into()));
        }
    }
    assert!(server.sandbox.names("kept").iter().all(|name| !name.ends_with(".part")));
    let audit = server.sandbox.read("audit.jsonl");
    for file in clips {
        let said = |event: &str| {
            let mut lines = audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines.find(|line| line["event"] == event && line["room"] == file).unwrap()
        };
        let names = server.room(file)["recording"]["files"].clone();
        assert_eq!(said("recording_started")["files"], names);
        assert_eq!(
            (&said("recording_finished")["files"], &said("room_started")["record"]),
            (&names, &true.into())
        );
        assert_eq!(said("recording_finished")["frames"], server.room(file)["recording"]["frames"]);
    }
}

#[test]
fn video_that_does_not_come_coded_is_coded_and_turned_video_too() {
    let rotated = format!("turned={}", clip("rotated.mp4").display());
    let args = ["--record", "kept", "--room", "made=synthetic:160x120@30,frames=45", "--room", &rotated];
    let server = Server::start(&args);
    for (room, size, frames) in [("made", "160,120", 45), ("turned", "120,160", 30)] {
        let [video, found] =
            files(&server, room, "finished").map(|name| server.sandbox.file("kept").join(name));
        let told = probe(&video, &["-select_streams", "v:0", "-show_entries", "stream=width,height"]);
        assert_eq!(told.trim(), size, "{room}");
        let lost = server.room(room)["recording"]["lost"].as_u64().unwrap() as usize
            + server.room(room)["figures"]["frames_lost"].as_u64().unwrap() as usize;
        assert_eq!(times(&video).len() + lost, frames, "{room}");
        assert!(!records(&found).is_empty(), "{room}");
    }
}

#[test]
pub fn stopping_a_room_and_ending_the_server_complete_recordings() {
    let server = Server::start(&["--record", "kept"]);
    let start = |room: &str, more: Value| {
        let mut body = json!({ "room": room, "source": "synthetic:160x120@30" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post(&format!("{API}/video/start-stream"), &body).status(201);
    };
    start("a", json!({}));
    start("b", json!({ "record": true }));
    start("c", json!({ "record": false }));
    for room in ["a", "b"] {
        server.wait_for(room, |room| room["recording"]["frames"].as_u64() > Some(30));
        assert_eq!(server.metric(&format!("endort_room_recording{{room=\"{room}\"}}")), 1.0);
    }
    assert_eq!(server.room("c")["recording"], Value::Null);
    let part = server.sandbox.names("kept").into_iter().find(|name| name.starts_with("b-")).unwrap();
    assert!(part.ends_with(".part"), "{part}");
    let stats = stop(&server, "a");
    assert_eq!(stats["rooms"]["a"]["recording"]["state"], "finished", "{stats}");
    let names = server.sandbox.names("kept");
    assert!(
        names.iter().filter(|name| name.starts_with("a-")).all(|name| !name.ends_with(".part")),
        "{names:?}"
    );
    // SAFETY: a signal to our own child, which has not been waited for.
    unsafe { libc::kill(server.process() as i32, libc::SIGTERM) };
    let begin = Instant::now();
    while server.sandbox.names("kept").iter().any(|name| name.ends_with(".part")) {
        assert!(begin.elapsed() < Duration::from_secs(8), "{}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let names = server.sandbox.names("kept");
    assert_eq!(names.len(), 4, "{names:?}");
    for video in names.iter().filter(|name| name.ends_with(".mkv")) {
        assert!(times(&server.sandbox.file("kept").join(video)).len() > 30);
    }
}

#[test]
fn a_crash_leaves_files_that_can_be_read() {
    let (port, sandbox) = (port(), Sandbox::new());
    let _camera = Camera::keeping(port, &sandbox.file("sent.ts"));
    let rooms = [format!("or-1=udp://127.0.0.1:{port}"), "or-2=synthetic:160x120@30".to_owned()];
    let server = Server::start_in(sandbox, &["--record", "kept", "--room", &rooms[0], "--room", &rooms[1]]);
    for room in ["or-1", "or-2"] {
        server.wait_for(room, |room| room["recording"]["frames"].as_u64() > Some(130));
    }
    // SAFETY: a signal to our own child, which has not been waited for.
    unsafe { libc::kill(server.process() as i32, libc::SIGKILL) };
    for (room, least) in [("or-1", 100), ("or-2", 30)] {
        let names = server.sandbox.names("kept");
        let find = |ending: &str| {
            let name = names.iter().find(|name| name.starts_with(room) && name.ends_with(ending));
            server.sandbox.file("kept").join(name.unwrap_or_else(|| panic!("{names:?}")))
        };
        let frames = times(&find(".mkv.part")).len();
        assert!(frames >= least, "{room}: {frames}");
        assert!(!records(&find(".jsonl.part")).is_empty());
    }
}

#[test]
fn each_connection_of_a_camera_gets_a_file_of_its_own() {
    let (port, sandbox) = (port(), Sandbox::new());
    let sent = [sandbox.file("first.ts"), sandbox.file("second.ts")];
    let camera = Camera::keeping(port, &sent[0]);
    let room = format!("or-1=udp://127.0.0.1:{port}");
    let server = Server::start_in(sandbox, &["--record", "kept", "--room", &room]);
    let first = server.wait_for("or-1", |room| room["recording"]["frames"].as_u64() > Some(40));
    drop(camera);
    let lost = server.wait_for("or-1", |room| room["state"] == "reconnecting");
    assert_eq!(lost["detail"], "nothing came for 5.0 s");
    let camera = Camera::keeping(port, &sent[1]);
    let files = &first["recording"]["files"];
    server.wait_for("or-1", |room| {
        room["recording"]["files"] != *files && room["recording"]["frames"].as_u64() > Some(80)
    });
    let stats = stop(&server, "or-1");
    drop(camera);
    let names = server.sandbox.names("kept");
    let videos: Vec<_> = names.iter().filter(|name| name.ends_with(".mkv")).collect();
    assert_eq!((names.len(), videos.len()), (4, 2), "{names:?}");
    let mut frames = 0;
    for (video, sent) in videos.iter().zip(&sent) {
        let path = server.sandbox.file("kept").join(video);
        let (kept, sent) = (slices(&path), slices(sent));
        let at = sent.iter().position(|slice| *slice == kept[0]).expect("it was sent");
        assert!(kept[..] == sent[at..at + kept.len()], "nothing is missing and nothing was changed");
        let times = times(&path);
        assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - 0.04).abs() < 0.0011), "{times:?}");
        let length = *times.last().unwrap();
        let found = records(&path.with_extension("jsonl"));
        let inside =
            |record: &Value| (0.0..=length * 1e3 + 1.0).contains(&record["pts_ms"].as_f64().unwrap());
        assert!(!found.is_empty() && found.iter().all(inside), "{length} {found:?}");
        frames += times.len();
    }
    assert_eq!(stats["rooms"]["or-1"]["recording"]["frames"], frames);
}

#[test]
fn a_camera_that_comes_back_uncoded_is_recorded_all_the_same() {
    let made = |codec: &[&str]| {
        let picture =
            ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=3", "-pix_fmt", "yuv420p"];
        ffmpeg([&picture[..], codec, &["-f", "nut", "-"]].concat())
    };
    let coded = made(&["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10"]);
    let raw = made(&["-c:v", "rawvideo"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let bytes = if number == 0 { &coded } else { &raw };
            // In three seconds, as they were filmed.
            for piece in bytes.chunks(bytes.len().div_ceil(75)) {
                if stream.write_all(piece).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(40));
            }
        }
    });
    let room = format!("or-1=tcp://{address}");
    let server = Server::start_in(Sandbox::new(), &["--record", "kept", "--room", &room]);
    let first = server.wait_for("or-1", |room| room["recording"]["frames"].as_u64() > Some(30));
    assert!(first["video"].is_string(), "{first}");
    let files = &first["recording"]["files"];
    let second = server.wait_for("or-1", |room| {
        room["recording"]["files"] != *files && room["figures"]["frames_processed"].as_u64() > Some(110)
    });
    assert!(second["video"].is_null(), "there are no packets to pass on: {second}");
    stop(&server, "or-1");
    let names = server.sandbox.names("kept");
    let videos: Vec<_> = names.iter().filter(|name| name.ends_with(".mkv")).collect();
    let frames: Vec<usize> =
        videos.iter().map(|name| times(&server.sandbox.file("kept").join(name)).len()).collect();
    assert!(frames.len() >= 2 && frames[0] > 30 && frames[1] > 30, "{names:?} {frames:?}");
}

#[test]
fn a_room_whose_recording_cannot_be_written_goes_on_and_says_so() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "not a folder");
    fails_and_goes_on(sandbox, "file/below");
}

/// A file system of 256 KiB, where the user may mount one.
#[test]
fn a_full_disk_ends_the_recording_and_not_the_room() {
    let full = tempfile::tempdir().unwrap();
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(full.path()).output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        println!("skipped: no right to mount a small file system");
        return;
    }
    let detail = fails_and_goes_on(Sandbox::new(), full.path().to_str().unwrap());
    let mut left = std::fs::read_dir(full.path()).unwrap().map(|file| file.unwrap().path());
    let video = left.find(|path| path.to_str().unwrap().ends_with(".mkv.part")).unwrap();
    let frames = times(&video).len();
    Command::new("umount").arg(full.path()).status().unwrap();
    assert!(detail.contains("No space left"), "{detail}");
    assert!(frames > 0, "what there was room for can be read");
}

/// Gives what the room says of its recording.
fn fails_and_goes_on(sandbox: Sandbox, folder: &str) -> String {
    let args = ["--record", folder, "--audit-log", "audit.jsonl", "--room", "or-1=synthetic:640x480@30"];
    let server = Server::start_in(sandbox, &args);
    let failed = server.wait_for("or-1", |room| room["recording"]["state"] == "failed");
    let detail = failed["recording"]["detail"].as_str().unwrap();
    assert!(detail.contains("cannot write"), "{detail}");
    let before = failed["figures"]["frames_processed"].as_u64();
    let more = |room: &Value| room["figures"]["frames_processed"].as_u64() > before.map(|frames| frames + 10);
    assert_eq!(server.wait_for("or-1", more)["state"], "running");
    assert_eq!(server.metric("endort_room_recording_failed{room=\"or-1\"}"), 1.0);
    assert_eq!(server.metric("endort_room_recording{room=\"or-1\"}"), 0.0);
    assert!(server.log().contains("recording failed"), "{}", server.log());
    assert!(server.sandbox.read("audit.jsonl").contains("\"recording_failed\""));
    detail.to_owned()
}

#[test]
fn recording_needs_a_folder() {
    let server = Server::start(&[]);
    let wanted = json!({ "room": "a", "source": "synthetic:64x64@10", "record": true });
    let detail = server.post(&format!("{API}/video/start-stream"), &wanted).problem(409);
    assert!(detail.contains("--record"), "{detail}");
}
