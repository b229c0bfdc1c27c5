//! `endort stream`: outputs, batches, ledger, resuming after anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::media_clips::{clip, ffmpeg, ffmpeg_rgb, probe, probe_frames};
use crate::program::{Finished, Sandbox};
use crate::small_model;

/// Clips of a batch: different codecs, lengths and containers.
const CLIPS: [&str; 10] = [
    "h264.mp4",
    "h264_bframes.mkv",
    "h264_audio.mp4",
    "h264_ntsc.mov",
    "mpeg4.avi",
    "mjpeg.avi",
    "vp9.webm",
    "ffv1.mkv",
    "odd.mp4",
    "h264_bt709.mp4",
];

/// A sandbox with the model and clips, each in a folder of its own stem.
fn recordings(names: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    for name in names {
        let (stem, ending) = name.rsplit_once('.').unwrap();
        sandbox.write(&format!("exams/{stem}/exam.{ending}"), fs::read(clip(name)).unwrap());
    }
    sandbox
}

fn stream(sandbox: &Sandbox, args: &[&str]) -> Finished {
    sandbox.endort([&["stream", "--model", "red.onnx", "--threads", "1"], args].concat()).finish()
}

/// Every result file under `folder`, its times removed, by relative path.
fn results(folder: &Path) -> BTreeMap<String, Vec<Value>> {
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap) {
        let name = entry.path().strip_prefix(folder).unwrap().display().to_string();
        assert!(!name.contains(".part"), "left behind: {name}");
        if name.ends_with(".jsonl") && name != "endort-stream.jsonl" {
            found.insert(name, timeless(&fs::read_to_string(entry.path()).unwrap()));
        }
    }
    found
}

fn timeless(jsonl: &str) -> Vec<Value> {
    jsonl
        .lines()
        .map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            let fields = record.as_object_mut().unwrap();
            for timing in ["stages_ms", "processing_time_ms", "violation"] {
                fields.remove(timing).unwrap();
            }
            record
        })
        .collect()
}

fn summary(run: &Finished) -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let files = document["files"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    files.iter().map(|file| (text(&file["source"]), text(&file["state"]))).collect()
}

fn states(run: &Finished) -> Vec<String> {
    summary(run).into_iter().map(|(_, state)| state).collect()
}

#[test]
fn a_recording_becomes_records_and_a_line_of_summary() {
    let sandbox = recordings(&["h264.mp4"]);
    let run = stream(&sandbox, &["exams/h264/exam.mp4", "--results", "out.jsonl"]).code(0).stderr("");
    assert!(run.stdout.contains("│ exam.mp4 ┆ done ┆     30 ┆"), "{}", run.stdout);
    let records = timeless(&sandbox.read("out.jsonl"));
    assert_eq!(records.len(), 30);
    for (frame, record) in (0_u64..).zip(&records) {
        assert_eq!(record["frame_id"], frame);
        assert_eq!(record["source"], "exam.mp4");
        assert_eq!(record["model"], "red");
        assert_eq!((&record["width"], &record["height"]), (&160.into(), &120.into()));
    }
    let found = records.iter().filter(|record| record["detections"][0]["area_px"].as_u64() > Some(0));
    assert!(found.count() > 20, "the test picture has red in it");
    assert_eq!(sandbox.names("."), ["exams", "out.jsonl", "red.onnx"]);
}

#[test]
fn an_annotated_video_has_the_recordings_frames_and_its_findings_drawn() {
    let sandbox = recordings(&["h264_audio.mp4"]);
    let exam = "exams/h264_audio/exam.mp4";
    stream(&sandbox, &[exam, "-o", "out.mp4", "--results", "out.jsonl"]).code(0).stderr("");
    stream(&sandbox, &[exam, "-o", "plain.mp4", "--no-ai"]).code(0).stderr("");
    let frames = probe_frames(&sandbox.file(exam)).len();
    for name in ["out.mp4", "plain.mp4"] {
        assert_eq!(probe_frames(&sandbox.file(name)).len(), frames);
        let kinds = probe(&sandbox.file(name), &["-show_entries", "stream=codec_type"]);
        assert_eq!(kinds, "video\naudio\n");
    }
    assert_eq!(sandbox.read("out.jsonl").lines().count(), frames);
    let differs = |plain: &[u8], drawn: &[u8]| plain.iter().zip(drawn).any(|(a, b)| a.abs_diff(*b) > 60);
    let [drawn, plain] = ["out.mp4", "plain.mp4"].map(|name| ffmpeg_rgb(&sandbox.file(name), "null"));
    let size = drawn.len() / frames;
    let marked = drawn.chunks(size).zip(plain.chunks(size)).filter(|(drawn, plain)| differs(plain, drawn));
    assert!(marked.count() > frames / 2, "findings are drawn");
}

