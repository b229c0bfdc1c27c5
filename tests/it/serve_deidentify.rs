//! `--deidentify`: a clip with a text panel, text in the corners of the picture's bounding box and a title; nothing of
//! it in recording, pictures, thumbnails.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use endort::frame::Frame;
use endort::pipeline::{Analysis, Analyzer};
use endort::record::Detection;
use endort::server::models::Loaded;
use endort::vision::Findings;
use serde_json::{Value, json};

use crate::media_clips::probe;
use crate::program::Sandbox;
use crate::serve::{API, Server};
use crate::serve_bounds::Small;
use crate::serve_clients::run;
use crate::serve_record::{files, records, times};

/// The field of view is a disc; a red square in it is found, near the edge, so that its thumbnail reaches beyond.
const DISC: (f64, f64, f64) = (420.0, 180.0, 150.0);
const SQUARE: &str = "drawbox=x=480:y=70:w=50:h=40:color=0xd01010:t=fill";
const WORDS: [&str; 4] = ["DOE JANE", "19610312", "WARD", "ID4711"];
/// Letters are white; nothing else comes near that.
const BRIGHTEST: u8 = 190;

/// A clip of so many frames: the disc and what filters draw `beside` it, then what they draw `over` all of that while
/// it goes on.
fn clip(path: &Path, beside: &[String], frames: usize, over: &[String], metadata: &[&str]) {
    let (x, y, radius) = DISC;
    let inside = format!("lt(hypot(X-{x}\\,Y-{y})\\,{radius})");
    let disc = format!(
        "geq=lum='if({inside}\\,90+18*sin(X/9)*cos(Y/11)\\,16)':cb='if({inside}\\,118\\,128)':cr='if({inside}\\,158\\,128)'"
    );
    // Drawn once, since that is slow.
    let repeated = format!("loop=loop={}:size=1,setpts=N/25/TB", frames - 1);
    let filters = [&[disc], beside, &[repeated], over].concat();
    let output = Command::new("ffmpeg")
        .args(["-y", "-loglevel", "error", "-f", "lavfi", "-i", "color=black:s=640x360:r=25:d=0.04"])
        .args(["-vf", &filters.join(",")])
        .args(["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "25", "-crf", "18"])
        .args(metadata)
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A filter that draws on some frames, the first and the last of which are named.
fn during(filter: &str, first: usize, last: usize) -> String {
    format!("{filter}:enable='between(n,{first},{last})'")
}

/// Six seconds of it, with metadata.
fn patient(folder: &Path) -> PathBuf {
    let words = [(20, 40, 30), (20, 90, 30), (20, 300, 30), (510, 8, 24)];
    let words = WORDS.iter().zip(words).map(|(word, (x, y, size))| {
        format!("drawtext=text='{word}':fontsize={size}:fontcolor=white:x={x}:y={y}")
    });
    let beside: Vec<String> = [SQUARE.to_owned()].into_iter().chain(words).collect();
    let path = folder.join("patient.mp4");
    let metadata = [
        ["-metadata", "title=DOE JANE"],
        ["-metadata", "creation_time=2026-01-02T03:04:05Z"],
        ["-metadata", "comment=ward 7"],
        ["-metadata:s:v", "handler_name=DOE JANE"],
    ];
    clip(&path, &beside, 150, &[], metadata.as_flattened());
    path
}

/// Luma of each frame of a video or picture, 640 × 360.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let output = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-i"])
        .arg(path)
        // As they are: nothing is to fill the time in which nothing was kept.
        .args(["-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.chunks(640 * 360).map(<[u8]>::to_vec).collect()
}

/// Left of this column there are words, and no disc.
const WORDS_END: u32 = 240;

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
            // The label of a finding is ours, and white; it lies on the disc, and most of the words left of it.
            "drawn" => {
                let left = picture.enumerate_pixels().filter(|(x, _, _)| *x < WORDS_END);
                left.for_each(|(x, y, luma)| assert!(luma.0[0] < 26, "{name}: {} at {x},{y}", luma.0[0]));
            }
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
fn letters_on_a_dark_screen_are_withheld_and_a_dark_moment_is_not() {
    let sandbox = Sandbox::new();
    let path = sandbox.file("screen.mp4");
    let glint = |at: &str| during(&format!("drawbox={at}:w=4:h=4:color=0x808080:t=fill"), 60, 79);
    let name = "drawtext=text='DOE JANE':fontsize=30:fontcolor=white:x=350:y=165";
    let over = [
        during("drawbox=color=black:t=fill", 60, 139),
        glint("x=360:y=120"),
        glint("x=480:y=160"),
        glint("x=400:y=240"),
        during(name, 80, 139),
    ];
    clip(&path, &[], 170, &over, &[]);
    assert!(frames(&path)[100].iter().any(|luma| *luma > BRIGHTEST), "the name is there to be seen");
    let server = Server::start_in(sandbox, &["--record", "kept", "--deidentify"]);
    let body = json!({ "room": "or-1", "source": path });
    server.post(&format!("{API}/video/start-stream"), &body).status(201);
    let [video, _] = files(&server, "or-1", "finished").map(|name| server.sandbox.file("kept").join(name));
    // The first second but for a frame, and the name; the dark moment would be 20 frames more.
    let withheld = server.room("or-1")["withheld"].as_u64().unwrap();
    assert!((85..=95).contains(&withheld), "{withheld}");
    let recorded = frames(&video);
    assert!(recorded.len() > 50 && recorded.len() <= 85, "{}", recorded.len());
    for (index, luma) in recorded.iter().enumerate() {
        assert!(luma.iter().all(|luma| *luma < BRIGHTEST), "recording {index}");
    }
}

#[test]
fn a_recording_whose_clock_starts_again_keeps_its_records_with_their_pictures() {
    let sandbox = Sandbox::new();
    let part = sandbox.file("part.ts");
    clip(&part, &[], 75, &[], &[]);
    let part = std::fs::read(part).unwrap();
    sandbox.write("twice.ts", [&part[..], &part].concat());
    let room = format!("twice={}", sandbox.file("twice.ts").display());
    let server = Server::start_in(sandbox, &["--record", "kept", "--deidentify", "--room", &room]);
    let names = files(&server, "twice", "finished");
    let [video, found] = names.map(|name| server.sandbox.file("kept").join(name));
    let pictures = times(&video);
    let records: Vec<f64> = records(&found).iter().map(|r| r["pts_ms"].as_f64().unwrap() / 1e3).collect();
    assert!(records.windows(2).all(|pair| pair[0] < pair[1]), "{records:?}");
    assert!(records.iter().filter(|at| **at > 3.1).count() > 10, "{records:?}");
    for at in records {
        assert!(pictures.iter().any(|time| (time - at).abs() < 0.0011), "no picture at {at} s: {pictures:?}");
    }
}

/// Finds something in every frame, late, and says what it was. Counts the menus among them.
struct Late(Arc<AtomicUsize>);

impl Analyzer for Late {
    fn model(&self) -> &str {
        "late"
    }

    fn runtime(&self) -> &str {
        "test"
    }

    fn analyze(&mut self, frame: &Frame) -> endort::Result<Analysis> {
        let menu = frame.picture.plane(0).row(180)[420] > BRIGHTEST;
        self.0.fetch_add(usize::from(menu), Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(60));
        let finding = Detection {
            label: if menu { "menu" } else { "scope" }.to_owned(),
            score: 0.9,
            bbox: [380.0, 140.0, 80.0, 80.0],
            area_px: None,
            polygon: None,
            track_id: None,
        };
        let findings = Findings { detections: vec![finding], map: None };
        Ok(Analysis { findings, ..Analysis::default() })
    }
}

#[test]
fn a_withheld_picture_is_no_thumbnail_even_when_its_findings_come_once_the_scope_is_back() {
    let sandbox = Sandbox::new();
    let path = sandbox.file("menu.mp4");
    clip(&path, &[], 92, &[during("drawbox=color=white:t=fill", 60, 71)], &[]);
    let menus = Arc::new(AtomicUsize::new(0));
    let small = Small::with_options(|options| {
        let menus = Arc::clone(&menus);
        options.model = "late".to_owned();
        options.loader = Arc::new(move |_, _| {
            let analyzer = Box::new(Late(Arc::clone(&menus)));
            Ok(Loaded { analyzer, sha256: String::new(), shares: true })
        });
        options.defaults.enabled = true;
        options.defaults.deidentify = true;
    });
    small.post("/video/start-stream", &json!({ "room": "a", "source": path })).status(201);
    let begin = Instant::now();
    let room = loop {
        let room = small.get("/video/streams").status(200).json()["rooms"][0].clone();
        if room["state"] == "stopped" {
            break room;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{room}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(room["withheld"].as_u64() >= Some(30), "{room}");
    assert!(menus.load(Ordering::Relaxed) > 0, "the AI was shown the menu");
    let findings = small.get("/rooms/a/findings").status(200).json();
    let findings = findings["findings"].as_array().unwrap();
    let has = |label: &str| findings.iter().any(|finding| finding["label"] == label);
    assert!(has("scope") && !has("menu"), "{findings:?}");
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
