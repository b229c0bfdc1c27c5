//! Clips of many kinds, made by the `ffmpeg` program from its test sources.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// A clip by what makes it special.
pub struct Clip {
    /// File name.
    pub file: &'static str,
    /// Arguments between the `ffmpeg` program and the file name.
    pub args: &'static str,
}

const TEST: &str = "-f lavfi -i testsrc2=size=";

/// Every clip has few frames and is small; the set covers codecs, containers, layouts and time bases.
pub const CLIPS: [Clip; 31] = [
    Clip { file: "h264.mp4", args: "{t}160x120:rate=30:duration=1 -c:v libx264 -pix_fmt yuv420p" },
    Clip {
        file: "h264_bframes.mkv",
        args: "{t}160x120:rate=25:duration=1 -c:v libx264 -bf 3 -pix_fmt yuv420p",
    },
    Clip {
        file: "h264_audio.mp4",
        args: "{t}160x120:rate=30:duration=1.2 {a}1.2 -c:v libx264 -pix_fmt yuv420p -c:a aac",
    },
    Clip {
        file: "h264_audio_long.mp4",
        args: "{t}160x120:rate=30:duration=3 {a}3 -c:v libx264 -pix_fmt yuv420p -c:a aac",
    },
    Clip {
        file: "h264.ts",
        args: "{t}160x120:rate=25:duration=1 {a}1 -c:v libx264 -pix_fmt yuv420p -c:a mp2",
    },
    Clip {
        file: "h264_ntsc.mov",
        args: "{t}160x120:rate=30000/1001:duration=1 -c:v libx264 -pix_fmt yuv420p",
    },
    Clip {
        file: "hevc.mp4",
        args: "{t}160x120:rate=25:duration=0.6 -c:v libx265 -x265-params log-level=error -pix_fmt yuv420p",
    },
    Clip {
        file: "hevc_10bit.mkv",
        args: "{t}160x120:rate=25:duration=0.6 -c:v libx265 -x265-params log-level=error -pix_fmt yuv420p10le",
    },
    Clip { file: "mpeg4.avi", args: "{t}160x120:rate=25:duration=1 {a}1 -c:v mpeg4 -c:a mp3" },
    Clip {
        file: "mpeg2_interlaced.mpg",
        args: "{t}160x128:rate=25:duration=1 -vf interlace=lowpass=off,setfield=tff -c:v mpeg2video -flags +ilme+ildct -b:v 2M",
    },
    Clip {
        file: "h264_interlaced.mp4",
        args: "{t}160x128:rate=50:duration=1 -vf tinterlace=interleave_top,setfield=tff -c:v libx264 -flags +ilme+ildct -x264-params tff=1 -pix_fmt yuv420p",
    },
    Clip { file: "mjpeg.avi", args: "{t}160x120:rate=15:duration=1 -c:v mjpeg -pix_fmt yuvj422p" },
    Clip {
        file: "vp9.webm",
        args: "{t}160x120:rate=25:duration=0.6 {a}0.6 -c:v libvpx-vp9 -cpu-used 8 -b:v 500k -c:a libopus",
    },
    Clip {
        file: "vp8_alpha.webm",
        args: "{t}160x120:rate=25:duration=0.4 -vf format=yuva420p -c:v libvpx -auto-alt-ref 0 -b:v 500k",
    },
    Clip { file: "prores.mov", args: "{t}160x120:rate=25:duration=0.4 -c:v prores_ks -pix_fmt yuv422p10le" },
    Clip { file: "ffv1.mkv", args: "{t}160x120:rate=25:duration=0.4 -c:v ffv1 -pix_fmt yuv444p" },
    Clip { file: "ffv1_gray.mkv", args: "{t}160x120:rate=25:duration=0.4 -vf format=gray -c:v ffv1" },
    Clip { file: "ffv1_gray16.mkv", args: "{t}160x120:rate=25:duration=0.4 -vf format=gray16le -c:v ffv1" },
    Clip { file: "ffv1_rgb.mkv", args: "{t}160x120:rate=25:duration=0.4 -vf format=bgr0 -c:v ffv1" },
    Clip { file: "png_alpha.mov", args: "{t}160x120:rate=25:duration=0.2 -vf format=rgba -c:v png" },
    Clip { file: "palette.gif", args: "{t}160x120:rate=10:duration=0.6" },
    Clip { file: "odd.mp4", args: "{t}161x121:rate=25:duration=0.6 -c:v libx264 -pix_fmt yuv444p" },
    Clip { file: "odd_420.mkv", args: "{t}161x121:rate=25:duration=0.4 -c:v ffv1 -pix_fmt yuv420p" },
    Clip { file: "h264_422.mp4", args: "{t}160x120:rate=25:duration=0.4 -c:v libx264 -pix_fmt yuv422p" },
    Clip {
        file: "h264_full_range.mp4",
        args: "{t}160x120:rate=25:duration=0.4 -vf scale=out_range=full -c:v libx264 -pix_fmt yuvj420p -color_range pc",
    },
    Clip {
        file: "h264_bt709.mp4",
        args: "{t}160x120:rate=25:duration=0.4 -vf scale=out_color_matrix=bt709 -c:v libx264 -pix_fmt yuv420p -colorspace bt709 -color_primaries bt709 -color_trc bt709",
    },
    Clip {
        file: "vfr.mp4",
        args: "{t}160x120:rate=30:duration=2 -vf select='not(mod(n\\,3))+not(mod(n\\,7))' -vsync vfr -c:v libx264 -pix_fmt yuv420p",
    },
    Clip {
        file: "vfr.mkv",
        args: "{t}160x120:rate=30:duration=2 -vf select='not(mod(n\\,4))+not(mod(n\\,5))' -vsync vfr -c:v libx264 -bf 0 -pix_fmt yuv420p",
    },
    Clip {
        file: "late_start.mkv",
        args: "{t}160x120:rate=25:duration=1 -vf setpts=PTS+2/TB -c:v libx264 -pix_fmt yuv420p",
    },
    Clip {
        file: "pcm.mov",
        args: "{t}160x120:rate=25:duration=1 {a}1 -c:v libx264 -pix_fmt yuv420p -c:a pcm_s16le",
    },
    Clip { file: "mpeg1.mpg", args: "{t}160x120:rate=25:duration=1 {a}1 -c:v mpeg1video -c:a mp2" },
];