#[test]
fn threads_and_rewriting_change_the_speed_and_nothing_else() {
    let sandbox = recordings(&["h264.mp4"]);
    let run = |args: &[&str]| {
        let all = ["stream", "exams/h264/exam.mp4", "--results", "-", "--model", "red.onnx"];
        timeless(&sandbox.endort([&all[..], args].concat()).finish().code(0).stdout)
    };
    let one = run(&["--threads", "1"]);
    assert!(one.iter().any(|record| record["detections"][0]["track_id"].is_u64()));
    assert_eq!(run(&["--threads", "3"]), one);
    for level in ["off", "low", "medium"] {
        assert_eq!(run(&["--optimization-level", level]), one, "{level}");
    }
}

#[test]
fn records_go_to_standard_output_and_nothing_else_does() {
    let sandbox = recordings(&["h264.mp4"]);
    stream(&sandbox, &["exams/h264/exam.mp4", "--results", "out.jsonl", "-q"]).code(0);
    let run = stream(&sandbox, &["exams/h264/exam.mp4", "--results", "-"]).code(0).stderr("");
    assert_eq!(timeless(&run.stdout), timeless(&sandbox.read("out.jsonl")));
}

#[test]
fn a_reader_who_has_seen_enough_of_the_records_does_not_end_the_video() {
    let sandbox = recordings(&["h264.mp4"]);
    let exam = "exams/h264/exam.mp4";
    let run = ["stream", exam, "--model", "red.onnx", "--threads", "1", "--results", "-"];
    let both = sandbox.endort([&run[..], &["-o", "out.mp4"]].concat()).pipe_into_reader_of_one_line();
    assert!(serde_json::from_str::<Value>(&both.stdout).is_ok(), "{both:?}");
    both.code(0).stderr("endort: nobody reads the records any more; the video goes on\n");
    assert_eq!(probe_frames(&sandbox.file("out.mp4")).len(), probe_frames(&sandbox.file(exam)).len());
    // Without a video there is nothing left to do.
    sandbox.endort(run).pipe_into_reader_of_one_line().code(0).stderr("");
}

#[test]
fn formats_follow_the_ending_or_the_flag() {
    let sandbox = recordings(&["h264.mp4"]);
    for args in [
        &["--results", "a.csv"][..],
        &["--results", "b.json"],
        &["--results", "c.txt", "--format", "coco"],
        &["--results", "folder", "--format", "csv"],
    ] {
        stream(&sandbox, &[&["exams/h264/exam.mp4"], args].concat()).code(0);
    }
    assert_eq!(sandbox.read("a.csv").lines().next().unwrap().split(',').count(), 23);
    assert!(sandbox.read("folder/exam.csv").lines().count() > 30);
    for name in ["b.json", "c.txt"] {
        let document: Value = serde_json::from_str(&sandbox.read(name)).unwrap();
        assert_eq!(document["images"].as_array().unwrap().len(), 30);
        assert_eq!(document["images"][29]["file_name"], "exam.mp4#29");
        assert_eq!(document["categories"].as_array().unwrap().len(), 1);
        let annotations = document["annotations"].as_array().unwrap();
        assert!(annotations.len() > 20 && annotations.iter().all(|a| a["category_id"] == 1));
    }
}

#[test]
fn a_batch_keeps_relative_paths_and_goes_on_past_a_broken_file() {
    let sandbox = recordings(&CLIPS[..3]);
    sandbox.write("exams/broken.mp4", "this is no video");
    sandbox.write("exams/empty.mp4", "");
    let run = stream(&sandbox, &["exams", "--results", "out", "--json"]).code(1);
    assert_eq!(states(&run), ["failed", "failed", "done", "done", "done"]);
    assert_eq!(run.stderr.lines().count(), 2, "one line for each: {}", run.stderr);
    assert!(run.stderr.lines().all(|line| line.starts_with("endort: ")), "{}", run.stderr);
    let made: Vec<_> = results(&sandbox.file("out")).into_keys().collect();
    assert_eq!(made, ["h264/exam.jsonl", "h264_audio/exam.jsonl", "h264_bframes/exam.jsonl"]);
}

