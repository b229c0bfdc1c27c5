//! Annotated video, set beside its source by `ffprobe`.

use std::path::Path;

use endort::Error;
use endort::cancel::Cancel;
use endort::frame::{Color, Frame, Matrix, Picture, PixelFormat, Plane, Range};
use endort::sink::Sink;
use endort::sink::video::{VideoOptions, VideoSink};
use endort::source::{OpenOptions, Recording, Source, open};

use super::media_clips::{all, clip, ffmpeg, ffmpeg_rgb, probe, probe_file};
use super::media_decode::difference;

fn source(path: &Path) -> Box<dyn Source> {
    open(path.to_str().unwrap(), &OpenOptions::default(), &Cancel::new()).unwrap()
}

/// Writes every frame of `from` to `to`, and returns the sink's notes.
fn copy(from: &Path, to: &Path, options: VideoOptions) -> Vec<String> {
    let mut source = source(from);
    let mut sink = VideoSink::create(to, source.info(), Recording::file(from), options).unwrap();
    while let Some(frame) = source.next().unwrap() {
        sink.picture(&frame).unwrap();
    }
    sink.finish().unwrap();
    sink.notes().to_vec()
}

fn fast() -> VideoOptions {
    VideoOptions { preset: "ultrafast".into(), ..VideoOptions::default() }
}

/// One line of values of a stream, as text.
fn value(path: &Path, stream: &str, entry: &str) -> String {
    let selected = ["-select_streams", stream];
    let out = probe(path, &[selected, ["-show_entries", entry]].concat());
    out.lines().next().unwrap_or_default().trim_end_matches(',').to_owned()
}

#[test]
fn frames_times_length_and_sound_are_those_of_the_source() {
    let folder = tempfile::tempdir().unwrap();
    for file in all() {
        let from = clip(file);
        let to = folder.path().join(file).with_extension("mp4");
        copy(&from, &to, fast());
        let (expected, found) = (probe_file(&from), probe_file(&to));
        assert_eq!(found.times.len(), expected.times.len(), "{file}: frames");
        // Clocks that start anywhere start at zero; all others are kept.
        let arbitrary = file.ends_with(".ts") || file.ends_with(".mpg");
        let zero = if arbitrary { expected.start } else { 0.0 };
        for (index, (found, expected)) in found.times.iter().zip(&expected.times).enumerate() {
            let Some(expected) = expected else { continue };
            let error = (found.unwrap() - (expected - zero)).abs();
            assert!(error < 2e-6, "{file}: frame {index} at {found:?}, not {expected} - {zero}");
        }
        // Containers without an index estimate their length, to a frame of picture or sound.
        let tolerance = if arbitrary { 0.1 } else { 0.045 };
        let (found_length, length) = (found.length, expected.length);
        assert!((found_length - length).abs() <= tolerance, "{file}: {found_length} s long, not {length} s");
        assert_eq!(found.sounds, expected.sounds, "{file}: sound");
    }
    assert!(
        std::fs::read_dir(folder.path()).unwrap().all(|f| f.unwrap().path().extension().unwrap() == "mp4")
    );
}

#[test]
fn browsers_can_play_it() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["h264_audio.mp4", "odd.mp4", "hevc_10bit.mkv", "ffv1_gray.mkv", "pcm.mov"] {
        let to = folder.path().join(file).with_extension("mp4");
        copy(&clip(file), &to, fast());
        assert_eq!(value(&to, "v:0", "stream=codec_name,pix_fmt"), "h264,yuv420p", "{file}");
        let bytes = std::fs::read(&to).unwrap();
        let at = |name: &[u8]| bytes.windows(4).position(|window| window == name).unwrap();
        assert!(at(b"moov") < at(b"mdat"), "{file}: the index comes first");
    }
    assert_eq!(value(&folder.path().join("pcm.mp4"), "a:0", "stream=codec_name"), "aac");
}

