//! Decoding, set beside what FFmpeg's own programs say of the same files.

use endort::cancel::Cancel;
use endort::frame::{Frame, PixelFormat};
use endort::source::{OpenOptions, Source, open};

use super::media_clips::{all, clip, ffmpeg_rgb, probe_frames};

fn open_clip(file: &str) -> Box<dyn Source> {
    open(clip(file).to_str().unwrap(), &OpenOptions::default(), &Cancel::new()).unwrap()
}

fn frames(file: &str) -> Vec<Frame> {
    let mut source = open_clip(file);
    std::iter::from_fn(|| source.next().unwrap()).collect()
}

#[test]
fn frame_counts_and_time_stamps_equal_ffprobe() {
    for file in all() {
        let frames = frames(file);
        let probed = probe_frames(&clip(file));
        assert_eq!(frames.len(), probed.len(), "{file}");
        for (frame, probed) in frames.iter().zip(&probed) {
            assert_eq!(frame.pts.ticks, probed.unwrap_or(frame.pts.ticks), "{file}: frame {}", frame.id);
        }
        assert!(frames.windows(2).all(|pair| pair[0].pts.ticks < pair[1].pts.ticks), "{file}");
        let ids: Vec<u64> = frames.iter().map(|frame| frame.id.0).collect();
        assert_eq!(ids, (0..frames.len() as u64).collect::<Vec<_>>(), "{file}");
    }
}

#[test]
fn sizes_announced_are_sizes_delivered() {
    for file in all() {
        let mut source = open_clip(file);
        let (width, height) = (source.info().width, source.info().height);
        let frame = source.next().unwrap().unwrap();
        assert_eq!((frame.picture.width(), frame.picture.height()), (width, height), "{file}");
    }
}

#[test]
fn layouts_stay_as_decoded() {
    for (file, format) in [
        ("h264.mp4", PixelFormat::Yuv420),
        ("h264_422.mp4", PixelFormat::Yuv422),
        ("ffv1.mkv", PixelFormat::Yuv444),
        ("ffv1_gray.mkv", PixelFormat::Gray8),
        ("ffv1_gray16.mkv", PixelFormat::Gray8),
        ("ffv1_rgb.mkv", PixelFormat::Rgb24),
        ("png_alpha.mov", PixelFormat::Rgb24),
        ("palette.gif", PixelFormat::Rgb24),
        ("hevc_10bit.mkv", PixelFormat::Yuv420),
        ("prores.mov", PixelFormat::Yuv422),
        ("vp8_alpha.webm", PixelFormat::Yuv420),
        ("mjpeg.avi", PixelFormat::Yuv422),
    ] {
        assert_eq!(frames(file)[0].picture.format(), format, "{file}");
    }
}

/// Mean and greatest difference between two sequences of samples.
pub fn difference(a: &[u8], b: &[u8]) -> (f64, u8) {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = differences.clone().map(u64::from).sum();
    (sum as f64 / a.len() as f64, differences.max().unwrap_or(0))
}

#[test]
fn colours_equal_ffmpegs_own_conversion() {
    // In FFmpeg 5 the deinterlacer and the alpha of the reference differ by definition; they have their own
    // tests.
    let excluded = ["h264_interlaced.mp4", "mpeg2_interlaced.mpg", "png_alpha.mov", "vp8_alpha.webm"];
    for file in all().filter(|file| !excluded.contains(file)) {
        let expected = ffmpeg_rgb(&clip(file), "scale=flags=bilinear+accurate_rnd+full_chroma_int");
        let mut found = Vec::new();
        for frame in frames(file) {
            found.extend(endort::av::convert::rgb(&frame.picture).unwrap());
        }
        let (mean, max) = difference(&found, &expected);
        assert!(mean < 1.0 && max <= 16, "{file}: mean difference {mean:.2}, greatest {max}");
    }
}

#[test]
fn a_size_that_changes_on_the_way_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let joined = folder.path().join("joined.ts");
    let mut bytes = Vec::new();
    for size in ["160x120", "96x64"] {
        let part = folder.path().join("part.ts");
        let input = format!("testsrc2=size={size}:rate=25:duration=0.4");
        let status = std::process::Command::new("ffmpeg")
            .args(["-loglevel", "error", "-y", "-f", "lavfi", "-i", &input])
            .args(["-c:v", "mpeg2video", "-g", "5"])
            .arg(&part)
            .status()
            .unwrap();
        assert!(status.success());
        bytes.extend(std::fs::read(&part).unwrap());
    }
    std::fs::write(&joined, bytes).unwrap();
    let mut source = open(joined.to_str().unwrap(), &OpenOptions::default(), &Cancel::new()).unwrap();
    let mut sizes = Vec::new();
    while let Some(frame) = source.next().unwrap() {
        sizes.push((frame.picture.width(), frame.picture.height()));
    }
    assert_eq!((sizes.first(), sizes.last()), (Some(&(160, 120)), Some(&(96, 64))));
    sizes.dedup();
    assert_eq!(sizes.len(), 2);
}

#[test]
#[cfg(target_os = "linux")]
fn names_of_any_bytes_are_opened() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    for name in [&b"udp:exam %03d?.mp4"[..], b"pr\xe9 exam.mp4", b"-.mp4"] {
        let path = folder.path().join(std::ffi::OsStr::from_bytes(name));
        std::fs::copy(clip("h264.mp4"), &path).unwrap();
    }
    let inputs = endort::source::expand(folder.path().to_str().unwrap()).unwrap();
    assert_eq!(inputs.len(), 3);
    for input in inputs {
        let mut source = endort::source::open_input(&input, &OpenOptions::default(), &Cancel::new()).unwrap();
        assert!(source.next().unwrap().is_some(), "{}", input.name());
    }
}

#[test]
fn interlaced_video_is_deinterlaced_frame_by_frame() {
    for file in ["h264_interlaced.mp4", "mpeg2_interlaced.mpg"] {
        let filters =
            "bwdif=mode=send_frame:deint=interlaced,scale=flags=bilinear+accurate_rnd+full_chroma_int";
        let expected = ffmpeg_rgb(&clip(file), filters);
        let mut found = Vec::new();
        for frame in frames(file) {
            found.extend(endort::av::convert::rgb(&frame.picture).unwrap());
        }
        let (mean, max) = difference(&found, &expected);
        assert!(mean < 1.0 && max <= 16, "{file}: mean difference {mean:.2}, greatest {max}");
        // Without it the pictures would be far from that.
        let combed = ffmpeg_rgb(&clip(file), "scale=flags=bilinear+accurate_rnd+full_chroma_int");
        assert!(difference(&combed, &expected).0 > 1.0, "{file} is not interlaced");
    }
}