#[test]
fn resuming_skips_what_is_finished_by_content_and_settings() {
    let sandbox = recordings(&CLIPS[..3]);
    let batch = ["exams", "--results", "out", "--json", "--resume"];
    assert_eq!(states(&stream(&sandbox, &batch).code(0)), ["done"; 3]);
    assert_eq!(states(&stream(&sandbox, &batch).code(0)), ["skipped"; 3]);
    // Without --resume, all of it is done again.
    assert_eq!(states(&stream(&sandbox, &batch[..4]).code(0)), ["done"; 3]);

    // Touched, but the same content.
    let path = sandbox.file("exams/h264/exam.mp4");
    let content = fs::read(&path).unwrap();
    fs::write(&path, &content).unwrap();
    assert_eq!(states(&stream(&sandbox, &batch).code(0)), ["skipped"; 3]);
    // Other content under the same name.
    fs::copy(clip("h264_bt709.mp4"), &path).unwrap();
    assert_eq!(states(&stream(&sandbox, &batch).code(0)), ["done", "skipped", "skipped"]);
    // Another limit changes what the records say.
    let other = [&batch[..], &["--max-latency-ms", "90"]].concat();
    assert_eq!(states(&stream(&sandbox, &other).code(0)), ["done"; 3]);
    // An output is gone, another was changed.
    fs::remove_file(sandbox.file("out/h264/exam.jsonl")).unwrap();
    sandbox.write("out/h264_audio/exam.jsonl", "shortened");
    assert_eq!(states(&stream(&sandbox, &other).code(0)), ["done", "done", "skipped"]);
}

#[test]
fn what_failed_is_tried_again_when_asked() {
    let sandbox = recordings(&["h264.mp4"]);
    sandbox.write("exams/h264/other.mp4", "no video yet");
    let batch = ["exams", "--results", "out", "--json"];
    assert_eq!(states(&stream(&sandbox, &batch).code(1)), ["done", "failed"]);
    let resume = [&batch[..], &["--resume"]].concat();
    let run = stream(&sandbox, &resume).code(1);
    assert_eq!(states(&run), ["skipped", "failed"]);
    assert!(run.stderr.contains("--retry-failed tries again"), "{}", run.stderr);
    let retry = [&batch[..], &["--retry-failed"]].concat();
    assert_eq!(states(&stream(&sandbox, &retry).code(1)), ["skipped", "failed"]);
    // Other content is another file: no need to ask.
    fs::copy(clip("h264.mp4"), sandbox.file("exams/h264/other.mp4")).unwrap();
    assert_eq!(states(&stream(&sandbox, &resume).code(0)), ["skipped", "done"]);
}

#[test]
fn a_batch_killed_at_any_moment_resumes_to_the_same_results() {
    const KILLS: u64 = 20;
    let sandbox = recordings(&CLIPS);
    let started = std::time::Instant::now();
    stream(&sandbox, &["exams", "--results", "whole", "-o", "whole"]).code(0);
    let whole_run = started.elapsed();
    let expected = results(&sandbox.file("whole"));
    let videos = |folder: &str| -> BTreeMap<&str, usize> {
        let file =
            |clip: &str| sandbox.file(&format!("{folder}/{}/exam.mp4", clip.split('.').next().unwrap()));
        CLIPS.iter().map(|clip| (*clip, probe_frames(&file(clip)).len())).collect()
    };
    let expected_videos = videos("whole");
    assert_eq!(expected.len(), CLIPS.len());

    // Each kill comes at a moment of its own, spread over the time that a whole batch takes by the golden
    // ratio's low-discrepancy sequence; the batch is resumed after each.
    for kill in 1..=KILLS {
        let out = format!("out{kill}");
        let args = ["exams", "--results", &out, "-o", &out, "--resume", "--json"];
        let command = [&["stream", "--model", "red.onnx", "--threads", "1"], &args[..]].concat();
        let mut child = sandbox.endort(command).start();
        let share = (kill as f64 * 0.618_033_988_75).fract();
        std::thread::sleep(Duration::from_secs_f64(whole_run.as_secs_f64() * share));
        child.kill().unwrap();
        child.wait().unwrap();
        // Nothing under a final name is half-written.
        let kept = partial_results(&sandbox.file(&out));
        for (name, records) in &kept {
            assert_eq!(records, &expected[name], "{name} after kill {kill}");
        }
        let run = stream(&sandbox, &args).code(0);
        let skipped = states(&run).iter().filter(|state| *state == "skipped").count();
        // What was whole is not done again; the ledger may lack the one that was being renamed.
        assert!(skipped <= kept.len() && skipped + 1 >= kept.len(), "{skipped} of {}", kept.len());
        assert_eq!(results(&sandbox.file(&out)), expected, "after kill {kill}");
        assert_eq!(videos(&out), expected_videos, "after kill {kill}");
        fs::remove_dir_all(sandbox.file(&out)).unwrap();
    }
}