#[test]
fn pictures_and_colour_tags_survive() {
    let folder = tempfile::tempdir().unwrap();
    for file in
        ["h264_bt709.mp4", "h264_full_range.mp4", "odd.mp4", "ffv1_rgb.mkv", "ffv1_gray.mkv", "rotated.mp4"]
    {
        let from = clip(file);
        let to = folder.path().join(file).with_extension("mp4");
        copy(&from, &to, VideoOptions { crf: 5, ..VideoOptions::default() });
        let mut source = source(&from);
        let (width, height) = (source.info().width, source.info().height);
        // Coarser chroma and the coder's own loss, averaged over blocks of 8 pixels.
        let filters = format!(
            "crop={width}:{height}:0:0:exact=1,scale=iw/8:ih/8:flags=area+accurate_rnd+full_chroma_int"
        );
        let reference = "scale=iw/8:ih/8:flags=area+accurate_rnd+full_chroma_int";
        let (mean, max) = difference(&ffmpeg_rgb(&to, &filters), &ffmpeg_rgb(&from, reference));
        assert!(mean < 3.0, "{file}: mean difference {mean:.2}, greatest {max}");
        source.next().unwrap();
    }
    let tags =
        |path: &Path| value(path, "v:0", "stream=color_range,color_space,color_transfer,color_primaries");
    for file in ["h264_bt709.mp4", "h264_full_range.mp4"] {
        assert_eq!(tags(&folder.path().join(file)), tags(&clip(file)), "{file}");
    }
}

#[test]
fn other_containers() {
    let folder = tempfile::tempdir().unwrap();
    let from = clip("h264_audio.mp4");
    for name in ["a.mkv", "a.mov", "a.ts", "a.m4v"] {
        let to = folder.path().join(name);
        assert!(copy(&from, &to, fast()).is_empty(), "{name}: sound that it takes is copied");
        assert_eq!(probe_file(&to).times.len(), probe_file(&from).times.len(), "{name}");
        assert_eq!(value(&to, "a:0", "stream=codec_name"), "aac", "{name}");
    }
}

#[test]
fn sound_that_a_container_refuses_is_coded_again() {
    let folder = tempfile::tempdir().unwrap();
    let picture = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=1 -c:v libx264 -pix_fmt yuv420p";
    for (codec, makes) in [("opus", "libopus"), ("flac", "flac")] {
        let from = folder.path().join(format!("{codec}.mkv"));
        let args = format!("-f lavfi -i sine=duration=1 {picture} -c:a {makes}");
        ffmpeg(args.split(' ').chain([from.to_str().unwrap()]));
        for ending in ["mov", "ts", "mkv"] {
            let to = folder.path().join(format!("{codec}-made.{ending}"));
            let notes = copy(&from, &to, fast());
            let kept = ending == "mkv";
            let expected = format!("sound coded again as AAC: .{ending} does not take {codec}");
            assert_eq!(notes, if kept { vec![] } else { vec![expected] });
            assert_eq!(value(&to, "a:0", "stream=codec_name"), if kept { codec } else { "aac" });
        }
    }
}

#[test]
fn a_replaced_sound_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let notes = copy(&clip("pcm.mov"), &folder.path().join("a.mp4"), fast());
    assert_eq!(notes, ["sound coded again as AAC: .mp4 does not take pcm_s16le"]);
    assert!(copy(&clip("h264_audio.mp4"), &folder.path().join("b.mp4"), fast()).is_empty());
}

#[test]
fn a_video_that_is_cut_short_has_its_sound_cut_too() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (clip("h264_audio_long.mp4"), folder.path().join("cut.mp4"));
    let mut source = source(&from);
    let mut sink = VideoSink::create(&to, source.info(), Recording::file(&from), fast()).unwrap();
    for _ in 0..15 {
        sink.picture(&source.next().unwrap().unwrap()).unwrap();
    }
    sink.cut();
    sink.finish().unwrap();
    assert_eq!(probe_file(&to).times.len(), 15);
    let sound: f64 = value(&to, "a:0", "stream=duration").parse().unwrap();
    assert!((0.3..0.7).contains(&sound), "{sound} s of sound for 0.5 s of picture");
}

#[test]
fn what_is_not_finished_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (clip("h264.mp4"), folder.path().join("a.mp4"));
    std::fs::write(&to, "earlier").unwrap();
    let mut source = source(&from);
    let mut sink = VideoSink::create(&to, source.info(), Recording::file(&from), fast()).unwrap();
    sink.picture(&source.next().unwrap().unwrap()).unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), b"earlier");
    drop(sink);
    assert_eq!(std::fs::read(&to).unwrap(), b"earlier");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let mut empty = VideoSink::create(&to, source.info(), Recording::file(&from), fast()).unwrap();
    assert!(matches!(empty.finish(), Err(Error::Output { .. })));
}

#[test]
fn places_and_names_that_cannot_be_written() {
    let source = source(&clip("h264.mp4"));
    let create = |path: &str| VideoSink::create(path, source.info(), None, fast()).err().unwrap();
    assert!(matches!(create("/no/such/folder/a.mp4"), Error::Write { .. }));
    assert!(matches!(create("/proc/a.mp4"), Error::Write { .. }));
    let error = create("a.gif");
    assert!(matches!(&error, Error::Output { .. }), "{error}");
    assert!(error.to_string().contains(".mp4"), "{error}");
}

