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