/// As [`results`], where files under temporary names may lie about.
fn partial_results(folder: &Path) -> BTreeMap<String, Vec<Value>> {
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok) {
        let name = entry.path().strip_prefix(folder).unwrap().display().to_string();
        if name.ends_with("exam.jsonl") {
            found.insert(name, timeless(&fs::read_to_string(entry.path()).unwrap()));
        }
    }
    found
}

#[test]
fn inputs_that_would_meet_in_one_output_are_told_before_work_begins() {
    let sandbox = recordings(&["h264.mp4"]);
    fs::copy(clip("vp9.webm"), sandbox.file("exams/h264/exam.webm")).unwrap();
    stream(&sandbox, &["exams", "--results", "out"]).code(1).stdout("").stderr(
        "endort: out/h264/exam.jsonl: would be written for h264/exam.mp4 and for h264/exam.webm: \
         rename one, or run them apart\n",
    );
    assert!(!sandbox.file("out").exists());
}

#[test]
fn an_input_is_never_written_over() {
    let sandbox = recordings(&["h264.mp4"]);
    fs::hard_link(sandbox.file("exams/h264/exam.mp4"), sandbox.file("alias.csv")).unwrap();
    let before = fs::read(sandbox.file("alias.csv")).unwrap();
    stream(&sandbox, &["exams/h264/exam.mp4", "--results", "alias.csv"])
        .code(1)
        .stderr("endort: alias.csv: is an input: choose another place for the output\n");
    assert_eq!(fs::read(sandbox.file("alias.csv")).unwrap(), before);
}

#[test]
fn sources_of_several_folders_keep_their_paths_apart() {
    let sandbox = recordings(&["h264.mp4", "h264_audio.mp4"]);
    let args = ["exams/h264", "exams/h264_audio/exam.mp4", "exams/h264/exam.mp4", "--results", "out"];
    stream(&sandbox, &args).code(0);
    let made: Vec<_> = results(&sandbox.file("out")).into_keys().collect();
    assert_eq!(made, ["h264/exam.jsonl", "h264_audio/exam.jsonl"]);
}

#[test]
fn outputs_inside_the_input_folder_are_not_inputs_of_the_next_run() {
    let sandbox = recordings(&["h264.mp4"]);
    sandbox.write("exams/out/old.mp4", fs::read(clip("h264.mp4")).unwrap());
    let run = stream(&sandbox, &["exams", "--results", "exams/out", "--json"]).code(0);
    assert_eq!(summary(&run), [("h264/exam.mp4".to_owned(), "done".to_owned())]);
}

#[test]
fn outputs_go_beside_what_a_glob_found() {
    let sandbox = recordings(&["h264.mp4"]);
    for name in ["one.mp4", "two.mp4"] {
        sandbox.write(&format!("flat/{name}"), fs::read(clip("h264.mp4")).unwrap());
    }
    let run = stream(&sandbox, &["flat/*.mp4", "--results", "flat", "--json"]).code(0);
    let done = |name: &str| (name.to_owned(), "done".to_owned());
    assert_eq!(summary(&run), [done("one.mp4"), done("two.mp4")]);
    assert!(sandbox.file("flat/one.jsonl").exists() && sandbox.file("flat/two.jsonl").exists());
}