/// Clips that are made from others, without coding again: rotated, cut by an edit list, with cover art.
const DERIVED: [Clip; 4] = [
    Clip { file: "rotated.mp4", args: "-i {d}/h264.mp4 -c copy -metadata:s:v:0 rotate=90" },
    Clip { file: "edit_list.mp4", args: "-ss 0.35 -i {d}/h264_audio.mp4 -c copy" },
    Clip {
        file: "h264_long.ts",
        args: "-i {d}/h264_audio_long.mp4 -c:v libx264 -g 10 -pix_fmt yuv420p -c:a copy",
    },
    Clip { file: "rotated_422.mov", args: "-i {d}/h264_422.mp4 -c copy -metadata:s:v:0 rotate=270" },
];

/// Names of all clips.
pub fn all() -> impl Iterator<Item = &'static str> {
    CLIPS.iter().chain(&DERIVED).map(|clip| clip.file)
}

/// Path of a clip; the first call makes them all.
pub fn clip(file: &str) -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(make);
    let path = FOLDER.join(file);
    assert!(path.exists(), "no such clip: {file}");
    path
}

/// Makes all clips, unless an earlier test process has: each test runs in a process of its own.
fn make() -> PathBuf {
    // The folder's name changes with the recipes, so that old clips are never used.
    let recipe: String =
        CLIPS.iter().chain(&DERIVED).map(|clip| format!("{}{}", clip.file, clip.args)).collect();
    let digest = recipe
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let folder = root.join(format!("clips-{digest:016x}"));
    if folder.exists() {
        return folder;
    }
    // Made aside and renamed when complete; whoever is second finds the first one's.
    let lock = std::fs::File::create(root.join("clips.lock")).unwrap();
    lock.lock().unwrap();
    if !folder.exists() {
        let making = tempfile::tempdir_in(&root).unwrap();
        for clip in CLIPS.iter().chain(&DERIVED) {
            run_ffmpeg(clip, making.path());
        }
        std::fs::rename(making.keep(), &folder).unwrap();
    }
    folder
}

