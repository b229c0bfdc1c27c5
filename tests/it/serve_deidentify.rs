//! `--deidentify`: a clip with a text panel, text in the corners of the picture's bounding box and a title; nothing of
//! it in recording, pictures, thumbnails.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::media_clips::probe;
use crate::program::Sandbox;
use crate::serve::{API, Server};
use crate::serve_clients::run;
use crate::serve_record::{files, records};

/// The field of view is a disc; a red square in it is found, near the edge, so that its thumbnail reaches beyond.
const DISC: (f64, f64, f64) = (420.0, 180.0, 150.0);
const SQUARE: &str = "drawbox=x=480:y=70:w=50:h=40:color=0xd01010:t=fill";
const WORDS: [&str; 4] = ["DOE JANE", "19610312", "WARD", "ID4711"];
/// Letters are white; nothing else comes near that.
const BRIGHTEST: u8 = 190;

/// Six seconds of it, with metadata.
fn patient(folder: &Path) -> PathBuf {
    let (x, y, radius) = DISC;
    let inside = format!("lt(hypot(X-{x}\\,Y-{y})\\,{radius})");
    let disc = format!(
        "geq=lum='if({inside}\\,90+18*sin(X/9)*cos(Y/11)\\,16)':cb='if({inside}\\,118\\,128)':cr='if({inside}\\,158\\,128)'"
    );
    let words = [(20, 40, 30), (20, 90, 30), (20, 300, 30), (510, 8, 24)];
    let words = WORDS.iter().zip(words).map(|(word, (x, y, size))| {
        format!("drawtext=text='{word}':fontsize={size}:fontcolor=white:x={x}:y={y}")
    });
    let filters: Vec<String> = [disc, SQUARE.to_owned()].into_iter().chain(words).collect();
    let path = folder.join("patient.mp4");
    let output = Command::new("ffmpeg")
        .args(["-y", "-loglevel", "error", "-f", "lavfi", "-i", "color=black:s=640x360:r=25:d=0.04"])
        .args(["-vf", &format!("{},loop=loop=149:size=1,setpts=N/25/TB", filters.join(","))])
        .args(["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "25", "-crf", "18"])
        .args(["-metadata", "title=DOE JANE", "-metadata", "creation_time=2026-01-02T03:04:05Z"])
        .args(["-metadata", "comment=ward 7", "-metadata:s:v", "handler_name=DOE JANE"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

/// Luma of each frame of a video or picture, 640 × 360.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let output = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-i"])
        .arg(path)
        .args(["-f", "rawvideo", "-pix_fmt", "gray", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.chunks(640 * 360).map(<[u8]>::to_vec).collect()
}

/// What `tesseract` reads in a picture; `None` where it is not installed.
fn read(path: &Path) -> Option<String> {
    let output = Command::new("tesseract").arg(path).args(["-", "--psm", "11"]).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).to_uppercase())
}

/// Nothing but the disc is in a frame of the clip, and the disc is.
#[track_caller]
fn only_the_disc(luma: &[u8], what: &str) {
    let (x, y, radius) = DISC;
    let mut lit = 0;
    for (at, luma) in luma.iter().enumerate() {
        let distance = ((at % 640) as f64 - x).hypot((at / 640) as f64 - y);
        // Black in full range, and what coding makes of it.
        assert!(distance < radius + 16.0 || *luma < 26, "{what}: {luma} at {},{}", at % 640, at / 640);
        lit += usize::from(distance < radius - 8.0 && *luma > 40);
    }
    assert!(lit as f64 > 0.95 * std::f64::consts::PI * (radius - 8.0).powi(2), "{what}: {lit}");
}

#[track_caller]
fn says_nothing(path: &Path) {
    let Some(text) = read(path) else { return };
    let parts = WORDS.iter().flat_map(|word| word.split(' '));
    for word in parts {
        assert!(!text.contains(word), "{}: {text}", path.display());
    }
}

#[test]
fn text_and_metadata_stay_out_of_recordings_pictures_and_thumbnails() {
    let sandbox = Sandbox::new();
    crate::small_model::write(&sandbox);
    let clip = patient(sandbox.path());
    let still = sandbox.file("still.png");
    Command::new("ffmpeg")
        .args(["-loglevel", "error", "-i"])
        .arg(&clip)
        .args(["-frames:v", "1"])
        .arg(&still)
        .status()
        .unwrap();
    match read(&still) {
        // What is not found afterwards could have been found.
        Some(text) => assert!(text.contains("DOE") && text.contains("19610312"), "{text}"),
        None => eprintln!("letters are looked for by brightness alone: tesseract is not installed"),
    }
    assert!(frames(&still)[0].iter().any(|luma| *luma > BRIGHTEST));
    let args = [
        "--model",
        "red.onnx",
        "--threads",
        "1",
        "--record",
        "kept",
        "--audit-log",
        "audit.jsonl",
        "--deidentify",
    ];
    let server = Server::start_in(sandbox, &args);
    let start = |more: Value| {
        let mut body = json!({ "room": "or-1", "source": clip });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post(&format!("{API}/video/start-stream"), &body)
    };
    assert!(start(json!({ "deidentify": false })).problem(409).contains("--deidentify"));
    start(json!({})).status(201);
    let folder = server.sandbox.file("seen");
    std::fs::create_dir(&folder).unwrap();
    let seen = run("serve_clients.py", &["pictures", "or-1", folder.to_str().unwrap(), "1000"], &server);
    let [video, found] =
        files(&server, "or-1", "finished").map(|name| server.sandbox.file("kept").join(name));
    let room = server.room("or-1");
    assert_eq!((&room["deidentified"], &room["video"]), (&true.into(), &Value::Null), "{room}");
    assert!(room["withheld"].as_u64() >= Some(25), "the first second is withheld: {room}");
    assert_eq!(
        server.metric("endort_room_withheld_total{room=\"or-1\"}"),
        room["withheld"].as_f64().unwrap()
    );
    assert!(server.sandbox.read("audit.jsonl").contains("\"deidentify\":true"));

    let recorded = frames(&video);
    assert!(recorded.len() > 75 && recorded.len() <= 125, "{}", recorded.len());
    recorded.iter().enumerate().for_each(|(index, luma)| only_the_disc(luma, &format!("recording {index}")));
    let last = server.sandbox.file("last.png");
    Command::new("ffmpeg")
        .args(["-loglevel", "error", "-ss", "2", "-i"])
        .arg(&video)
        .args(["-frames:v", "1"])
        .arg(&last)
        .status()
        .unwrap();
    says_nothing(&last);
    let tags = probe(&video, &["-show_entries", "format_tags:stream_tags", "-of", "json"]).to_lowercase();
    for word in ["title", "date", "creation", "comment", "handler", "doe", "ward"] {
        assert!(!tags.contains(word), "{tags}");
    }
    let text = std::fs::read_to_string(&found).unwrap();
    assert!(!text.contains("patient") && records(&found)[0]["source"] == "or-1", "{}", &text[..200]);

    if seen.is_none() {
        return;
    }
    let mut kinds = std::collections::BTreeMap::new();
    for name in server.sandbox.names("seen") {
        let (path, kind) = (folder.join(&name), name.split('-').next().unwrap().to_owned());
        let picture = image::open(&path).unwrap().to_luma8();
        let count = kinds.entry(kind.clone()).or_insert(0);
        *count += 1;
        match kind.as_str() {
            "plain" => only_the_disc(&picture, &name),
            // The label of a finding is ours, and white.
            "drawn" => {}
            _ => assert!(picture.iter().all(|luma| *luma < BRIGHTEST), "{name}"),
        }
        if *count % 8 == 1 {
            says_nothing(&path);
        }
    }
    assert!(
        kinds.len() == 3 && kinds["plain"] > 10 && kinds["drawn"] > 10 && kinds["thumbnail"] >= 1,
        "{kinds:?}"
    );
}

#[test]
fn one_room_can_be_de_identified_alone_and_a_picture_without_border_is_withheld() {
    let server = Server::start(&["--room", "open=synthetic:320x240@30"]);
    let clip = server.sandbox.file("full.mp4");
    let made = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-f", "lavfi", "-i", "color=0xa06050:s=160x120:r=30:d=3"])
        .args(["-vf", "drawbox=x=40:y=30:w=30:h=30:color=0xd09080:t=fill", "-pix_fmt", "yuv420p"])
        .arg(&clip)
        .status();
    assert!(made.unwrap().success());
    let body = json!({ "room": "kept-back", "source": clip, "deidentify": true });
    server.post(&format!("{API}/video/start-stream"), &body).status(201);
    let ended = server.wait_for("kept-back", |room| room["state"] == "stopped");
    assert_eq!((&ended["withheld"], &ended["figures"]["frames_processed"]), (&90.into(), &90.into()));
    let open = server.room("open");
    assert_eq!((&open["deidentified"], &open["withheld"]), (&false.into(), &0.into()));
}