#[test]
fn what_cannot_work_is_told_at_once() {
    let sandbox = recordings(&["h264.mp4"]);
    sandbox.write("stills/a.png", "");
    let exam = "exams/h264/exam.mp4";
    for (args, code, message) in [
        (&["missing.mp4"][..], 1, "cannot read missing.mp4: "),
        (&["stills"], 1, "stills: holds 1 pictures but no recording (endort process-frame takes pictures)"),
        (&[exam, "--results", "no/such/folder/a.jsonl"], 1, "cannot write no/such/folder: "),
        (
            &["exams", "--results", "out.csv"],
            1,
            "out.csv: names one file, and there are several inputs: name a folder",
        ),
        (&[exam, "--results", "a.jsonl", "--resume"], 2, "--resume: needs a folder of outputs"),
        (&[exam, "--results", "-", "--json"], 2, "--json: cannot go to standard output together with"),
        (&[exam, "--results", "-", "--format", "csv"], 2, "--format: must be jsonl where"),
        (
            &["udp://127.0.0.1:1", exam],
            2,
            "command line: SOURCE = udp://127.0.0.1:1: a live source runs alone",
        ),
        (&[exam, "--model", "no-such-model"], 1, "model no-such-model: "),
    ] {
        let run =
            sandbox.endort([&["stream", "--threads", "1"], args].concat()).finish().code(code).stdout("");
        assert!(run.stderr.starts_with(&format!("endort: {message}")), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}

#[test]
fn a_live_source_that_is_interrupted_leaves_whole_outputs() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    let args = ["stream", "synthetic:160x120@30", "--pace", "source", "--model", "red.onnx"];
    let outputs = ["-o", "out.mp4", "--results", "out.jsonl"];
    let mut child = sandbox.endort([&args[..], &outputs].concat()).start();
    wait_for(|| {
        fs::read_to_string(sandbox.file("out.jsonl.part")).is_ok_and(|text| text.lines().count() > 5)
    });
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let records = timeless(&sandbox.read("out.jsonl"));
    assert!(records.len() > 5);
    assert_eq!(probe_frames(&sandbox.file("out.mp4")).len(), records.len());
    // No file tells the colours: the frames do.
    let tags = ["-show_entries", "stream=color_space,color_range"];
    assert_eq!(probe(&sandbox.file("out.mp4"), &tags), "tv,bt709\n");
    assert_eq!(sandbox.names("."), ["out.jsonl", "out.mp4", "red.onnx"]);
}

#[test]
fn a_camera_that_is_lost_for_good_leaves_what_it_gave() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    let camera = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", camera.local_addr().unwrap());
    let sender = std::thread::spawn(move || {
        // Asked once, it sends three seconds of video and is never seen again: endort gives up after a minute.
        let (mut viewer, _) = camera.accept().unwrap();
        for part in fs::read(clip("h264_long.ts")).unwrap().chunks(2 << 10) {
            std::io::Write::write_all(&mut viewer, part).unwrap();
            std::thread::sleep(Duration::from_millis(60));
        }
    });
    let outputs = ["-o", "out.mp4", "--results", "out.jsonl"];
    let run = stream(&sandbox, &[&[address.as_str()][..], &outputs].concat()).code(1);
    sender.join().unwrap();
    let pictures = probe_frames(&sandbox.file("out.mp4")).len();
    let records = timeless(&sandbox.read("out.jsonl")).len();
    assert!(pictures > 15 && (1..=pictures).contains(&records), "{pictures}, {records}: {}", run.stderr);
    assert_eq!(sandbox.names("."), ["out.jsonl", "out.mp4", "red.onnx"]);
    for words in ["lost the source", &format!("its outputs hold the {pictures} frames before that")] {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
}

#[test]
fn a_clock_that_starts_again_goes_on_where_it_was_and_stops_no_batch() {
    let sandbox = recordings(&["h264.mp4"]);
    let part = fs::read(clip("h264_long.ts")).unwrap();
    sandbox.write("exams/a/twice.ts", [&part[..], &part].concat());
    // FFmpeg would take a fall by more than a minute for a clock that has run over.
    let late = sandbox.file("late.ts");
    ffmpeg([
        "-i",
        clip("h264_long.ts").to_str().unwrap(),
        "-c",
        "copy",
        "-output_ts_offset",
        "100",
        late.to_str().unwrap(),
    ]);
    sandbox.write("exams/b/late.ts", [&fs::read(late).unwrap()[..], &part].concat());
    let run = stream(&sandbox, &["exams", "-o", "out", "--json"]).code(0);
    assert_eq!(states(&run), ["done", "done", "done"]);
    for made in ["out/a/twice.mp4", "out/b/late.mp4"].map(|name| sandbox.file(name)) {
        assert_eq!(probe_frames(&made).len(), 180);
        for kind in ["v:0", "a:0"] {
            let length = probe(&made, &["-select_streams", kind, "-show_entries", "stream=duration"]);
            let length: f64 = length.trim().parse().unwrap();
            assert!((5.8..6.3).contains(&length), "{}: {kind} lasts {length} s", made.display());
        }
    }
}

#[test]
fn a_clock_that_runs_over_goes_on() {
    let sandbox = recordings(&[]);
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=8", "-c:v", "libx264"];
    // 2^33 ticks of 1/90000 s are 95443.7 s.
    let rest = ["-preset", "ultrafast", "-bf", "2", "-pix_fmt", "yuv420p", "-output_ts_offset", "95440"];
    let over = sandbox.file("over.ts");
    ffmpeg([&picture[..], &rest, &[over.to_str().unwrap()]].concat());
    stream(&sandbox, &["over.ts", "--no-ai", "-o", "made.mp4", "--results", "made.jsonl"]).code(0);
    let length = probe(&sandbox.file("made.mp4"), &["-show_entries", "format=duration"]);
    let length: f64 = length.trim().parse().unwrap();
    assert!((7.9..8.2).contains(&length), "{length} s");
    let records = sandbox.read("made.jsonl");
    let times = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["pts_ms"].as_f64());
    let times: Vec<f64> = times.map(Option::unwrap).collect();
    assert!(times.len() == 200 && times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn an_unfinished_file_is_no_place_for_what_is_made_of_it() {
    let sandbox = recordings(&[]);
    let part = fs::read(clip("h264_bframes.mkv")).unwrap();
    sandbox.write("exam.mkv.part", &part);
    let run = stream(&sandbox, &["exam.mkv.part", "-o", "exam.mkv"]).code(1);
    assert!(run.stderr.contains("would be written over an input"), "{}", run.stderr);
    assert!(fs::read(sandbox.file("exam.mkv.part")).unwrap() == part, "it is as it was");
}

#[cfg(unix)]
#[test]
fn names_that_are_not_text_are_names_all_the_same() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let sandbox = recordings(&["h264.mp4"]);
    let video = fs::read(sandbox.file("exams/h264/exam.mp4")).unwrap();
    for name in [&b"a.mp4"[..], b"Gr\xfcn.mp4", b"z.mp4"] {
        fs::write(sandbox.file("exams").join(OsStr::from_bytes(name)), &video).unwrap();
    }
    let run = stream(&sandbox, &["exams", "--results", "out", "--json"]).code(0);
    assert_eq!(states(&run), ["done"; 4]);
    let again = stream(&sandbox, &["exams", "--results", "out", "--json", "--resume"]).code(0);
    assert_eq!(states(&again), ["skipped"; 4]);

    let picture = sandbox.file("exams").join(OsStr::from_bytes(b"p\xfc.png"));
    image::RgbImage::new(16, 16).save_with_format(&picture, image::ImageFormat::Png).unwrap();
    let args = ["process-frame", "--model", "red.onnx", "--json"].map(OsStr::new);
    sandbox.endort(args.into_iter().chain([picture.as_os_str()])).finish().code(0);
}

#[test]
fn sound_and_the_shape_of_pixels_are_kept_wherever_the_recording_comes_from() {
    let sandbox = recordings(&[]);
    let wide = sandbox.file("wide.mp4");
    let from = clip("h264_audio.mp4");
    let copy = ["-c", "copy", "-aspect", "16:9"];
    ffmpeg([&["-i", from.to_str().unwrap()], &copy[..], &[wide.to_str().unwrap()]].concat());
    let made = sandbox.file("made.mp4");
    let shape =
        |path: &Path| probe(path, &["-select_streams", "v:0", "-show_entries", "stream=sample_aspect_ratio"]);
    let stdin = fs::File::open(&wide).unwrap();
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_endort"))
        .args(["stream", "-", "--no-ai", "-o"])
        .arg(&made)
        .stdin(stdin)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(probe(&made, &["-show_entries", "stream=codec_type"]), "video\naudio\n");
    assert_eq!(shape(&made), "4:3\n");
    // A pipe can be read only once: what is left out is told.
    let line = format!("cat wide.mp4 | {} stream - --no-ai -o pipe.mkv", env!("CARGO_BIN_EXE_endort"));
    let piped = fs::read(clip("h264_long.ts")).unwrap();
    sandbox.write("wide.mp4", piped);
    let run =
        std::process::Command::new("sh").args(["-c", &line]).current_dir(sandbox.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("sound left out: the source cannot be read a second time"), "{said}");
}

#[test]
fn no_output_takes_the_ledger_s_name() {
    let sandbox = recordings(&["h264.mp4"]);
    fs::copy(clip("h264.mp4"), sandbox.file("exams/endort-stream.mp4")).unwrap();
    for outputs in [&["--results", "out"][..], &["-o", "out", "--results", "./out"]] {
        let run = stream(&sandbox, &[&["exams"], outputs].concat()).code(1);
        assert!(
            run.stderr.contains("is the name of the folder's ledger: choose another name"),
            "{}",
            run.stderr
        );
    }
    assert!(!sandbox.file("out").exists());
}

/// A TS recording without its `nth` packet of sound.
fn without_a_packet_of_sound(ts: &[u8], nth: usize) -> Vec<u8> {
    // FFmpeg numbers a program's streams from 256; the sound is the second.
    let sounds = |packet: &&[u8]| u16::from_be_bytes([packet[1] & 31, packet[2]]) == 257;
    let lost = ts.chunks(188).filter(sounds).nth(nth).unwrap().as_ptr();
    ts.chunks(188).filter(|packet| packet.as_ptr() != lost).flatten().copied().collect()
}

/// When each packet of a file's sound is heard, in seconds.
fn times_of_sound(path: &Path) -> Vec<f64> {
    let times = probe(path, &["-select_streams", "a:0", "-show_entries", "packet=pts_time"]);
    // A packet with notes of its own gets a line for them.
    let values = times.lines().filter_map(|line| line.split(',').next()).filter(|value| !value.is_empty());
    values.map(|value| value.parse().unwrap()).collect()
}

#[test]
fn broken_sound_costs_no_picture() {
    let sandbox = recordings(&[]);
    let whole = fs::read(clip("h264_long.ts")).unwrap();
    for nth in [20, 40, 60] {
        sandbox.write("exams/lost.ts", without_a_packet_of_sound(&whole, nth));
        for made in ["made.mp4", "made.mkv"] {
            stream(&sandbox, &["exams/lost.ts", "--no-ai", "-o", made]).code(0);
            let made = sandbox.file(made);
            assert_eq!(probe_frames(&made).len(), 90, "{} without packet {nth}", made.display());
            let last = *times_of_sound(&made).last().unwrap();
            assert!(last > 2.8, "without packet {nth} the sound ends at {last} s");
        }
    }
    // Numbers that are none, which AAC refuses.
    let nan = sandbox.file("nan.mov");
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=3"];
    let sound = "aevalsrc='if(between(t,1,1.2),0/0,0.5*sin(440*2*PI*t))':s=48000:d=3";
    let coded = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "pcm_f32le", nan.to_str().unwrap()];
    ffmpeg([&picture[..], &["-f", "lavfi", "-i", sound], &coded].concat());
    let run = stream(&sandbox, &["nan.mov", "--no-ai", "-o", "nan.mp4"]).code(0);
    assert!(run.stderr.contains("broken pieces of sound left out"), "{}", run.stderr);
    let made = sandbox.file("nan.mp4");
    assert_eq!(probe_frames(&made).len(), 75);
    let sounds = times_of_sound(&made).len();
    assert!(sounds > 120, "{sounds} packets of sound");
}