#[test]
fn a_size_that_changes_on_the_way_is_scaled_to_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("a.mp4");
    let mut source = source(&clip("h264.mp4"));
    let mut sink = VideoSink::create(&to, source.info(), None, fast()).unwrap();
    sink.picture(&source.next().unwrap().unwrap()).unwrap();
    let second = source.next().unwrap().unwrap();
    let planes = vec![Plane::from_vec(vec![128; 99 * 33], 99, 33).unwrap()];
    let picture = Picture::new(33, 33, PixelFormat::Rgb24, Color::default(), planes).unwrap();
    sink.picture(&Frame { picture, ..second }).unwrap();
    sink.finish().unwrap();
    assert_eq!(value(&to, "v:0", "stream=width,height"), "160,120");
    assert_eq!(probe_file(&to).times.len(), 2);
}

/// A picture of one colour, as it is coded by `color`.
fn flat(rgb: [f64; 3], color: Color, size: usize) -> Picture {
    let (red, blue) = if color.matrix == Matrix::Bt709 { (0.2126, 0.0722) } else { (0.299, 0.114) };
    let luma = red * rgb[0] + (1.0 - red - blue) * rgb[1] + blue * rgb[2];
    let chroma = [(rgb[2] - luma) / (2.0 - 2.0 * blue), (rgb[0] - luma) / (2.0 - 2.0 * red)];
    let (black, white, reach) =
        if color.range == Range::Full { (0.0, 255.0, 255.0) } else { (16.0, 219.0, 224.0) };
    let plane = |value: f64, size: usize| {
        Plane::from_vec(vec![value.round() as u8; size * size], size, size).unwrap()
    };
    let [cb, cr] = chroma.map(|c| plane(128.0 + reach * c, size / 2));
    let planes = vec![plane(black + white * luma, size), cb, cr];
    Picture::new(size, size, PixelFormat::Yuv420, color, planes).unwrap()
}

#[test]
fn a_matrix_or_range_that_changes_on_the_way_changes_no_colour() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = source(&clip("h264.mp4"));
    let frame = source.next().unwrap().unwrap();
    let rgb = [0.8, 0.2, 0.3];
    for first in [
        Color { matrix: Matrix::Bt601, range: Range::Limited },
        Color { matrix: Matrix::Bt709, range: Range::Full },
    ] {
        let to = folder.path().join("a.mkv");
        let mut sink =
            VideoSink::create(&to, source.info(), None, VideoOptions { crf: 1, ..fast() }).unwrap();
        let others =
            [(Matrix::Bt601, Range::Limited), (Matrix::Bt709, Range::Limited), (Matrix::Bt709, Range::Full)];
        let colors = others.map(|(matrix, range)| Color { matrix, range });
        for (index, color) in [first].into_iter().chain(colors).enumerate() {
            let mut next = Frame { picture: flat(rgb, color, 64), ..frame.clone() };
            next.pts.ticks += 1000 * index as i64;
            sink.picture(&next).unwrap();
        }
        sink.finish().unwrap();
        let seen = ffmpeg_rgb(&to, "scale=1:1");
        assert_eq!(seen.len(), 12);
        for (index, pixel) in seen.chunks(3).enumerate() {
            for (value, expected) in pixel.iter().zip(rgb) {
                let difference = f64::from(*value) - 255.0 * expected;
                assert!(difference.abs() < 5.0, "{first:?}, frame {index}: {pixel:?}");
            }
        }
    }
}

/// A file system of 64 KiB, where the user may mount one.
#[test]
fn a_full_disk_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(folder.path())
        .output()
        .is_ok_and(|out| out.status.success());
    if !mounted {
        println!("skipped: no right to mount a small file system");
        return;
    }
    let from = clip("h264_audio_long.mp4");
    let mut source = source(&from);
    let to = folder.path().join("a.mp4");
    let mut sink =
        VideoSink::create(&to, source.info(), Recording::file(&from), VideoOptions { crf: 1, ..fast() })
            .unwrap();
    let mut result = Ok(());
    while let (Ok(()), Some(frame)) = (&result, source.next().unwrap()) {
        result = sink.picture(&frame);
    }
    let error = result.and_then(|()| sink.finish()).unwrap_err();
    drop(sink);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    std::process::Command::new("umount").arg(folder.path()).status().unwrap();
    assert!(
        matches!(&error, Error::Write { source, .. } if source.kind() == std::io::ErrorKind::StorageFull),
        "{error}"
    );
    assert_eq!(left, 0);
}