fn run_ffmpeg(clip: &Clip, folder: &Path) {
    let sine = "-f lavfi -i sine=frequency=440:duration=";
    let args =
        clip.args.replace("{t}", TEST).replace("{a}", sine).replace("{d}", &folder.display().to_string());
    let status = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-y"])
        .args(args.split_whitespace().map(|arg| arg.replace('\'', "")))
        .args(["-fflags", "+bitexact"])
        .arg(folder.join(clip.file))
        .status()
        .expect("the ffmpeg program is needed for these tests");
    assert!(status.success(), "ffmpeg could not make {}", clip.file);
}

/// What `ffprobe` says about the frames of the first video: their time stamps in ticks, where they have one.
pub fn probe_frames(path: &Path) -> Vec<Option<i64>> {
    let out = probe(path, &["-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp"]);
    let values = out.lines().map(|line| line.trim_end_matches(',')).filter(|value| !value.is_empty());
    values.map(|value| value.parse().ok()).collect()
}

/// What `ffprobe` says about a whole file.
pub struct Probed {
    /// Presentation times of the first video's frames in seconds, where they have one.
    pub times: Vec<Option<f64>>,
    /// Number of streams with sound.
    pub sounds: usize,
    /// Length in seconds.
    pub length: f64,
    /// Where the file's clock starts, in seconds.
    pub start: f64,
}

/// Runs `ffprobe` once for all that the tests want to know of a file's time.
pub fn probe_file(path: &Path) -> Probed {
    let entries = "frame=media_type,best_effort_timestamp_time:stream=codec_type:format=duration,start_time";
    let out = probe(path, &["-of", "json", "-show_entries", entries]);
    let all: serde_json::Value = serde_json::from_str(&out).unwrap();
    let number = |value: &serde_json::Value| value.as_str().and_then(|text| text.parse::<f64>().ok());
    let frames = all["frames"].as_array().unwrap().iter().filter(|frame| frame["media_type"] == "video");
    let streams = all["streams"].as_array().unwrap();
    Probed {
        times: frames.map(|frame| number(&frame["best_effort_timestamp_time"])).collect(),
        sounds: streams.iter().filter(|stream| stream["codec_type"] == "audio").count(),
        length: number(&all["format"]["duration"]).unwrap(),
        start: number(&all["format"]["start_time"]).unwrap(),
    }
}

/// Runs `ffprobe` and returns its values as comma-separated lines.
pub fn probe(path: &Path, args: &[&str]) -> String {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0"])
        .args(args)
        .arg(path)
        .output()
        .expect("the ffprobe program is needed for these tests");
    assert!(out.status.success(), "ffprobe {}: {}", path.display(), String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Runs `ffmpeg` and returns what it writes to `-`, if that is where it writes to.
pub fn ffmpeg(args: impl IntoIterator<Item: AsRef<OsStr>>) -> Vec<u8> {
    let quiet = ["-hide_banner", "-loglevel", "error", "-y"];
    let out = Command::new("ffmpeg").args(quiet).args(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// The pictures as the `ffmpeg` program converts them to RGB, upright, one after the other.
pub fn ffmpeg_rgb(path: &Path, filters: &str) -> Vec<u8> {
    let convert = ["-vf", filters, "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    ffmpeg([OsStr::new("-i"), path.as_os_str()].into_iter().chain(convert.map(OsStr::new)))
}