#[test]
fn sound_that_goes_on_after_the_pictures_is_kept() {
    let sandbox = recordings(&[]);
    let from = sandbox.file("talk.mkv");
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=1"];
    let sound =
        ["-f", "lavfi", "-i", "sine=duration=3", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"];
    ffmpeg([&picture[..], &sound, &[from.to_str().unwrap()]].concat());
    stream(&sandbox, &["talk.mkv", "--no-ai", "-o", "made.mkv"]).code(0);
    let made = sandbox.file("made.mkv");
    let last = *times_of_sound(&made).last().unwrap();
    assert!(last > 2.8, "the sound ends at {last} s");
    assert_eq!(probe_frames(&made).len(), 25);
}

#[test]
fn how_fast_frames_came_counts_where_it_decides_what_was_dropped() {
    let sandbox = recordings(&["h264.mp4"]);
    let run = |more: &[&str]| {
        let args = ["exams", "--results", "out", "--json", "--resume"];
        states(&stream(&sandbox, &[&args[..], more].concat()).code(0))
    };
    assert_eq!(run(&[]), ["done"]);
    assert_eq!(run(&["--pace", "source"]), ["skipped"], "every frame was analysed");
    assert_eq!(run(&["--policy", "newest-wins"]), ["done"]);
    assert_eq!(run(&["--policy", "newest-wins", "--pace", "source"]), ["done"]);
    assert_eq!(run(&["--policy", "newest-wins", "--pace", "source"]), ["skipped"]);
}

#[test]
fn a_recording_at_full_speed_loses_no_frame_under_any_policy() {
    let sandbox = recordings(&["h264_audio_long.mp4"]);
    let exam = "exams/h264_audio_long/exam.mp4";
    let run = stream(&sandbox, &[exam, "-o", "a.mp4", "--policy", "newest-wins", "--json"]).code(0);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&report["files"][0]["frames"], &report["files"][0]["lost"]), (&90.into(), &0.into()));
    assert_eq!(probe_frames(&sandbox.file("a.mp4")).len(), 90);
}

#[cfg(unix)]
#[test]
fn pipes_are_written_to_and_read_once_and_never_replaced() {
    use std::os::unix::fs::FileTypeExt;
    let sandbox = recordings(&["h264.mp4"]);
    let pipe = |name: &str| {
        let path = sandbox.file(name);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    };
    let (results, camera) = (pipe("results.jsonl"), pipe("camera.ts"));
    let reader = {
        let results = results.clone();
        std::thread::spawn(move || fs::read_to_string(results).unwrap())
    };
    let exam = "exams/h264/exam.mp4";
    stream(&sandbox, &[exam, "--results", "results.jsonl"]).code(0);
    assert_eq!(timeless(&reader.join().unwrap()).len(), 30);
    assert!(fs::metadata(&results).unwrap().file_type().is_fifo());

    let bytes = fs::read(clip("h264.ts")).unwrap();
    let writer = std::thread::spawn(move || fs::write(camera, bytes).unwrap());
    let run = stream(&sandbox, &["camera.ts", "-o", "out/", "--json"]).code(0);
    writer.join().unwrap();
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["files"][0]["frames"], 25);

    let video = pipe("video.mp4");
    stream(&sandbox, &[exam, "-o", "video.mp4"])
        .code(1)
        .stderr("endort: video.mp4: is a device or a pipe, where a file is to be written\n");
    assert!(fs::metadata(video).unwrap().file_type().is_fifo());
}

#[cfg(unix)]
#[test]
fn a_link_leads_to_the_file_that_is_replaced() {
    let sandbox = recordings(&["h264.mp4"]);
    let kept = sandbox.write("archive/kept.jsonl", "earlier");
    std::os::unix::fs::symlink(&kept, sandbox.file("results.jsonl")).unwrap();
    stream(&sandbox, &["exams/h264/exam.mp4", "--results", "results.jsonl"]).code(0);
    assert!(fs::symlink_metadata(sandbox.file("results.jsonl")).unwrap().is_symlink());
    assert_eq!(timeless(&sandbox.read("archive/kept.jsonl")).len(), 30);
}

#[test]
fn a_batch_that_is_interrupted_keeps_whole_recordings_only() {
    let sandbox = recordings(&["h264.mp4", "h264_audio.mp4"]);
    let batch = ["stream", "exams", "--model", "red.onnx", "--results", "out"];
    let slow = ["--pace", "source", "--policy", "every-frame"];
    let mut child = sandbox.endort([&batch[..], &slow].concat()).start();
    let second = sandbox.file("out/h264_audio/exam.jsonl.part");
    wait_for(|| fs::read_to_string(&second).is_ok_and(|text| text.lines().count() > 5));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(results(&sandbox.file("out")).into_keys().collect::<Vec<_>>(), ["h264/exam.jsonl"]);
    let resume = [&batch[..], &slow, &["--resume", "--json"]].concat();
    assert_eq!(states(&sandbox.endort(resume).finish().code(0)), ["skipped", "done"]);
}

/// Waits until `condition` holds; for longer than any machine needs.
fn wait_for(condition: impl Fn() -> bool) {
    for _ in 0..3000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("waited a minute in vain");
}

/// What Ctrl-C does.
fn interrupt(child: &std::process::Child) {
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
}

#[test]
fn without_a_model_every_frame_passes() {
    let sandbox = recordings(&["h264.mp4"]);
    for args in [&["--model", "none"][..], &["--no-ai"]] {
        let all = [&["stream", "exams/h264/exam.mp4", "--results", "-"], args].concat();
        let run = sandbox.endort(all).finish().code(0);
        let records = timeless(&run.stdout);
        assert_eq!(records.len(), 30);
        assert!(
            records.iter().all(|r| r["model"] == "none" && r["detections"].as_array().unwrap().is_empty())
        );
    }
}
